"""A study in one file: a zip archive of its record and its trials' files, with a manifest of checksums, to be opened elsewhere.

manifest.json    the format's number, the study's name, and every other entry's SHA-256 and size
study.json       the study, its trials, epochs and attempts, as JSON values
trials/0003/…    a trial's files, as `trainers` names them

Nothing is pickled, and nothing of a bundle is believed before it is checked: entries have these names and no others, are all in
the manifest and once, and are what it says. Only then is anything entered into a database.
"""

import hashlib
import json
import re
import secrets
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from trainers.contract import BEST, FILES, LATEST, RESULT, SENTENCES, SPEC
from tuner import __version__, names, samplers
from tuner.errors import Clash, Fault, Usage, unwritten
from tuner.samplers import SAMPLERS
from tuner.storage import locations
from tuner.storage.artifacts import MANIFEST, Damaged, Store
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, EpochRow, StudyRow, TrialRow
from tuner.studies import record
from tuner.studies.objectives import OBJECTIVES, judged
from tuner.studies.study import Study, open_study
from tuner.studies.trials import OVER

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

FORMAT = 1
RECORD = "study.json"
ENTRY = re.compile(rf"trials/(\d{{4}}|[1-9]\d{{4,8}})/({'|'.join(map(re.escape, FILES))})")
CHOICES = ("all", "best", "none", "figures")
"""Choices of the trials whose weights are packed; all else of a trial is small. Of `figures` no trial's, and no word of the
text either, so that such a bundle of a licensed text can be published.
"""
FIGURES = {SPEC, RESULT, SENTENCES}
"""Files of a trial that have no words of its text: how it was made, and what it was measured to be, sentence by sentence."""
DATED = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, so that a study makes an equal file each time."""
LARGEST_RECORD = 2**28
"""Largest number of bytes of a file that is read into memory; 10,000 trials of 12 epochs have 30 MB."""
PACKED, SMALL = 100, 2**26
"""Factor and number of bytes beyond which a bundle may not grow when it is unpacked."""
SUM = re.compile("[0-9a-f]{64}")
CHUNK = 2**20
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""Errors that zipfile raises of a damaged archive, or of one that is encrypted or compressed as no bundle is."""


def pack(study: Study, file: Path, weights: str = "all") -> int:
    """Writes the study into a file, whole or not at all; returns its size. Trials under way are packed as they were last saved.

    Raises:
        Usage: if `weights` is none of `CHOICES`, or if a trial that is under way would lose what it goes on with.
        Fault: if one of its files is gone or damaged, or the bundle cannot be written.
    """
    if weights not in CHOICES:
        raise Usage(f"--weights {weights!r} is unknown: choose one of {', '.join(CHOICES)}.")
    if file.is_dir():
        raise Usage(f"--bundle {file} is a folder: name a file.")
    if not file.parent.is_dir():
        raise Usage(f"--bundle {file} is in no folder: make {file.parent} first.")
    content, places = _record(study)
    waiting = next((trial["number"] for trial in content["trials"] if trial["state"] == "waiting"), None)
    if weights == "figures" and waiting is not None:
        raise Usage(
            f"--weights figures would leave out what trial {waiting} of {study.name} goes on with: "
            "let it end, or choose --weights none."
        )
    best = study.best()
    kept = {trial["number"] for trial in content["trials"]} if weights == "all" else set()
    kept |= {best.number} if weights == "best" and best is not None else set()
    if file.exists() and not file.is_file():
        raise Usage(f"--bundle {file} is no file that can be written anew: name another one.")
    half = file.with_name(f".{file.name}.half")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
            files = {RECORD: _put(archive, RECORD, json.dumps(content, ensure_ascii=False).encode())}
            for trial in content["trials"]:
                number, leave = trial["number"], {LATEST, BEST}
                if weights == "figures":
                    leave = set(FILES) - FIGURES
                elif trial["state"] == "waiting":  # both are needed to go on with it
                    leave = set()
                elif number in kept:
                    leave = {LATEST}
                for name, data in _newest(study, number, places[number], leave).items():
                    entry = f"trials/{number:04d}/{name}"
                    files[entry] = _put(archive, entry, data)
            manifest = {"format": FORMAT, "made_by": __version__, "study": study.name, "files": files}
            _put(archive, MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        half.replace(file)
    except OSError as error:
        raise unwritten("--bundle", file, error) from error
    finally:
        half.unlink(missing_ok=True)
    return file.stat().st_size


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> dict[str, Any]:
    archive.writestr(zipfile.ZipInfo(name, DATED), data, zipfile.ZIP_DEFLATED)
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _record(study: Study) -> tuple[dict[str, Any], dict[int, str | None]]:
    """The study as JSON values, and where each trial's newest files are."""
    tables = (TrialRow, TrialRow.number), (EpochRow, EpochRow.epoch), (AttemptRow, AttemptRow.id)

    def look(session: "Session") -> tuple[dict[str, Any], dict[int, str | None]]:
        found: dict[str, Any] = {"study": _plain(session.get_one(StudyRow, study.name))}
        rows: dict[type, list[Any]] = {
            table: list(session.scalars(select(table).where(table.study == study.name).order_by(order)))
            for table, order in tables
        }
        found |= {key: [_plain(row) for row in rows[table]] for key, table in record.LISTS.items()}
        return found, {row.number: row.artifacts for row in rows[TrialRow]}

    content, places = study.database.read(look)
    for trial in content["trials"]:
        trial["state"] = "waiting" if trial["state"] == "running" else trial["state"]
    for attempt in content["attempts"]:
        attempt["state"] = "interrupted" if attempt["state"] == "running" else attempt["state"]
    content["epochs"].sort(key=lambda epoch: (epoch["trial"], epoch["epoch"]))
    return content, places


def _plain(row: Any) -> dict[str, Any]:
    return {key: getattr(row, key) for key in record.OWN[type(row)]}


def _newest(study: Study, number: int, generation: str | None, leave: set[str]) -> dict[str, bytes]:
    """The files of a trial's generation, or of a newer one that its worker has put in its place meanwhile."""
    query = select(TrialRow.artifacts).where(TrialRow.study == study.name, TrialRow.number == number)
    store = study.files.store
    while generation is not None:
        try:
            return _files(store, generation, leave)
        except Damaged as damaged:
            newer = study.database.read(lambda session: session.scalar(query))
            if newer in (None, generation):
                raise Fault(f"{damaged}, so the study cannot be packed.") from damaged
            generation = newer
        except OSError as error:
            raise Fault(f"the study's files in {store.address} cannot be read ({error.strerror or error}).") from error
    return {}


def _files(store: Store, generation: str, leave: set[str]) -> dict[str, bytes]:
    """A generation's files, each as it was published.

    Raises:
        Damaged: if one is not, or is gone.
    """
    found = {}
    for name, facts in store.manifest(generation).items():
        if name in FILES and name not in leave:
            data = store.read(f"{generation}/{name}")
            if data is None or hashlib.sha256(data).hexdigest() != facts["sha256"]:
                raise Damaged(f"{store.address}/{generation}/{name} is not what was published")
            found[name] = data
    return found


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been checked but for its large files' content, which is checked as it is unpacked."""

    file: Path
    files: dict[str, dict[str, Any]]
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.content["study"]["name"])

    @property
    def has_weights(self) -> bool:
        """False if there are complete trials and none's weights."""
        complete = any(trial["state"] == "complete" for trial in self.content["trials"])
        return not complete or any(entry.endswith(f"/{BEST}") for entry in self.files)


def unpack(
    database: Database, bundle: Bundle, runs: Path, artifacts: str | None = None, name: str = "", corpus: str = ""
) -> Study:
    """Enters a bundle's study into a database, stopped unless it was over, its files in a folder of `runs` or in `artifacts`.

    Args:
        name: its name here; empty: its own.
        corpus: where its text is here; empty: where it was. What it must be, its fingerprint says.

    Raises:
        Usage: if the bundle is damaged, or there is a study of that name.
        Fault: if it cannot be read, or its files not be written.
    """
    from tuner.studies import optuna_bridge

    called = name or bundle.name
    names.check("name", called, names.LONGEST)
    if database.read(lambda session: session.get(StudyRow, called)) is not None:
        raise _exists(called, database)
    unique = f"{called}-{secrets.token_hex(3)}"
    place = locations.new(database, runs, unique, artifacts)
    store = Store(locations.found(database, place))
    try:
        generations = _publish(bundle, store, runs)
        assert database.storage is not None  # Optuna's tables are there
        database.run(lambda session: _enter(session, database, bundle, called, place, generations, corpus))
    except BaseException:
        here = select(StudyRow.folder).where(StudyRow.name == called)
        # Its word may have been lost after the commit; a database that cannot say so now raises here, and the files stay.
        if database.read(lambda session: session.scalar(here)) != place:
            store.clear(len(bundle.content["trials"]))
        raise
    study = open_study(database, called)
    optuna_bridge.record(study)
    return study


def _harmless(notes: Mapping[str, Any]) -> dict[str, Any]:
    """A sampler's notes but those that Optuna would unpickle, which runs whatever code is in them: CMA-ES then begins anew."""
    return {key: note for key, note in notes.items() if not key.startswith(samplers.PICKLED)}


def _exists(name: str, database: Database) -> Clash:
    return Clash(f"study {name!r} is in {database.url} already: give this one a name of its own.")


def _enter(
    session: "Session",
    database: Database,
    bundle: Bundle,
    name: str,
    folder: str,
    generations: Mapping[int, str],
    corpus: str,
) -> None:
    from tuner.storage import optuna_tables

    content, facts = bundle.content, dict(bundle.content["study"])
    facts["attrs"] = _harmless(facts["attrs"])
    used = optuna_tables.enrol(session, name, OBJECTIVES[facts["specification"]["objective"]])
    there = session.get(StudyRow, name)
    if there is not None and there.folder == folder:  # done already, and word of it was lost
        return
    if there is not None or used:
        raise _exists(name, database)
    revision = int(database.clock(session) * 1000)
    left = len([t for t in content["trials"] if t["state"] in OVER]) < facts["budget"]
    if left and facts["state"] == "active":
        facts |= {"state": "stopped", "why": f"it came from {bundle.file.name}; `tuner resume {name}` goes on"}
    specification = {**facts["specification"], "untrusted": facts["specification"]["sampler"] not in SAMPLERS}
    if corpus:
        specification["corpus"] = {**specification["corpus"], "name": corpus}
    own = {
        "name": name,
        "specification": specification,
        "folder": folder,
        "rules": {**facts["rules"], "deadline": None},
    }
    study = StudyRow(**{**facts, **own}, revision=revision)
    session.add(study)
    session.flush()
    for trial in content["trials"]:
        revision += 1
        # Older programs' values have in them what a rate falls short of the least one.
        values = judged(specification["objective"], trial["metrics"]) if trial["state"] == "complete" else None
        own = {
            **trial,
            "attrs": _harmless(trial["attrs"]),
            **({"value": values[0], "values": values} if values else {}),
        }
        session.add(TrialRow(study=name, revision=revision, artifacts=generations.get(trial["number"]), **own))
    for epoch in content["epochs"]:
        revision += 1
        session.add(EpochRow(study=name, revision=revision, **epoch))
    for attempt in content["attempts"]:
        session.add(AttemptRow(study=name, token=secrets.token_hex(16), **attempt))
    study.revision = study.results = revision


def opened(file: Path) -> Bundle:
    """The bundle in a file.

    Raises:
        Usage: if the file is no bundle, damaged, or of a newer program.
        Fault: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _checked(archive, file)
    except FileNotFoundError as error:
        raise Usage(f"bundle {file} does not exist.") from error
    except IsADirectoryError as error:
        raise Usage(f"bundle {file} is a folder: name the file that `tuner export --bundle` wrote.") from error
    except UNREADABLE as error:
        raise Usage(f"{file} is no bundle, or a damaged one ({error}): copy it again.") from error
    except OSError as error:
        raise Fault(f"bundle {file} cannot be read ({error.strerror}).") from error


def _checked(archive: zipfile.ZipFile, file: Path) -> Bundle:
    """The manifest against the archive's entries, and the record against what this program writes."""

    def damaged(why: str) -> Usage:
        return Usage(f"bundle {file} is damaged: {why}; copy it again, or pack it anew.")

    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise damaged("it has two entries of one name")
    if MANIFEST not in entries:
        raise Usage(f"{file} is no bundle: it has no {MANIFEST}; `tuner export STUDY --bundle FILE` makes one.")
    manifest = _json(archive, entries[MANIFEST], damaged)
    made = manifest.get("format")
    if not isinstance(made, int) or isinstance(made, bool) or made < 1:
        raise damaged(f"its format is {str(made)[:40]!r}")
    if made > FORMAT:
        raise Usage(
            f"bundle {file} has format {made!r}, newer than this program's {FORMAT}: upgrade tuner "
            f"(it was packed by {str(manifest.get('made_by'))[:40]})."
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) != set(entries) - {MANIFEST}:
        raise damaged("its entries are not those of its manifest")
    for name, facts in files.items():
        if name != RECORD and not ENTRY.fullmatch(name):
            raise Usage(f"bundle {file} holds {name[:80]!r}, which is no file of a study: nothing of it was unpacked.")
        if not isinstance(facts, dict) or not SUM.fullmatch(str(facts.get("sha256"))):
            raise damaged(f"its manifest has no checksum of {name}")
        if facts.get("bytes") != entries[name].file_size:
            raise damaged(f"{name} is not as long as its manifest says")
    size, packed = sum(entry.file_size for entry in entries.values()), file.stat().st_size
    if size > PACKED * packed + SMALL:
        raise damaged(f"{packed:,} bytes would unpack to {size:,}, which no study's files do")
    if RECORD not in files:
        raise damaged(f"it has no {RECORD}")
    content = _json(archive, entries[RECORD], damaged, files[RECORD]["sha256"])
    try:
        record.judge(content)
        places = {int(found[1]) for name in files if (found := ENTRY.fullmatch(name))}
        if not places <= {trial["number"] for trial in content["trials"]}:
            raise ValueError("files of no trial")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, Usage) as error:
        raise damaged(f"{RECORD} is not what this program writes ({_why(error)})") from error
    return Bundle(file, files, content)


def _why(error: Exception) -> str:
    """The reason of a refusal in words; of one that is Python's own, its kind."""
    if isinstance(error, KeyError):
        return f"it lacks {str(error)[:80]}"
    if isinstance(error, (ValueError, Usage)) and str(error):
        return str(error)[:200].rstrip(".")
    return "one of its parts is of another kind"


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, damaged: Any, sha256: str | None = None) -> dict[str, Any]:
    if entry.file_size > LARGEST_RECORD:
        raise damaged(f"{entry.filename} is too large")
    try:
        data = archive.read(entry)
        found = json.loads(data, parse_constant=record.refuse, parse_float=record.number, parse_int=record.whole)
    except (ValueError, RecursionError, *UNREADABLE) as error:
        raise damaged(f"{entry.filename} cannot be read ({error})") from error
    if not isinstance(found, dict) or (sha256 is not None and hashlib.sha256(data).hexdigest() != sha256):
        raise damaged(f"{entry.filename} is not what was packed")
    return found


def _publish(bundle: Bundle, store: Store, runs: Path) -> dict[int, str]:
    """Puts the trials' files into the store, each checked; returns the place of each trial's."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        size = sum(int(facts["bytes"]) for facts in bundle.files.values())
        free = shutil.disk_usage(runs).free
        if size > free:
            raise Fault(f"bundle {bundle.file} needs {size:,} bytes, and {runs} has {free:,}: name another --runs.")
        generations: dict[int, str] = {}
        with tempfile.TemporaryDirectory(dir=runs, prefix=".import-") as work, zipfile.ZipFile(bundle.file) as archive:
            for entry in bundle.files:
                if (found := ENTRY.fullmatch(entry)) is not None:
                    folder = Path(work, found[1])
                    folder.mkdir(exist_ok=True)
                    _extract(archive, entry, bundle, folder / found[2])
            for folder in sorted(Path(work).iterdir()):
                generation = f"{folder.name}/imported"
                store.publish(folder, generation)
                generations[int(folder.name)] = generation
        return generations
    except OSError as error:
        raise Fault(f"the bundle's files cannot be written ({error.strerror or error}).") from error


def _extract(archive: zipfile.ZipFile, entry: str, bundle: Bundle, target: Path) -> None:
    digest = hashlib.sha256()
    try:
        with archive.open(entry) as packed, target.open("wb") as out:
            while chunk := packed.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        whole = digest.hexdigest() == bundle.files[entry]["sha256"]
    except UNREADABLE:
        whole = False
    if not whole:
        raise Usage(f"bundle {bundle.file} is damaged: {entry} is not what was packed; copy it again, or pack it anew.")
