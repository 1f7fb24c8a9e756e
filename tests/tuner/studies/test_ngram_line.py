"""The n-gram line beside a study's trials: made by the trainer's check, kept, and said wherever the study is shown."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_server import DESCRIBED, application
from fastapi.testclient import TestClient
from filled import confirmed, fill, metrics
from stub_study import make

from benchmarks.stub_study import CORPUS, defined
from trainers import runs
from trainers.corpus import load
from trainers.evaluation import subset
from trainers.ngram import NGrams
from trainers.options import CorpusOptions
from trainers.runs import Spec
from tuner import trainer
from tuner.analysis import layouts
from tuner.analysis import report as paper
from tuner.commands import render
from tuner.commands.progress import Progress
from tuner.metrics import number
from tuner.ngram import Line
from tuner.storage.database import Database
from tuner.studies import answers, bundle, creation
from tuner.studies.spec import Definition
from tuner.studies.study import Study

FIGURES = {"nll": 100.0, "ppl": 150.0, "sentences": 40, "of": 40}
KEPT: dict[str, Any] = {"order": 3, "counted": 10, "train": 10, "valid": FIGURES, "test": {**FIGURES, "nll": 90.0}}
SAID = "an n-gram model of the same text (order 3, interpolated Kneser–Ney) has NLL 100.00, PPL 150.00"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    return creation.go_on(database, "s", defined(2, described={**CORPUS, "ngram": KEPT}), tmp_path / "runs")


@pytest.mark.parametrize("sentences", [0, 30])
def test_a_check_answers_with_the_best_order_on_the_sentences_of_an_evaluation(sentences: int) -> None:
    values = {"corpus_size": 300, "nll_sentences": sentences}
    found: Any = runs.check(Spec("rnnlm", "grammar", "tiny", values), [])["ngram"]
    corpus = load("grammar", CorpusOptions(corpus_size=300))
    models = NGrams(corpus.splits["train"], len(corpus.vocabulary))
    for split in ("valid", "test"):
        judged = subset(corpus.splits[split], sentences)
        nll = models.nll(judged).mean(axis=1)
        assert found[split]["nll"] == pytest.approx(nll[found["order"] - 1])
        assert (found[split]["sentences"], found[split]["of"]) == (sentences or 1000, 1000)
        assert split == "test" or found[split]["nll"] == min(nll)
    assert (found["counted"], found["train"]) == (300, 300)


@pytest.mark.parametrize(
    ("nll", "said"),
    [
        (98.5, f"{SAID}; the best trial is 1.50 nats better"),
        (100.0, f"{SAID}; the best trial is less than 0.01 nats better"),
        (102.25, f"warning: {SAID}; the best trial is 2.25 nats worse: it has learnt less of the text than counting words tells"),
    ],
)  # fmt: skip
def test_a_summary_says_how_far_the_best_trial_is_from_it(
    study: Study, capsys: pytest.CaptureFixture[str], nll: float, said: str
) -> None:
    fill(study, metrics(nll), metrics(nll + 1))
    cost = {"seconds": {"training": 1.0}, "tokens_per_second": 1.0}
    best = replace(study.trials.get(0), cost=cost)
    study.best = lambda: best  # type: ignore[method-assign]
    render.summary(study)
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_nothing_is_compared_that_cannot_be() -> None:
    assert render.against_ngram(None, metrics(1.0), "nll") is None
    assert render.against_ngram(KEPT, None, "nll") == SAID
    assert render.against_ngram(KEPT, metrics(300.0), "melbo") == SAID
    others = {**metrics(1.0)["estimator"], "sentences": 39}
    assert render.against_ngram(KEPT, metrics(1.0, estimator=others), "nll") == SAID
    unsure = {**metrics(1.0)["estimator"], "resolved": False}
    assert "worse, if its estimate can be believed: it" in str(
        render.against_ngram(KEPT, metrics(101.0, estimator=unsure), "nll")
    )
    assert "Kneser–Ney, from 10 of 1,000 training" in str(render.against_ngram({**KEPT, "train": 1000}, None, "nll"))


PIECES = {**CORPUS, "divided_into": "sentencepiece:1000", "ngram": KEPT}


def test_of_a_text_in_pieces_it_is_said_what_the_perplexity_is_per(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"fixed": {"tokens": "sentencepiece:1000"}}
    study = creation.go_on(database, "s", defined(2, described=PIECES, **settings), tmp_path / "runs")
    assert study.facts.text == "grammar, 5 pieces, uncut, text f"
    plain = study.definition.stored()
    del plain["corpus"]["divided_into"]  # as an older program stored it
    assert Definition.of(plain, 2, study.definition.rules()).facts.text == study.facts.text
    fill(study, metrics(102.0), metrics(103.0))
    cost = {"seconds": {"training": 1.0}, "tokens_per_second": 1.0}
    best = replace(study.trials.get(0), cost=cost)
    study.best = lambda: best  # type: ignore[method-assign]
    render.summary(study)
    said = capsys.readouterr().out
    assert "seed 0, PPL per piece\n" in said
    assert f"PPL per piece {number(best.metrics['ppl'])}, with" in said.replace("\n", " ")  # type: ignore[index]
    assert "has NLL 100.00, PPL per piece 150.00" in said.replace("\n", " ")
    assert "than counting pieces tells" in said.replace("\n", " ")
    assert "PPL 1" not in said
    printed = layouts.table(paper.rows(database, [], "valid"))
    assert "nats per sentence; PPL per piece, end token included" in printed
    assert "PPL per piece 150.00 on 40 valid sentences of grammar, 5 pieces, uncut, text f" in printed
    assert Progress.of(study, 1).ppl == "PPL per piece"
    assert answers.whole(study)["token"] == "piece"


def test_a_study_of_an_older_program_has_none_and_is_gone_on_with(database: Database, tmp_path: Path) -> None:
    old = make(database, tmp_path)
    assert (old.facts.ngram, answers.whole(old)["ngram"]) == (None, None)
    again = creation.go_on(database, "s", defined(5, described={**CORPUS, "ngram": KEPT}), tmp_path / "runs")
    assert (again.spec.trials, again.facts.ngram) == (5, None)
    fill(old, metrics(100.0))
    (row,) = paper.rows(database, [], "valid")
    assert row.ngram is None
    assert "n-gram" not in layouts.table([row])


def test_a_table_says_under_it_which_rows_are_worse(study: Study, database: Database, tmp_path: Path) -> None:
    better = creation.go_on(database, "t", defined(1, described={**CORPUS, "ngram": KEPT}), tmp_path / "runs")
    fill(study, metrics(101.0, nll_tempered=100.5))
    fill(better, metrics(101.0, nll_tempered=99.5), r=7.0)  # by the better of its estimates
    found = paper.rows(database, [], "valid")
    on = f"{SAID} on 40 valid sentences of grammar, 5 words, uncut, text f: "
    for form in (layouts.table, layouts.markdown, layouts.latex):
        assert f"{on}worse than that: sfb (r 5)\n" in form(found)
        assert f"{on}no row of them is worse\n" in form(found[1:])
    (line, _) = csv.DictReader(io.StringIO(layouts.as_csv(found)))
    assert (line["ngram_order"], line["ngram_nll"], line["ngram_ppl"]) == ("3", "100.0", "150.0")
    assert json.loads(layouts.as_json(found))[0]["ngram"]["nll"] == 100.0
    elsewhere = replace(found[1], ngram=replace(Line(**found[1].plain()["ngram"]), nll=95.0), sentences="4 of others")
    assert "has NLL 95.00, PPL 150.00 on 4 of others: worse" in layouts.table([found[0], elsewhere])


def test_a_confirmation_is_held_against_the_test_sentences_own(
    study: Study, database: Database, tmp_path: Path
) -> None:
    fill(study, metrics(99.0))
    runs_ = confirmed(database, study, tmp_path)
    assert runs_.facts.ngram is None
    runs_.definition = replace(runs_.definition, facts=replace(runs_.facts, ngram=KEPT))
    fill(runs_, metrics(99.0, test=metrics(91.0, split="test")))
    row = paper._confirmed(runs_, "test")
    assert row is not None
    on = "on 40 test sentences of grammar, 5 words, uncut, text f"
    assert f"has NLL 90.00, PPL 150.00 {on}: worse than that: sfb" in layouts.table([row])


def test_the_api_has_it(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        new = {"technique": "sfb", "trials": 1, "sampler": "random"}
        assert client.post("/v1/studies", json={**new, "name": "old"}).json()["ngram"] is None
        monkeypatch.setattr(trainer, "check", lambda spec, corners: {**DESCRIBED, "ngram": KEPT})
        made = client.post("/v1/studies", json={**new, "name": "new"})
        assert made.status_code == 201
        assert made.json()["ngram"] == client.get("/v1/studies/new").json()["ngram"] == KEPT


def test_a_bundle_carries_it(study: Study, tmp_path: Path) -> None:
    bundle.pack(study, tmp_path / "s.zip", "none")
    other = Database(f"sqlite:///{tmp_path}/u.db", create=True)
    there = bundle.unpack(other, bundle.opened(tmp_path / "s.zip"), tmp_path / "elsewhere")
    assert there.facts.ngram == KEPT
    other.close()
