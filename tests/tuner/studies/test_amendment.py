"""Changes of a study while it runs: said on the command line or over the API, heard by workers, and found by its tags."""

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from api_server import application
from fastapi.testclient import TestClient
from stub_study import SQLITE, Make, run
from test_spec import OTHER
from typer.testing import CliRunner

from tuner.commands.study_options import Given, command_line, with_settings
from tuner.errors import Clash, Missing, Refused, Usage
from tuner.samplers import MODELS
from tuner.storage.database import Database
from tuner.studies import study as studies
from tuner.studies.amendment import amend
from tuner.studies.spec import ASKED, OPEN, StudySpec

CHANGED = {key: OTHER[key] for key in OPEN} | {"stop_when": 0.0}


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


@SQLITE
def test_all_that_may_change_changes_at_once_and_the_rest_stays(client: TestClient, make: Make) -> None:
    study = make(3)
    before = client.get("/v1/studies/s").json()
    found = client.patch("/v1/studies/s", json=CHANGED)
    assert found.status_code == 200, found.text
    shown = {key: value for key, value in found.json()["spec"].items() if key in OPEN}
    assert shown == {**CHANGED, "deadline": "2031-05-01T12:00:00.000Z"}
    assert (found.json()["budget"], found.json()["note"], found.json()["tags"]) == (9, CHANGED["note"], CHANGED["tags"])
    assert {k: v for k, v in found.json()["spec"].items() if k not in OPEN} == {
        k: v for k, v in before["spec"].items() if k not in OPEN
    }
    assert found.json()["revision"] > before["revision"]
    assert study.refresh().spec.note == CHANGED["note"]  # as a worker does that has it open
    again = client.patch("/v1/studies/s", json={"timeout": None, "note": ""}).json()["spec"]
    assert (again["timeout"], again["note"], again["trials"]) == (None, "", 9)


@SQLITE
def test_a_running_study_hears_of_another_stopping_rule(make: Make) -> None:
    study = make(3, sampler=MODELS[0])
    other = studies.open_study(study.database, "s")
    amend(other, {"stop_when": 0.25})
    assert study.refresh().spec.stop_when == 0.25


@SQLITE
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "nothing is to be changed: name one of trials"),
        ({"seed": 3}, "seed of a study does not change"),
        ({"trials": 0}, "a whole number from 1"),
        ({"trials": 2}, "trials = 2 is too few: the study has 3 trials already"),
        ({"stop_when": 1.0}, "stop_when = 1 needs a sampler"),
        ({"timeout": -1}, "above 0"),
        ({"tags": [""]}, "a list of at most 20"),
    ],
)
def test_what_must_not_change(client: TestClient, make: Make, stub: None, values: dict[str, Any], said: str) -> None:
    del stub
    study = make(3)
    run(study)
    with pytest.raises(Usage, match=said):
        amend(study, values)
    refused = client.patch("/v1/studies/s", json=values)
    assert refused.status_code == 422
    assert studies.open_study(study.database, "s").definition == study.definition
    if isinstance(values.get("trials"), int) and values["trials"]:
        with pytest.raises(Refused):
            amend(study, values)


@SQLITE
def test_a_larger_budget_goes_on_with_a_finished_study(make: Make, stub: None) -> None:
    del stub
    study = make(2)
    run(study)
    assert study.refresh().shown_state() == "finished"
    assert amend(study, {"trials": 4}).shown_state() == "active"
    run(study)
    assert len(study.trials.all()) == 4
    study.delete()
    with pytest.raises(Missing, match="is gone"):
        amend(study, {"trials": 5})


@SQLITE
def test_one_that_is_being_deleted_does_not_change(make: Make, database: Database) -> None:
    from sqlalchemy import update

    from tuner.storage.tables import StudyRow

    study = make(2)
    database.run(lambda session: session.execute(update(StudyRow).values(state="deleting")))
    with pytest.raises(Clash, match="is being deleted"):
        amend(study, {"trials": 5})


def test_studies_are_found_by_a_tag_and_when_they_are_finished(client: TestClient, make: Make, stub: None) -> None:
    del stub
    tags = {"a": ("night", "β"), "b": ("Night", "50%"), "c": ('"quoted"', "nightly", "a\\b"), "d": ()}
    for name, each in tags.items():
        make(1, name, tags=each)
    run(studies.open_study(make(1, "d").database, "d"))

    def found(**query: str) -> list[str]:
        return sorted(one["name"] for one in client.get("/v1/studies", params=query).json()["items"])

    for tag in {tag for each in tags.values() for tag in each}:
        assert found(tag=tag) == [name for name, each in tags.items() if tag in each]
    assert found(tag="none") == []
    assert found(state="finished") == ["d"]
    assert found(tag="night", state="finished") == []


@pytest.mark.parametrize("over_api", [False, True])
@SQLITE
def test_change_on_the_command_line(
    make: Make, inside: Any, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, over_api: bool
) -> None:
    make(3)
    where = ["--database", database.secret_url]
    if over_api:
        server = pytest.importorskip("benchmarks.browser").Server(database.secret_url, tmp_path)
        where = ["--api", server.address]
    try:
        done = inside("change", "s", "--trials", "9", "--tag", "a", "--tag", "b", "--timeout", "90s", *where)
        assert "study s is active, with" in done.stderr
        assert "tags a, b" in done.stderr
        spec = studies.open_study(database, "s").spec
        assert (spec.trials, spec.tags, spec.timeout, spec.max_failures) == (9, ("a", "b"), 90.0, 3)
        assert json.loads(inside("studies", "--tag", "b", "--json", *where).stdout)
        assert json.loads(inside("studies", "--state", "finished", "--json", *where).stdout) == []
        inside("change", "s", "--tag", "", "--timeout", "none", "--note", "", *where)
        spec = studies.open_study(database, "s").spec
        assert (spec.trials, spec.tags, spec.timeout) == (9, (), None)
        assert "name one of" in inside("change", "s", *where, code=2).stderr
        assert "max_failures" not in inside("change", "s", "--max-failures", "-1", *where, code=2).stderr
        make(1, "t")
        assert "nix" in inside("delete", "s", "nix", "t", "--yes", *where, code=2).stderr
        assert len(json.loads(inside("studies", "--json", *where).stdout)) == 2
        inside("delete", "s", "t", "--yes", *where)
        assert json.loads(inside("studies", "--json", *where).stdout) == []
    finally:
        if over_api:
            server.kill()


def parsed(line: str) -> dict[str, Any]:
    """Settings that a launch of that command line is asked for."""
    heard: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @with_settings(*ASKED)
    def launch(given: Given, study: str = "") -> None:
        heard.update({**given, **({"name": study} if study else {})})

    words = shlex.split(line)
    assert words[:2] == ["tuner", "launch"]
    result = CliRunner().invoke(app, words[2:])
    assert result.exit_code == 0, result.output
    return heard


def test_a_study_cannot_be_given_a_deadline_that_has_passed(make: Make) -> None:
    study = make(2)
    with pytest.raises(Refused, match="has passed: name a time to come"):
        amend(study, {"deadline": "2001-05-01T12:00:00Z"})


def test_the_equivalent_command_line_and_study_file_make_the_same_study(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = {"space": None, "deadline": None}
    for asked in (
        {"technique": "sfb"},
        {**OTHER, **soon},
        {**OTHER, **soon, "first_default": True, "note": "--x 'y' $z"},
    ):
        spec = StudySpec.of(asked)
        found = parsed(command_line("mine", spec))
        assert found.pop("name") == "mine"
        assert StudySpec.of(found) == spec
    late = StudySpec.of({"technique": "sfb", "deadline": time.time() + 3600})
    assert StudySpec.of(parsed(command_line(None, late))).deadline == pytest.approx(late.deadline, abs=60)
    for beyond in ({"space": OTHER["space"]}, {"fixed": {"posterior": "12"}}):
        spec = StudySpec.of({"technique": "mdr" if "space" not in beyond else "sfb", **beyond})
        assert command_line("mine", spec) == "tuner launch --config study.toml"
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        answer = client.post("/v1/study-file", json={**OTHER, "name": "mine"}).json()
        file = tmp_path / "study.toml"
        file.write_text(answer["file"], encoding="utf-8")
        from tuner.studies import study_file

        given = study_file.read(file)
        assert given.pop("name") == "mine"
        assert StudySpec.of(given) == StudySpec.of(OTHER)
        assert client.post("/v1/study-file", json={"technique": "sfb", "trials": 0}).status_code == 422
        assert client.get("/v1/studies").json()["items"] == []
