"""Code that a bundle names is imported by nobody who was not asked to."""

from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient
from sqlalchemy import update
from stub_study import make

from tuner.commands.app import app
from tuner.errors import Clash, Fault
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies.bundle import opened, pack, unpack
from tuner.studies.study import Study
from tuner.workers.leases import Attempts

CODE = """
from pathlib import Path
from optuna.samplers import RandomSampler

Path(__file__).with_name("imported").touch()


class Sampler(RandomSampler):
    pass
"""


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once the sampler's module has been imported."""
    (tmp_path / "foreign_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "foreign_code", raising=False)
    return tmp_path / "imported"


@pytest.fixture
def study(tmp_path: Path, imported: Path) -> Study:
    """One that came in a bundle."""
    made = make(Database(f"sqlite:///{tmp_path}/theirs.db", create=True), tmp_path, sampler="foreign_code:Sampler")
    made.end("stopped", "enough")
    pack(made, tmp_path / "s.zip")
    ours = Database(f"sqlite:///{tmp_path}/ours.db", create=True)
    return unpack(ours, opened(tmp_path / "s.zip"), tmp_path / "runs")


def test_a_bundles_sampler_is_imported_only_after_it_was_asked_for(study: Study, imported: Path) -> None:
    with pytest.raises(Clash, match="look at it, then have it imported") as caught:
        study.resume()
    assert caught.value.command == "tuner resume s --load-sampler"
    place = ("--workers", "0", "--database", study.database.secret_url)
    with pytest.raises(Clash, match="came in a bundle"):
        app(["resume", "s", *place], standalone_mode=False)
    activate(study)  # however it came to be
    with pytest.raises(Fault, match="code that came with a bundle"):
        Attempts(study, "w").claim()
    assert not imported.exists()
    app(["resume", "s", "--load-sampler", *place], standalone_mode=False)
    study.resume(load_sampler=True)
    assert Attempts(study, "w").claim() is not None
    assert imported.exists()


def test_the_server_imports_no_sampler(
    study: Study, imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(application(study.database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        refused = client.post("/v1/studies/s/start")
        assert (refused.status_code, "on the command line alone" in refused.json()["detail"]) == (409, True)
        assert "--" not in refused.json()["detail"]
        study.resume(load_sampler=True)
        refused = client.post("/v1/studies/s/ask", json={"worker": "far"})
        assert (refused.status_code, "a request imports no code" in refused.json()["detail"]) == (409, True)
        for path in ("", "/trials", "/importance", "/export"):
            assert client.get(f"/v1/studies/s{path}").status_code == 200
        assert client.post("/v1/studies/s/trials", json={"params": {"r": 5}}).status_code == 201
    assert not imported.exists()


def activate(study: Study) -> None:
    study.database.run(lambda session: session.execute(update(StudyRow).values(state="active")))
