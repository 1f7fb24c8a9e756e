"""A study is declared once: `StudySpec` makes options, bodies, files, rows and the comparison of studies."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from stub_study import SQLITE, Make

from api import bodies, schemas
from benchmarks.stub_study import CORPUS, defined
from trainers.runs import Spec
from tuner import trainer
from tuner.commands.app import app
from tuner.commands.study_options import merged, said
from tuner.errors import Clash, Refused, Usage
from tuner.space import load
from tuner.storage.database import Database
from tuner.studies import creation, launch, study_file
from tuner.studies.setting import REQUIRED, Confirmed
from tuner.studies.spec import ASKED, SETTINGS, Definition, StudySpec

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
OTHER: Mapping[str, Any] = {
    "technique": "mdr", "corpus": "elsewhere", "trials": 9, "sampler": "tpe", "sampler_options": {"n_startup_trials": 3},
    "first_default": False, "model": "small", "pruner": "median", "min_rate": 2.5, "objective": "nll,rate", "nll": "q7",
    "stop_when": 0.25, "warm_start": "first", "fixed": {"gamma": 1.5, "max_epochs": 3, "posterior": "iaf"},
    "space": load("sfb").table(), "seed": 7, "timeout": 90.0, "deadline": "2031-05-01T12:00:00Z", "max_failures": 0,
    "max_losses": 4, "note": "look again\nat “β”", "tags": ["night", "β"],
}  # fmt: skip
"""Values of every setting that are not the default, as JSON has them."""


def test_every_setting_has_another_value_here() -> None:
    assert OTHER.keys() == ASKED.keys()
    for key, value in OTHER.items():
        assert value != ASKED[key].kind.plain(ASKED[key].default), key


def test_values_as_json_and_in_a_row_come_back() -> None:
    spec = StudySpec.of(OTHER)
    assert StudySpec.of(spec.plain()) == spec
    assert json.loads(json.dumps(spec.plain())) == spec.plain() == {**OTHER, "deadline": "2031-05-01T12:00:00.000Z"}
    assert spec.changes() == spec.plain()
    assert StudySpec(technique="sfb").changes() == {"technique": "sfb"}
    made = Definition(replace(spec, nll="q", corpus="grammar"), replace(defined().facts, observations=[{"params": {}}]))
    kept = json.loads(json.dumps([made.stored(), made.rules()]))
    assert Definition.of(kept[0], made.spec.trials, kept[1]) == made


def test_the_settings_of_a_row_that_lacks_them_are_those_that_such_studies_had() -> None:
    stored = defined().stored()
    old = ("technique", "corpus", "space", "model", "fixed", "sampler", "seed", "objective", "batching", "truncation")
    made = Definition.of({key: stored[key] for key in old}, 3, {"timeout": 0.0, "deadline": None, "max_failures": 3})
    assert made.spec == replace(defined().spec, trials=3, nll="q")
    assert made.spec.first_default is False  # though new studies begin so


def test_the_command_line_the_api_and_its_answers_know_every_setting() -> None:
    launch = typer.main.get_command(app).commands["launch"]  # type: ignore[attr-defined]
    options = {flag for parameter in launch.params for flag in parameter.opts}
    assert {declared.flag for declared in ASKED.values()} <= options
    body, answer = bodies.NewStudy.model_json_schema(), schemas.Study.model_fields["spec"].annotation
    assert body["properties"].keys() == {*ASKED, "name"}
    assert answer is bodies.Spec
    assert body["required"] == [key for key, each in ASKED.items() if each.default is REQUIRED]
    for key, declared in ASKED.items():
        assert body["properties"][key]["description"] == declared.meaning
    told = bodies.NewStudy.model_validate_json(json.dumps({**OTHER, "name": "n"}))
    assert StudySpec.of(told.model_dump(exclude={"name"})) == StudySpec.of(OTHER)


def test_a_meaning_stands_alone() -> None:
    for declared in SETTINGS.values():
        assert declared.meaning[0].isupper(), declared.name
        assert declared.meaning.endswith("."), declared.name
        assert "--" not in declared.meaning, declared.name
        assert declared.kind.rule, declared.name


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("trials", 0, "a whole number from 1 to 100,000"),
        ("trials", True, "a whole number from 1 to 100,000"),
        ("min_rate", float("nan"), "a number from 0.0 to"),
        ("model", "huge", "one of paper; small; tiny"),
        ("first_default", 1, "true or false"),
        ("fixed", {"r": [1]}, "each with a text, a number or a truth value"),
        ("fixed", {str(n): n for n in range(101)}, "a table of at most 100 names"),
        ("timeout", 0, "a number of seconds above 0"),
        ("deadline", "2031-05-01T12:00:00", "a date and a time with its zone"),
        ("deadline", 1e300, "a date and a time with its zone"),
        ("note", "x" * 2001, "at most 2000 characters"),
        ("note", "a\x00b", "a text without NUL"),
        ("tags", ["x"] * 21, "at most 20 texts"),
        ("space", [], "a search space: a table"),
    ],
)
def test_a_value_that_a_rule_forbids(key: str, value: object, rule: str) -> None:
    with pytest.raises(Refused, match=rule) as caught:
        StudySpec.of({"technique": "sfb", key: value})
    assert caught.value.field == key
    assert str(caught.value).startswith(f"{key} = ")
    assert said(caught.value).startswith(f"{ASKED[key].flag} ")


def test_what_is_no_setting_or_is_missing() -> None:
    with pytest.raises(Usage, match="colour is no setting of a study: they are technique, corpus"):
        StudySpec.of({"technique": "sfb", "colour": "red"})
    with pytest.raises(Usage, match="technique is missing"):
        StudySpec.of({"trials": 3})
    with pytest.raises(Usage, match="the search space: parameters.r.low = 9.0 is not allowed: it must not exceed high"):
        StudySpec.of(
            OTHER | {"space": {"technique": "sfb", "parameters": {"r": {"type": "float", "low": 9.0, "high": 1.0}}}}
        )


@SQLITE
@pytest.mark.parametrize("key", [k for k, each in SETTINGS.items() if each.role == "identity" and k != "nll"])
def test_another_value_of_what_identifies_a_study_is_refused_by_its_name(
    database: Database, make: Make, tmp_path: Path, key: str
) -> None:
    made = make(3)
    wanted = defined(**{"technique": "sfb"} | _changed(key))
    with pytest.raises(Clash, match=f"study 's' exists with another {key} ") as caught:
        creation.go_on(database, "s", wanted, tmp_path / "runs")
    assert caught.value.field == key
    assert made.refresh().definition == defined(nll="q")


def _changed(key: str) -> dict[str, Any]:
    if key == "corpus":
        return {"described": {**CORPUS, "fingerprint": "other"}}
    if key == "space":
        space = load("sfb")
        return {"space": replace(space, parameters=(replace(space.parameters[0], high=9.0), *space.parameters[1:]))}
    if isinstance(SETTINGS[key].kind, Confirmed):
        return {key: {"study": "t", "trial": 0, "params": {}}}
    return {key: SETTINGS[key].checked(OTHER[key]) if key != "first_default" else True}


@SQLITE
@pytest.mark.parametrize("key", [k for k, each in SETTINGS.items() if each.role != "identity"])
def test_what_may_change_is_as_it_was_said_last(database: Database, make: Make, tmp_path: Path, key: str) -> None:
    make(3)
    value = SETTINGS[key].checked(OTHER[key])
    changed = creation.go_on(database, "s", defined(**{key: value}), tmp_path / "runs")
    assert getattr(changed.spec, key) == value
    again = creation.go_on(database, "s", defined(), tmp_path / "runs")
    kept = (
        SETTINGS[key].role == "remark" or key == "trials"
    )  # a remark that is left out stays; another worker may be at it
    assert getattr(again.spec, key) == (value if kept else getattr(defined().spec, key))


@SQLITE
def test_a_study_file_makes_the_study_that_wrote_it(make: Make, tmp_path: Path) -> None:
    space = load("sfb")
    own = replace(space, parameters=(replace(space.parameters[0], high=9.0), *space.parameters[1:]))
    study = make(
        4, "written", space=own, fixed={"gamma": 1.5, "posterior": "iaf"}, note="π\n'\"", tags=("a", "b"), timeout=90.0
    )
    file = tmp_path / "study.toml"
    file.write_text(study_file.write(study.name, study.spec), encoding="utf-8")
    given = study_file.read(file)
    assert given.pop("name") == "written"
    assert StudySpec.of(given) == study.spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = ", "cannot be read"),
        ("trials = 0", r"study.toml: trials = 0 is not allowed: it must be a whole number from 1"),
        ("budget = 3", "has budget, which is no setting of a study: they are technique"),
        ("name = 3", "name = 3 is not allowed: it must be a text"),
        ("timeout = '2h'", "timeout = '2h' is not allowed"),
        ("[space]\ntechnique = 'sfb'", "the search space: parameters = None is not allowed"),
    ],
)
def test_a_study_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(Usage, match=message):
        study_file.read(tmp_path / "study.toml")


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.toml")), ids=lambda file: file.stem)
def test_the_study_files_of_the_examples_can_be_used(file: Path) -> None:
    given = study_file.read(file)
    assert given.pop("name") == file.stem
    spec = StudySpec.of(given)
    set_by_hand, _ = Spec(spec.technique, spec.corpus, spec.model, spec.fixed).split()
    assert set_by_hand.keys() <= {parameter.name for parameter in load(spec.technique).parameters}


@pytest.mark.parametrize("nll", [None, "q", "q1000", "tempered"])
def test_the_estimator_of_a_study_is_asked_for_again_by_its_file_and_its_spec(
    nll: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"latent": True, "limits": {}, "planned": {}, "warnings": [], "stages": 1, "unfit": None}
    monkeypatch.setattr(trainer, "check", lambda run, corners: {**CORPUS, **more})

    def row(spec: StudySpec) -> Definition:
        made = launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), here=True)
        return Definition.of(json.loads(json.dumps(made.stored())), made.spec.trials, made.rules())

    made = row(StudySpec(technique="sfb", sampler="random", nll=nll))
    (tmp_path / "study.toml").write_text(study_file.write(None, made.spec), encoding="utf-8")
    for spec in (StudySpec.of(study_file.read(tmp_path / "study.toml")), StudySpec.of(made.spec.plain())):
        again = row(spec)
        assert (again.other(made), again.spec.fixed) == (None, made.spec.fixed)
    estimators = {None: {"nll": "tempered"}, "q": {}, "q1000": {"nll_samples": 1000}, "tempered": {"nll": "tempered"}}
    assert made.spec.fixed == estimators[nll]


def test_the_trainer_hears_of_an_estimator_in_the_search_space(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"latent": True, "limits": {}, "planned": {}, "warnings": [], "stages": 1, "unfit": None}
    heard: list[Any] = []
    monkeypatch.setattr(trainer, "check", lambda run, corners: heard.extend(corners) or {**CORPUS, **more})
    own = {"technique": "sfb", "parameters": {"nll": {"type": "categorical", "choices": ["q", "tempered"]}}}
    spec = StudySpec.of({"technique": "sfb", "sampler": "random", "space": own})
    launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), here=True)
    assert heard == [{"nll": "q"}, {"nll": "tempered"}]  # which it refuses


def test_a_deadline_that_has_passed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = StudySpec.of({"technique": "sfb", "deadline": "2001-05-01T12:00:00Z"})
    with pytest.raises(Refused, match=r"deadline = 2001-05-01T12:00:00.000Z has passed: name a time to come") as caught:
        launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), here=True)
    assert caught.value.field == "deadline"


def test_what_this_machine_cannot_train_waits_for_one_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "precision = 'tf32' is a GPU's: use precision=float32 here."
    more = {"latent": True, "limits": {}, "planned": {}, "warnings": [], "stages": 1, "unfit": why}
    monkeypatch.setattr(trainer, "check", lambda run, corners: {**CORPUS, **more})
    spec, heard = StudySpec(technique="sfb", sampler="random", fixed={"precision": "tf32"}), list[str]()
    with pytest.raises(Usage, match="is a GPU's") as refused:
        launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), here=True)
    assert refused.value.field == "fixed.precision"
    made = launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), heard.append, here=False)
    assert made.spec.fixed["precision"] == "tf32"
    assert heard[-1] == f"note: this machine cannot train it; workers that can are waited for: {why}"


def test_a_default_that_has_changed_since_a_study_was_made_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"latent": True, "limits": {}, "planned": {}, "warnings": [], "stages": 1, "unfit": None}
    monkeypatch.setattr(trainer, "check", lambda run, corners: {**CORPUS, **more})
    spec = StudySpec(technique="infovae", sampler="random")
    made = launch.prepare("s", spec, lambda: pytest.fail("no database is needed"), here=True)
    stored = json.loads(json.dumps(made.stored()))
    assert "mmd_scale" not in Definition.of(stored, 1, made.rules()).run_spec(0, {})["values"]
    for parameter in stored["space"]["parameters"]:
        parameter["default"] = {"mmd_scale": 1e4, "beta": 0.1}.get(parameter["name"], parameter["default"])
    values = Definition.of(stored, 1, made.rules()).run_spec(0, {"beta": 0.5, "lam": 2.0})["values"]
    assert (values["mmd_scale"], values["beta"]) == (1e4, 0.5)  # what a sampler chooses has no default


def test_the_command_line_comes_before_the_file() -> None:
    file = {"technique": "sfb", "trials": 5, "fixed": {"gamma": 1.5, "r": 3.0}}
    assert merged(file, {"trials": 7, "fixed": {"r": 4.0}}) == {
        "technique": "sfb", "trials": 7, "fixed": {"gamma": 1.5, "r": 4.0},
    }  # fmt: skip


NEW = """    mood: int = setting("How the study feels.", Number(numbers.FAILURES), 2, older=1)
    confirms:"""
LOOK = """
import json, sys
from pathlib import Path
from typer.testing import CliRunner
from api import bodies, views
from tuner.commands.app import app
from tuner.studies import study_file
from tuner.studies.spec import ASKED, Definition
from benchmarks.stub_study import defined
help = CliRunner().invoke(app, ["launch", "--help"], env={"COLUMNS": "200"}).output
Path("s.toml").write_text("technique = 'sfb'\\nmood = 7")
stored = defined(mood=5).stored()
print(json.dumps({
    "help": "--mood" in help and "How the study feels." in help, "body": "mood" in bodies.NewStudy.model_fields,
    "form": views.setting(ASKED["mood"])["high"], "file": study_file.read(Path("s.toml"))["mood"],
    "row": Definition.of(stored, 3, {}).spec.mood,
    "older": Definition.of({k: v for k, v in stored.items() if k != "mood"}, 3, {}).spec.mood,
    "differs": defined(mood=3).other(defined()), "answer": defined().spec.plain()["mood"],
}))
"""


def test_a_new_setting_takes_one_declaration(tmp_path: Path) -> None:
    for folder in ("tuner", "api", "search_spaces", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    spec = tmp_path / "tuner" / "studies" / "spec.py"
    text = spec.read_text(encoding="utf-8")
    assert text.count("    confirms:") == 1
    spec.write_text(text.replace("    confirms:", NEW), encoding="utf-8")
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LOOK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "help": True, "body": True, "form": 1000, "file": 7, "row": 5, "older": 1, "differs": "mood", "answer": 2,
    }  # fmt: skip
