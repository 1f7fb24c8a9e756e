"""Tables, fronts and lines leave out no run and no study unseen, mix none that differ, and print no false digit."""

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path
from statistics import stdev
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filled import confirmed, fill, held, metrics
from rich.cells import cell_len
from sqlalchemy import update
from stub_study import make

from benchmarks.stub_study import CORPUS
from trainers.contract import PRESETS
from tuner import space
from tuner.analysis import comparison, figures, importance, layouts, levels, rates, report, sheets
from tuner.analysis.pareto import Columns
from tuner.analysis.published import layout, systems
from tuner.analysis.significance import Run, Sentences, bootstrap
from tuner.analysis.tracking import Following
from tuner.commands.app import app
from tuner.commands.render import shown
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow
from tuner.studies import answers, confirmation
from tuner.studies.access import DatabaseStudies
from tuner.studies.strikes import strike
from tuner.studies.study import Study, open_study


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/t.db", create=True)


def of_both(nll: float) -> dict[str, Any]:
    return metrics(nll, test=metrics(nll + 1, split="test"))


def confirms(study: Study, name: str) -> None:
    """Makes it the confirmation of trial 0, of r = 5, of a study of that name."""
    row = study.database.read(lambda session: session.get_one(StudyRow, study.name))
    changed = {**row.specification, "confirms": {"study": name, "trial": 0, "params": {"r": 5.0}}}
    where = update(StudyRow).where(StudyRow.name == study.name)
    study.database.run(lambda session: session.execute(where.values(specification=changed)))


def row(study: str, label: float = 5.0, **more: Any) -> report.Row:
    figures = {"nll": (more.pop("nll", 100.0), None), **more.pop("figures", {})}
    facts = {
        "runs": 1,
        "estimator": "S = 1",
        "confirmed": True,
        "technique": "fb",
        "model": "tiny",
        "settings": {"r": label},
    }
    return report.Row(study, figures=figures, **{**facts, **more})


def test_a_mean_says_how_many_runs_are_not_in_it(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, metrics(100.0))
    runs = confirmed(database, study, tmp_path, 4)
    fill(runs, of_both(100.0), of_both(102.0), None, of_both(90.0))
    strike(runs, 3, "a lucky seed")
    for split, mean in (("valid", 101.0), ("test", 102.0)):
        (found,) = report.rows(database, [], split)
        assert (found.figures["nll"], found.runs) == ((mean, pytest.approx(2**0.5)), 2)
        assert found.notes == ("1 of 4 runs failed", "1 of 4 runs struck out")
        for form in layouts.FORMATS.values():
            assert "1 of 4 runs failed" in form([found])


def test_a_confirmation_whose_study_is_not_here_has_a_row_of_its_own(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, metrics(100.0))
    runs = confirmed(database, study, tmp_path)
    fill(runs, of_both(101.0))
    assert [found.study for found in report.rows(database, [], "valid")] == [runs.name]
    assert [found.study for found in report.rows(database, ["s", runs.name], "test")] == [runs.name]  # once
    fill(make(database, tmp_path, 1, name="t"), metrics(90.0), r=9.0)  # where r is 5 in what it confirms
    for name in ("t", "gone"):
        confirms(runs, name)
        found = report.rows(database, [], "valid")
        assert {(each.study, each.confirmed) for each in found} == {("s", False), ("t", False), (runs.name, True)}
        every = [own.name for _, each in confirmation.sources(database, [], "valid") for own in each]
        assert sorted(every) == ["s", runs.name, "t"]


def test_a_study_that_chooses_nothing_has_test_figures_of_its_own_in_fronts_and_lines(
    database: Database, tmp_path: Path
) -> None:
    study = make(database, tmp_path, 1, fixed={"r": 5.0, "alpha": 0.01, "gamma": 1.05, "epsilon": 1.0})
    fill(study, of_both(100.0))
    assert [each.name for _, own in confirmation.sources(database, [], "test") for each in own] == ["s"]


def test_rows_that_no_setting_tells_apart_are_told_by_study_and_preset() -> None:
    found = [row("a"), row("b", model="small"), row("c", 6.0), row("PA", runs=0, model="")]
    text = layouts.table(found)
    assert [line.split("  ")[0] for line in text.splitlines()[1:5]] == [
        "fb (r 5, study a)", "fb (r 5, study b)", "fb (r 6)", "fb (r 5)",
    ]  # fmt: skip
    said = "models of several presets (tiny: fb (r 5, study a), fb (r 6); small: fb (r 5, study b))"
    assert said in text
    assert "study" not in layouts.table([row("a"), row("b", 6.0)])
    lines = csv.DictReader(io.StringIO(layouts.as_csv(found)))
    assert [(line["study"], line["model"]) for line in lines] == [
        ("a", "tiny"), ("b", "small"), ("c", "tiny"), ("PA", ""),
    ]  # fmt: skip
    part = systems.block(systems.named("pa-3"))
    rows = [layout._laid(part.rows[4], {"": each}, part.columns) for each in found[:2]]
    laid = sheets.terminal(layout.sheet(layout.Layout(part, "valid", part.columns, tuple(rows), {})))
    label = part.rows[4].label
    assert f"models of several presets (tiny: {label} (a); small: {label} (b))" in laid


def test_runs_of_a_papers_variants_are_joined_within_one_corpus_and_preset() -> None:
    def own(study: str, model: str) -> layout.Own:
        return layout.Own(row(study), "grammar", model, {}, False)

    plain = [own("a", "tiny"), own("b", "small"), own("c", "small")]
    found = layout._configurations({"": plain, "inputless": [own("x", "small")]})
    assert [{key: each.study for key, each in one.items()} for one in found] == [
        {"": "a"}, {"": "b", "inputless": "x"}, {"": "c"},
    ]  # fmt: skip


def test_letters_go_on_after_z() -> None:
    kinds = [f"kind {place}" for place in range(703)]
    letters, found = sheets.lettered([[kind] for kind in kinds])
    assert (letters[25], letters[26], letters[51], letters[702]) == ("z", "aa", "az", "aaa")
    assert len(set(letters)) == len(found)
    assert sheets.legend(kinds)[27] == "ab: kind 27"
    rows = report.published(space.techniques(), "test")
    mixed = layouts.latex([*rows, *(row(str(place), estimator=f"S = {place}") for place in range(9))])
    assert "$^{aa}$" in mixed
    assert "$^{{}$" not in mixed


def test_figures_have_the_digits_that_they_can_bear() -> None:
    figures: dict[str, Any] = {
        "parameters": (1234567.0, None), "probe_100": (0.9312, 0.0021), "bits_per_char": (1.2345, None),
        "rate_error": (-0.001, 0.5), "acc_gap": (-0.25, None), "ppl": (float("nan"), None),
    }  # fmt: skip
    columns = ["parameters", "probe_100", "bits_per_char", "rate_error", "acc_gap"]
    line = layouts.markdown([row("a", figures=figures)], columns).splitlines()[2]
    assert "| 1234567 | 0.931 ± 0.002 | 1.234 | 0.00 ± 0.50 | -0.25 |" in line
    huge = row("a", figures={"ppl": (2315422.29, 410088.34)})
    assert "| 2.315e+06 ± 4.101e+05 |" in layouts.markdown([huge])
    assert r"1234567 & 0.931 $\pm$ 0.002 & 1.234 & 0.00 $\pm$ 0.50 & $-$0.25 \\" in layouts.latex(
        [row("a", figures=figures)], columns
    )


def test_a_figure_that_is_not_finite_is_none(database: Database, tmp_path: Path) -> None:
    fill(make(database, tmp_path, 1), metrics(20.0, ppl=float("inf"), nll_se=float("nan")))
    found = json.loads(layouts.as_json(report.rows(database, [], "valid")), parse_constant=pytest.fail)
    assert (found[0]["figures"]["ppl"], found[0]["figures"]["nll_se"]) == (None, None)


def test_a_terminals_columns_stand_below_each_other_in_any_script() -> None:
    _, *lines = layouts.table([row("日本"), row("étude")]).splitlines()[:3]
    assert len({cell_len(line[: line.index("100.00")]) for line in lines}) == 1


def test_latex_takes_no_text_for_an_option_of_a_rows_end() -> None:
    assert sheets.tex("[the] man * <unk>") == "{[}the] man {*} $<$unk$>$"


def test_csv_has_each_column_once() -> None:
    head = layouts.as_csv([row("a")], ["nll", "rate", "nll"]).splitlines()[0].split(",")
    assert max(Counter(head).values()) == 1
    assert {"nll", "nll_sd", "rate"} <= set(head)


def test_the_rate_that_is_nearest_to_the_wanted_one_is_the_best() -> None:
    found = [row(str(error), figures={"rate_error": (error, None)}) for error in (-5.0, 0.5, -0.1)]
    assert [each.study for each in report.ranked(found, "rate_error")] == ["-0.1", "0.5", "-5.0"]


@pytest.mark.parametrize("key", ["nll", "ppl", "bits_per_char", "bits_per_byte"])
def test_a_figure_that_means_nothing_for_a_technique_is_said_and_ranked_last(key: str) -> None:
    mim, fb = row("m", technique="mim", figures={key: (1.0, None)}), row("f", figures={key: (2.0, None)})
    assert report.ranked([mim, fb], key) == [fb, mim]
    text = layouts.table([mim, fb], [key])
    assert "mim: " in text
    assert "mean nothing, as q(z) is held near no p(z)" in text
    assert "mean nothing" not in layouts.table([fb], [key]) + layouts.table([mim], ["distortion"])


def test_a_paper_table_is_not_ranked_by_what_it_does_not_show(database: Database) -> None:
    place = ("--database", database.secret_url)
    with pytest.raises(Usage, match="--rank mi is in no column of pa-3: choose of distortion, rate, nll, ppl, acc_gap"):
        app(["report", "--table", "pa-3", "--rank", "mi", *place], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "a", "failed"), "no trial of failed is complete: `tuner show STUDY` tells why"),
        (("report",), "no trial of failed is complete"),
        (("report", "--split", "test"), "no test figures of b: `tuner confirm STUDY` makes them"),
        (("pareto", "a", "failed"), "no complete trial of failed has both rate and ppl of the valid split"),
        (("pareto", "a", "b", "--split", "test"), "no complete trial of b has both rate and ppl of the test split"),
        (("rates", "a", "failed"), "no complete trial of failed has valid figures and a target rate"),
        (("rates", "a", "b", "--split", "test"), "no complete trial of b has test figures and a target rate"),
    ],
)
def test_a_study_that_is_left_out_is_named(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    study = make(database, tmp_path, 1, name="a")
    fill(study, held(5.0, 4.0, 90.0))
    runs = held(5.0, 4.0, 90.0, test=held(5.0, 4.5, 91.0))
    fill(confirmed(database, study, tmp_path), runs)
    fill(make(database, tmp_path, 1, name="b"), held(5.0, 4.0, 90.0))
    fill(make(database, tmp_path, 1, name="failed"), None)
    app([*arguments, "--database", database.secret_url], standalone_mode=False)
    found = capsys.readouterr()
    assert f"note: {said}" in found.err


def test_a_papers_row_that_was_searched_but_not_confirmed_is_not_called_untrained(
    database: Database, tmp_path: Path
) -> None:
    fill(make(database, tmp_path, 1, space=space.load("mdr")), metrics(100.0))
    part = systems.block(systems.named("pa-3"))
    absent = layout.lay(database, part, [], "test").absent
    assert (absent["MDR"], absent["FB"]) == ("`tuner confirm` makes its test figures", "not trained")


def test_others_figures_that_stand_printed_are_not_called_absent(database: Database) -> None:
    part = systems.block(systems.named("kr-2"))
    label = "PTB / Xu and Durrett (2018) / LSTM-vMF-VAE"
    assert label in layout.lay(database, part, [], "test").absent
    assert label not in layout.lay(database, part, [], "test", printed=True).absent


def test_a_table_says_of_which_sentences_the_measures_of_codes_are(database: Database, tmp_path: Path) -> None:
    fill(make(database, tmp_path, 1), {**metrics(100.0), "bleu": 5.0})
    reconstruction = layout.sheet(layout.lay(database, systems.block(systems.named("li-4")), [], "valid"))
    assert "BLEU: of 1,000 sentences at most, whatever the NLL is of" in reconstruction.said
    found = layouts.sheet(report.rows(database, [], "valid"), ["nll", "bleu", "smoothness", "probe_100"])
    assert [line for line in found.said if "whatever" in line] == [
        "BLEU, smoothness: of 1,000 sentences at most, whatever the NLL is of",
        "probe 100: of all sentences, whatever the NLL is of",
    ]


def test_no_study_minimises_a_test_figure(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, of_both(100.0))
    columns = Columns(study).follow()
    assert columns.of("rate", "value", "test").xs == []
    assert columns.of("rate", "value", "valid").ys == [100.0]


def test_a_point_is_of_one_configuration_and_estimator_and_a_line_names_its_preset(
    database: Database, tmp_path: Path
) -> None:
    study = make(database, tmp_path, 3, space=space.load("sfb"))
    few = {**metrics(0.0)["estimator"], "samples": 10}
    fill(study, *(held(5.0, 4.0, ppl) for ppl in (90.0, 92.0, 99.0)), held(5.0, 4.0, 50.0, estimator=few))
    other = update(TrialRow).where(TrialRow.number == 2).values(params={"r": 5.0, "alpha": 0.5})
    database.run(lambda session: session.execute(other))
    small = make(database, tmp_path, 1, name="t", model="small")
    fill(small, held(5.0, 4.0, 80.0))
    found = rates.series([(each, [Columns(each).follow()]) for each in (study, small)], "valid")
    points = [(point.target, point.runs, (point.figures["ppl"] or (0.0,))[0]) for point in found[0].points]
    assert sorted(points) == [(5.0, 1, 50.0), (5.0, 1, 99.0), (5.0, 2, 91.0)]
    assert [each.label for each in found] == ["sfb, tiny", "sfb, small"]


def test_the_rnnlms_line_is_of_its_best_configuration_and_of_the_same_sentences(
    database: Database, tmp_path: Path
) -> None:
    rnnlm, half = space.load("rnnlm"), {"sentences": 20, "of": 40}
    counted = {"order": 3, "counted": 9, "train": 9}
    figures = {"nll": 99.0, "ppl": 9.0}
    every, part = (
        {**CORPUS, "ngram": {**counted, **{split: {**figures, **of} for split in ("valid", "test")}}}
        for of in ({"sentences": 40, "of": 40}, half)
    )
    study = make(database, tmp_path, 1, name="a", described=every)
    fill(study, of_both(100.0))
    for name, described, shift in (("poor", every, 9.0), ("best", every, 0.0), ("part", part, -50.0)):
        baseline = make(database, tmp_path, 1, name=name, space=rnnlm, described=described)
        fill(baseline, *(of_both(97.0 + shift + run) for run in (0, 2)))
        confirms(baseline, f"{name}-gone")
    columns = [Columns(study).follow()]
    for split, nll in (("valid", 98.0), ("test", 99.0)):
        lines = {line["label"]: line["value"] for line in levels.of(database, columns, "nll", split)}
        assert lines["RNNLM"] == nll  # the mean over its runs
    beside = [*columns, Columns(open_study(database, "part")).follow()]
    assert levels.of(database, beside, "nll", "valid") == []


def test_a_study_that_is_judged_by_melbo_says_so(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make(database, tmp_path, 1, space=space.load("mim"), objective="melbo")
    fill(study, metrics(70.0, melbo=12.5))
    database.run(lambda session: session.execute(update(TrialRow).values(value=12.5)))
    shown(answers.study_here(study), study.trials.all())
    said = capsys.readouterr().out
    assert "best by lowest value: trial 0, MELBO 12.50, NLL 70.00" in said
    assert "MELBO" in said.splitlines()[1]
    app(["studies", "--database", database.secret_url], standalone_mode=False)
    assert "judged by MELBO, 12.50" in capsys.readouterr().out


INSIDE = {"r": 5.0, "alpha": 0.05, "gamma": 1.1, "epsilon": 0.5}
"""Hyperparameters in the domains of the searched ones."""


def test_importance_for_the_error_of_a_rate_is_for_its_distance_from_0(database: Database, tmp_path: Path) -> None:
    dice = random.Random(0)
    params = [
        {"r": dice.uniform(1, 20), "alpha": 0.05, "gamma": 1.1, "epsilon": dice.uniform(0.1, 1)} for _ in range(40)
    ]
    errors = [10.0 - each["r"] for each in params]
    found = [metrics(100.0, rate_error=error, distortion=abs(error)) for error in errors]
    fill(make(database, tmp_path, 40), *found, params=params)
    shares = [importance.of(database.secret_url, "s", key)["items"] for key in ("rate_error", "distortion")]
    assert shares[0] == shares[1] != []


def test_an_importances_error_is_the_deviation_of_a_sample(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make(database, tmp_path, 12), *(metrics(100.0 + n) for n in range(12)), params=[INSIDE] * 12)
    shares = iter(range(100))
    monkeypatch.setattr(importance, "_shares", lambda *_: {"r": float(next(shares))})
    (item,) = importance.of(database.secret_url, "s", "nll")["items"]
    assert item["error"] == pytest.approx(stdev(range(1, 1 + importance.RESAMPLES)))


def test_a_value_of_0_is_the_lowest_one_that_a_tracker_is_told(database: Database, tmp_path: Path) -> None:
    fill(make(database, tmp_path, 2), metrics(1.0), metrics(0.0))
    told, run = list[float](), SimpleNamespace(step=0, state=None, end=lambda *_: None, leave=lambda: None)
    run.log = lambda step, scalars, time: told.append(scalars.get("study/lowest", 0.0))
    Following(DatabaseStudies(database), "s", SimpleNamespace(place="", open=lambda _: run)).look()
    assert told == [1.0, 0.0]


def test_a_mean_over_runs_by_different_estimators_says_so(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    fill(study, metrics(100.0))
    few = {**metrics(0.0)["estimator"], "samples": 10}
    fill(confirmed(database, study, tmp_path), metrics(100.0), metrics(90.0, estimator=few))
    (found,) = report.rows(database, [], "valid")
    assert found.notes == ("runs by different estimators",)


def test_a_test_on_few_sentences_says_that_it_is_too_sure() -> None:
    for count, is_few in ((29, True), (30, False)):
        facts = {"proposal": "q", "samples": 1, "sentences": count, "of": count, "split": "valid"}
        one, other = (
            Sentences("f", facts, np.full(count, 9.0), (Run(np.arange(count) * slope),)) for slope in (1.0, 1.1)
        )
        found = row("a", differences=(bootstrap(one, other, "b", 99),))
        assert ("p too low" in layouts.table([found])) is is_few


def test_no_line_end_in_a_text_breaks_a_table() -> None:
    found = [row("a", settings={"kind": "one\ntwo"}, estimator="S = 1, grammar\nof mine")]
    assert "% a: S = 1, grammar of mine" in layouts.latex(found)
    assert "fb (kind one two) &" in layouts.latex(found)
    assert "| fb (kind one two) | 1 | 100.00 | a |" in layouts.markdown(found)


def test_trials_side_by_side_show_their_presets_value_of_what_another_has_set(
    database: Database, tmp_path: Path
) -> None:
    for name, changes in (("a", {"fixed": {"d_h": 12}}), ("b", {}), ("c", {"model": "small"})):
        fill(make(database, tmp_path, 1, name=name, **changes), metrics(100.0))
    settings = {each["name"]: each["values"] for each in comparison.of(database, ["a/0", "b/0", "c/0"])["settings"]}
    assert settings["d_h"] == [12, PRESETS["tiny"]["d_h"], PRESETS["small"]["d_h"]]
    assert "d_e" not in settings


def test_a_drawing_shows_every_name_as_it_is_or_says_that_there_are_too_many(
    database: Database, tmp_path: Path
) -> None:
    for name in ("_mine", "other"):
        fill(make(database, tmp_path, 1, name=name), held(5.0, 4.0, 90.0))
    paid = make(database, tmp_path, 1, name="paid", described={**CORPUS, "name": "a$\\no$ b", "fingerprint": "g"})
    fill(paid, held(5.0, 4.0, 90.0))
    for command in ("pareto", "rates"):
        app([command, "--out", str(tmp_path / "f.svg"), "--database", database.secret_url], standalone_mode=False)
        drawn = (tmp_path / "f.svg").read_text()
        assert "_mine -->" in drawn
        assert "a$\\no$ b" in drawn
    line = {"joined": True, "target": [1.0], "runs": [1], "ppl": [2.0], "ppl_sd": [None]}
    line |= {"acc_gap": [2.0], "acc_gap_sd": [None]}
    found = {
        "panels": {"ppl": "PPL", "acc_gap": "gap"},
        "note": None,
        "series": [{**line, "label": f"s{n}"} for n in range(21)],
    }
    figures.rates(found, tmp_path / "f.svg")
    assert "21 of them are too many for a legend" in (tmp_path / "f.svg").read_text()


def test_a_resample_in_which_nothing_varies_tells_no_share(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [metrics(99.0), *(metrics(100.0) for _ in range(11))]
    fill(make(database, tmp_path, 12), *found, params=[INSIDE] * 12)
    seen: list[int] = []
    monkeypatch.setattr(
        importance, "_shares", lambda trials, _: seen.append(len({t.value for t in trials})) or {"r": 1.0}
    )
    importance.of(database.secret_url, "s", "nll")
    assert set(seen) == {2}
    assert len(seen) < 1 + importance.RESAMPLES
