"""A table of figures as text: for a terminal, as Markdown or as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

Figure = tuple[float, float | None] | None
"""Mean and standard deviation, the latter where there are several runs; None where there is no such figure."""
ESCAPED = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "θ": r"$\theta$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "ć": r"\'c",
    "|": r"$|$",
}


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
    is_mixed: bool = False
    """True if letters tell figures apart that cannot be ranked together."""


def with_sd(found: Figure, plus_minus: str = " ± ") -> str:
    """A figure with its deviation."""
    if found is None:
        return "–"
    mean, sd = found
    return f"{mean:.2f}" if sd is None else f"{mean:.2f}{plus_minus}{sd:.2f}"


def terminal(sheet: Sheet) -> str:
    head = ["", "runs", *sheet.headings, ""]
    body = [[line.label, line.runs, *map(with_sd, line.cells), line.mark] for line in sheet.lines]
    widths = [max(len(line[place]) for line in [head, *body]) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if place == 0 else cell.rjust(w)
            for place, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *body]
    ]
    return "\n".join([line.rstrip() for line in lines] + list(sheet.said)) + "\n"


def markdown(sheet: Sheet) -> str:
    def row(*cells: str) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")

    lines = [row("", "runs", *sheet.headings, ""), "|---" * (len(sheet.headings) + 3) + "|"]
    lines += [row(line.label, line.runs, *map(with_sd, line.cells), line.mark) for line in sheet.lines]
    return "\n".join([*lines, "", *(f"- {line}" for line in sheet.said if line)]) + "\n"


def tex(text: str) -> str:
    return "".join(ESCAPED.get(mark, mark) for mark in text)


def latex(sheet: Sheet) -> str:
    """The sheet as a LaTeX table with booktabs; the lines below it are comments."""
    lines = [f"% {line}" for line in sheet.said if line]
    lines += [r"\begin{tabular}{lr" + "r" * len(sheet.headings) + "}", r"\toprule"]
    heads = [f"${label}$" if len(label) == 1 and label.isalpha() else tex(label) for label in sheet.headings]
    lines += [" & ".join(["", "runs", *heads]) + r" \\", r"\midrule"]
    for line in sheet.lines:
        mark = f"$^{{{line.letter}}}$" if sheet.is_mixed and line.letter else ""
        mark += f" ({tex(', '.join(line.notes))})" if line.notes else ""
        cells = [with_sd(cell, r" $\pm$ ") for cell in line.cells]
        lines.append(" & ".join([tex(line.label) + mark, tex(line.runs), *map(_dashed, cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _dashed(cell: str) -> str:
    return "--" if cell == "–" else cell


def lettered(made: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Letters for what made each row's figures, and what the letters say, in the order of first use, place by place.

    Args:
        made: of each row, what made its figures; none for one that says nothing.
    """
    kinds = list(dict.fromkeys(kind for place in (0, 1) for row in made for kind in row[place : place + 1]))
    return [" ".join(chr(ord("a") + kinds.index(kind)) for kind in row) for row in made], kinds
