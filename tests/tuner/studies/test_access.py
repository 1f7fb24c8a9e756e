"""One door to studies: what a database's twin and a server's do and answer is the same."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import confirmed, fill, metrics
from stub_study import SQLITE, make

from api import schemas
from tuner import connection
from tuner.analysis.access import Analysis, DatabaseAnalysis
from tuner.client import Client
from tuner.errors import Clash, Missing, Usage
from tuner.storage.database import Database
from tuner.studies import answers
from tuner.studies.access import DatabaseStudies, Studies
from tuner.studies.study import Study
from tuner.workers.broker import DatabaseBroker

pytestmark = pytest.mark.usefixtures("stub")


class InProcess(Client):
    """A client whose server is the application in this process."""

    def __init__(self, there: TestClient) -> None:
        super().__init__("http://127.0.0.1")
        self.there = there

    def _answer(self, method: str, path: str, body: Any, headers: Any, read: Any) -> Any:
        answer = self.there.request(method, f"/v1/{path}", json=body)
        if answer.status_code >= 400:
            found = answer.json()
            raise connection.ERRORS.get(answer.status_code, Usage)(found["detail"], found["field"])
        return read(io.BytesIO(answer.content))


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    made = make(database, tmp_path, 5)
    held = metrics(101.0, target_rate=5.0, rate_error=0.25)
    fill(made, held, metrics(99.0, rate=7.0), metrics(100.0), None)
    return made


@pytest.fixture
def client(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with TestClient(application(study.database, tmp_path, monkeypatch), "http://127.0.0.1") as there:
        yield InProcess(there)


@pytest.fixture(params=["database", "server"])
def studies(request: pytest.FixtureRequest, study: Study, client: Client) -> Studies:
    return DatabaseStudies(study.database) if request.param == "database" else client


@pytest.fixture(params=["database", "server"])
def analysis(request: pytest.FixtureRequest, study: Study, client: Client, tmp_path: Path) -> Analysis:
    confirmed(study.database, study, tmp_path)
    return DatabaseAnalysis(study.database) if request.param == "database" else client


@SQLITE
def test_figures_of_studies(analysis: Analysis, study: Study) -> None:
    front = analysis.pareto([])  # of all, which a confirmation is not
    assert [(own["study"], own["text"], own["number"]) for own in front["studies"]] == [
        ("s", study.facts.text, [0, 1, 2])
    ]
    assert front == json.loads(json.dumps(analysis.pareto(["s"], "rate", "ppl", "valid")))
    (line,) = analysis.rates(["s"])["series"]
    assert (line["studies"], line["target"], line["rate_error"]) == (["s"], [5.0], [0.25])
    found = analysis.compare(["s/0", "s/1"])
    assert [run["run"] for run in found["runs"]] == ["s/0", "s/1"]
    assert next(each["values"] for each in found["figures"] if each["key"] == "nll") == [101.0, 99.0]
    curves = analysis.curves("s", "rate")
    assert (curves["figure"], curves["number"], curves["value"]) == ("rate", [], [])  # no trial has told an epoch
    with pytest.raises(Usage, match="figure 'beta' has no curve in study 's'"):
        analysis.curves("s", "beta")
    rows = list(csv.DictReader(io.StringIO(analysis.export("s"))))
    assert [(row["number"], row["nll"]) for row in rows] == [("0", "101.0"), ("1", "99.0"), ("2", "100.0"), ("3", "")]
    assert json.loads(analysis.export("s", "json"))["name"] == "s"
    with pytest.raises(Missing, match="nothere"):
        analysis.export("nothere")
    with pytest.raises(Missing, match="nothere"):
        analysis.pareto(["nothere"])


@SQLITE
def test_workers_and_logs(studies: Studies, study: Study) -> None:
    assert list(studies.workers()) == []
    DatabaseBroker(study.database, "w").enter("cpu", lambda _: None, print)
    (worker,) = studies.workers()
    assert (worker["name"], worker["state"], worker["seen_at"][-1:]) == ("w", "idle", "Z")
    assert "process" not in worker
    with pytest.raises(Missing, match="no log"):
        studies.log("s", 1)


@SQLITE
def test_a_study_and_its_trials(studies: Studies, study: Study) -> None:
    found = studies.study("s")
    assert found == json.loads(json.dumps(answers.study_here(study)))
    assert [each["name"] for each in studies.studies()] == ["s"]
    assert list(studies.studies(technique="mdr")) == []
    (short,) = studies.studies(technique="sfb", state="active")
    assert short == {key: found[key] for key in answers.Summary.__annotations__}  # type: ignore[literal-required]
    assert [t.number for t in studies.trials("s")] == [0, 1, 2, 3]
    assert [t.number for t in studies.trials("s", order="-nll", where="nll > 99.5")] == [0, 2]
    assert [t.number for t in studies.trials("s", state="complete")] == [0, 1, 2]
    assert list(studies.trials("s")) == study.trials.all()
    assert studies.trial("s", 1) == (study.trials.get(1), [])
    assert list(studies.epochs("s", 1)) == study.trials.epochs(1, 10)


@SQLITE
def test_what_is_asked_of_it_is_done(studies: Studies, study: Study) -> None:
    assert studies.change("s", trials=9, tags=["night"])["budget"] == 9
    assert [each["name"] for each in studies.studies(tag="night")] == ["s"]
    assert list(studies.studies(tag="day")) == []
    assert studies.stop("s")["state"] == "stopped"
    assert studies.stop("s")["why"] == "stopped by the user"
    assert studies.strike("s", 1, "it was odd").state == "failed"
    assert study.trials.get(1).message == "struck out, it was complete: it was odd"
    studies.delete("s")
    assert list(studies.studies()) == []


@SQLITE
def test_a_study_goes_on_and_takes_a_trial(client: Client) -> None:
    assert client.stop("s")["state"] == "stopped"
    assert client.start("s")["state"] == "active"
    assert client.enqueue("s", {"r": 4.0}).params["r"] == 4.0
    with pytest.raises(Usage, match="must be 1 to 30") as refused:
        client.enqueue("s", {"r": 99.0})
    assert refused.value.field == "params.r"


@SQLITE
def test_a_study_is_made_once(client: Client) -> None:
    asked = {
        "technique": "sfb",
        "trials": 3,
        "name": "n",
        "sampler": "random",
        "note": "a first try",
        "tags": ["a", "b"],
    }
    made = client.create(**asked)
    assert (made["name"], made["budget"], made["spec"]["note"], made["spec"]["tags"]) == (
        "n",
        3,
        "a first try",
        ["a", "b"],
    )
    assert client.create(**asked)["created_at"] == made["created_at"]
    with pytest.raises(Clash, match="exists with another sampler") as clash:
        client.create(**{**asked, "sampler": "tpe"})
    assert clash.value.field == "sampler"
    with pytest.raises(Clash, match="or give the first one more trials"):
        client.create(**{**asked, "sampler": "tpe", "trials": 4})
    with pytest.raises(Clash, match="exists with trials = 3, not 4") as clash:
        client.create(**{**asked, "trials": 4})
    assert clash.value.field == "trials"


@SQLITE
def test_what_is_not_there_or_not_allowed(studies: Studies) -> None:
    for ask in (
        lambda: studies.study("nix"), lambda: studies.stop("nix"), lambda: studies.delete("nix"),
        lambda: studies.trial("s", 99), lambda: list(studies.epochs("s", 99)), lambda: studies.strike("s", 99, "why"),
    ):  # fmt: skip
        with pytest.raises(Missing):
            ask()
    with pytest.raises(Usage, match="is no column"):
        list(studies.trials("s", order="colour"))


@pytest.mark.parametrize("name", ["Best", "Summary", "Study", "Attempt"])
def test_the_contract_of_the_api_is_of_these_fields(name: str) -> None:
    assert get_type_hints(getattr(answers, name)).keys() == getattr(schemas, name).model_fields.keys()
