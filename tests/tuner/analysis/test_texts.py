"""Tables of sentences."""

import csv
import io

from tuner.analysis.texts import FORMATS

HEADS = ["", "mim/3", "ae/0"]
ROWS = [["D", "it cost 5 % | $ 3", ""], ["M", "it cost 5 %", "=it"]]


def test_a_terminal_has_a_line_a_cell() -> None:
    assert FORMATS["table"](HEADS, ROWS).splitlines() == [
        "(D) it cost 5 % | $ 3", "(M) mim/3: it cost 5 %", "(M) ae/0: =it",
    ]  # fmt: skip


def test_other_forms_have_a_row_a_line_and_marks_that_mean_nothing() -> None:
    markdown = FORMATS["markdown"](HEADS, ROWS).splitlines()
    assert markdown[0] == "|  | mim/3 | ae/0 |"
    assert markdown[2] == r"| D | it cost 5 % \| $ 3 |  |"
    latex = FORMATS["latex"](HEADS, ROWS)
    assert r"D & it cost 5 \% $|$ \$ 3 &  \\" in latex
    assert latex.startswith(r"\begin{tabular}{lp{0.45\linewidth}p{0.45\linewidth}}")
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](HEADS, ROWS))))
    assert rows[:2] == [HEADS, ROWS[0]]
    assert rows[2][2] == "'=it"  # no formula
