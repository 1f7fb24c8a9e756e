"""From a finished study to the paper's table: who is confirmed, with which seeds, and what the rows say."""

import csv
import io
import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import scipy.stats
from filled import confirmed, fill, metrics
from sqlalchemy import update
from stub_study import make

from benchmarks.stub_study import CORPUS
from trainers.contract import SENTENCES
from tuner import samplers, trainer
from tuner.analysis import layouts, report
from tuner.analysis.pareto import Columns, compare
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import confirmation, creation, launch, strikes
from tuner.studies import study as studies
from tuner.studies.amendment import amend
from tuner.studies.spec import Definition
from tuner.studies.study import Study


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/t.db", create=True)


def test_the_best_trial_is_trained_anew_with_other_seeds_and_judged_as_in_the_papers(
    database: Database, tmp_path: Path
) -> None:
    study = make(database, tmp_path, 3, fixed={"gamma": 1.05, "nll_samples": 10})
    fill(study, metrics(101.0), metrics(99.5), None)
    (best,) = confirmation.chosen(study, None, front=False)
    made = confirmation.spec(study, best, 5, {"rows": 64})
    assert (best.number, confirmation.name_of(study, best), made.trials) == (1, "s-confirmed-1", 5)
    assert made.fixed == {
        "gamma": 1.05,
        "r": 6.0,
        "nll": "both",
        "nll_samples": 1000,
        "nll_sentences": 0,
        "certify": 100,
        "codes": True,
        "test": True,
        "rows": 64,
    }
    assert made.confirms == {"study": "s", "trial": 1, "params": {"r": 6.0}}
    seeds = {samplers.derive(made.seed, number, "train") for number in range(5)}
    assert len(seeds | {samplers.derive(0, number, "train") for number in range(3)}) == 8
    assert [t.number for t in confirmation.chosen(study, 0, front=False)] == [0]


def test_a_confirmation_has_rules_of_its_own(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []}
    monkeypatch.setattr(trainer, "check", lambda spec, corners: described)
    study = make(database, tmp_path, 1, timeout=60.0, max_failures=5)
    fill(study, metrics(101.0))
    found = []
    for rules in ({"timeout": 900.0, "max_failures": 7}, {"note": "as it is"}):
        wanted = confirmation.spec(study, confirmation.chosen(study, None, front=False)[0], 2, {})
        definition = launch.prepare("s-confirmed-0", wanted, lambda: database, here=True)
        made = creation.go_on(database, "s-confirmed-0", definition, tmp_path / "runs")
        found.append((made.spec.timeout, made.spec.max_failures))
        amend(made, rules)
    assert found == [(None, 5), (900.0, 7)]


def test_the_same_confirmation_goes_on_and_a_search_cannot_take_its_place(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []}
    monkeypatch.setattr(trainer, "check", lambda spec, corners: described)
    study = make(database, tmp_path, 1)
    fill(study, metrics(101.0))
    for runs in (2, 4):
        wanted = confirmation.spec(study, confirmation.chosen(study, None, front=False)[0], runs, {})
        definition = launch.prepare("s-confirmed-0", wanted, lambda: database, here=True)
        again = creation.go_on(database, "s-confirmed-0", definition, tmp_path / "runs")
        assert again.spec.trials == runs
    other = confirmation.spec(study, confirmation.chosen(study, None, front=False)[0], 2, {"nll_samples": 100})
    definition = launch.prepare("s-confirmed-0", other, lambda: database, here=True)
    refused = r"another fixed \(nll_samples = 1000, not 100\): delete it first, or go on with it as it is"
    with pytest.raises(Usage, match=refused):
        creation.go_on(database, "s-confirmed-0", definition, tmp_path / "runs")
    with pytest.raises(Usage, match="exists with another"):
        make(
            database,
            tmp_path,
            3,
            name="s-confirmed-0",
            fixed=again.spec.fixed,
            seed=again.spec.seed,
        )


def test_what_cannot_be_confirmed_is_said(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2)
    with pytest.raises(Usage, match="study 's' has no complete trial to confirm yet"):
        confirmation.chosen(study, None, front=False)
    fill(study, metrics(101.0), None)
    with pytest.raises(Usage, match="--trial 1 is no complete trial of study 's'"):
        confirmation.chosen(study, 1, front=False)
    with pytest.raises(Usage, match="--front is for studies of two objectives, and study 's' minimises nll"):
        confirmation.chosen(study, None, front=True)
    with pytest.raises(Usage, match="study 's-confirmed-0' confirms another one: name 's'"):
        confirmation.chosen(confirmed(database, study, tmp_path), None, front=False)


def test_all_of_a_front_is_confirmed(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 4, objective="nll,rate")
    fill(study, metrics(100.0, 2.0), metrics(101.0, 1.0), metrics(102.0, 9.0), None)
    assert [t.number for t in confirmation.chosen(study, None, front=True)] == [0, 2]


def test_rows_are_means_and_deviations_over_the_runs_of_each_split(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2)
    fill(study, metrics(101.0), metrics(99.0))
    (row,) = report.rows(database, [], "valid")
    assert (row.study, row.runs, row.confirmed, row.figures["nll"]) == ("s", 1, False, (99.0, None))
    with pytest.raises(Usage, match="there are no test figures of any study"):
        report.rows(database, [], "test")
    nlls = [100.0, 100.5, 102.0]
    runs = confirmed(database, study, tmp_path)
    fill(runs, *(metrics(nll, test=metrics(nll + 1, split="test")) for nll in nlls))
    for split, shift in (("valid", 0), ("test", 1)):
        for names in ([], ["s"], ["s-confirmed-1"]):
            (row,) = report.rows(database, names, split)
            assert (row.study, row.settings, row.runs, row.confirmed) == ("s-confirmed-1", {"r": 6.0}, 3, True)
            assert row.figures["nll"] == pytest.approx((mean(nlls) + shift, stdev(nlls)))
            assert row.figures["acc_gap"] is None
            assert row.estimator == f"S = 1000 from q, 40 {split} sentences of grammar, 5 words, uncut, text f"


def row(study: str = "s", estimator: str = "S = 1000 from q", runs: int = 3, confirmed: bool = True) -> report.Row:
    figures: dict[str, Any] = {key: (100.0 + place, 0.25 * place) for place, key in enumerate(report.COLUMNS)}
    return report.Row(study, "fb", {"r": 5.0}, runs, {**figures, "acc_gap": None}, estimator, confirmed)


def test_tables_say_what_may_not_be_compared() -> None:
    alike, mixed = (
        layouts.table([row(), row()]),
        layouts.table([row(), row(estimator="tempered"), row(runs=1, confirmed=False)]),
    )
    assert "not to be ranked" not in alike
    assert "figures under different letters are not to be ranked together" in mixed
    assert "search: the search's best trial" in mixed
    assert "fb (r 5)     3  100.00 ± 0.00  101.00 ± 0.25" in alike


def test_latex_is_whole_and_escapes_names() -> None:
    text = layouts.latex([report.Row("s", "a_b & c%", {}, 2, row().figures, "x", True)])
    assert text.count(r"\\") == 2
    assert r"a\_b \& c\% & 2 & 100.00 $\pm$ 0.00" in text
    assert text.count("&") - text.count(r"\&") == 2 * 8  # ends of columns: no row has a gap
    assert text.rstrip().endswith(r"\end{tabular}")


def test_csv_and_json_hold_the_same_figures() -> None:
    (line,) = csv.DictReader(io.StringIO(layouts.as_csv([row()])))
    (entry,) = json.loads(layouts.as_json([row()]))
    for key in report.COLUMNS:
        figure = entry["figures"][key]
        assert (line[key], line[f"{key}_sd"]) == (
            ("", "") if figure is None else (str(figure["mean"]), str(figure["sd"]))
        )


def test_published_figures_name_their_paper_and_its_text() -> None:
    found = report.published(["fb", "mdr"], "valid")
    assert [(r.technique, r.runs, r.figures["nll"]) for r in found] == [
        ("fb", 0, (117.5, 0.18)),
        ("mdr", 0, (117.5, 0.11)),
    ]
    assert all("table 3" in r.estimator and "25,643 types" in r.estimator for r in found)
    assert {r.settings["r"] for r in report.published(["pretrained-fb"], "test")} == set(range(2, 10))


def test_a_confirmations_front_is_of_the_split_asked_for(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, metrics(101.0), metrics(100.0, test=metrics(103.0, 7.0, split="test")))
    valid, test = (
        compare([Columns(study).follow()], "rate", "nll", split)["studies"][0] for split in ("valid", "test")
    )
    assert (valid["number"], valid["y"]) == ([0, 1], [101.0, 100.0])
    assert (test["number"], test["x"], test["y"], test["front"]) == ([1], [7.0], [103.0], [0])


def keep(study: Study, folder: Path, fingerprint: str, shift: float, **facts: Any) -> None:
    """Gives every trial figures of 50 sentences of its own, the configuration's mean `shift` above 1 … 50."""
    sentences = [float(place) for place in range(1, 51)]
    for trial in study.trials.all():
        noise = 0.1 * (trial.number - 1)  # whose mean over three runs is 0
        nll = [value + shift + noise + 0.5 * (-1) ** place for place, value in enumerate(sentences)]
        estimator = {**(trial.metrics or {})["estimator"], "seed": trial.number, **facts}
        stated = {**estimator, "proposal": "tempered q", "samples": 16, "temper": 0.5, "bias": 0.01}
        lower = [value - 0.5 * shift for value in nll]
        estimates = [
            {"estimator": estimator, "nll": nll},
            {"estimator": stated, "nll": lower, "corrections": {"64": [0.0, 0.0]}, "order": [3, 1]},
        ]
        kept = {"fingerprint": fingerprint, "tokens": [10] * 50, "estimates": estimates}
        folder.mkdir(exist_ok=True)
        (folder / SENTENCES).unlink(missing_ok=True)  # a published file is a link
        (folder / SENTENCES).write_text(json.dumps({"valid": kept, "test": {**kept, "fingerprint": "t"}}))
        generation = f"{trial.number:04d}/{fingerprint}"
        study.files.store.publish(folder, generation, [SENTENCES])
        where = (TrialRow.study == study.name, TrialRow.number == trial.number)
        study.database.run(lambda s: s.execute(update(TrialRow).where(*where).values(artifacts=generation)))  # noqa: B023


def test_two_confirmed_studies_differences_are_tested(database: Database, tmp_path: Path) -> None:
    for name, nll, shift in (("s", 100.0, 0.0), ("t", 101.0, 0.25)):
        study = make(database, tmp_path, 1, name=name)
        fill(study, metrics(nll))
        runs = confirmed(database, study, tmp_path)
        fill(runs, *(metrics(nll + n, test=metrics(nll, split="test")) for n in range(3)))
        keep(runs, tmp_path / "kept", "f", shift)
    for split in ("valid", "test"):
        found = report.compared(database, report.rows(database, [], split), None, split)
        assert found[0].differences == ()
        by_q, tempered = found[1].differences
        assert (by_q.against, by_q.estimator, by_q.sentences) == ("s-confirmed-0", "S = 1000 from q", 50)
        assert (by_q.nll, tempered.nll) == (
            pytest.approx(0.25),
            pytest.approx(0.125),
        )  # each sentence's: no resample differs
        assert (by_q.p_without_bias, tempered.p) == (2 / 10_001, 2 / 10_001)
        assert by_q.bias == (
            pytest.approx(0.135),
            pytest.approx(0.01),
        )  # what q is above the tempered estimate, and its bound
        assert by_q.nll_interval == (pytest.approx(0.115), pytest.approx(0.26))
        assert tempered.nll_interval == (pytest.approx(0.115), pytest.approx(0.135))
        assert by_q.seeds_interval is not None  # the runs' means are 0.1 apart, on both sides
        half = scipy.stats.t.ppf(0.975, 4) * math.sqrt(2 * 0.01 / 3)
        assert by_q.seeds_interval[0] == pytest.approx(0.25 - half - 0.135)
        assert "by tempered: NLL +0.125 [+0.115, +0.135]" in layouts.table(found)
        assert "p = 0.0002" in layouts.markdown(found)
        assert "disagree" not in layouts.table(found)
        assert layouts.latex(found).count("% sfb") == 2
        (_, line) = csv.DictReader(io.StringIO(layouts.as_csv(found)))
        assert float(line["nll_difference"]) == by_q.nll
        assert float(line["tempered_nll_difference"]) == tempered.nll
        assert json.loads(layouts.as_json(found))[1]["differences"][0]["p"] == by_q.p
    (other,) = report.rows(database, ["t"], "valid")
    assert [r.study for r in report.compared(database, [other], "s", "valid")] == ["s-confirmed-0", "t-confirmed-0"]
    keep(studies.open_study(database, "t-confirmed-0"), tmp_path / "kept", "other", 0.25)
    refused = report.compared(database, report.rows(database, [], "valid"), "s", "valid")[1]
    assert refused.differences == ()
    assert "of other sentences, or of another order of them" in layouts.table([refused])
    with pytest.raises(Usage, match="'nothing' is not in"):
        report.compared(database, [other], "nothing", "valid")


def test_a_study_that_tunes_nothing_chooses_nothing_so_its_trials_are_runs_of_one_configuration(
    database: Database, tmp_path: Path
) -> None:
    fixed = {"r": 5.0, "alpha": 0.01, "gamma": 1.05, "epsilon": 1.0}
    study = make(database, tmp_path, 2, fixed=fixed)
    assert not study.searched
    fill(study, *(metrics(nll, test=metrics(nll + 1, split="test")) for nll in (101.0, 103.0)))
    for split, mean_ in (("valid", 102.0), ("test", 103.0)):
        (row,) = report.rows(database, ["s"], split)
        assert (row.runs, row.confirmed, row.trials) == (2, True, (0, 1))
        assert row.settings == fixed
        assert row.figures["nll"] == (mean_, pytest.approx(math.sqrt(2)))


def test_studies_without_figures_by_sentence_say_so(database: Database, tmp_path: Path) -> None:
    for name in ("s", "t"):
        study = make(database, tmp_path, 1, name=name)
        fill(study, metrics(101.0))
        fill(confirmed(database, study, tmp_path), metrics(101.0))
    found = report.compared(database, report.rows(database, [], "valid"), None, "valid")
    assert "trial s-confirmed-0/0 has kept no valid figures by sentence" in layouts.table(found)
    searched = make(database, tmp_path, 1, name="u")
    fill(searched, metrics(99.0))
    three = report.rows(database, [], "valid")
    assert report.compared(database, three, None, "valid") == three


@pytest.mark.parametrize(("before", "after"), [({"dropout": 0.5}, {}), ({}, {"dropout": 0.5})])
def test_a_confirmation_of_a_deleted_study_is_none_of_the_next_one_of_its_name(
    before: dict[str, Any], after: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    study = make(database, tmp_path, 1, fixed=before)
    fill(study, metrics(99.0))
    fill(confirmed(database, study, tmp_path), metrics(98.0))
    studies.open_to_delete(database, "s").delete()
    fill(make(database, tmp_path, 1, fixed=after), metrics(95.0))
    (own,) = report.rows(database, ["s"], "valid")
    assert (own.study, own.confirmed, own.figures["nll"]) == ("s", False, (95.0, None))


def test_a_confirmation_judged_otherwise_is_its_studys(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1, fixed={"dropout": 0.5, "nll_samples": 10, "gallery": 0})
    fill(study, metrics(99.0))
    (best,) = confirmation.chosen(study, None, front=False)
    spec = confirmation.spec(study, best, 1, {"rows": 64, "certify": 0, "device": "cpu"})
    fill(creation.go_on(database, "s-confirmed-0", Definition(spec, study.facts), tmp_path / "runs"), metrics(98.0))
    assert [row.study for row in report.rows(database, ["s"], "valid")] == ["s-confirmed-0"]


def test_what_won_is_not_changed_by_its_confirmation(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, metrics(99.0))
    (best,) = confirmation.chosen(study, None, front=False)
    with pytest.raises(Usage, match="r = 9.0 is not allowed: trial 0 of study 's' has r = 5.0, and that is confirmed"):
        confirmation.spec(study, best, 1, {"r": 9.0})


def test_a_front_without_a_trial_is_no_study_of_one_objective(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2, objective="nll,rate", sampler="random")
    with pytest.raises(Usage, match="study 's' has no complete trial to confirm yet"):
        confirmation.chosen(study, None, front=True)


def test_a_winner_that_is_not_confirmed_is_told(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 2)
    fill(study, metrics(99.0), metrics(101.0))
    fill(confirmed(database, study, tmp_path), metrics(99.0))
    there = report.rows(database, [], "valid")
    assert report.absent(database, [], "valid", there, None, None) == []
    strikes.strike(study, 0, "wrong data")
    (said,) = report.absent(database, [], "valid", there, None, None)
    assert said.startswith("the winner of s is trial 1, and what is confirmed is another: `tuner confirm s`")
    confirmed(database, study, tmp_path)  # of trial 1, which has no run yet
    assert report.absent(database, [], "valid", report.rows(database, [], "valid"), None, None) == [said]


def test_a_study_with_nothing_to_tune_can_be_compared_with_once_it_is_confirmed(
    database: Database, tmp_path: Path
) -> None:
    baseline = make(database, tmp_path, 1, fixed={"r": 5.0, "alpha": 0.01, "gamma": 1.05, "epsilon": 1.0})
    fill(baseline, metrics(101.0))
    fill(confirmed(database, baseline, tmp_path), metrics(101.0))
    found = report.compared(database, report.rows(database, [], "valid"), "s", "valid")
    assert [row.study for row in found] == ["s", "s-confirmed-0"]
