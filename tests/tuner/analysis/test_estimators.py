"""Figures of different estimators are shown together only with a word that says so, and never ranked together."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import fill, metrics
from stub_study import gain_of, make

from benchmarks.stub_study import CORPUS, defined
from trainers import runs
from trainers.contract import PRESETS
from trainers.runs import Spec
from tuner import estimators
from tuner import metrics as known
from tuner.analysis import layouts, ties
from tuner.analysis import report as paper
from tuner.analysis.pareto import Columns, compare
from tuner.commands.app import app
from tuner.estimators import cutting
from tuner.storage.database import Database
from tuner.studies import creation
from tuner.studies import study as studies
from tuner.studies.spec import Definition

Q = {"proposal": "q", "samples": 1000, "sentences": 40, "of": 40, "seed": 0, "split": "valid"}
TEMPERED = {**Q, "proposal": "tempered q", "samples": 16, "seed": 9, "temper": 0.15, "levels": {"16": 40}}
TEXT = "grammar, 5 words, uncut, text f"
BY_Q = f"S = 1000 from q, 40 valid sentences of {TEXT}"
BY_TEMPERED = f"tempered, 16 draws or more, 40 valid sentences of {TEXT}"
NOTE = (
    "these figures are by different estimators, or of different texts, and are not to be ranked together "
    f"({BY_Q}: a, c; {BY_TEMPERED}: b)"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Studies a and c by samples from q, b by a tempered estimate that makes its figures the better ones."""
    opened = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    for name, facts, nll in (("a", Q, 90.0), ("b", TEMPERED, 80.0), ("c", {**Q, "seed": 5}, 100.0)):
        fill(
            make(opened, tmp_path, 2, name),
            *(metrics(nll + n, 5.0 - n, estimator=facts, rate_error=0.0) for n in (0, 1)),
        )
    yield opened
    opened.close()


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


def test_there_is_no_front_over_different_estimators(client: TestClient) -> None:
    mixed = client.get("/v1/pareto?study=a&study=b&study=c").json()
    assert (mixed["front"], mixed["note"]) == ([], NOTE)
    assert [own["estimators"] for own in mixed["studies"]] == [
        [BY_Q],
        [BY_TEMPERED],
        [BY_Q],
    ]
    assert [own["front"] for own in mixed["studies"]] == [[0], [0], [0]]
    alike = client.get("/v1/pareto?study=a&study=c").json()  # other seeds are no other estimator
    assert (alike["front"], alike["note"]) == ([[0, 0]], None)
    unestimated = client.get("/v1/pareto?study=a&study=b&study=c&x=rate&y=distortion").json()
    assert (unestimated["front"], unestimated["note"]) == ([[1, 0]], None)


def test_there_is_no_front_over_different_texts(client: TestClient, database: Database, tmp_path: Path) -> None:
    other = creation.go_on(database, "other", defined(1, described={**CORPUS, "vocabulary": 6}), tmp_path / "runs")
    fill(other, metrics(50.0, 9.0, estimator=Q))
    counted = "40 valid sentences of "
    for axes, made in (("", f"S = 1000 from q, {counted}"), ("&x=rate&y=distortion", counted)):
        both = client.get(f"/v1/pareto?study=a&study=other{axes}").json()
        assert both["front"] == []
        assert f"({made}{TEXT}: a; {made}grammar, 6 words, uncut, text f: other)" in both["note"]


def test_figures_of_batches_by_length_share_neither_letter_nor_front_with_others(
    client: TestClient, database: Database, tmp_path: Path
) -> None:
    other = creation.go_on(database, "other", defined(1, described={**CORPUS, "batching": "length"}), tmp_path / "runs")
    fill(other, metrics(50.0, 9.0, estimator=Q))
    both = client.get("/v1/pareto?study=a&study=other").json()
    assert both["front"] == []
    assert f"{TEXT}: a;" in both["note"]
    assert f"{TEXT}, batches by length: other" in both["note"]
    made = [row.estimator for row in paper.rows(database, ["a", "other"], "valid")]
    assert len(set(made)) == 2


@pytest.mark.parametrize(
    ("changes", "fixed", "said"),
    [
        ({"truncation": 3.0}, {"truncation": 3.0}, "grammar, 5 words, cut at mean + 3 sd, text f"),
        ({"fingerprint": "0123456789abcdef"}, {}, "grammar, 5 words, uncut, text 01234567"),
    ],
    ids=["cutting", "fingerprint"],
)
def test_one_text_cut_and_not_cut_or_split_otherwise_shares_neither_letter_nor_front(
    client: TestClient, database: Database, tmp_path: Path, changes: dict[str, Any], fixed: dict[str, Any], said: str
) -> None:
    other = creation.go_on(
        database, "other", defined(1, fixed=fixed, described={**CORPUS, **changes}), tmp_path / "runs"
    )
    fill(other, metrics(50.0, 9.0, estimator=Q))
    for axes in ("", "&x=rate&y=distortion"):
        both = client.get(f"/v1/pareto?study=a&study=other{axes}").json()
        assert both["front"] == []
        assert f"{TEXT}: a; " in both["note"]
        assert f"{said}: other)" in both["note"]
    found = paper.rows(database, ["a", "other"], "valid")
    assert [row.estimator.partition(" of ")[2] for row in found] == [TEXT, said]
    assert "a: S = 1000" in layouts.table(found)
    assert "b: S = 1000" in layouts.table(found)


def test_draws_that_a_tempered_estimate_adds_make_no_other_estimator(database: Database, tmp_path: Path) -> None:
    """A model of a high rate gets a level more by the estimate's own rule, in one study as in several."""

    def made(most: int, samples: int = 16) -> dict[str, Any]:
        return {**TEMPERED, "samples": samples, "levels": {str(samples): 40, "1024": 12, str(most): 12}}

    def both(most: int, samples: int) -> dict[str, Any]:
        return metrics(90.0, 2.0, estimator={**Q, "samples": samples, "tempered": made(most)}, nll_tempered=89.0)

    one = make(database, tmp_path, 3, "one")
    fill(one, *(metrics(90.0 + n, 2.0 + n, estimator=made(most)) for n, most in enumerate((1024, 4096, 1024))))
    fill(make(database, tmp_path, 1, "more"), metrics(95.0, 9.0, estimator=made(4096)))
    fill(make(database, tmp_path, 1, "other"), metrics(70.0, 9.0, estimator=made(1024, samples=32)))
    fill(make(database, tmp_path, 1, "few-both"), both(1024, 100))
    fill(make(database, tmp_path, 1, "many-both"), both(4096, 1000))

    def compared(y: str, *names: str) -> dict[str, Any]:
        return compare([Columns(studies.open_study(database, name)).follow() for name in names], "rate", y, "valid")

    found = compared("nll", "one", "more")
    assert [own["estimators"] for own in found["studies"]] == [[BY_TEMPERED], [BY_TEMPERED]]
    assert found["studies"][0]["made"] == [0, 0, 0]
    assert found["studies"][0]["front"] == [0, 1, 2]  # one front, of all three
    assert (found["front"], found["note"]) == ([[0, 0], [0, 1], [0, 2], [1, 0]], None)
    assert compared("nll_tempered", "few-both", "many-both")["note"] is None  # S is of the estimate from q alone
    assert "S = 100 from q" in compared("nll", "few-both", "many-both")["note"]
    assert "tempered, 32 draws or more" in compared("nll", "one", "other")["note"]
    report = [(row.estimator, row.beside) for row in paper.rows(database, ["few-both", "many-both"], "valid")]
    assert report[0][0] != report[1][0]
    assert report[0][1] == report[1][1] == BY_TEMPERED


@pytest.mark.parametrize(
    ("corpus", "model", "fixed", "truncation"),
    [
        ("grammar", "tiny", {"truncation": 2.0}, 0.0),
        ("ptb", "tiny", {}, 3.0),
        ("ptb", "lstm-vae", {}, 0.0),
        ("ptb", "lstm-vae", {"truncation": 2}, 2.0),
        ("ptb", "paper", {"truncation": 0}, 0.0),
    ],
)
def test_a_study_of_an_older_program_says_how_its_sentences_were_cut(
    corpus: str, model: str, fixed: dict[str, Any], truncation: float
) -> None:
    made = defined(1, model=model, fixed=fixed, described={**CORPUS, "name": corpus})
    old = Definition.of({**made.stored(), "truncation": None}, 1, {})
    assert old.facts.truncation == truncation
    assert cutting(truncation) in old.facts.text


@pytest.mark.parametrize("corpus", ["grammar", "folder"])
def test_the_trainer_says_how_sentences_are_cut_as_older_studies_are_read(tmp_path: Path, corpus: str) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a b\n" * 4)
    place = corpus if corpus == "grammar" else str(tmp_path)
    for model in PRESETS:
        found: Any = runs.check(Spec("vanilla", place, model, {"corpus_size": 4}), [])
        stored = defined(1, model=model, described={**CORPUS, "name": place}).stored()
        assert found["truncation"] == Definition.of({**stored, "truncation": None}, 1, {}).facts.truncation


def test_published_rows_say_whether_their_sentences_are_cut(database: Database) -> None:
    ours = paper.rows(database, ["a"], "valid")
    theirs = paper.published(["fb", "pretrained-fb"], "valid") + paper.published(["fb", "pretrained-fb"], "test")
    said = layouts.table([*ours, *theirs])
    assert "Li et al. 2019, table 10; Penn Treebank of Mikolov, 10k types, uncut; NLL: 1,000" in said
    assert "25,643 types, cut at mean + 3 sd; mean of 5 runs" in said
    differs = "its sentences are cut at mean + 3 sd, ours uncut: a figure of cut sentences is another, and lower"
    assert f"Pelsmaeker & Aziz 2019, table 3: {differs}\n" in said
    assert "Li et al. 2019, table 10: its" not in said
    assert differs not in layouts.table(ours)


def test_the_best_trial_is_not_compared_with_the_published_values_by_another_estimator(
    database: Database, tmp_path: Path
) -> None:
    study = make(database, tmp_path, 2, "first")
    study.definition = replace(study.definition, spec=replace(study.spec, first_default=True))
    fill(study, metrics(90.0, estimator=Q), metrics(80.0, estimator=TEMPERED))
    gained = "by another estimator than the best's: the two are not to be compared"
    assert gain_of(study) == f"trial 0 has the sampler values: NLL 90.00, {gained}"


def test_rates_and_summaries_name_what_made_them(client: TestClient) -> None:
    assert client.get("/v1/rates?study=a&study=b&study=c").json()["note"] == NOTE
    assert client.get("/v1/rates?study=a&study=c").json()["note"] is None
    summaries = {one["name"]: one["estimator"] for one in client.get("/v1/studies").json()["items"]}
    assert summaries["b"] == BY_TEMPERED


@pytest.mark.parametrize("command", ["pareto", "rates", "report"])
def test_commands_say_so(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    def said(*arguments: str) -> str:
        app([command, *arguments, "--database", database.secret_url], standalone_mode=False)
        shown = capsys.readouterr()
        return shown.err + shown.out

    assert "not to be ranked together" in said()
    assert "not to be ranked together" not in said("a", "c")
    if command == "report":
        return
    drawn = tmp_path / "drawn.svg"
    assert NOTE in said("--out", str(drawn))
    assert "tempered" in drawn.read_text()
    said("--out", str(tmp_path / "points.json"))
    assert json.loads((tmp_path / "points.json").read_text())["note"] == NOTE


def test_the_table_of_mixed_fronts_has_each_studys_own(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    app(["pareto", "--database", database.secret_url], standalone_mode=False)
    table = capsys.readouterr().out
    assert [name for name in ("a/0", "b/0", "c/0", "a/1") if name in table] == ["a/0", "b/0", "c/0"]


def test_whatever_samples_or_sentences_decide_is_an_estimate() -> None:
    chosen = {key for key, metric in known.AXES.items() if metric.estimated}
    assert chosen == {
        "value",
        "nll",
        "nll_se",
        "nll_tempered",
        "nll_once",
        "ppl",
        "ppl_tempered",
        "ppl_no_end",
        "bits_per_char",
        "bits_per_byte",
        "melbo",
        "ppl_melbo",
    }


def test_an_estimate_without_words_is_another_estimator() -> None:
    read, unread = metrics(90.0), metrics(90.0)
    unread["estimator"] = {**unread["estimator"], "inputs": "none"}
    assert estimators.estimator_of(unread, "t") == estimators.estimator_of(read, "t") + ", no word read"


def test_a_trial_that_is_lower_by_more_than_the_errors_is_not_told_as_good(database: Database, tmp_path: Path) -> None:
    """The winner need not be the lowest: it reaches the least rate, or has the lowest mean."""
    study = make(database, tmp_path, 3, "floor", min_rate=4.0)
    study.definition = replace(study.definition, spec=replace(study.spec, first_default=True))
    sure = {**TEMPERED, "error": 0.02, "bias": 0.01}
    fill(study, *(metrics(nll, rate=rate, estimator=sure) for nll, rate in ((80.0, 1.0), (90.0, 5.0), (90.01, 6.0))))
    first, best, near = study.trials.all()
    assert ties.tied(best, [first, near]) == [near.number]
    assert (gain_of(study) or "").endswith("; the best is 10.00 higher, as trial 0 does not reach R ≥ 4")
