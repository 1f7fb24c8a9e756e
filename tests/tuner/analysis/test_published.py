"""Figures that the papers print, by two readings entered apart: tuner/published, and tests/data/papers.csv."""

import copy
import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.analysis import layouts, published, report, sheets
from tuner.analysis.published import layout, systems
from tuner.metrics import FIGURES
from tuner.space import load, techniques

Cell = tuple[str, str, str]
Figure = tuple[float, float | None]

WANTED = {
    *(f"pa-{number}" for number in (1, 3, 4)),
    *(f"li-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)),
    *(f"kr-{number}" for number in (2, 3)),
    *(f"mi-{number}" for number in (1, 2, 4, 5)),
    *(f"lv-{number}" for number in (2, 3, 4, 5)),
}
TEXT_ALONE = {"li-7", "mi-2"}
"""Tables of sentences, which have no figures."""
OTHERS = {
    *("rate_once", "ppl_paper_elbo", "nll_once"),
    *(
        f"inputless.{name}"
        for name in ("nll", "ppl", "neg_elbo", "rate", "ppl_elbo", "paper_elbo", "rate_once", "ppl_paper_elbo")
    ),
}
"""Names of figures that are none of an evaluation's, or of another run's."""


def first() -> dict[Cell, Figure]:
    return {
        (table.name, row.label, heading): figure
        for table in published.tables().values()
        for row in table.rows
        for heading, figure in row.values.items()
    }


def second() -> Iterator[tuple[Cell, Figure]]:
    """Without the arrows that say which end of a column is better."""
    file = Path(__file__).parents[2] / "data" / "papers.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines):
            figure = float(line["value"]), float(line["sd"]) if line["sd"] else None
            yield (line["table"], line["row"], line["column"].rstrip(" ↓↑")), figure


def test_two_readings_of_the_papers_agree_in_every_cell() -> None:
    again = list(second())
    cells = dict(again)
    assert len(cells) == len(again)
    ours = first()
    assert sorted(ours.keys() - cells.keys()) == []
    assert sorted(cells.keys() - ours.keys()) == []
    assert {cell: (figure, cells[cell]) for cell, figure in ours.items() if figure != cells[cell]} == {}


def test_figures_have_the_digits_that_the_papers_print() -> None:
    part = systems.block(published.tables()["pa-3"])
    rows = tuple(layout._printed(part, row, part.columns) for row in part.rows if row.label == "FB")
    text = sheets.terminal(layout.sheet(layout.Layout(part, "valid", part.columns, rows, {})))
    assert "113.3 ± 0.17  5.0 ± 0.06  117.5 ± 0.18  101.9 ± 0.77  5.8 ± 0.11" in text
    assert "| 113.3 ± 0.17 | 5.0 ± 0.06 |" in layouts.markdown(report.published(["fb"], "valid"))
    (again,) = copy.deepcopy(report.published(["fb"], "valid"))
    assert "| 113.3 ± 0.17 |" in layouts.markdown([again])
    scaled = layouts.markdown(report.published(["ae"], "test"), ["probe_100"])  # printed as 78.4 %
    assert "| 0.784 |" in scaled


def test_every_table_is_there_with_its_text_split_and_names() -> None:
    tables = published.tables()
    assert tables.keys() == WANTED
    assert {name for name, table in tables.items() if table.sentences} == TEXT_ALONE
    for name, table in tables.items():
        labels = [row.label for row in table.rows]
        assert len(set(labels)) == len(labels), name
        assert table.split in (("valid",) if name == "pa-3" else ("",) if table.sentences else ("test",))
        for row in table.rows:
            assert bool(row.values) != bool(table.sentences)
            assert row.values.keys() | row.figures.keys() <= table.columns.keys()
            for text, figures in table.figures(row).items():
                assert text in table.texts
                assert figures.keys() <= FIGURES.keys() | OTHERS
                assert ("paper_elbo" in figures or "nll_once" in figures) == row.kl_once


@pytest.mark.parametrize("technique", techniques())
def test_every_technique_is_printed_somewhere_or_it_is_said_why_not(technique: str) -> None:
    rows = report.published([technique], "valid") + report.published([technique], "test")
    papers = {table.paper for table in published.tables().values()}
    is_theirs = any(paper in load(technique).paper for paper in papers)
    assert bool(rows) == (is_theirs and technique not in published.unprinted())


def test_a_technique_that_no_paper_prints_is_named_with_the_reason() -> None:
    assert report.unpublished(["sfb", "lagvae", "ae"], "valid") == [
        "no paper here prints valid figures of lagvae: Pelsmaeker & Aziz 2019 compare LagVAE with MDR in words and train none",
        "no paper here prints valid figures of ae",
    ]


def test_a_papers_likelihoods_and_perplexities_agree_on_the_tokens_of_a_sentence() -> None:
    """NLL / ln PPL is n, the same in all rows of a text, within what rounding leaves: a misread digit shows."""
    for name in ("pa-3", "li-10", "li-11", "lv-2", "lv-3", "lv-4", "lv-5"):
        tokens = defaultdict(list)
        for row in published.tables()[name].rows:
            for pair in (("NLL", "PPL"), ("-ELBO", "ELBO PPL"), ("NLL*", "PPL*")):
                if not row.quoted and set(pair) <= row.values.keys():
                    nll, ppl = (row.values[heading][0] for heading in pair)
                    tokens[row.text].append(nll / math.log(ppl))
        for found in tokens.values():
            assert max(found) == pytest.approx(min(found), rel=2e-3), name
        assert tokens, name


def test_a_bound_is_the_sum_of_its_parts() -> None:
    for name in ("li-1", "li-2", "li-3", "li-10", "li-11"):
        for row in published.tables()[name].rows:
            if {"Recon", "KL", "-ELBO"} <= row.values.keys():
                parts = row.values["Recon"][0] + row.values["KL"][0]
                assert row.values["-ELBO"][0] == pytest.approx(parts, abs=0.011), row.label


def test_hyperparameters_are_those_printed() -> None:
    (sfb,) = report.published(["sfb"], "valid")
    assert sfb.settings == {"r": 6.467, "alpha": 0.01, "epsilon": 1.0, "gamma": 1.05}
    assert sfb.figures["distortion"] == (112.0, 0.15)
    for table in published.tables().values():
        for row in table.rows:
            printed = re.search(r"λ = (\d)\)", row.label)
            assert printed is None or row.settings["r"] == float(printed[1])


def test_a_figure_that_a_paper_prints_twice_or_quotes_is_shown_once() -> None:
    rates = [row.settings["r"] for row in report.published(["fb"], "test") if "Penn Treebank" in row.estimator]
    assert rates == [9, 8, 7, 6, 5, 4, 3, 2]  # of table 10; tables 1 and 3 repeat some
    (other,) = [row for row in report.published(["fb-dim"], "test") if row.settings["r"] == 7]
    assert "table 1;" in other.estimator
    assert not [row for row in report.published(["beta"], "test") if "Miladinović" in row.estimator]  # Higgins et al.'s


def test_the_kl_of_one_code_is_named_for_what_it_is() -> None:
    for row in report.published(["multi-sample-avg"], "test"):
        assert row.notes == ("the KL of one code",)
        assert row.figures["paper_elbo"] is not None
        assert [row.figures[key] for key in ("nll", "rate", "neg_elbo")] == [None, None, None]


def test_papers_rows_bring_the_columns_that_they_print() -> None:
    head, *_ = layouts.table(report.published(["mim"], "test")).splitlines()
    assert head.split() == ["runs", "MELBO", "PPL", "by", "MELBO", "parameters", "BLEU-1"]


def test_columns_of_papers_are_plain_latex() -> None:
    text = layouts.latex(report.published(["vanilla"], "test"))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert "$-$ELBO" in body
    assert body.isascii()
