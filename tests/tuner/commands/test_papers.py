"""The papers' tables with one's own figures, and the studies that make them."""

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from stub_study import STUB, behave

from benchmarks.stub_study import CORPUS
from trainers import objectives
from trainers.contract import SAMPLES
from tuner import trainer
from tuner.analysis import sheets
from tuner.analysis.published import layout, systems, tables
from tuner.commands import papers
from tuner.commands.app import app
from tuner.errors import Fault, Usage
from tuner.space import load, objective, techniques
from tuner.storage.database import Database
from tuner.storage.tables import CorpusRow, TrialRow
from tuner.studies import queries
from tuner.studies.spec import StudySpec

Command = Callable[..., str]
MODELS = ("tiny", "small", "paper", "lstm-vae", "svae", "double-lstm")
EVERY = [(name, text) for name in tables() for text in systems.texts(tables()[name])]


@pytest.mark.parametrize(("name", "text"), EVERY)
def test_every_row_is_trained_by_a_study_or_absent_for_a_reason(name: str, text: str) -> None:
    part = systems.block(tables()[name], text)
    for model in MODELS:
        for system in systems.systems(part):
            asked = system.spec(model, 2, {"max_epochs": 3})
            spec = StudySpec.of({**asked, "corpus": "grammar"})
            own = spec.space or load(spec.technique)
            assert own.searched(spec.fixed) == (), "nothing is left to tune"
            assert own.checked(spec.fixed) == spec.fixed
            assert float(str(spec.fixed.get("anneal_epochs", 0))) <= 3, "a schedule ends within the plan"
    for row in part.rows:
        assert (systems.absence(row) is None) == any(each.row is row for each in systems.systems(part))


def test_tables_of_a_paper_share_the_studies_of_the_systems_that_they_share() -> None:
    for model in MODELS:
        found: dict[str, Mapping[str, Any]] = {}
        for name, text in EVERY:
            for system in systems.systems(systems.block(tables()[name], text)):
                spec = system.spec(model, 2, {})
                assert found.setdefault(system.called(model), spec) == spec, system.called(model)
    called = [each.called("tiny") for each in systems.systems(systems.block(tables()["li-1"]))]
    others = [each.called("tiny") for each in systems.systems(systems.block(tables()["li-10"]))]
    assert called[0] == "li-ae"
    assert [each for each in called if each not in others] == ["li-fb-dim-r7", "li-fb-dim-r3"]


def test_each_study_is_one_rows_and_no_others() -> None:
    for name, text in EVERY:
        every = systems.systems(systems.block(tables()[name], text))
        keys = systems.told_by(every)
        for system in every:
            values = {**system.settings, "max_epochs": 3}
            of = [e for e in every if systems.is_of(e, system.technique, values, keys[system.technique])]
            assert of == [system], (name, system.row.label)


def test_a_size_and_a_schedule_of_the_paper_are_kept_where_there_is_time_for_them() -> None:
    (system,) = [s for s in systems.systems(systems.block(tables()["lv-4"])) if s.row.label == "sVAE (1024) + kl"]
    assert system.spec("svae", 1, {})["fixed"].items() >= {"d_z": 1024, "gamma": 0.0001}.items()
    assert "gamma" not in system.spec("tiny", 1, {})["fixed"]
    (mim,) = [s for s in systems.systems(systems.block(tables()["lv-4"])) if s.row.label == "sMIM (1024)"]
    assert mim.spec("tiny", 1, {})["fixed"]["d_z"] == 1024  # which no search would try
    (ours,) = [s for s in systems.systems(systems.block(tables()["li-2"])) if s.row.label == "+ pretrain + anneal"]
    assert ours.spec("lstm-vae", 1, {})["fixed"]["anneal_epochs"] == 10
    assert ours.spec("lstm-vae", 1, {"max_epochs": 6})["fixed"]["anneal_epochs"] == 3


def test_miladinovics_systems_anneal_alike() -> None:
    """As all their models do (§5): else word dropout and its adversary would differ in β too."""
    for name in ("mi-1", "mi-4", "mi-5"):
        for epochs, expected in ((40, 10), (4, 2)):
            for system in systems.systems(systems.block(tables()[name])):
                found = system.spec("tiny", 1, {"max_epochs": epochs})
                made = objectives.create(
                    system.technique, {k: v for k, v in found["fixed"].items() if k in load(system.technique)}
                )
                made.plan(7, epochs)
                assert made.growth == 1 / (7 * expected), (name, system.row.label)


def test_options_are_all_rows_or_one_techniques() -> None:
    by = {each.row.label: each for each in systems.systems(systems.block(tables()["li-1"]))}
    asked = {"max_epochs": 3, "aggressive.inner": 10}
    assert by["+ aggressive"].spec("tiny", 1, asked)["fixed"]["inner"] == 10
    assert "inner" not in by["VAE"].spec("tiny", 1, asked)["fixed"]
    with pytest.raises(Usage, match="r = 5 is not allowed: rows of li-1 print their own; leave it out"):
        by["+ FBP (λ = 3)"].spec("tiny", 1, {"r": 5})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("li-9", None, "table 'li-9' is unknown: choose PAPER-NUMBER, e.g. li-10, of pa 1, 3, 4; li 1, 2, 3"),
        ("li-10", "yelp", "--text 'yelp' is none of li-10's: choose of ptb, snli"),
    ],
)
def test_what_no_table_has_is_said(name: str, text: str | None, said: str) -> None:
    with pytest.raises(Usage, match=said):
        systems.block(systems.named(name), text)


def test_techniques_whose_nll_means_nothing_are_judged_by_melbo_unless_asked_otherwise() -> None:
    assert [each for each in techniques() if objective(each) != "nll"] == ["ae", "mim"]
    for technique in ("ae", "mim"):
        spec = StudySpec.of({"technique": technique})
        assert spec.objective == "melbo"
        asked = StudySpec.of({"technique": technique, "objective": "nll"})
        for each in (spec, asked):
            assert StudySpec.of({"technique": technique, **each.changes()}) == each  # as a study file has it
    assert StudySpec.of({"technique": "sfb"}).objective == "nll"


@pytest.fixture
def tuner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command, and returns its output; no model is trained."""
    facts = {"stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []}

    def check(spec: dict[str, Any], corners: object) -> dict[str, Any]:
        if "pretrain" in spec["values"]:
            raise Usage("'pretrain' is no option.")
        return {**CORPUS, **facts, "latent": spec["technique"] != "rnnlm"}

    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", check)
    monkeypatch.delenv("STUB", raising=False)
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setenv("TUNER_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> str:
        app([*arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_a_table_is_made_from_nothing_and_laid_out_in_its_rows_and_columns(tuner: Command, tmp_path: Path) -> None:
    made = json.loads(tuner("paper", "li-2", "--seeds", "2", "--format", "json"))
    assert (made["table"], made["split"]) == ("li-2", "test")
    assert list(made["columns"].values()) == ["ppl", "distortion", "active_units", "rate", "neg_elbo"]
    assert [(row["label"], row["study"], row["runs"]) for row in made["rows"]] == [
        ("AE", "li-ae-grammar-tiny", "2"),
        ("VAE", "li-vanilla-grammar-tiny", "2"),
    ]
    assert made["rows"][1]["cells"]["Recon"] == {"mean": 1.0, "sd": 0.0}
    assert made["absent"] == {
        "+ pretrain": "'pretrain' is no option.",
        "+ pretrain + anneal": "'pretrain' is no option.",
    }
    database = Database(f"sqlite:///{tmp_path}/t.db")
    studies = {study.name: study for study in queries.all_studies(database)}
    assert studies["li-ae-grammar-tiny"].spec.objective == "melbo"
    assert all(study.spec.fixed["test"] and study.spec.fixed["codes"] for study in studies.values())
    database.close()
    files = sorted(file.name for file in (tmp_path / "runs" / "papers").iterdir())
    assert files == ["li-ae-grammar-tiny.toml", "li-vanilla-grammar-tiny.toml"]


def test_a_table_that_was_cut_short_goes_on_and_its_budget_is_said_first(
    tuner: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner("paper", "kr-3", "--row", "LSTM-VAE-AVG", "--workers", "0")
    tuner("paper", "kr-3", "--row", "L = 5", "--format", "csv")
    monkeypatch.setattr(trainer, "check", lambda spec, corners: pytest.fail("what is made is not checked again"))
    app(["paper", "kr-3", "--row", "LSTM-VAE-AVG", "--seeds", "2", "--format", "csv"], standalone_mode=False)
    found = capsys.readouterr()
    first, *_ = found.err.splitlines()
    assert first.startswith("kr-3 on grammar, tiny: 2 studies, 4 runs of at most 12 epochs")
    assert "kr-3: 1 of 4 runs done; about" in found.err
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert [(row["row"], row["runs"]) for row in rows] == [
        ("This work / LSTM-VAE-AVG (L = 5)", "2"),
        ("This work / LSTM-VAE-AVG (L = 10)", "2"),
    ]


def test_a_study_of_another_database_is_none_that_was_checked_before(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ("paper", "kr-3", "--row", "L = 5", "--workers", "0", "--database")
    mine, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("mine", "other"))
    for database in (mine, other):
        tuner(*row, database)
    check, checked = trainer.check, list[str]()

    def look(spec: Any, corners: Any) -> Any:
        checked.append(spec["technique"])
        return check(spec, corners)

    monkeypatch.setattr(trainer, "check", look)
    tuner(*row, other)
    assert checked == []
    tuner(*row, mine)
    assert len(checked) == 1


def test_what_does_not_go_with_a_table_is_said(tuner: Command) -> None:
    for arguments, said in (
        (("paper", "li-2", "--set", "agressive.inner=10"), "names no technique of li-2: it has ae, annealing, vanilla"),
        (("paper", "li-2", "--row", "nothing"), "--row nothing is in no label of li-2: its rows are AE, VAE, "),
        (("paper", "li-2", "--model", "huge"), "model"),
        (("report", "--table", "li-2", "--against", "mine"), "--against mine is for the studies' own table"),
        (("report", "--text", "snli"), "--text snli is of a paper's table: name one with --table"),
        (
            ("report", "--table", "mi-2", "--rank", "nll"),
            "--rank is of figures, and mi-2 is a table of sentences: leave",
        ),
        (("paper", "li-7", "--published"), "--published is of figures, and li-7 is a table of sentences"),
        (("report", "--table", "li-2", "--columns", "nll,odd"), "--columns 'odd' is unknown: choose of nll"),
    ):
        with pytest.raises(Usage, match=said):
            tuner(*arguments)


def test_a_row_that_breaks_keeps_no_other_from_its_turn(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, all="crash")
    with pytest.raises(Fault, match="li-ae-grammar-tiny has stopped itself: .*li-vanilla-grammar-tiny has"):
        tuner("paper", "li-2", "--seeds", "4")


def test_a_row_whose_runs_all_failed_is_not_called_untrained(
    tuner: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    behave(monkeypatch, all="nan")
    with pytest.raises(Fault, match="study li-vanilla-grammar-tiny has no result: none of its trials is complete"):
        tuner("paper", "li-2", "--format", "json")
    made = json.loads(capsys.readouterr().out)
    assert made["rows"] == []
    assert made["absent"]["VAE"] == "no run of it is complete"


def test_a_study_without_a_result_is_a_failure_of_its_command(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, all="nan")
    for command in (["launch", "-t", "sfb", "-n", "2", "--study", "s"], ["resume", "s"]):
        with pytest.raises(Fault, match="study s has no result: none of its trials is complete; `tuner trials s` says"):
            tuner(*command)
    behave(monkeypatch, t0="nan")
    tuner("launch", "-t", "sfb", "-n", "2", "--study", "half")


def test_any_study_is_laid_out_where_it_belongs(tuner: Command) -> None:
    tuner("launch", "-t", "fb", "--set", "r=3", "-n", "2", "--set", "test=true", "--study", "mine")
    found = json.loads(tuner("report", "--table", "li-1", "--published", "--format", "json"))
    ours = [row for row in found["rows"] if row["study"]]
    assert [(row["label"], row["study"]) for row in ours] == [("+ FBP (λ = 3)", "mine")]
    printed = {row["label"]: row["cells"] for row in found["rows"] if row["runs"] == "paper"}
    assert printed["+ FBP (λ = 3)"]["PPL"] == {"mean": 99.62, "sd": None}
    assert found["absent"]["+ FBP (λ = 7)"] == "not trained"
    assert "mine" not in tuner("report", "--table", "li-1", "--format", "csv", "--model", "small")
    chosen = json.loads(tuner("report", "--table", "li-1", "--format", "json", "--columns", "melbo,bleu"))
    assert chosen["columns"] == {"MELBO": "melbo", "BLEU": "bleu"}
    for form in ("table", "markdown", "latex"):
        assert "absent: AE: not trained" in tuner("report", "--table", "li-1", "--format", form)


def test_what_was_set_by_hand_is_alike_in_all_that_a_row_prints(tuner: Command) -> None:
    tuner("launch", "-t", "fb", "--set", "r=5", "-n", "1", "--set", "test=true", "--study", "mine")
    tuner("paper", "pa-3", "--row", "FB")
    tuner("paper", "pa-3", "--row", "Vanilla")
    found = json.loads(tuner("report", "--table", "li-6", "--format", "json"))
    assert found["rows"] == []  # λ is 7 there, and the others were made for another paper
    tuner("launch", "-t", "fb", "-n", "1", "--set", "test=true", "--study", "tuned")
    found = json.loads(tuner("report", "--table", "li-6", "--format", "json", "--split", "valid"))
    assert [(row["label"], row["study"]) for row in found["rows"]] == [("+ FBP (λ = 7)", "tuned")]


def test_runs_without_words_stand_in_the_columns_of_their_own(tuner: Command) -> None:
    made = json.loads(tuner("paper", "kr-2", "--row", "This work / LSTM-VAE (L = 5)", "--format", "json"))
    (row,) = made["rows"]
    assert row["cells"]["Inputless / KL"] == {"mean": 0.05, "sd": None}
    lone = json.loads(tuner("report", "--table", "kr-2", "kr-multi-sample-samples5-grammar-tiny", "--format", "json"))
    assert lone["rows"][0]["cells"]["Standard / KL"] is not None
    assert lone["rows"][0]["cells"]["Inputless / KL"] is None


def test_figures_are_in_the_papers_units() -> None:
    part = systems.block(tables()["li-8"])
    cells = layout._laid(part.rows[0], {"": _row(probe_100=(0.784, 0.01))}, part.columns).cells
    assert cells["100"] == pytest.approx((78.4, 1.0))
    part = systems.block(tables()["lv-2"])
    cells = layout._laid(part.rows[0], {"": _row(bleu_1=(12.4, None), parameters=(1.1e7, None))}, part.columns).cells
    assert cells["BLEU"] == pytest.approx((0.124, None))
    assert cells["|θ|"] == pytest.approx((11.0, None))


def _row(**figures: Any) -> Any:
    from tuner.analysis.report import Row

    return Row("s", "ae", {}, 1, figures, "S = 1", True)


def test_rows_are_ranked_by_a_figure_and_those_for_which_it_means_nothing_come_last(tuner: Command) -> None:
    tuner("paper", "li-2")
    by_ppl = json.loads(tuner("report", "--table", "li-2", "--rank", "ppl", "--format", "json"))
    assert [row["label"] for row in by_ppl["rows"]] == ["VAE", "AE"]
    by_melbo = json.loads(tuner("report", "--table", "li-2", "--rank", "distortion", "--format", "json"))
    assert [row["label"] for row in by_melbo["rows"]] == ["AE", "VAE"]
    with pytest.raises(Usage, match="--rank 'nothing' is unknown: choose of nll, "):
        tuner("report", "--rank", "nothing")


def test_a_table_of_sentences_shows_what_ones_own_models_wrote(tuner: Command, tmp_path: Path) -> None:
    for name, technique, said, kept in (
        (
            "li-7",
            "pretrained-fb",
            ["a man", "a dog"],
            {"homotopy": [{"weight": 0, "text": "a man"}, {"weight": 1, "text": "a dog"}]},
        ),
        (
            "mi-2",
            "adversarial-word-dropout",
            ["the [man] runs"],
            {"dropped": [[{"word": w, "probability": p} for w, p in (("the", 0.1), ("man", 0.8), ("runs", 0.2))]]},
        ),
    ):
        text = tuner("paper", name)
        assert "not trained" in text  # the stub writes nothing
        database = Database(f"sqlite:///{tmp_path}/t.db")
        (study,) = [s for s in queries.all_studies(database) if s.spec.technique == technique]
        folder = tmp_path / name
        folder.mkdir()
        (folder / SAMPLES).write_text(json.dumps(kept))
        study.files.store.publish(folder, "0000/new", [SAMPLES])
        mine = (TrialRow.study == study.name, TrialRow.number == 0)
        database.run(
            lambda session, mine=mine: session.execute(update(TrialRow).where(*mine).values(artifacts="0000/new"))
        )
        database.close()
        for form in ("table", "markdown", "latex", "csv", "json"):
            text = tuner("report", "--table", name, "--format", form)
            wanted = [line.replace("[", "{[}") if form == "latex" else line for line in said]
            assert all(line in text for line in wanted), form
            assert study.name in text or form == "latex"


def test_latex_has_no_letter_that_it_cannot_set() -> None:
    for name, text in EVERY:
        part = systems.block(tables()[name], text)
        rows = tuple(layout._printed(part, row, part.columns) for row in part.rows)
        found = sheets.latex(layout.sheet(layout.Layout(part, "test", part.columns, rows, {})))
        body = "\n".join(line for line in found.splitlines() if not line.startswith("%"))
        assert body.isascii(), name


def test_a_registered_corpus_has_the_name_of_its_folder_in_tables(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    url = f"sqlite:///{tmp_path}/t.db"
    row = CorpusRow(name="mine", folder=str(folder), options={}, created_at=0.0)
    with Database(url, create=True) as database:
        database.run(lambda session: session.add(row))
    assert [papers._text_name(url, each) for each in ("mine", str(folder), "ptb")] == ["reviews", "reviews", "ptb"]
