"""Tables of sentences, as a terminal, Markdown, LaTeX or a spreadsheet has them."""

from collections.abc import Callable, Sequence

from tuner import screen
from tuner.analysis.sheets import tex

Rows = Sequence[Sequence[str]]


def plain(heads: Sequence[str], rows: Rows) -> str:
    """For a terminal, whose lines hold no such columns: a line a cell, under its row's name."""
    lines = []
    for row in rows:
        cells = [cell for cell in row[1:] if cell]
        for place, cell in enumerate(cells):
            name = f"({row[0]})" if len(cells) == 1 else f"({row[0]}) {heads[place + 1]}:"
            lines.append(f"{name} {cell}")
    return "\n".join(lines) + "\n"


def markdown(heads: Sequence[str], rows: Rows) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(heads), line(["---"] * len(heads)), *map(line, rows)]) + "\n"


def latex(heads: Sequence[str], rows: Rows) -> str:
    """A tabular whose cells fold."""
    width = f"{0.9 / max(len(heads) - 1, 1):.2f}"
    columns = "l" + f"p{{{width}\\linewidth}}" * (len(heads) - 1)
    body = [" & ".join(map(tex, cells)) + r" \\" for cells in (heads, *rows)]
    body.insert(1, r"\midrule")
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Sequence[str], Rows], str]] = {
    "table": plain, "markdown": markdown, "latex": latex, "csv": screen.sheet
}  # fmt: skip
