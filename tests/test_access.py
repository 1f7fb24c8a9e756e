"""One door to studies: what a database's twin and a server's do and answer is the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from api_server import application
from fastapi.testclient import TestClient
from stub_study import SQLITE, make
from test_confirmation import fill, metrics

from api import schemas
from tuner import client as clients
from tuner.client import Client
from tuner.errors import Clash, Missing, Usage
from tuner.storage.database import Database
from tuner.studies import answers
from tuner.studies.access import DatabaseStudies, Studies
from tuner.studies.study import Study

pytestmark = pytest.mark.usefixtures("stub")


class InProcess(Client):
    """A client whose server is the application in this process."""

    def __init__(self, there: TestClient) -> None:
        super().__init__("http://127.0.0.1")
        self.there = there

    def _answer(self, method: str, path: str, body: Any = None, *more: Any) -> Any:
        answer = self.there.request(method, f"/v1/{path}", json=body)
        if answer.status_code >= 400:
            found = answer.json()
            raise clients.ERRORS.get(answer.status_code, Usage)(found["detail"], found["field"])
        return answer.json() if answer.content else None


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    made = make(database, tmp_path, 5)
    fill(made, metrics(101.0), metrics(99.0, rate=7.0), metrics(100.0), None)
    return made


@pytest.fixture(params=["database", "server"])
def studies(
    request: pytest.FixtureRequest, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Studies]:
    with TestClient(application(study.database, tmp_path, monkeypatch), "http://127.0.0.1") as there:
        yield DatabaseStudies(study.database) if request.param == "database" else InProcess(there)


@SQLITE
def test_a_study_and_its_trials(studies: Studies, study: Study) -> None:
    found = studies.study("s")
    assert found == json.loads(json.dumps(answers.study(study, "grammar", False)))
    assert [each["name"] for each in studies.studies()] == ["s"]
    assert list(studies.studies(technique="mdr")) == []
    (short,) = studies.studies(technique="sfb", state="active")
    assert short == {key: found[key] for key in answers.Summary.__annotations__}  # type: ignore[literal-required]
    assert [t.number for t in studies.trials("s")] == [0, 1, 2, 3]
    assert [t.number for t in studies.trials("s", order="-nll", where="nll > 99.5")] == [0, 2]
    assert [t.number for t in studies.trials("s", state="complete")] == [0, 1, 2]
    assert list(studies.trials("s")) == study.trials()
    assert studies.trial("s", 1) == (study.trial(1), [])
    assert list(studies.epochs("s", 1)) == study.epoch_page(1, 10)


@SQLITE
def test_what_is_asked_of_it_is_done(studies: Studies, study: Study) -> None:
    assert studies.change("s", trials=9, tags=["night"])["budget"] == 9
    assert [each["name"] for each in studies.studies(tag="night")] == ["s"]
    assert list(studies.studies(tag="day")) == []
    assert studies.stop("s")["state"] == "stopped"
    assert studies.stop("s")["why"] == "stopped by the user"
    assert studies.start("s")["state"] in ("active", "finished")
    assert studies.enqueue("s", {"r": 4.0}).params["r"] == 4.0
    assert studies.strike("s", 1, "it was odd").state == "failed"
    assert study.trial(1).message == "struck out, it was complete: it was odd"
    studies.delete("s")
    assert list(studies.studies()) == []


@SQLITE
def test_a_study_is_made_once(studies: Studies) -> None:
    asked = {
        "technique": "sfb",
        "trials": 3,
        "name": "n",
        "sampler": "random",
        "note": "a first try",
        "tags": ["a", "b"],
    }
    made = studies.create(**asked)
    assert (made["name"], made["budget"], made["spec"]["note"], made["spec"]["tags"]) == (
        "n",
        3,
        "a first try",
        ["a", "b"],
    )
    assert studies.create(**asked)["created_at"] == made["created_at"]
    with pytest.raises(Clash, match="exists with another sampler") as clash:
        studies.create(**{**asked, "sampler": "tpe"})
    assert clash.value.field == "sampler"
    with pytest.raises(Clash, match="exists with trials = 3, not 4") as clash:
        studies.create(**{**asked, "trials": 4})
    assert clash.value.field == "trials"


@SQLITE
def test_what_is_not_there_or_not_allowed(studies: Studies) -> None:
    for ask in (
        lambda: studies.study("nix"), lambda: studies.stop("nix"), lambda: studies.delete("nix"),
        lambda: studies.trial("s", 99), lambda: list(studies.epochs("s", 99)), lambda: studies.strike("s", 99, "why"),
    ):  # fmt: skip
        with pytest.raises(Missing):
            ask()
    with pytest.raises(Usage, match="must be 1 to 30") as refused:
        studies.enqueue("s", {"r": 99.0})
    assert refused.value.field == "params.r"
    with pytest.raises(Usage, match="is no column"):
        list(studies.trials("s", order="colour"))


@pytest.mark.parametrize("name", ["Best", "Summary", "Study", "Attempt"])
def test_the_contract_of_the_api_is_of_these_fields(name: str) -> None:
    assert get_type_hints(getattr(answers, name)).keys() == getattr(schemas, name).model_fields.keys()
