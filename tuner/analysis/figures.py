"""Figures for papers, drawn with Matplotlib."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuner.analysis.rates import PANELS, Series
from tuner.errors import Usage
from tuner.estimators import mixed
from tuner.metrics import AXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which colour-blind readers can tell apart"""
MARKERS = "osD^vPX*<>"
KINDS = (".svg", ".png", ".pdf")
UNDATED: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def check(out: Path) -> None:
    """Refuses a file that cannot be drawn.

    Raises:
        Usage: if its kind is unknown, or Matplotlib is not installed.
    """
    if out.suffix not in KINDS:
        raise Usage(f"--out {out} is no kind of file that can be drawn: end its name in {', '.join(KINDS)} or .json.")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise Usage("figures need Matplotlib: pip install 'text-vae-tuner[plots]', or write .json.") from error


def front(found: dict[str, Any], out: Path) -> None:
    """Trials of studies in the plane of two figures (`pareto.compare`), each study's front as a step line.

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    where: Literal["pre", "post"] = "pre" if found["x_goal"] == "max" else "post"
    for place, study in enumerate(found["studies"]):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        named = _named(study["study"], study["estimators"], found["note"])
        for marked in (False, True):
            points = [i for i, notes in enumerate(study["notes"]) if bool(notes) is marked]
            axes.scatter(
                [study["x"][i] for i in points], [study["y"][i] for i in points], s=18, marker=marker, alpha=0.7,
                facecolor="none" if marked else colour, edgecolor=colour, linewidths=float(marked),
                label=None if marked else named,
            )  # fmt: skip
        best = study["front"]
        axes.step([study["x"][i] for i in best], [study["y"][i] for i in best], where=where, color=colour, linewidth=1)
    for label, key in ((axes.set_xlabel, "x"), (axes.set_ylabel, "y")):
        label(AXES[found[key]].titled)
    if marks := dict.fromkeys(note for own in found["studies"] for note in own["notes"] if note):
        axes.set_title(f"hollow: {', or '.join(marks)}", fontsize="small", loc="left")
    if len(found["studies"]) <= 2 * len(MARKERS):
        axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, out)


def rates(found: Sequence[Series], out: Path) -> None:
    """Perplexity, accuracy gap and what the rate falls short, each against the target rate: the paper's figures 2 and 3.

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(PANELS), 3.1), layout="constrained")
    note = mixed({series.label: series.estimators for series in found})
    for axes, (key, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for place, series in enumerate(found):
            points = [(p.target, *figure_) for p in series.points if (figure_ := p.figures[key]) is not None]
            axes.errorbar(
                [target for target, _, _ in points],
                [mean for _, mean, _ in points],
                [math.nan if sd is None else sd for _, _, sd in points] if any(sd for _, _, sd in points) else None,
                color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
                label=_named(series.label, series.estimators, note), markersize=4, linewidth=1, capsize=2,
            )  # fmt: skip
        if key == "shortfall":
            axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xlabel("target rate [nats]")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize="small")
    _save(figure, out)


def _named(name: str, estimators: Sequence[str], note: str | None) -> str:
    """As the legend has it: with its estimator where that differs from another's."""
    return f"{name}: {', '.join(estimators)}" if note else name


def _save(figure: "Figure", out: Path) -> None:
    """The same figures make the same file."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "text-vae-tuner"}):
        figure.savefig(out, dpi=200, metadata=UNDATED.get(out.suffix))
