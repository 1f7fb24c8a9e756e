"""Tables of docs/results.md beside the records that are kept of their runs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from scipy.stats import t as students

from tuner.analysis.published import printed
from tuner.estimators import certified_bound
from tuner.storage.database import Database
from tuner.studies import bundle

HOME = Path(__file__).parents[2]
DATA = HOME / "benchmarks" / "data"
RESULTS = (HOME / "docs" / "results.md").read_text()
PAPER = [
    "rnnlm/0", "rnnlm-seed-1/0", "rnnlm-seed-1/1", "vanilla/0", "vanilla-seed-1/0", "annealing/0", "fb-5/0", "fb-5-seed-1/0",
    "pretrained-fb-4/0", "pretrained-fb-8/0",
    "pretrained-fb-4-lstm-vae/0", "mdr-2.5/0", "mdr-5/0", "mdr-5-seed-1/0", "mdr-10/0", "mdr-20/0", "sfb/0",
    "beta-.66/0", "infovae/0", "infovae-1e4/0",
]  # fmt: skip
"""Runs of the table at the papers' size, in the order of its rows."""
DIGITS = {"D": 2, "R": 2, "MI": 2, "AU": 0, "gap": 1, "NLL": 2, "PPL": 2, "−ELBO": 2}
KEYS = {
    "D": "distortion", "R": "rate", "MI": "mi", "AU": "active_units", "gap": "acc_gap", "NLL": "nll", "PPL": "ppl",
    "−ELBO": "neg_elbo",
}  # fmt: skip


def table(heading: str, first: str) -> list[list[str]]:
    """Cells of the table whose head begins with `first`, the first one after a heading; the head is the first row."""
    lines = RESULTS.split(f"\n{heading}\n", 1)[1].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def evaluated(run: str) -> dict[str, Any]:
    """Validation figures of a run at the papers' size, with those of the test sentences at `test`."""
    study, number = run.split("/")
    found: dict[str, Any] | None = trials("ptb-paper", study)[int(number)]["metrics"]
    if found is None:  # the machine went before it was evaluated
        apart = json.loads((DATA / "ptb-paper" / f"{study}-evaluated.json").read_text())
        found = {**apart["valid"], "test": apart["test"]}
    return found


def trials(folder: str, study: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bundle.opened(DATA / folder / f"{study}.zip").content["trials"]
    return found


def shown(figures: Sequence[float | None], column: str) -> str:
    """Figures of a configuration's runs as the tables show them."""
    if any(value is None for value in figures):
        return "–"
    known = [float(value) for value in figures if value is not None]
    mean = f"{fmean(known):z.{DIGITS[column]}f}"
    return f"{mean} ± {stdev(known):.{DIGITS[column]}f}" if len(known) > 1 else mean


def test_the_table_at_the_papers_size_is_that_of_its_records() -> None:
    head, *rows = table("## The Penn Treebank at the papers' size", "| | | epochs |")
    assert head[2:12] == ["epochs", "D", "R", "MI", "AU", "gap", "NLL", "PPL", "test: NLL", "PPL"]
    assert len(rows) == len(PAPER)
    for row, run in zip(rows, PAPER, strict=True):
        valid = evaluated(run)
        test, estimator = valid["test"], valid["estimator"]
        expected = [shown([valid[KEYS[column]]], column) for column in head[3:10]]
        expected[-2] += " ?" if estimator.get("resolved") is False else ""
        expected += [shown([test["nll"]], "NLL"), shown([test["ppl"]], "PPL")]
        certificate = estimator.get("certificate")
        expected += (
            ["–", "–"] if certificate is None else [f"{estimator['error']:.3f}", f"{certified_bound(certificate):.3f}"]
        )
        assert row[3:] == expected, run


def test_the_table_beside_the_paper_is_that_of_the_records_and_of_its_table_3() -> None:
    ours: dict[str, list[dict[str, Any]]] = {}
    for run in PAPER:
        if run.startswith(("rnnlm", "vanilla", "annealing", "fb", "mdr-5", "sfb", "beta", "infovae/")):
            ours.setdefault(re.split("[-/]", run)[0], []).append(evaluated(run))
    theirs = {one.row.technique: one.figures for one in printed("valid") if one.table.name == "pa-3"}
    repeated = [[run["nll"] for run in runs] for runs in ours.values() if len(runs) > 1]
    freedom = sum(len(nlls) - 1 for nlls in repeated)
    spread = (sum((len(nlls) - 1) * stdev(nlls) ** 2 for nlls in repeated) / freedom) ** 0.5

    def mean(technique: str, key: str) -> float:
        return fmean(run[key] for run in ours[technique])

    def paper(technique: str, key: str) -> float:
        figure = theirs[technique][key]
        assert figure is not None
        return figure[0]

    def cells(technique: str) -> list[str]:
        apart = mean(technique, "nll") - mean("vanilla", "nll")
        reach = students.ppf(0.975, freedom) * spread * (1 / len(ours[technique]) + 1 / len(ours["vanilla"])) ** 0.5
        found = [f"{apart:.2f} [{apart - reach:.2f}, {apart + reach:.2f}]"]
        found.append(f"{paper(technique, 'nll') - paper('vanilla', 'nll'):.1f}")
        if technique == "rnnlm":
            return [*found, *["–"] * 6]
        for of in (mean, paper):
            d, rate, nll = (of(technique, key) for key in ("distortion", "rate", "nll"))
            found += [
                f"{of(technique, 'acc_gap'):.1f}",
                f"{d + rate - nll:.1f}",
                f"{(of('vanilla', 'distortion') - d) / rate:.2f}".removeprefix("0"),
            ]
        return [*found[:2], *(found[number] for number in (2, 5, 3, 6, 4, 7))]

    _, *rows = table("### Beside the paper", "| | NLL − ")
    assert len(rows) == 7
    for row in rows:
        technique = row[0].split("`")[1]
        assert row[0].endswith(f"({len(ours[technique])}{' runs' * (technique == 'rnnlm')})")
        assert [cell.replace("−", "-") for cell in row[1:]] == cells(technique), technique


def test_the_table_of_the_search_is_that_of_its_record() -> None:
    head, *rows = table("### Rate against likelihood at preset `small`", "| trial |")
    known = {trial["number"]: trial for trial in trials("ptb-small", "small-sfb")}
    assert sorted(int(row[0].split(",")[0]) for row in rows) == sorted(known)
    for row in rows:
        metrics = known[int(row[0].split(",")[0])]["metrics"]
        for column, cell in zip(head[4:], row[4:], strict=True):
            digits = {**DIGITS, "PPL": 1}[column]
            assert cell.removesuffix(" ?") == f"{metrics[KEYS[column]]:.{digits}f}", (row[0], column)
    nlls = [float(row[head.index("NLL")].removesuffix(" ?")) for row in rows]
    assert nlls == sorted(nlls)


@pytest.mark.parametrize(
    ("row", "study"), list(enumerate(["small-rnnlm", "small-sfb-confirmed-10", "small-mdr-5"], start=1))
)
def test_the_table_of_the_winner_is_that_of_its_records(row: int, study: str) -> None:
    found = table("### Rate against likelihood at preset `small`", "| | runs |")
    head, cells = found[0], found[row]
    metrics = [trial["metrics"] for trial in trials("ptb-small", study)]
    assert cells[1] == str(len(metrics))
    for column, cell in zip(head[2:8], cells[2:8], strict=True):
        values = [run[KEYS[column]] for run in metrics]
        if column in ("AU", "gap") and values[0] is not None:
            assert cell == f"{fmean(values):.1f}", column
        else:
            assert cell == shown(values, column), column
    assert cells[8] == shown([run["test"]["nll"] for run in metrics], "NLL")
    assert cells[9] == shown([run["test"]["ppl"] for run in metrics], "PPL")


def test_every_record_can_be_imported_and_has_no_word_of_its_text(tmp_path: Path) -> None:
    files = sorted(DATA.glob("*/*.zip"))
    assert len(files) > 20
    with Database(f"sqlite:///{tmp_path}/t.db", create=True) as there:
        for file in files:
            record = bundle.opened(file)
            assert {re.sub(r"^trials/\d+/", "", name) for name in record.files} <= {bundle.RECORD, *bundle.FIGURES}, (
                file
            )
            assert bundle.unpack(there, record, tmp_path / "runs").name == file.stem
