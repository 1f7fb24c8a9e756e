"""A run made again, and whether its figures agree.

On a processor of the same class (system, architecture, processor, threads, torch) they must be the same to the last digit. On
another one rounding differs from the first step on, and on a GPU sums of gradients are added in any order. Training spreads that
like another seed would: there the figures in nats must agree within a share of the NLL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import Usage
from tuner.metrics import METRICS, Metrics, figure
from tuner.studies.files import recorded

TOLERANCE = 0.02
"""Share of the NLL by which figures may differ."""
JUDGED = ("nll", "neg_elbo", "distortion", "rate")
"""Figures in nats per sentence, judged where rounding may differ; the others follow from these or count discretely."""
CLASS = ("system", "architecture", "processor", "accelerator", "threads")


@dataclass(frozen=True)
class Record:
    """Record of a finished run, read from its folder."""

    spec: dict[str, Any]
    fingerprint: str
    """Fingerprint of the run's corpus."""
    machine: dict[str, Any]
    """Class of the machine: figures can be equal to the last digit only on machines that agree in it."""
    threads: int
    metrics: Metrics

    @classmethod
    def read(cls, folder: Path, run: str) -> "Record":
        """Reads the record in a run's folder.

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
    """Figures of the first and of the second run; those of the test split begin with `test.`."""
    differs: list[str]
    """Figures that do not agree."""
    exact: bool
    """True if the figures had to be the same to the last digit."""
    tolerance: float
    """Nats by which figures may differ where they need not be the same."""
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
    """Compares the figures of a run with those of its repetition."""
    known = [key for key in METRICS if key in then.metrics]  # an older program had fewer
    pairs = zip(_figures(then.metrics, known), _figures(now.metrics, known), strict=True)
    figures = {key: (a, b) for (key, a), (_, b) in pairs if (a, b) != (None, None)}
    exact = then.machine == now.machine and not now.machine["accelerator"]
    allowed = tolerance * abs(float(figure(then.metrics, "nll")))
    differs = [key for key, (a, b) in figures.items() if not (a == b if exact else _near(key, allowed, a, b))]
    return Agreement(figures, differs, exact, allowed, (then.machine, now.machine))


def _figures(metrics: Metrics, known: Sequence[str]) -> Iterator[tuple[str, float | None]]:
    for prefix, found in (("", metrics), ("test.", metrics.get("test") or Metrics())):
        for key in known:
            value = figure(found, key)
            yield f"{prefix}{key}", None if value != value else value  # NaN, as older versions had of one sentence


def _near(key: str, allowed: float, then: float | None, now: float | None) -> bool:
    if key.removeprefix("test.") not in JUDGED:
        return True
    return then is not None and now is not None and abs(then - now) <= allowed
