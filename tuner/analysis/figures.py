"""Figures for papers, drawn with Matplotlib."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuner.analysis.pareto import better, has_stairs
from tuner.errors import Usage
from tuner.metrics import AXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""
MARKERS = "osD^vPX*<>"
SIDES = {"^": "above", "v": "below", "<": "left of", ">": "right of"}
"""Sides of a plot by the marks of points beyond them."""
LETTERS_PER_INCH = 15
"""Letters of small print per inch."""
NAME = (0.2, 0.06)
"""Shares of a plane's width and height that a level's name takes."""
FAR = 3.0
"""Times the spread of the middle half by which a far value lies beyond it."""
FEW = 0.1
"""Largest share of the values that may be left out of a scale, unless it is one value."""
LEAST = 0.2
"""Share of a scale that the other values have at least, with the far ones in it, or these are left out."""
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


def fronts(panels: Sequence[dict[str, Any]], out: Path) -> None:
    """Trials of studies in the plane of two figures (`pareto.compare`, and its `text` and `levels`), each study's front as a step
    line: a panel for each text, since figures of different ones share no axis.

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure

    shown = [panel for panel in panels if any(study["number"] for study in panel["studies"])]
    figure = Figure(figsize=(6.4 * len(shown), 4.8), layout="constrained")
    marks, beyond = dict[str, None](), list[str]()
    for axes, found in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        noted = (each for own in found["studies"] for notes in own["notes"] for each in notes.split("; "))
        marks |= dict.fromkeys(filter(None, noted))
        beyond += _front(axes, found)
        if len(shown) > 1:
            axes.set_title(_plain(found["text"]), fontsize="small")
    notes = [found["note"] and f"note: {found['note']}" for found in shown]
    _explain(figure, [f"hollow: {', or '.join(marks)}" if marks else None, "; ".join(beyond), *dict.fromkeys(notes)])
    _save(figure, out)


def _front(axes: Any, found: dict[str, Any]) -> list[str]:
    """Draws one plane; returns what lies beyond it."""
    goals = found["x_goal"], found["y_goal"]
    where: Literal["pre", "post"] = "pre" if found["x_goal"] == "max" else "post"
    for place, study in enumerate(found["studies"]):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        for marked in (False, True):
            points = [i for i, notes in enumerate(study["notes"]) if bool(notes) is marked]
            axes.scatter(
                [study["x"][i] for i in points], [study["y"][i] for i in points], s=18, marker=marker, alpha=0.7,
                facecolor="none" if marked else colour, edgecolor=colour, linewidths=float(marked),
                label=None if marked or not study["number"] else _plain(study["study"]),
            )  # fmt: skip
        for kind in sorted(set(study["made"])) if has_stairs(*goals) else ():
            best = [i for i in study["front"] if study["made"][i] == kind]
            axes.step(
                [study["x"][i] for i in best], [study["y"][i] for i in best], where=where, color=colour, linewidth=1
            )
    for label, key in ((axes.set_xlabel, "x"), (axes.set_ylabel, "y")):
        label(AXES[found[key]].titled)
    for limit, key in ((axes.set_xlim, "x"), (axes.set_ylim, "y")):
        limit(*near([value for study in found["studies"] for value in study[key]]))
    beyond = _levels(axes, found) + _edges(axes, found)
    axes.set_title(f"{better(*goals)} better", fontsize="small", loc="right")
    axes.spines[["top", "right"]].set_visible(False)
    return beyond


def _levels(axes: Any, found: dict[str, Any]) -> list[str]:
    """Draws the levels for which the axis need not grow by more than its own height; the others in words.

    A level's name stands above its right end, or its left one if a trial's mark is there.
    """
    levels: Sequence[dict[str, Any]] = found["levels"]
    low, high = axes.get_ylim()
    near_by = [level for level in levels if 2 * low - high < level["value"] < 2 * high - low]
    air = 0.04 * (high - low)
    heights = [level["value"] for level in near_by]
    axes.set_ylim(min([low, *(height - air for height in heights)]), max([high, *(height + air for height in heights)]))
    for level in near_by:
        axes.axhline(level["value"], color="0.5", linewidth=0.8, linestyle="--", zorder=0)
        bottom = _share(level["value"], axes.get_ylim())
        taken = any(x > 1 - NAME[0] and bottom <= y < bottom + NAME[1] for x, y in _marks(axes, found))
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "fontsize": "x-small", "va": "bottom"}
        text, at = f"{level['label']} {level['value']:.4g}", 0 if taken else 1
        axes.annotate(text, (at, level["value"]), ha="left" if taken else "right", **place)
    return [
        f"{level['label']} {level['value']:.4g}, {'above' if level['value'] > high else 'below'} the plot"
        for level in levels
        if level not in near_by
    ]


def _marks(axes: Any, found: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """Places of the trials' marks as shares of the plane's width and height, of those beyond it at its edge."""
    for study in found["studies"]:
        for x, y in zip(study["x"], study["y"], strict=True):
            yield _share(x, axes.get_xlim()), _share(y, axes.get_ylim())


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max((value - low) / (high - low), 0.0), 1.0)


def near(values: Sequence[float]) -> tuple[float, float]:
    """A range with some air around the values, but for a few far ones that take the scale from the others."""
    known = sorted(values)
    low, high = known[len(known) // 4], known[-(-3 * len(known) // 4) - 1]
    kept = [value for value in known if low - FAR * (high - low) <= value <= high + FAR * (high - low)]
    taken = kept[-1] - kept[0] < LEAST * (known[-1] - known[0])
    if high == low or len(known) - len(kept) > max(1, FEW * len(known)) or not taken:
        kept = known
    air = 0.04 * (kept[-1] - kept[0]) or 0.04 * abs(kept[0]) or 1.0
    return kept[0] - air, kept[-1] + air


def _edges(axes: Any, found: dict[str, Any]) -> list[str]:
    """Marks at the edge for the points beyond it; returns them in words."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    told = []
    for place, study in enumerate(found["studies"]):
        beyond: dict[str, list[float]] = {}
        for x, y in zip(study["x"], study["y"], strict=True):
            if left <= x <= right and bottom <= y <= top:
                continue
            marker = "^" if y > top else "v" if y < bottom else "<" if x < left else ">"
            beyond.setdefault(marker, []).append(y if marker in "^v" else x)
            at = min(max(x, left), right), min(max(y, bottom), top)
            axes.plot(
                *at, marker=marker, color=COLOURS[place % len(COLOURS)], fillstyle="none", clip_on=False, zorder=3
            )
        for marker, values in beyond.items():
            what = f"{values[0]:.4g}" if len(values) == 1 else f"in {len(values)} trials"
            told.append(f"{_plain(study['study'])} {what}, {SIDES[marker]} the plot")
    return told


def rates(found: dict[str, Any], out: Path) -> None:
    """Draws `rates.plain`: perplexity, accuracy gap, reached minus wanted rate by target rate (the paper's figures 2 and 3).

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure

    panels, note = found["panels"], found["note"]
    figure = Figure(figsize=(3.4 * len(panels), 3.1), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for place, line in enumerate(found["series"]):
            every = zip(line["target"], line[key], line[f"{key}_sd"], strict=True)
            points = [point for point in every if point[1] is not None]
            axes.errorbar(
                [target for target, _, _ in points],
                [mean for _, mean, _ in points],
                [math.nan if sd is None else sd for _, _, sd in points] if any(sd for _, _, sd in points) else None,
                color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
                label=_plain(line["label"]),
                markersize=4, linewidth=float(line["joined"]), elinewidth=1, capsize=2,
            )  # fmt: skip
        if key == "rate_error":
            axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xlabel("target rate [nats]")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    _explain(figure, [note and f"note: {note}"])
    _save(figure, out)


def curves(found: dict[str, Any], labels: Sequence[str], out: Path) -> None:
    """Draws `curves.of`: a figure by epoch, a line for each trial.

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, (label, epochs, values) in enumerate(zip(labels, found["epoch"], found["value"], strict=True)):
        points = [math.nan if value is None else value for value in values]
        axes.plot(epochs, points, color=COLOURS[place % len(COLOURS)], label=_plain(label), linewidth=1.2)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name = found["figure"]
    axes.set_ylabel(AXES[name].titled if name in AXES else name)
    axes.spines[["top", "right"]].set_visible(False)
    _explain(figure, [])
    _save(figure, out)


def shares(groups: Sequence[dict[str, Any]], mean: float, out: Path) -> None:
    """Draws how often the words of each group are hidden, and a dotted line at the mean of all.

    Raises:
        Usage: as `check`.
    """
    check(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.2, 0.5 * len(groups) + 1), 3.4), layout="constrained")
    axes = figure.subplots()
    names = [entry["group"] for entry in groups]
    axes.bar(names, [entry["probability"] for entry in groups], color=COLOURS[0])
    axes.axhline(mean, color="0.3", linewidth=0.9, linestyle=":")
    axes.set_ylabel("share hidden")
    axes.tick_params(axis="x", rotation=60)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, out)


def _plain(text: str) -> str:
    """A text that Matplotlib takes for no formula, nor for one that no legend shows."""
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def _explain(figure: "Figure", said: Sequence[str | None]) -> None:
    """The legend above the axes, where it covers no point, and below them what is to be known of the figures."""
    import textwrap

    room = int(figure.get_figwidth() * LETTERS_PER_INCH)
    entries = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    many = f"{len(entries)} of them are too many for a legend" if len(entries) > 2 * len(MARKERS) else None
    if entries and not many:
        across = max(1, room // (max(map(len, entries)) + 6))
        place: dict[str, Any] = {"loc": "outside upper left", "ncols": across, "frameon": False, "fontsize": "small"}
        figure.legend(list(entries.values()), list(entries), **place)
    lines = [line for one in (many, *said) if one for line in textwrap.wrap(_plain(one), room)]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize="x-small", x=0.01, ha="left")


def _save(figure: "Figure", out: Path) -> None:
    """Writes a figure so that equal figures make equal files."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "text-vae-tuner"}):
        figure.savefig(out, dpi=200, metadata=UNDATED.get(out.suffix))
