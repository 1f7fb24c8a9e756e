"""Revisions: whatever changes a study is counted, and a reader that knows a revision misses nothing, on both databases."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from stub_study import attempts_of, expire, make

from tuner.errors import Clash, Usage
from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies import changes as revisions
from tuner.studies.optuna_bridge import History, as_optuna
from tuner.workers.leases import Attempts

FIGURES = {"distortion": 1.0, "rate": 2.0, "neg_elbo": 3.0, "active_units": 4, "seconds": 0.1, "objective_beta": 0.5}


def test_every_change_is_counted_and_stamped(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 3)
    seen = [study.revision]
    trials: list[list[int]] = []

    def look() -> None:
        found = revisions.changes(database, "s", seen[-1])
        assert found is not None
        assert found.until == found.study.revision
        assert found.until > seen[-1]
        seen.append(found.until)
        trials.append([trial.number for _, trial in found.trials])

    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    look()
    attempts.record(claim, [{"epoch": 1, **FIGURES}])
    look()
    attempts.fail(claim, "lost", "gone.")
    look()
    claim = attempts.claim()
    assert claim is not None
    look()
    expire(database)
    again = Attempts(study, "other").claim()
    assert again is not None
    look()
    Attempts(study, "other").finish(again, "complete", value=1.0)
    look()
    study.end("stopped", "enough")
    look()
    study.resume()
    look()
    study.trials.enqueue({"r": 3})
    look()
    assert trials == [[0], [], [0], [0], [0], [0], [], [], [1]]
    assert [a.state for a in attempts_of(database)] == ["lost", "lost", "finished"]


def test_what_changes_nothing_is_not_counted(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 3)
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    before = study.refresh().revision
    attempts.renew(claim)
    attempts.publish(claim, "0000/x")
    study.trials.all()
    assert study.refresh().revision == before
    study.end("stopped", "enough")
    stopped = study.refresh().revision
    study.end("stopped", "again")
    assert study.refresh().revision == stopped > before


def test_a_later_study_of_the_same_name_goes_on_counting(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    study.end("stopped", "enough")
    before = study.revision
    study.delete()
    assert revisions.changes(database, "s", 0) is None
    assert make(database, tmp_path).revision > before


def test_a_reader_misses_no_epoch_of_many_writers(database: Database, tmp_path: Path) -> None:
    """Revisions come in the order of the commits: else one that is committed late would lie behind the reader."""
    writers, epochs = 6, 25
    study = make(database, tmp_path, writers)
    claims = [(attempts, attempts.claim()) for attempts in (Attempts(study, f"w{n}") for n in range(writers))]
    over = threading.Event()
    found: list[tuple[int, int]] = []
    stamps: list[int] = []

    def write(attempts: Attempts, claim: Any) -> None:
        for epoch in range(1, epochs + 1):
            attempts.record(claim, [{"epoch": epoch, **FIGURES}], patience=60.0)

    def read() -> None:
        cursor, last = 0, False
        while True:
            last = over.is_set()
            changes = revisions.changes(database, "s", cursor, limit=7)
            assert changes is not None
            found.extend((number, figures["epoch"]) for _, number, figures in changes.epochs)
            stamps.extend(revision for revision, _, _ in changes.epochs)
            cursor = changes.until
            if last and changes.until == changes.study.revision:
                return

    reader = threading.Thread(target=read)
    threads = [threading.Thread(target=write, args=pair) for pair in claims]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    assert sorted(found) == [(n, e) for n in range(writers) for e in range(1, epochs + 1)]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)


def test_pages_of_changes_keep_a_revision_whole(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    attempts = Attempts(study, "w")
    claim = attempts.claim()
    assert claim is not None
    attempts.record(claim, [{"epoch": n, **FIGURES} for n in range(1, 8)])
    attempts.record(claim, [{"epoch": n, **FIGURES} for n in range(8, 10)])
    cursor, pages = 0, []
    while True:
        found = revisions.changes(database, "s", cursor, limit=3)
        assert found is not None
        pages.append([figures["epoch"] for _, _, figures in found.epochs])
        cursor = found.until
        if found.until == found.study.revision:
            break
    assert [page for page in pages if page] == [list(range(1, 8)), [8, 9]]


def test_an_enqueued_configuration_is_tried_next_and_grows_a_spent_budget(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path, 1)
    attempts = Attempts(study, "w")
    first = attempts.claim()
    assert first is not None
    attempts.finish(first, "complete", value=1.0)
    made = study.trials.enqueue({"r": 7, "alpha": 0.02})
    defaults = {p.name: p.default for p in study.facts.space.searched({})}
    assert made.params == {**defaults, "r": 7.0, "alpha": 0.02}
    assert (made.number, made.state, study.refresh().spec.trials) == (1, "waiting", 2)
    claim = attempts.claim()
    assert claim is not None
    assert (claim.number, claim.params) == (1, made.params)
    assert attempts.claim() is None
    assert [t.number for t in as_optuna(study).trials] == [0, 1]


def test_an_asker_gives_way_to_what_is_enqueued_meanwhile(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(database, tmp_path, 2)
    attempts, ask = Attempts(study, "w"), History.ask

    def enqueue_first(history: History, number: int) -> Any:
        monkeypatch.setattr(History, "ask", ask)
        study.trials.enqueue({"r": 2})
        return ask(history, number)

    monkeypatch.setattr(History, "ask", enqueue_first)
    claims = [claim for claim in (attempts.claim(), attempts.claim()) if claim is not None]
    assert [claim.number for claim in claims] == [0, 1]
    assert claims[0].params["r"] == 2.0
    with database.engine.connect() as connection:
        assert connection.execute(select(TrialRow.number).order_by(TrialRow.number)).all() == [(0,), (1,)]


@pytest.mark.parametrize(("params", "field"), [({"r": 99}, "params.r"), ({"nix": 1}, "params.nix")])
def test_what_cannot_be_enqueued(database: Database, tmp_path: Path, params: dict[str, Any], field: str) -> None:
    study = make(database, tmp_path)
    with pytest.raises(Usage) as refused:
        study.trials.enqueue(params)
    assert refused.value.field == field


def test_what_is_being_deleted_takes_nothing(database: Database, tmp_path: Path) -> None:
    study = make(database, tmp_path)
    study.end("deleting", "")
    with pytest.raises(Clash, match="is being deleted"):
        study.trials.enqueue({})
    assert database.read(lambda s: s.scalars(select(EpochRow)).all()) == []
