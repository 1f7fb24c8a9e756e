"""Figures for papers, drawn with Matplotlib."""

from pathlib import Path
from typing import Any, Literal

from tuner.errors import Usage
from tuner.metrics import AXES

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which colour-blind readers can tell apart"""
MARKERS = "osD^vPX*<>"
KINDS = (".svg", ".png", ".pdf")


def front(found: dict[str, Any], out: Path) -> None:
    """Trials of studies in the plane of two figures (`pareto.compare`), each study's front as a step line.

    Raises:
        Usage: if the file's kind is unknown, or Matplotlib is not installed.
    """
    if out.suffix not in KINDS:
        raise Usage(f"--out {out} is no kind of file that can be drawn: end its name in {', '.join(KINDS)} or .json.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Usage("figures need Matplotlib: pip install 'text-vae-tuner[plots]', or write .json.") from error
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    where: Literal["pre", "post"] = "pre" if found["x_goal"] == "max" else "post"
    for place, study in enumerate(found["studies"]):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        axes.scatter(
            study["x"], study["y"], s=18, color=colour, marker=marker, alpha=0.7, label=study["study"], linewidths=0
        )
        best = study["front"]
        axes.step([study["x"][i] for i in best], [study["y"][i] for i in best], where=where, color=colour, linewidth=1)
    for label, key in ((axes.set_xlabel, "x"), (axes.set_ylabel, "y")):
        metric = AXES[found[key]]
        label(f"{metric.label} [{metric.unit}]" if metric.unit else metric.label)
    if len(found["studies"]) <= 2 * len(MARKERS):
        axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=200, metadata={"Date": None} if out.suffix == ".svg" else None)
