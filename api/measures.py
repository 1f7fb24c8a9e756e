"""The server's figures for Prometheus: what the database holds when asked, and what this process has served."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tuner import inventory

if TYPE_CHECKING:
    from api.service import Service


class Measures:
    """Of one server process."""

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
    """What the database holds."""

    def __init__(self, service: "Service") -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        totals = inventory.totals(self.service.database)
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
        yield GaugeMetricFamily("tuner_event_streams", "Open event streams.", value=self.service.feed.streams)


def render(service: "Service") -> tuple[bytes, str]:
    """The text, and its media type."""
    stored = CollectorRegistry()
    stored.register(Stored(service))
    return generate_latest(stored) + generate_latest(service.measures.registry), CONTENT_TYPE_LATEST
