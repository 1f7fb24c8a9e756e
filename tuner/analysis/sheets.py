"""A table of figures as text: for a terminal, as Markdown or as LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

Figure = tuple[float, float | None] | None
"""Mean and standard deviation, the latter where there are several runs; None where there is no such figure."""
ESCAPED = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\n": " ",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "θ": r"$\theta$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "ć": r"\'c",
    "|": r"$|$",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",  # a row's end would take it for its own option, as it would a star
    "*": "{*}",
}


class AsPrinted(float):
    """A number with the decimals that a paper prints of it."""

    decimals: int

    def __new__(cls, text: object) -> "AsPrinted":
        found = super().__new__(cls, str(text))
        found.decimals = len(str(text).partition(".")[2])
        return found


@dataclass(frozen=True)
class Line:
    """A row of a sheet."""

    label: str
    runs: str
    """Number of the runs, or the source of the figures."""
    cells: tuple[Figure, ...]
    letter: str = ""
    """Letter that stands for the figures' estimators."""
    notes: tuple[str, ...] = ()
    """Notes that qualify the figures."""

    @property
    def mark(self) -> str:
        """The letter and the notes, for the end of its line."""
        return ", ".join(filter(None, [self.letter, *self.notes]))


@dataclass(frozen=True)
class Sheet:
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    said: tuple[str, ...]
    """Lines below the table."""
    decimals: tuple[int, ...]
    """Number of decimals of each column."""
    is_mixed: bool = False
    """True if letters tell figures apart that cannot be ranked together."""


def with_sd(found: Figure, decimals: int = 2) -> str:
    """A figure with its deviation; from a million on in powers of ten, unless it is a whole number."""
    if found is None:
        return "–"
    form = f"z.{decimals}f" if abs(found[0]) < 1e6 or not decimals else ".4g"
    forms = [
        (each, f".{each.decimals}f" if isinstance(each, AsPrinted) else form) for each in found if each is not None
    ]
    return " ± ".join(f"{each:{own}}" for each, own in forms)


def _texts(sheet: Sheet, line: Line) -> list[str]:
    return [with_sd(cell, decimals) for cell, decimals in zip(line.cells, sheet.decimals, strict=True)]


def terminal(sheet: Sheet) -> str:
    head = ["", "runs", *sheet.headings, ""]
    body = [[line.label, line.runs, *_texts(sheet, line), line.mark] for line in sheet.lines]
    widths = [max(cell_len(line[place]) for line in [head, *body]) for place in range(len(head))]
    lines = []
    for line in [head, *body]:
        airs = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        lines.append("  ".join([line[0] + airs[0], *map("".join, zip(airs[1:], line[1:], strict=True))]))
    return "\n".join([line.rstrip() for line in lines] + list(sheet.said)) + "\n"


def markdown(sheet: Sheet) -> str:
    def row(*cells: str) -> str:
        texts = [" ".join(cell.splitlines()).replace("|", "\\|") for cell in cells]
        return f"| {' | '.join(texts)} |".replace("|  |", "| |")

    lines = [row("", "runs", *sheet.headings, ""), "|---" * (len(sheet.headings) + 3) + "|"]
    lines += [row(line.label, line.runs, *_texts(sheet, line), line.mark) for line in sheet.lines]
    return "\n".join([*lines, "", *(f"- {line}" for line in sheet.said if line)]) + "\n"


def tex(text: str) -> str:
    return "".join(ESCAPED.get(mark, mark) for mark in text)


def latex(sheet: Sheet) -> str:
    """The sheet as a LaTeX table with booktabs; the lines below it are comments."""
    lines = [f"% {' '.join(line.splitlines())}" for line in sheet.said if line]
    lines += [r"\begin{tabular}{lr" + "r" * len(sheet.headings) + "}", r"\toprule"]
    heads = [f"${label}$" if len(label) == 1 and label.isalpha() else tex(label) for label in sheet.headings]
    lines += [" & ".join(["", "runs", *heads]) + r" \\", r"\midrule"]
    for line in sheet.lines:
        mark = f"$^{{{line.letter}}}$" if sheet.is_mixed and line.letter else ""
        mark += f" ({tex(', '.join(line.notes))})" if line.notes else ""
        cells = [tex(text.replace("-", "−")) for text in _texts(sheet, line)]
        lines.append(" & ".join([tex(line.label) + mark, tex(line.runs), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def lettered(made: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Letters for what made each row's figures, and what the letters say, in the order of first use, place by place.

    Args:
        made: of each row, what made its figures; none for one that says nothing.
    """
    kinds = list(dict.fromkeys(kind for place in (0, 1) for row in made for kind in row[place : place + 1]))
    return [" ".join(letter(kinds.index(kind)) for kind in row) for row in made], kinds


def letter(place: int) -> str:
    """`a` to `z`, then `aa`, `ab` and so on."""
    before, last = divmod(place, 26)
    return (letter(before - 1) if before else "") + chr(ord("a") + last)


def legend(kinds: Sequence[str]) -> list[str]:
    """A line for each letter, which says what it stands for."""
    return [f"{letter(place)}: {kind}" for place, kind in enumerate(kinds)]


def presets(made: Mapping[str, str]) -> list[str]:
    """A line that says which rows are of which preset, if they are of several.

    Args:
        made: the preset of each row, by its label.
    """
    kinds = list(dict.fromkeys(made.values()))
    whose = [f"{kind}: {', '.join(label for label, own in made.items() if own == kind)}" for kind in kinds]
    return [f"models of several presets ({'; '.join(whose)})"] if len(kinds) > 1 else []
