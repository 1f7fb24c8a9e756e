"""Tables for a terminal, as wide as it is: columns that have no room are left out and named below, or rows are stacked. No name
and no digit is cut. Where the output is no terminal, every column is printed."""

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tuner.screen import plain, styles

ENDLESS = 100_000
"""Characters in a line where the output is no terminal's."""
GAP = 2
"""Characters between columns."""
NARROW = 9
"""Characters below which a column that folds is not narrowed; a longer word keeps it wider."""


class Page(Console):
    """A console whose texts are texts: no markup, no names of emojis, nothing on which a terminal acts."""

    def render_str(self, text: str, **more: object) -> Text:
        return super().render_str(plain(text), **{**more, "markup": False, "emoji": False})  # type: ignore[arg-type]


def console() -> Page:
    """Standard output; lines have no end where it is no terminal."""
    return Page(file=styles(sys.stdout), width=None if sys.stdout.isatty() else ENDLESS, highlight=False)


@dataclass(frozen=True)
class Column:
    """A column, the first of which is never left out."""

    label: str
    right: bool = False
    rank: int = 0
    """Rank by which columns are left out: the highest first, and the last one of equal ranks."""
    folds: bool = False
    """True if the column's words may go on in the next line."""
    style: str = ""


class Table:
    """Rows of texts under heads.

    Args:
        chosen: the reader has named the columns: none is left out.
        remedy: how to see what is left out.
    """

    def __init__(
        self, *columns: Column | str, title: str | None = None, chosen: bool = False, remedy: str = "--json has them"
    ) -> None:
        self.columns = [Column(c, rank=place) if isinstance(c, str) else c for place, c in enumerate(columns)]
        self.title, self.chosen, self.remedy = title, chosen, remedy
        self.rows: list[tuple[list[str], bool]] = []

    def add(self, *cells: str, marked: bool = False) -> None:
        """A row; a marked one is set in bold."""
        self.rows.append(([plain(cell).replace("\n", " ") for cell in cells], marked))

    def print(self) -> None:
        """Prints the table on standard output."""
        out = console()
        for line in self.lines(out.width):
            out.print(line, soft_wrap=True)

    def lines(self, width: int) -> list[Text]:
        """Lines of the table where a line has room for so many characters."""
        kept = list(range(len(self.columns)))
        while (widths := self._widths(kept, width)) is None and not self.chosen and len(kept) > 1:
            kept.remove(max(kept[1:], key=lambda place: (self.columns[place].rank, place)))
        head = [Text(plain(self.title))] if self.title else []
        if widths is None or (len(kept) == 1 < len(self.columns)):
            return [*head, *self._stacked(width)]
        left = [column.label for place, column in enumerate(self.columns) if place not in kept and column.label]
        said = _wrapped(f"no room for {', '.join(left)}: {self.remedy}", width) if left else []
        heads = [self._line([self.columns[p].label for p in kept], kept, widths, "bold")] if self._has_heads else []
        rows = [
            line for cells, marked in self.rows for line in self._folded([cells[p] for p in kept], kept, widths, marked)
        ]
        return [*head, *heads, *rows, *map(Text, said)]

    @property
    def _has_heads(self) -> bool:
        return any(column.label for column in self.columns)

    def _widths(self, kept: Sequence[int], width: int) -> list[int] | None:
        """Widths of the kept columns; None if they do not fit. A column that folds gives up as much of its width as is
        missing.
        """
        texts = [[self.columns[p].label, *(cells[p] for cells, _ in self.rows)] for p in kept]
        widths = [max(map(cell_len, each)) for each in texts]
        missing = sum(widths) + GAP * (len(widths) - 1) - width
        for place in reversed(range(len(kept))):
            if missing > 0 and self.columns[kept[place]].folds:
                longest = max((cell_len(word) for text in texts[place] for word in text.split()), default=0)
                given = min(missing, max(0, widths[place] - max(longest, min(NARROW, widths[place]))))
                widths[place] -= given
                missing -= given
        return widths if missing <= 0 else None

    def _folded(self, cells: Sequence[str], kept: Sequence[int], widths: Sequence[int], marked: bool) -> list[Text]:
        parts = [
            _wrapped(cell, width) or [""] if self.columns[p].folds and cell_len(cell) > width else [cell]
            for cell, p, width in zip(cells, kept, widths, strict=True)
        ]
        height = max(map(len, parts))
        lines = [[part[at] if at < len(part) else "" for part in parts] for at in range(height)]
        return [self._line(line, kept, widths, "bold" if marked else "") for line in lines]

    def _line(self, cells: Sequence[str], kept: Sequence[int], widths: Sequence[int], style: str) -> Text:
        line = Text(style=style)
        for place, (cell, p, width) in enumerate(zip(cells, kept, widths, strict=True)):
            column, air = self.columns[p], " " * (width - cell_len(cell))
            line.append(" " * GAP if place else "")
            line.append(f"{air}{cell}" if column.right else f"{cell}{air}", column.style)
        line.rstrip()
        return line

    def _stacked(self, width: int) -> list[Text]:
        """A paragraph for each row: its first cell, then names and values as many as fit a line."""
        lines: list[Text] = []
        for cells, marked in self.rows:
            lines.append(Text(f"{self.columns[0].label} {cells[0].strip()}".strip(), "bold" if marked else ""))
            line = ""
            for column, cell in list(zip(self.columns, cells, strict=True))[1:]:
                part = f"{column.label} {cell.strip()}".strip() if cell.strip() else ""
                if line and cell_len(line) + GAP + cell_len(part) > width - GAP:
                    lines.append(Text(" " * GAP + line))
                    line = ""
                line += (" " * GAP if line and part else "") + part
            if line:
                lines.append(Text(" " * GAP + line))
        return lines


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of that width, no word cut."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
