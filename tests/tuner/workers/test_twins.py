"""A database and a server before it give a worker all that it needs: one contract for both."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from stub_study import SQLITE, Make, attempts_of, expire, states

from trainers.contract import BEST, FILES, LATEST, LOG, SAMPLES
from tuner.client import Client
from tuner.metrics import METRICS
from tuner.storage.artifacts import Damaged, Store
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import queries
from tuner.studies.amendment import amend
from tuner.studies.pruners import PRUNERS
from tuner.workers.broker import DatabaseBroker
from tuner.workers.claims import Broker, Claim, LeaseLost, Leases, Stop
from tuner.workers.distant import ServerBroker
from tuner.workers.places import Owner

pytestmark = SQLITE
ESTIMATOR = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 0, "split": "valid"}
FIGURES = {"nll": 10.0, "ppl": 2.0, "rate": 1.0, "distortion": 9.0, "neg_elbo": 10.0}
FOUND = {**dict.fromkeys(METRICS), **FIGURES, "collapsed": False, "estimator": ESTIMATOR}
COST = {"epochs": 1, "tokens_per_second": 5.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}
EPOCH = {"distortion": 1.0, "rate": 2.0, "neg_elbo": 3.0, "active_units": 4, "seconds": 0.1, "objective_beta": 0.5}
Known = Callable[[str], Broker]


@pytest.fixture(params=["database", "server"])
def broker_of(request: pytest.FixtureRequest, database: Database) -> Known:
    """Broker of a worker of that name."""
    if request.param == "server":
        client = Client(request.getfixturevalue("address"))
        return lambda name: ServerBroker(client, name)
    return lambda name: DatabaseBroker(database, name)


def claimed(leases: Leases) -> Claim:
    found = leases.claim()
    assert found is not None
    return found


def complete(leases: Leases, claim: Claim, **more: Any) -> None:
    leases.finish(claim, "complete", **leases.outcome(FOUND), cost=COST, **more)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Folder that a trainer left."""
    folder = tmp_path / "left"
    folder.mkdir()
    for name, content in ((LATEST, b"x" * 5000), (SAMPLES, b'{"samples": []}'), (LOG, b"said\n")):
        (folder / name).write_bytes(content)
    return folder


def test_a_claim_tells_all_that_a_training_needs(broker_of: Known, make: Make) -> None:
    study = make(2, fixed={"gamma": 1.1, "max_epochs": 3}, timeout=60.0)
    leases = broker_of("w").open("s")
    assert (leases.created_at, leases.pruner) == (pytest.approx(study.created_at, abs=0.001), "none")

    claim = claimed(leases)
    (trial,) = study.trials.all()
    assert (claim.study, claim.number, claim.attempt, claim.artifacts, claim.seconds) == ("s", 0, 0, None, 0.0)
    assert (claim.params, claim.timeout, claim.folder) == (trial.params, 60.0, "0000")
    assert claim.spec == study.definition.run_spec(0, trial.params)
    assert claim.given == study.definition.given(trial.params)
    assert claim.given["gamma"] == 1.1
    assert {claimed(leases).number, claim.number} == {0, 1}
    assert leases.claim(threading.Event()) is None


def test_figures_and_the_end_are_kept(broker_of: Known, make: Make, database: Database) -> None:
    study, leases = make(3), broker_of("w").open("s")
    claim = claimed(leases)
    leases.record(claim, [{"epoch": 1, **EPOCH}, {"epoch": 2, **EPOCH, "rate": None}])
    leases.record(claim, [{"epoch": 1, **EPOCH, "rate": 2.5}])
    assert [(e["epoch"], e["rate"], e["objective"]) for e in study.trials.epochs(0, 9)] == [
        (1, 2.5, {"beta": 0.5}), (2, None, {"beta": 0.5}),
    ]  # fmt: skip
    for _ in range(2):  # the word of it may be lost
        complete(leases, claim)
    (trial,) = study.trials.all()
    assert (trial.state, trial.value, trial.cost) == ("complete", 10.0, COST)
    assert trial.metrics is not None
    assert {key: trial.metrics[key] for key in FIGURES} == FIGURES
    claim = claimed(leases)
    assert [leases.fail(claim, "nan", "it diverged.") for _ in range(2)] == [True, True]
    claim = claimed(leases)
    assert leases.fail(claim, "preempted", "the machine goes.") is False
    leases.finish(claimed(leases), "pruned", reason="pruned", message="by x.")
    assert [(t.state, t.reason, t.message) for t in study.trials.all()][1:] == [
        ("failed", "nan", "it diverged."), ("pruned", "pruned", "by x."),
    ]  # fmt: skip
    assert [a.state for a in attempts_of(database)] == ["finished", "failed", "interrupted", "finished"]


def test_who_has_lost_its_trial_is_refused_all(broker_of: Known, make: Make, database: Database, work: Path) -> None:
    study, leases, other = make(1), broker_of("a").open("s"), broker_of("b").open("s")
    claim = claimed(leases)
    expire(database)
    newer = claimed(other)
    assert (newer.number, newer.attempt) == (0, 1)
    generation = f"0000/{claim.token[:8]}-1"
    for late in (
        lambda: leases.renew(claim),
        lambda: leases.record(claim, [{"epoch": 1, **EPOCH}]),
        lambda: leases.publish(claim, generation),
        lambda: complete(leases, claim),
        lambda: leases.fail(claim, "nan", "late"),
    ):
        with pytest.raises(LeaseLost, match="gone to another worker"):
            late()
    assert other.renew(newer) is None
    assert study.trials.epochs(0, 9) == []
    complete(other, newer)
    assert states(study) == ["complete"]


def test_files_are_handed_on(broker_of: Known, make: Make, database: Database, work: Path, tmp_path: Path) -> None:
    study, leases, other = make(1), broker_of("a").open("s"), broker_of("b").open("s")
    claim = claimed(leases)
    files, place = leases.files(claim), Path(study.files.store.address, "0000")
    files.probe(f"0000/{claim.token[:8]}-1", None)
    assert not place.exists() or list(place.iterdir()) == []
    for count in (2, 3):
        generation = f"0000/{claim.token[:8]}-{count}"
        files.publish(work, generation, [name for name in FILES if name != LOG])
        assert study.files.samples(0) == (None if count == 2 else {"samples": []})
        leases.publish(claim, generation, patience=0.0)
        assert [folder.name for folder in place.iterdir()] == [generation.partition("/")[2]]
    assert study.files.read(0, LOG) is None
    expire(database)
    heir = claimed(other)
    assert heir.artifacts == generation
    taken = other.files(heir)
    taken.probe(f"0000/{heir.token[:8]}-1", heir.artifacts)
    taken.fetch(generation, tmp_path / "b")
    assert {f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()} == {
        name: (work / name).read_bytes() for name in (LATEST, SAMPLES)
    }
    (place / generation.partition("/")[2] / LATEST).unlink()
    (place / generation.partition("/")[2] / LATEST).write_bytes(b"rotten")
    with pytest.raises(Damaged, match="is not what was published"):
        taken.fetch(generation, tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []
    last = f"0000/{heir.token[:8]}-2"
    taken.publish(work, last, FILES)
    complete(other, heir, artifacts=last)
    assert study.files.log(0, 99) == "said\n"
    assert [folder.name for folder in place.iterdir()] == [last.partition("/")[2]]


def test_a_checkpoint_is_of_one_moment_though_its_trainer_goes_on(
    broker_of: Known, make: Make, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(1)
    leases = broker_of("w").open("s")
    claim = claimed(leases)

    def go_on(epoch: str) -> None:
        for name in (BEST, LATEST):
            (work / "next").write_text(epoch)
            (work / "next").replace(work / name)

    for kind, way in ((Store, "_put"), (Client, "send_file")):
        send = getattr(kind, way)

        def slow(*given: Any, send: Callable[..., Any] = send) -> Any:
            sent = send(*given)
            go_on("2")
            return sent

        monkeypatch.setattr(kind, way, slow)
    go_on("1")
    files, generation = leases.files(claim), f"0000/{claim.token[:8]}-1"
    files.publish(work, generation, [BEST, LATEST])
    leases.publish(claim, generation)
    files.fetch(generation, tmp_path / "back")
    assert [(tmp_path / "back" / name).read_text() for name in (BEST, LATEST)] == ["1", "1"]


def test_a_store_out_of_reach_is_an_os_error(broker_of: Known, make: Make, work: Path) -> None:
    study, leases = make(1), broker_of("w").open("s")
    claim = claimed(leases)
    files, store = leases.files(claim), Path(study.files.store.address)
    store.rename(store.with_name("aside"))
    store.write_text("no folder")
    for fail in (
        lambda: files.probe(f"0000/{claim.token[:8]}-1", None),
        lambda: files.publish(work, f"0000/{claim.token[:8]}-2", FILES),
    ):
        with pytest.raises(OSError, match=r"[Dd]irectory|exists"):
            fail()
    assert leases.fail(claim, "disk", "its files cannot be written.") is False
    assert states(study) == ["waiting"]


def test_why_a_training_must_end_is_heard(broker_of: Known, make: Make, database: Database) -> None:
    study, leases = make(2, pruner="median"), broker_of("w").open("s")
    claim = claimed(leases)
    assert (leases.renew(claim), leases.is_poor(claim)) == (None, False)
    study.end("stopped", "stopped by the user")
    assert leases.renew(claim) == Stop("user", "stopped by the user")
    assert leases.claim() is None
    study.resume()
    assert leases.renew(claim) is None


def test_the_newest_time_limit_of_a_study_counts_for_trials_under_way(
    broker_of: Known, make: Make, database: Database
) -> None:
    study, leases = make(1, timeout=60.0), broker_of("w").open("s")
    claim = claimed(leases)
    database.run(lambda s: s.execute(update(TrialRow).values(started_at=TrialRow.started_at - 65.0)))
    assert leases.renew(claim) == Stop("timeout", "it took longer than its 60 s.")
    amend(study, {"timeout": 3600.0})
    assert leases.renew(claim) is None
    amend(study, {"timeout": 50.0})
    assert leases.renew(claim) == Stop("timeout", "it took longer than its 50 s.")
    amend(study, {"timeout": None})
    assert leases.renew(claim) is None


def test_a_poor_trial_is_told(broker_of: Known, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(2, pruner="median")
    leases = broker_of("w").open("s")
    monkeypatch.setitem(PRUNERS, "median", lambda mine, _: mine.epochs[-1][0] == 2)
    claim = claimed(leases)
    for epoch, poor in ((1, False), (2, True), (3, False)):
        leases.record(claim, [{"epoch": epoch, **EPOCH}])
        assert leases.is_poor(claim) == poor


def test_studies_that_hand_out_trials_are_known(broker_of: Known, make: Make, database: Database) -> None:
    one, two, three = make(2, "one"), make(2, "two"), make(2, "three")
    broker = broker_of("w")
    broker.check()
    claimed(broker.open("one"))
    three.end("stopped", "stopped by the user")
    assert broker.active(()) == ["two", "one"]
    assert broker.active(["one", "three"]) == ["one"]
    assert (broker.count((), ("running",)), broker.count(["two"], ("running", "waiting"))) == (1, 0)
    assert (broker.blame("two", "its store is away."), broker.blame("three", "x."), broker.blame("gone", "x.")) == (
        True, False, False,
    )  # fmt: skip
    assert broker.is_awaited(Owner("", "one", one.created_at, 0))
    assert not broker.is_awaited(Owner("", "one", one.created_at + 9.0, 0))
    assert not broker.is_awaited(Owner("", "gone", one.created_at, 0))
    assert two.trials.all() == []
    broker.rest()


def test_a_worker_comes_and_goes(
    broker_of: Known, make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(1)
    broker, said = broker_of("w"), list[str]()
    broker.enter("cuda:0", lambda _: None, said.append)
    assert broker.open("s").claim() is not None
    assert [(w["name"], w["device"], w["state"]) for w in queries.workers(database)] == [("w", "cuda:0", "training")]
    broker.leave()
    assert [w["state"] for w in queries.workers(database)] == ["gone"]
    assert said == []
