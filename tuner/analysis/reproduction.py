"""A run made again, and whether its figures agree.

On the same class of machine (architecture, processor, accelerator, threads, torch) they must be the same to the last digit. On
another one, rounding differs from the first step on, and training spreads that like another seed would: there the figures in nats
must agree within a share of the NLL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import Usage
from tuner.metrics import METRICS, Metrics, figure
from tuner.studies.files import recorded

TOLERANCE = 0.02
"""of the NLL"""
JUDGED = ("nll", "neg_elbo", "distortion", "rate")
"""figures in nats per sentence, judged where rounding may differ; the others follow from these or count discretely"""
CLASS = ("system", "architecture", "processor", "accelerator", "threads")


@dataclass(frozen=True)
class Record:
    """What a finished run's folder says about it."""

    spec: dict[str, Any]
    fingerprint: str
    """of its corpus"""
    machine: dict[str, Any]
    """its class: what figures that are to be the same must agree in"""
    threads: int
    metrics: Metrics

    @classmethod
    def read(cls, folder: Path, run: str) -> "Record":
        """What is in a run's folder.

        Raises:
            Usage: if the run is not finished, or is of an older version that recorded no machine.
        """
        known, metrics = recorded(folder)
        if metrics is None:
            raise Usage(f"run {run!r} is not finished, so there are no figures to compare with: let it end.")
        hardware = known.get("hardware")
        if hardware is None:
            raise Usage(f"run {run!r} was trained by an older version, which recorded no hardware: train it anew.")
        machine = {key: hardware[key] for key in CLASS} | {"torch": known["versions"]["torch"]}
        return cls(known["spec"], known["corpus"]["fingerprint"], machine, int(hardware["threads"]), metrics)


@dataclass(frozen=True)
class Agreement:
    """Two runs of one specification, compared."""

    figures: dict[str, tuple[float | None, float | None]]
    """then and now; the test split's begin with `test.`"""
    differs: list[str]
    """figures that do not agree"""
    exact: bool
    """whether they had to be the same to the last digit"""
    tolerance: float
    """nats, where they had not"""
    machines: tuple[dict[str, Any], dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        then, now = self.machines
        return {
            "agrees": not self.differs,
            "exact": self.exact,
            "tolerance": None if self.exact else self.tolerance,
            "differs": self.differs,
            "figures": {key: {"then": a, "now": b} for key, (a, b) in self.figures.items()},
            "machine": {"then": then, "now": now},
        }


def compare(then: Record, now: Record, tolerance: float = TOLERANCE) -> Agreement:
    """Whether a run made again found the same."""
    known = [key for key in METRICS if key in then.metrics]  # an older program had fewer
    pairs = zip(_figures(then.metrics, known), _figures(now.metrics, known), strict=True)
    figures = {key: (a, b) for (key, a), (_, b) in pairs if (a, b) != (None, None)}
    exact = then.machine == now.machine
    allowed = tolerance * abs(float(figure(then.metrics, "nll")))
    differs = [key for key, pair in figures.items() if not (_same(*pair) if exact else _near(key, allowed, *pair))]
    return Agreement(figures, differs, exact, allowed, (then.machine, now.machine))


def _figures(metrics: Metrics, known: Sequence[str]) -> Iterator[tuple[str, float | None]]:
    for prefix, found in (("", metrics), ("test.", metrics.get("test") or Metrics())):
        for key in known:
            value = figure(found, key)
            yield f"{prefix}{key}", None if value != value else value  # NaN, as older versions had of one sentence


def _same(then: float | None, now: float | None) -> bool:
    return then == now


def _near(key: str, allowed: float, then: float | None, now: float | None) -> bool:
    if key.removeprefix("test.") not in JUDGED:
        return True
    return then is not None and now is not None and abs(then - now) <= allowed
