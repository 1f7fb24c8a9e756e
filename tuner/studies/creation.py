"""Making a study, or going on with one that is the same."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuner.errors import Clash, Fault
from tuner.storage import locations
from tuner.storage.database import Database
from tuner.storage.tables import LOCK, StudyRow, revise
from tuner.studies.optuna_bridge import History
from tuner.studies.spec import IDENTITY, OBJECTIVES, Request, completed
from tuner.studies.study import Study
from tuner.studies.trials import SOURCE


def go_on(
    database: Database, name: str, request: Request, corpus: Mapping[str, Any], runs: Path, artifacts: str | None = None
) -> Study:
    """Creates the study, or goes on with it if it is the same but for its budget and rules.

    Its files go to `artifacts` (an address with a protocol), or to a folder of its own in `runs`.

    Raises:
        Usage: if a study of that name is another one.
    """
    import optuna

    wanted, rules = request.specification(corpus), asdict(request.rules)
    # First, so that a study of ours always has its record; one without any trial is a creation that was cut short.
    record = optuna.create_study(
        study_name=name, storage=database.storage, directions=OBJECTIVES[request.objective], load_if_exists=True
    )
    used = bool(record.get_trials(deepcopy=False))
    unique = f"{name}-{secrets.token_hex(3)}"
    folder = locations.new(database, runs, unique, artifacts)

    def enter(session: Any) -> StudyRow:
        row: StudyRow | None = session.get(StudyRow, name, with_for_update=LOCK)
        now = database.clock(session)
        if row is None:
            if used:
                raise Clash(
                    f"study {name!r} is in {database.url} but is not this program's: take another --study NAME.",
                    public=f"a study {name!r} that is not this program's is there: take another name.",
                )
            row = StudyRow(
                name=name,
                specification=wanted,
                budget=request.trials,
                folder=folder,
                rules=rules,
                created_at=now,
                revision=int(now * 1000),
            )
            session.add(row)
            session.flush()
            if request.first_default:
                _begin(Study(database, row), session)
            return row
        earlier = agree(row, wanted)
        row.budget = max(row.budget, request.trials)  # another worker may be at it
        row.rules = rules
        satisfied = row.state == "satisfied" and request.stop_when == earlier["stop_when"]
        row.specification = {**earlier, "stop_when": request.stop_when, "untrusted": False}
        if not satisfied:
            row.state, row.why, row.faults = "active", None, 0
        revise(session, name)
        return row

    study = Study(database, database.run(enter))
    study.check_place()
    if study.store.local:
        try:
            Path(study.store.address).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fault(f"--runs {runs} cannot be written ({error.strerror}): name another folder.") from error
    return study


def agree(row: StudyRow, wanted: dict[str, Any]) -> dict[str, Any]:
    """The specification of the study that is there, if what is wanted under its name is the same study.

    Raises:
        Clash: if it is another one, or is being deleted.
    """
    if row.state == "deleting":
        raise Clash(f"study {row.name!r} is being deleted: finish that with `tuner delete {row.name}`.")
    earlier = completed(row.specification)
    if earlier["warm_start"] and (wanted["warm_start"] or {}).get("study") == earlier["warm_start"]["study"]:
        wanted["warm_start"] = earlier["warm_start"]  # as it was then; that study may have gone on
    differs = [key for key in IDENTITY if earlier[key] != wanted[key]]
    if differs:
        key = differs[0]
        remedy = "give the new one a name of its own with --study NAME"
        if key == "first_default":
            remedy = f"go on with it by --{'' if earlier[key] else 'no-'}first-default, or {remedy}"
        if wanted["confirms"]:  # which is named by what it confirms
            remedy = f"go on with it as it was made, or `tuner delete {row.name}` first"
        said = f"study {row.name!r} exists with another {key} ({_apart(earlier[key], wanted[key])}): {remedy}."
        public = f"study {row.name!r} exists with another corpus: give the new one a name of its own."
        raise Clash(said, public=public if key == "corpus" else None)  # it names a folder
    return earlier


def _apart(earlier: object, wanted: object) -> str:
    """What is different, in few words: of settings the first that is."""
    if isinstance(earlier, dict) and isinstance(wanted, dict) and not {"fingerprint", "observations"} & earlier.keys():
        key = next(key for key in {**earlier, **wanted} if earlier.get(key) != wanted.get(key))
        return f"{key} = {_brief(earlier.get(key, 'the default'))}, not {_brief(wanted.get(key, 'the default'))}"
    return f"{_brief(earlier)}, not {_brief(wanted)}"


def _brief(value: object) -> str:
    if isinstance(value, dict) and "fingerprint" in value:
        return f"{value['name']} with fingerprint {value['fingerprint']}"
    if isinstance(value, dict) and "observations" in value:
        return f"{len(value['observations'])} trials of {value['study']}"
    text = str(value)
    return text if len(text) < 60 else text[:57] + "…"


def _begin(study: Study, session: Any) -> None:
    """Trial 0 with the published values, entered with the study itself, so that nothing else can be trial 0.

    The sampler is told of it as of one that it was asked for, since some learn only from trials that they have marked.
    """
    values, published = study.space.published(study.specification["fixed"])
    params, notes, study_notes = History(study).ask(0, values)
    session.get_one(StudyRow, study.name).attrs = study_notes
    source = "published" if published else "default"
    study.wait(session, 0, params, {**notes, SOURCE: source}, study.created_at)
