"""Sweeps and comparisons of several techniques: exact budgets, gone on with, nothing begun that cannot be finished."""

import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from stub_study import STUB, behave, make

from benchmarks.stub_study import CORPUS
from tuner import space, trainer
from tuner.commands.app import app
from tuner.errors import Clash, Fault, Usage
from tuner.storage.database import Database
from tuner.studies import faults, launch, queries, sweep
from tuner.studies.spec import StudySpec
from tuner.studies.study import open_study
from tuner.workers import worker

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(spec: Mapping[str, Any], corners: list[Mapping[str, Any]]) -> dict[str, Any]:
        if "d_z" in spec["values"] and spec["technique"] == "rnnlm":
            raise Usage("d_z makes no sense without a code.")
        return {
            **CORPUS,
            "latent": spec["technique"] != "rnnlm",
            "stages": 1,
            "unfit": None,
            "limits": {},
            "planned": {},
            "warnings": [],
        }

    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", check)
    monkeypatch.delenv("STUB", raising=False)


@pytest.fixture
def tuner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command's JSON."""
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setenv("TUNER_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> Any:
        app([*arguments], standalone_mode=False)
        text = capsys.readouterr().out
        return json.loads(text) if "--json" in arguments else text

    return run


def params(study: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(trial["state"], trial["params"]) for trial in study["trials"]]


def test_a_sweep_has_a_trial_for_each_value_in_order_and_no_more(tuner: Command) -> None:
    again = ("sweep", "--technique", "sfb", "--json", "--set", "gamma=1.1", "--over")
    found = tuner(*again, "r=5,1,20,5.0")
    assert (found["name"], found["budget"]) == ("sfb-grammar-tiny-over-r", 3)
    assert params(found) == [("complete", {"r": 5.0}), ("complete", {"r": 1.0}), ("complete", {"r": 20.0})]
    assert found["spec"]["fixed"] == {"gamma": 1.1, "alpha": 0.01, "epsilon": 1.0, "nll": "tempered"}
    same, more = tuner(*again, "r=1,5,20"), tuner(*again, "r=10,5")
    assert same["trials"] == found["trials"]
    assert (more["trials"][:3], params(more)[3:]) == (found["trials"], [("complete", {"r": 10.0})])
    assert "tuner rates sfb-grammar-tiny-over-r" in tuner("sweep", "-t", "sfb", "--set", "gamma=1.1", "--over", "r=5")


def test_several_techniques_have_a_sweep_each(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    again = ("sweep", "-t", "mdr", "-t", "fb", "--over", "r=1,5")
    with pytest.raises(Usage, match="--study is for one technique, and there are 2"):
        tuner(*again, "--study", "s")
    found = tuner(*again, "--json")["studies"]
    assert [each["name"] for each in found] == ["mdr-grammar-tiny-over-r", "fb-grammar-tiny-over-r"]
    assert [params(each) for each in found] == [[("complete", {"r": 1.0}), ("complete", {"r": 5.0})]] * 2
    assert "tuner rates mdr-grammar-tiny-over-r fb-grammar-tiny-over-r --out" in tuner(*again)
    with pytest.raises(Usage, match="r = 99 is out of"):
        tuner("sweep", "-t", "sfb", "-t", "mdr", "--over", "r=2,99")
    assert len(tuner("studies", "--json")) == 2
    with pytest.raises(Usage, match="sweep needs --technique NAME"):
        tuner("sweep", "--over", "r=1")


def test_a_sweep_cut_short_goes_on_and_a_failed_value_is_not_tried_twice(
    tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="nan", t2="disk")
    monkeypatch.setattr(faults, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)
    with pytest.raises(Fault, match="trial 2 stopped"):
        tuner("sweep", "-t", "mdr", "--over", "r=1,2,5,10")
    monkeypatch.delenv("STUB")
    found = tuner("sweep", "-t", "mdr", "--over", "r=1,2,5,10", "--json")
    assert [state for state, _ in params(found)] == ["failed", "complete", "complete", "complete"]


def test_an_option_can_be_swept_that_no_search_space_has(tuner: Command) -> None:
    found = tuner("sweep", "-t", "mdr", "--over", "d_z=2,4", "--nll", "q500", "--json")
    assert params(found) == [("complete", {"d_z": 2}), ("complete", {"d_z": 4})]
    assert found["spec"]["fixed"] == {"r": 5.0, "nll_samples": 500}
    with pytest.raises(
        Clash, match="exists with another space .d_z = one of 2, 4, not one of 2, 4, 8.: give the new one a name"
    ):
        tuner("sweep", "-t", "mdr", "--over", "d_z=2,4,8", "--nll", "q500")


def test_several_hyperparameters_are_swept_over_as_a_grid_that_grows(tuner: Command) -> None:
    again = ("sweep", "-t", "multi-sample", "--set", "samples=1", "--json", "--over", "pretrain=none,ae")
    found = tuner(*again, "--over", "anneal_epochs=0,10")
    assert found["name"] == "multi-sample-grammar-tiny-over-pretrain-anneal_epochs"
    points = [("none", 0), ("none", 10), ("ae", 0), ("ae", 10)]
    assert params(found) == [("complete", {"pretrain": p, "anneal_epochs": a}) for p, a in points]
    more = tuner(*again, "--over", "anneal_epochs=10,5,0")
    assert more["trials"][:4] == found["trials"]
    assert params(more)[4:] == [("complete", {"pretrain": p, "anneal_epochs": 5}) for p in ("none", "ae")]
    with pytest.raises(Usage, match="--over names r twice: give all of its values in one list"):
        tuner("sweep", "-t", "mdr", "--over", "r=1", "--over", "r=2")


@pytest.mark.parametrize(
    ("over", "fixed", "said"),
    [
        ("r", {}, "--over 'r' is no list of values: write e.g. --over r=1,2,5,10,20"),
        ("r=1,,2", {}, "is no list of values"),
        ("r=1,99", {}, "r = 99 is out of mdr's domain: r must be 1 to 30"),
        ("r=1,2", {"r": 3.0}, "r = 3.0 is fixed, and it is what is swept over"),
    ],
)
def test_what_cannot_be_swept_is_said(over: str, fixed: dict[str, Any], said: str) -> None:
    with pytest.raises(Usage, match=said):
        sweep.spec(StudySpec(technique="mdr", fixed=fixed), sweep.parse_all([over]))


def test_schedules_are_left_to_the_plan_of_training() -> None:
    over = sweep.parse_all(["d_z=2,4"])
    assert sweep.spec(StudySpec(technique="annealing"), over).fixed == {}
    assert "anneal_epochs" not in sweep.spec(StudySpec(technique="pretrained-fb"), over).fixed
    own = StudySpec(technique="annealing", space=space.load("annealing"))
    assert sweep.spec(own, over).fixed == {"gamma": 2e-5}, "a space of one's own has its own defaults"


def test_a_value_outside_of_the_plans_domain_is_refused_before_any_study_is_made(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = trainer.check

    def check(spec: Mapping[str, Any], corners: list[Mapping[str, Any]]) -> dict[str, Any]:
        return {**usual(spec, corners), "limits": {"gamma": [1e-3, 1.0]}, "planned": {"gamma": 1.3e-3}}

    monkeypatch.setattr(trainer, "check", check)
    with pytest.raises(Usage, match="gamma = 2e-05 is out of annealing's domain"):
        tuner("sweep", "-t", "annealing", "--over", "gamma=2e-5,1e-2", "--workers", "0")
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert queries.all_studies(database) == []
    database.close()


def test_two_sweeps_at_once_add_no_value_twice(tmp_path: Path) -> None:
    over = sweep.parse_all(["r=1,2,3,4,5,6,7,8"])
    with Database(f"sqlite:///{tmp_path}/t.db", create=True) as database:
        made = make(database, tmp_path, 0, first_default=False)
        together = Barrier(2)

        def fill(_: int) -> int:
            together.wait()
            return len(sweep.fill(open_study(database, made.name), over))

        with ThreadPoolExecutor(2) as pool:
            added = list(pool.map(fill, range(2)))
        assert sum(added) == len(made.trials.all()) == made.refresh().spec.trials == 8


def test_a_study_file_of_a_sweep_is_refused_as_it_would_make_other_trials(tuner: Command) -> None:
    tuner("sweep", "-t", "fb", "--over", "r=2,5", "--study", "s")
    with pytest.raises(Usage, match="the trials of study 's' were given one by one, as a sweep's are"):
        tuner("show", "s", "--format", "toml")


def test_what_all_trials_have_is_not_swept_over_and_no_study_is_made(tuner: Command, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="--over nll is not allowed: all trials have nll = tempered, so sweep over another"):
        tuner("sweep", "-t", "mdr", "--over", "nll=q,tempered")
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert queries.all_studies(database) == []
    database.close()


def test_several_techniques_get_equal_budgets_and_one_comparison(tuner: Command) -> None:
    asked = ("launch", "-t", "mdr", "-t", "sfb", "-n", "2", "--sampler", "random", "--json")
    found = tuner(*asked)
    assert [(s["name"], len(s["trials"])) for s in found["studies"]] == [
        ("mdr-grammar-tiny", 2),
        ("sfb-grammar-tiny", 2),
    ]
    best = [s["best"]["metrics"]["nll"] for s in found["studies"]]
    assert [row["figures"]["nll"]["mean"] for row in found["comparison"]] == best
    again = tuner(*asked)  # a finished comparison is printed again
    for study in (*found["studies"], *again["studies"]):
        study.pop("revision")  # which a launch counts
    assert again == found
    assert "search: the search's best trial" in tuner(*asked[:-1])


def test_several_winners_are_confirmed_in_one_go_or_none_is(tuner: Command, tmp_path: Path) -> None:
    tuner("launch", "-t", "mdr", "-t", "sfb", "-n", "2", "--sampler", "random", "--json")
    both = ("mdr-grammar-tiny", "sfb-grammar-tiny")
    with pytest.raises(Usage, match="--trial 1 is of one study, and there are 2: name one"):
        tuner("confirm", *both, "--trial", "1")
    with pytest.raises(Usage, match="study 'nothing' is not in"):
        tuner("confirm", *both, "nothing")
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert len(queries.all_studies(database)) == 2
    found = tuner("confirm", *both, "--seeds", "2", "--json")
    for split in ("valid", "test"):
        assert [(row["technique"], row["runs"], row["confirmed"]) for row in found[split]] == [
            ("mdr", 2, True),
            ("sfb", 2, True),
        ]
    names = {study.name.rpartition("-confirmed-")[0] for study in queries.all_studies(database)}
    database.close()
    assert names == {"", *both}


def test_a_technique_that_breaks_keeps_no_other_from_its_turn(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, t0="crash")
    with pytest.raises(Fault, match="study mdr-grammar-tiny has stopped itself: .* study sfb-grammar-tiny has"):
        tuner("launch", "-t", "mdr", "-t", "sfb", "-n", "2", "--sampler", "random", "--max-failures", "1")
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert [study.state for study in queries.all_studies(database)] == ["broken", "broken"]
    database.close()


def test_all_leaves_out_what_is_not_allowed_and_what_is_named_is_not(
    tuner: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(Usage, match="d_z makes no sense"):
        tuner("launch", "-t", "mdr", "-t", "rnnlm", "--set", "d_z=2", "--workers", "0")
    assert not (tmp_path / "t.db").exists()  # nothing is made unless all can be
    tuner("launch", "--all", "-n", "1", "--set", "d_z=2", "--workers", "0")
    database = Database(f"sqlite:///{tmp_path}/t.db")
    names = {study.name for study in queries.all_studies(database)}
    database.close()
    assert names == {f"{name}-grammar-tiny" for name in space.techniques() if name not in ("rnnlm", "mim")}


def test_a_sentence_of_several_studies_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[str]()
    monkeypatch.setattr(launch, "prepare", lambda name, _spec, _opened, say, *, here: [say("warning: long"), say(name)])
    asked = {name: StudySpec(technique="mdr") for name in ("a", "b")}
    launch.prepare_all(asked, lambda: pytest.fail("no database is needed"), heard.append, skip=False, here=True)
    assert heard == ["warning: long", "a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "launch needs --technique NAME"),
        (("--all", "-t", "mdr"), "--technique mdr and --all exclude each other"),
        (("-t", "mdr", "-t", "sfb", "--study", "s"), "--study is for one technique, and there are 2"),
        (("--all", "--warm-start", "s"), "--warm-start is for one technique"),
    ],
)
def test_what_does_not_go_with_several_techniques_is_said(
    arguments: tuple[str, ...], said: str, tuner: Command
) -> None:
    with pytest.raises(Usage, match=said):
        tuner("launch", *arguments)
