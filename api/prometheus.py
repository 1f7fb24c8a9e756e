"""The server's figures for Prometheus: what the database holds when asked, and what this process has served."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tuner.storage.database import Database
from tuner.studies import queries


class Measures:
    """Metrics of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tuner_http_requests", "Requests answered.", ["method", "status"], registry=self.registry
        )
        self.suggestion = Histogram(
            "tuner_suggestion_seconds",
            "Seconds from a remote worker's ask to its trial.",
            registry=self.registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )


class Stored(Collector):
    """Metrics of the database's content."""

    def __init__(self, database: Database, streams: int) -> None:
        self.database, self.streams = database, streams

    def collect(self) -> Iterator[Metric]:
        totals = queries.totals(self.database)
        trials = GaugeMetricFamily("tuner_trials", "Trials by state.", labels=["state"])
        for state, count in totals.trials.items():
            trials.add_metric([state], count)
        yield trials
        by_state = GaugeMetricFamily("tuner_studies", "Studies by state.", labels=["state"])
        for state, count in totals.studies.items():
            by_state.add_metric([state], count)
        yield by_state
        yield GaugeMetricFamily("tuner_queue", "Trials that active studies have yet to begin.", value=totals.queue)
        yield CounterMetricFamily("tuner_attempts_lost", "Attempts whose lease or process was lost.", value=totals.lost)
        yield GaugeMetricFamily("tuner_workers", "Workers that are there.", value=totals.workers)
        yield GaugeMetricFamily("tuner_event_streams", "Open event streams.", value=self.streams)


def render(database: Database, streams: int, measures: Measures) -> tuple[bytes, str]:
    """The text, and its media type.

    Args:
        streams: number of open event streams.
    """
    stored = CollectorRegistry()
    stored.register(Stored(database, streams))
    return generate_latest(stored) + generate_latest(measures.registry), CONTENT_TYPE_LATEST
