"""Making a study, or going on with one of this name and definition."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.errors import Clash, Fault
from tuner.space import Space
from tuner.storage import locations, optuna_tables
from tuner.storage.artifacts import Store
from tuner.storage.database import Database
from tuner.storage.tables import LOCK, StudyRow, revise
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.optuna_bridge import History
from tuner.studies.spec import CHANGEABLE, SETTINGS, Corpus, Definition, StudySpec
from tuner.studies.study import Study
from tuner.studies.trials import SOURCE, revive


def go_on(
    database: Database, name: str, wanted: Definition, runs: Path, artifacts: str | None = None, keep: bool = False
) -> Study:
    """Creates the study, or goes on with it if it differs in nothing but its budget and rules.

    Its files go to `artifacts` (an address with a protocol), or to a folder of its own in `runs`.

    Args:
        keep: has a study that is there stay as it is.

    Raises:
        Usage: if a study of that name is another one, or has its files elsewhere than in the `artifacts` that are asked for; with
            `keep`, if it has another budget or other rules.
    """
    assert database.storage is not None  # Optuna's tables are there
    unique = f"{name}-{secrets.token_hex(3)}"
    folder = locations.new(database, runs, unique, artifacts)

    def enter(session: Any) -> StudyRow:
        used = optuna_tables.enrol(session, name, OBJECTIVES[wanted.spec.objective])
        row: StudyRow | None = session.get(StudyRow, name, with_for_update=LOCK)
        now = database.clock(session)
        if row is None:
            if used:
                raise _not_ours(database, name)
            _make(Store(locations.found(database, folder)), "name another folder")
            row = StudyRow(
                name=name,
                specification=wanted.stored(),
                budget=wanted.spec.trials,
                folder=folder,
                rules=wanted.rules(),
                created_at=now,
                revision=int(now * 1000),
            )
            session.add(row)
            session.flush()
            if wanted.spec.first_default:
                _begin(Study(database, row), session)
            return row
        earlier = _permitted(database, row, wanted, artifacts, keep)
        if keep:
            return row
        row.budget = max(row.budget, wanted.spec.trials)  # another worker may be at it
        # Nobody asks for a confirmation's rules when it is made: they are those that `tuner change` gave it.
        row.rules = {**row.rules, "deadline": None} if wanted.spec.confirms else wanted.rules()
        satisfied = row.state == "satisfied" and wanted.spec.stop_when == earlier.spec.stop_when
        row.specification = going_on(earlier, wanted).stored()
        if not satisfied:
            revive(row, database.clock(session))
        revise(session, name)
        return row

    row = database.run(enter)
    study = Study(database, row)
    if keep and row.folder != folder:
        return study
    study.files.check()
    _make(study.files.store, f"put it back, or make the study anew after `tuner delete {name}`")
    return study


def _make(store: Store, remedy: str) -> None:
    """Makes a store's folder.

    Raises:
        Fault: if it cannot be made.
    """
    if store.local:
        folder = Path(store.address)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fault(
                f"the folder {folder.parent} for runs cannot be written ({error.strerror}): {remedy}."
            ) from error


def go_on_each(
    database: Database, wanted: Mapping[str, Definition], runs: Path, artifacts: str | None = None
) -> list[Study]:
    """As `go_on` for studies by their names; none is made if one may not be.

    Raises:
        Usage: if a study of such a name is another one.
    """
    for name, definition in wanted.items():
        check(database, name, definition, artifacts)
    return [go_on(database, name, definition, runs, artifacts) for name, definition in wanted.items()]


def check(database: Database, name: str, wanted: Definition, artifacts: str | None = None, keep: bool = False) -> None:
    """Refuses what `go_on` would refuse, and makes nothing.

    Raises:
        Usage: as `go_on`.
    """

    assert database.storage is not None  # Optuna's tables are there

    def read(session: Any) -> None:
        if (row := session.get(StudyRow, name)) is not None:
            _permitted(database, row, wanted, artifacts, keep)
        elif optuna_tables.is_used(session, name, OBJECTIVES[wanted.spec.objective]):
            raise _not_ours(database, name)

    database.read(read)


def _permitted(database: Database, row: StudyRow, wanted: Definition, artifacts: str | None, keep: bool) -> Definition:
    """The definition of the study that is there, if it may be gone on with as is wanted."""
    earlier = agree(row, wanted)
    if keep:
        _refuse_changes(earlier.spec, wanted.spec, row.name)
    else:
        _refuse_elsewhere(database, row, artifacts)
    return earlier


def _not_ours(database: Database, name: str) -> Clash:
    return Clash(
        f"study {name!r} is in {database.url} but is not this program's: take another name.",
        public=f"a study {name!r} that is not this program's is there: take another name.",
    )


def _refuse_changes(earlier: StudySpec, wanted: StudySpec, name: str) -> None:
    for key in CHANGEABLE:
        mine, theirs = getattr(wanted, key), getattr(earlier, key)
        if mine != theirs:
            raise Clash(
                f"study {name!r} exists with {key} = {theirs}, not {mine}: ask for the same, or give the new one a name of its "
                "own.",
                key,
            )


def _refuse_elsewhere(database: Database, row: StudyRow, artifacts: str | None) -> None:
    if not artifacts:
        return
    there, name = locations.found(database, row.folder), row.folder.rpartition("/")[2]
    if there != locations.found(database, locations.new(database, Path(), name, artifacts)):
        raise Clash(
            f"study {row.name!r} has its files in {there}, not in {artifacts}: leave --artifacts (TUNER_ARTIFACTS) out, or give "
            "the new one a name of its own.",
            public=f"study {row.name!r} has its files elsewhere: give the new one a name of its own.",
        )


def going_on(earlier: Definition, wanted: Definition) -> Definition:
    """The earlier study with its changeable settings and remarks as they are wanted now; a remark that is left out
    stays.
    """
    newer = {key: getattr(wanted.spec, key) for key, each in SETTINGS.items() if each.role == "changeable"}
    said = {
        key: value for key, each in SETTINGS.items() if each.role == "remark" and (value := getattr(wanted.spec, key))
    }
    return Definition(replace(earlier.spec, **newer, **said), replace(earlier.facts, untrusted=False))


def agree(row: StudyRow, wanted: Definition) -> Definition:
    """The definition of the study that is there, if the wanted one under its name is no other.

    A warm start is from the trials that the other study had then: it may have gone on.

    Raises:
        Clash: if it is another one, or is being deleted.
    """
    if row.state == "deleting":
        raise Clash(f"study {row.name!r} is being deleted: finish that first.", command=f"tuner delete {row.name}")
    earlier = Definition.of(row.specification, row.budget, row.rules)
    key = earlier.other(wanted)
    if key is None:
        return earlier
    mine, theirs = (each.identity[key] for each in (earlier, wanted))
    # A confirmation is named by what it confirms.
    remedy = "delete it first" if wanted.spec.confirms else "give the new one a name of its own"
    is_longer = wanted.spec.trials > earlier.spec.trials and not wanted.spec.confirms
    goes_on, command = (
        ("give the first one more trials", f"tuner change {row.name} --trials {wanted.spec.trials}")
        if is_longer
        else ("go on with it as it is", f"tuner resume {row.name}")
    )
    said = f"study {row.name!r} exists with another {key} ({_apart(mine, theirs)}): {remedy}, or {goes_on}."
    public = f"study {row.name!r} exists with another corpus: give the new one a name of its own."
    raise Clash(said, key, public if key == "corpus" else None, command)  # a corpus names a folder


def _apart(earlier: object, wanted: object) -> str:
    """The difference of two values in few words; of settings, and of the domains of spaces, the first that differs."""
    if isinstance(earlier, Space) and isinstance(wanted, Space):
        domains = [
            {p.name: f"{p.domain}{'' if p.tuned else ', not tuned'}" for p in each.parameters}
            for each in (earlier, wanted)
        ]
        if domains[0] != domains[1]:
            return _apart(*domains)
    if isinstance(earlier, Mapping) and isinstance(wanted, Mapping):
        key = next(key for key in {**earlier, **wanted} if earlier.get(key) != wanted.get(key))
        return f"{key} = {_brief(earlier.get(key, 'the default'))}, not {_brief(wanted.get(key, 'the default'))}"
    return f"{_brief(earlier)}, not {_brief(wanted)}"


def _brief(value: object) -> str:
    text = f"{value.name} with fingerprint {value.fingerprint}" if isinstance(value, Corpus) else str(value)
    return text if len(text) < 60 else text[:57] + "…"


def _begin(study: Study, session: Any) -> None:
    """Trial 0 with the published values, entered with the study itself, so that nothing else can be trial 0.

    The sampler is told of it as of one that it was asked for, since some learn only from trials that they have marked.
    """
    values, published = study.facts.space.published(study.spec.fixed)
    params, notes, study_notes = History(study).ask(0, values)
    session.get_one(StudyRow, study.name).attrs = study_notes
    source = "published" if published else "default"
    study.trials.wait(session, 0, params, {**notes, SOURCE: source}, study.created_at)
