"""The study under real faults: worker processes killed and frozen, the database server killed, and everything exact after.

`python -m benchmarks.service` does the same at full size.
"""

import subprocess
from pathlib import Path

import pytest
from stub_study import SQLITE, make

from benchmarks.postgres import Postgres
from benchmarks.service import APART, Faults, run
from tuner.storage.database import Database
from tuner.workers import leases as attempts_module
from tuner.workers.leases import Attempts

EXACT = {"gaps": False, "lost": 0, "done_twice": 0, "differs_from_optunas_record": False, "workers_gone": 0}


def exact(found: dict[str, object], trials: int) -> None:
    assert {key: found[key] for key in EXACT} == EXACT, found
    assert found["trials"] == trials
    assert found["states"] == {"complete": trials}, found


@pytest.fixture(scope="module")
def refusal() -> str | None:
    """A sentence that tells why nobody may make a PID namespace here; None if one may."""
    try:
        subprocess.run([*APART, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"this machine lets this user make no PID namespace ({error})"
    return None


@SQLITE
@pytest.mark.timeout(600)
def test_workers_of_one_host_name_in_two_pid_namespaces_leave_each_other_alone(
    url: str, tmp_path: Path, refusal: str | None
) -> None:
    if refusal is not None:
        pytest.skip(refusal)
    found = run(url, tmp_path, 2, 6, Faults(namespaces=True), behaviour="sleep 0.5", lease=60.0)
    exact(found, 6)
    assert found["attempts"] == 6


@pytest.mark.timeout(600)
def test_killed_and_frozen_workers_and_what_befalls_other_studies_cost_a_study_nothing(
    url: str, tmp_path: Path, refusal: str | None
) -> None:
    faults = Faults(kill=2.0, freeze=4.0, delete=0.5, broken=True, namespaces=refusal is None)
    found = run(url, tmp_path, 4, 24, faults, behaviour="sleep 0.3")
    exact(found, 24)
    assert found["broken"] == ["broken", "broken"]
    assert found["deleted"] == faults.counts["delete"] >= 1
    assert min(faults.counts["kill"], faults.counts["freeze"]) >= 1


@pytest.mark.timeout(600)
def test_a_database_server_that_is_killed_and_restarted_loses_nothing(tmp_path: Path) -> None:
    server = Postgres()
    try:
        faults = Faults(restart=6.0)
        found = run(server.url, tmp_path, 3, 24, faults, server, behaviour="sleep 0.3")
        exact(found, 24)
        assert faults.counts["restart"] >= 1
    finally:
        server.close()


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    study = make(database, tmp_path, 2)
    held = Attempts(study, "a").claim()
    assert held is not None
    clock = database.clock
    monkeypatch.setattr(database, "clock", lambda session: clock(session) + jump)
    monkeypatch.setattr(attempts_module, "RENEWAL_SECONDS", 0.0)  # a database that answers late would spare the leases
    other = Attempts(study, "b").claim()
    assert other is not None
    if jump > 0:  # every lease is over: taken early, fenced, and done once
        assert other.number == held.number
        with pytest.raises(attempts_module.LeaseLost):
            Attempts(study, "a").finish(held, "complete", value=1.0, values=[1.0])
    else:  # the lease holds for longer than it should, and its holder goes on
        assert other.number == 1
        assert Attempts(study, "a").renew(held) is None
    Attempts(study, "b").finish(other, "complete", value=2.0, values=[2.0])
    assert [t.value for t in study.trials.all() if t.state == "complete"] == [2.0]
