"""Studies in one file: what comes out is what went in, and whatever else comes in is refused."""

import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import CmaEsSampler
from stub_study import behave, make, run

from trainers.contract import BEST, FILES, LATEST
from tuner.analysis import sentences
from tuner.commands.app import app
from tuner.errors import Fault, Interrupted, Missing, Usage
from tuner.storage.artifacts import MANIFEST, Store
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow
from tuner.studies import answers, bundle, queries
from tuner.studies import changes as revisions
from tuner.studies.bundle import RECORD, pack
from tuner.studies.optuna_bridge import as_optuna
from tuner.studies.study import Study, open_study
from tuner.workers.claims import Claim

Change = Callable[[dict[str, bytes]], object]
pytestmark = pytest.mark.usefixtures("stub")


def other(folder: Path, name: str = "other") -> Database:
    return Database(f"sqlite:///{folder}/{name}.db", create=True)


def unpack(database: Database, file: Path, runs: Path, **how: str) -> Study:
    return bundle.unpack(database, bundle.opened(file), runs, **how)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Three trials, the second failed, with weights of their own."""
    behave(monkeypatch, t1="nan")
    made = make(Database(f"sqlite:///{tmp_path}/t.db", create=True), tmp_path, 3)
    run(made)
    for trial in made.trials.all():
        folder = tmp_path / f"weights-{trial.number}"
        folder.mkdir()
        (folder / "best.safetensors").write_bytes(bytes(range(256)) * (trial.number + 1))
        (folder / LATEST).write_bytes(b"checkpoint")
        generation = f"{trial.number:04d}/again"
        made.files.store.publish(folder, generation)
        where = {"study": "s", "number": trial.number}
        made.database.run(lambda s: setattr(s.get(TrialRow, where), "artifacts", generation))  # noqa: B023
    return made


def shown(study: Study) -> dict[str, Any]:
    """All that a reader sees."""
    plain = {key: value for key, value in answers.whole(study).items() if key != "revision"}
    trials = [t.number for t in study.trials.all()]
    return {
        **plain,
        "definition": study.definition,
        "epochs": [study.trials.epochs(number, 100) for number in trials],
        "attempts": [study.trials.attempts(number) for number in trials],
    }


def test_a_study_comes_out_as_it_went_in(study: Study, tmp_path: Path) -> None:
    size = pack(study, tmp_path / "s.zip")
    assert size == (tmp_path / "s.zip").stat().st_size
    pack(study, tmp_path / "again.zip")
    assert (tmp_path / "s.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    there = unpack(other(tmp_path), tmp_path / "s.zip", tmp_path / "elsewhere")
    assert shown(there) == shown(study)
    assert there.files.store.address.startswith(str(tmp_path / "elsewhere"))
    for number in range(3):
        weights = there.files.folder(number, tmp_path / "cache") / "best.safetensors"
        assert weights.read_bytes() == bytes(range(256)) * (number + 1)
        assert not (weights.parent / LATEST).exists()  # the trial is over
    assert not list((tmp_path / "elsewhere").glob(".import-*"))
    assert [t.state.name for t in as_optuna(there).trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    ours, theirs = ({t.number: (t.params, t.values) for t in as_optuna(s).trials} for s in (study, there))
    assert ours == theirs
    stamps = there.database.read(lambda s: [row.revision for row in s.query(TrialRow).order_by(TrialRow.number)])
    assert stamps == sorted(set(stamps))
    assert stamps[-1] < revisions.of(there.database, "s")


def test_a_pipe_stays_one(study: Study, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.zip")
    with pytest.raises(Usage, match="p.zip is no file that can be written anew"):
        pack(study, tmp_path / "p.zip")
    assert (tmp_path / "p.zip").is_fifo()


def test_only_the_weights_that_are_wanted_are_packed(study: Study, tmp_path: Path) -> None:
    best = study.best()
    assert best is not None
    for weights, packed in (("all", {0, 1, 2}), ("best", {best.number}), ("none", set())):
        pack(study, tmp_path / "s.zip", weights)
        with zipfile.ZipFile(tmp_path / "s.zip") as archive:
            assert {int(n.split("/")[1]) for n in archive.namelist() if n.endswith("best.safetensors")} == packed
    with pytest.raises(Usage, match="--weights 'most' is unknown"):
        pack(study, tmp_path / "s.zip", "most")


def test_figures_have_no_word_of_the_text(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("{}")
    study.files.store.publish(folder, "0000/whole")
    study.database.run(lambda s: setattr(s.get(TrialRow, {"study": "s", "number": 0}), "artifacts", "0000/whole"))
    pack(study, tmp_path / "s.zip", "figures")
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert sorted(archive.namelist()) == [
            "manifest.json",
            "study.json",
            *(f"trials/0000/{name}" for name in ("result.json", "sentences.json", "spec.json")),
        ]
    assert not bundle.opened(tmp_path / "s.zip").has_weights
    back = unpack(other(tmp_path), tmp_path / "s.zip", tmp_path / "elsewhere")
    assert shown(back) == shown(study)
    with pytest.raises(Missing, match="trial 0 of study 's' has no log: the bundle that it came in left it out"):
        back.files.log(0)


def test_figures_by_sentence_that_another_program_wrote_are_refused(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    contents = '{"valid": 3}', "[]", "{", '{"valid": {"estimates": [{}]}}', '{"valid": {"estimates": 3}}'
    for place, content in enumerate(contents):
        (folder / "sentences.json").write_text(content)
        study.files.store.publish(folder, f"0000/{place}")
        study.database.run(lambda s, p=place: setattr(s.get(TrialRow, ("s", 0)), "artifacts", f"0000/{p}"))
        with pytest.raises(Usage, match="the figures by sentence of s cannot be read: train it anew"):
            sentences.of_trials(study, [0], "valid")


def test_figures_alone_are_refused_where_a_trial_would_lose_its_checkpoint(study: Study, tmp_path: Path) -> None:
    study.database.run(lambda s: setattr(s.get(TrialRow, {"study": "s", "number": 2}), "state", "running"))
    with pytest.raises(Usage, match="what trial 2 of s goes on with: let it end, or choose --weights none"):
        pack(study, tmp_path / "s.zip", "figures")
    assert not (tmp_path / "s.zip").exists()


def test_a_study_under_way_is_packed_as_it_was_saved_and_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(Database(f"sqlite:///{tmp_path}/t.db", create=True), tmp_path, 3)

    def listen(event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        del facts
        if (event, claim.number) == ("epoch", 1):
            raise Interrupted

    behave(monkeypatch, t1="wait once")
    with pytest.raises(Interrupted):
        run(study, listen)
    pack(study, tmp_path / "s.zip")
    monkeypatch.delenv("STUB")
    run(study)
    there = unpack(other(tmp_path), tmp_path / "s.zip", tmp_path / "elsewhere", name="t", corpus="somewhere")
    assert (there.name, there.facts.corpus.name, there.state) == ("t", "somewhere", "stopped")
    assert "it came from s.zip; `tuner resume t` goes on" in str(there.why)
    assert [t.state for t in there.trials.all()] == ["complete", "waiting"]
    there.resume()
    run(there)
    found = [(t.params, t.value) for t in there.trials.all()]
    assert found == [(t.params, t.value) for t in study.trials.all()]  # the third was proposed here and there alike
    result = json.loads((there.files.folder(1, tmp_path / "cache") / "result.json").read_text())
    assert result["starts"] == "xx"  # its checkpoint came with it


@pytest.mark.parametrize("weights", ["best", "none"])
def test_what_a_waiting_trial_goes_on_with_is_always_packed(study: Study, tmp_path: Path, weights: str) -> None:
    best = study.best()
    assert best is not None
    where = {"study": "s", "number": 2 - best.number}
    study.database.run(lambda s: setattr(s.get(TrialRow, where), "state", "running"))
    pack(study, tmp_path / "s.zip", weights)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        names = {Path(name).name for name in archive.namelist() if name.startswith(f"trials/{where['number']:04d}/")}
    assert names == {BEST, LATEST}


def test_a_trial_that_publishes_while_its_study_is_packed_is_packed_with_its_newer_files(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, record = study.files.store, bundle._record

    def publish(packed: Study) -> Any:
        found = record(packed)
        store.publish(tmp_path / "weights-1", "0002/newer")
        where = {"study": "s", "number": 2}
        study.database.run(lambda s: setattr(s.get(TrialRow, where), "artifacts", "0002/newer"))
        store.drop(store.generations("0002") - {"0002/newer"})
        return found

    monkeypatch.setattr(bundle, "_record", publish)
    pack(study, tmp_path / "s.zip")
    there = unpack(other(tmp_path), tmp_path / "s.zip", tmp_path / "elsewhere")
    assert (there.files.folder(2, tmp_path / "cache") / BEST).read_bytes() == bytes(range(256)) * 2


def test_an_import_that_was_cut_short_is_done_again(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(study, tmp_path / "s.zip")
    database = other(tmp_path)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(bundle, "_enter", die)
        unpack(database, tmp_path / "s.zip", tmp_path / "elsewhere")
    assert shown(unpack(database, tmp_path / "s.zip", tmp_path / "elsewhere")) == shown(study)


def test_notes_that_optuna_would_unpickle_stay_outside(study: Study, tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [{}, {"use_separable_cma": True}, {"with_margin": True}]
    with warnings.catch_warnings(action="ignore"):
        notes: dict[str, Any] = {f"{CmaEsSampler(**kind)._attr_prefix}optimizer:0": "80" for kind in kinds}
    assert len(notes) == len(kinds)
    notes["nsga2:generation"] = 0
    study.database.run(lambda s: setattr(s.get_one(TrialRow, {"study": "s", "number": 0}), "attrs", notes))
    study.database.run(lambda s: setattr(s.get_one(StudyRow, "s"), "attrs", notes))
    file = tmp_path / "s.zip"
    pack(study, file)
    there = other(tmp_path)
    unpack(there, file, tmp_path / "there")
    assert there.read(lambda s: s.get_one(TrialRow, {"study": "s", "number": 0}).attrs) == {"nsga2:generation": 0}
    assert there.read(lambda s: s.get_one(StudyRow, "s").attrs) == {"nsga2:generation": 0}


def test_an_import_whose_answer_is_lost_keeps_its_files(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "s.zip"
    pack(study, file)
    there = other(tmp_path)
    work = there.run

    def lost(*given: Any) -> None:
        work(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(there, "run", lost)
    with pytest.raises(KeyboardInterrupt):
        unpack(there, file, tmp_path / "there")
    assert open_study(there, "s").files.store.generations("0000")


def test_a_record_of_optunas_own_is_nobody_elses_place(study: Study, tmp_path: Path) -> None:
    pack(study, tmp_path / "s.zip")
    database = other(tmp_path)
    optuna.create_study(study_name="s", storage=database.storage).optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(Usage, match="study 's' is in .* already"):
        unpack(database, tmp_path / "s.zip", tmp_path / "elsewhere")


def test_nothing_takes_an_other_studys_place(study: Study, tmp_path: Path) -> None:
    pack(study, tmp_path / "s.zip")
    with pytest.raises(Usage, match="study 's' is in .* already: give this one a name of its own"):
        unpack(study.database, tmp_path / "s.zip", tmp_path / "elsewhere")
    assert unpack(study.database, tmp_path / "s.zip", tmp_path / "elsewhere", name="copy").spec.trials == 3
    with pytest.raises(Usage, match="is not allowed: a name has"):
        unpack(study.database, tmp_path / "s.zip", tmp_path / "elsewhere", name="../up")


def rewritten(file: Path, change: Change, sums: bool = True) -> Path:
    """The bundle changed, its manifest's checksums right again where `sums`."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    if sums:
        manifest = json.loads(entries[MANIFEST])
        names = [name for name in entries if name != MANIFEST]
        manifest["files"] = {n: {"sha256": sha256(entries[n]).hexdigest(), "bytes": len(entries[n])} for n in names}
        entries[MANIFEST] = json.dumps(manifest).encode()
    changed = file.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return changed


def record(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of the record's values."""

    def apply(entries: dict[str, bytes]) -> None:
        content = json.loads(entries[RECORD])
        change(content)
        entries[RECORD] = json.dumps(content).encode()

    return apply


def manifest(**changes: Any) -> Change:
    def apply(entries: dict[str, bytes]) -> None:
        entries[MANIFEST] = json.dumps({**json.loads(entries[MANIFEST]), **changes}).encode()

    return apply


def put(name: str, data: bytes = b"x") -> Change:
    return lambda entries: entries.__setitem__(name, data)


def of_study(**changes: Any) -> Change:
    return record(lambda r: r["study"].update(changes))


def of_facts(**changes: Any) -> Change:
    return record(lambda r: r["study"]["specification"].update(changes))


def of_trial(**changes: Any) -> Change:
    return record(lambda r: r["trials"][0].update(changes))


def of_metrics(**changes: Any) -> Change:
    return record(lambda r: r["trials"][0]["metrics"].update(changes))


ESTIMATOR = {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 0, "split": "valid"}


def no_sum(entries: dict[str, bytes]) -> None:
    found = json.loads(entries[MANIFEST])
    del found["files"][RECORD]["sha256"]
    entries[MANIFEST] = json.dumps(found).encode()


WEIGHTS = "trials/0000/best.safetensors"


@pytest.mark.parametrize(
    ("change", "sums", "said"),
    [
        (manifest(format=2, made_by="9.9"), True, r"has format 2, newer than this program's 1: upgrade .*9\.9"),
        *((manifest(format=made), True, "is damaged: its format is") for made in ("1", -5, 0, True, None, 1.5)),
        (put(WEIGHTS, bytes(256)), False, "best.safetensors is not what was packed"),
        (put(WEIGHTS, bytes(255)), False, "best.safetensors is not as long as its manifest says"),
        (put("trials/0000/../../../evil"), True, r"holds 'trials/0000/../../../evil', which is no file of a study"),
        (put("/etc/passwd"), True, "holds '/etc/passwd'"),
        (put("trials/0000/evil.pkl"), True, "evil.pkl', which is no file of a study"),
        (put("trials/00000/spec.json"), True, "which is no file of a study"),
        (put("trials/0000/spec.json/"), True, "which is no file of a study"),
        (put("trials/0009/spec.json"), True, "study.json is not what this program writes .*of no trial"),
        (no_sum, False, "its manifest has no checksum of"),
        (put("trials/0000/result.json", bytes(10**8)), True, "would unpack to 100,.*, which no study's files do"),
        (put(RECORD, b"[" * 10**6), True, "study.json cannot be read"),
        (put(RECORD, b'{"study": NaN}'), True, "study.json cannot be read .NaN is no number"),
        (put(RECORD, b'{"study": 1e999}'), True, "study.json cannot be read .1e999 is no number"),
        (put(RECORD, b'{"study": ' + b"9" * 5000 + b"}"), True, "study.json cannot be read .99"),
        (of_study(rules={"x": 1}), True, "rules x"),
        (of_study(rules={"timeout": "1h"}), True, "timeout = '1h' is not allowed"),
        (of_study(rules={"max_failures": -1}), True, "max_failures = -1 is not allowed"),
        (of_study(rules={"deadline": 1e300}), True, r"deadline = 1e\+300 is not allowed"),
        (of_study(created_at=1e299), True, "created_at = 1e"),
        (of_study(created_at=-1.0), True, "created_at = -1"),
        (of_study(budget=10**15), True, "budget = 1000"),
        (of_study(budget=True), True, "budget = True"),
        (of_study(why="a\x00b"), True, "a text with a NUL"),
        (of_study(why="\ud800"), True, "study.json is not what this program writes"),
        (of_study(name=""), True, "is not allowed: a name has"),
        (of_facts(seed="x"), True, "seed = 'x' is not allowed"),
        (of_facts(corpus={"name": 1, "sentences": {}, "vocabulary": 1, "entropy": None}), True, "'fingerprint'"),
        (of_facts(corpus="grammar"), True, "study.json is not what this program writes"),
        (of_facts(fixed=[]), True, "study.json is not what this program writes"),
        (of_facts(technique=3), True, "technique = 3 is not allowed"),
        (of_facts(confirms={"study": 3, "trial": 0}), True, "what the study confirms"),
        (of_trial(params={"x": 1.0}), True, "trial 0 has a value of x, which its study does not search"),
        (of_trial(params={"r": 1e9}), True, "trial 0 has r = 1000000000.0, which is not"),
        (of_trial(params={"r": "high"}), True, "trial 0 has r = high, which is not"),
        (of_trial(value="low"), True, "value = 'low'"),
        (of_trial(value=None), True, "trial 0 is complete and has no figures"),
        (of_trial(values=[1.0, 2.0]), True, "trial 0 is complete and has no figures"),
        (of_trial(metrics=None), True, "trial 0 is complete and has no figures"),
        (of_trial(metrics={"nll": "low", "collapsed": False, "estimator": {}}), True, "trial 0's nll"),
        (of_trial(metrics={"nll": 1.0}), True, "study.json is not what this program writes"),
        (
            of_trial(metrics={"nll": -5.0, "collapsed": False, "estimator": {}}),
            True,
            "trial 0 has nll = -5, which is at least 0",
        ),
        (of_metrics(estimator={}), True, r"writes \(it lacks 'sentences'\)"),
        (of_metrics(estimator={**ESTIMATOR, "of": "all"}), True, "study.json is not what this program writes"),
        (of_metrics(estimator={**ESTIMATOR, "certificate": {}}), True, r"writes \(it lacks 'gap'\)"),
        (of_metrics(test={"nll": 1.0, "collapsed": False, "estimator": {}}), True, r"writes \(it lacks 'sentences'\)"),
        (record(lambda r: r["trials"][0]["metrics"].pop("rate")), True, r"writes \(it lacks 'rate'\)"),
        (record(lambda r: r.update(trials=None)), True, r"writes \(one of its parts is of another kind\)"),
        (of_trial(ended_at=1e12), True, "ended_at = 1"),
        (of_trial(seconds=-1.0), True, "seconds = -1"),
        (of_trial(losses=-1), True, "losses = -1"),
        (record(lambda r: r["epochs"].append(r["epochs"][0])), True, "an epoch of a trial stands there twice"),
        (record(lambda r: r["epochs"][0].update(epoch=0)), True, "epoch = 0"),
        (record(lambda r: r["attempts"][0].update(state="running")), True, "an attempt's state"),
        (record(lambda r: r["attempts"][0].update(trial=7)), True, "of no trial"),
        (put("more"), False, "its entries are not those of its manifest"),
        (lambda entries: entries.pop(WEIGHTS), False, "its entries are not those of its manifest"),
        (lambda entries: entries.pop(RECORD), True, "it has no study.json"),
        (lambda entries: entries.pop(MANIFEST), False, "is no bundle: it has no manifest.json"),
        (put(MANIFEST, b"["), False, "manifest.json cannot be read"),
        (put(MANIFEST, b"[]"), False, "manifest.json is not what was packed"),
        (put(RECORD, b"[]"), True, "study.json is not what was packed"),
        (record(lambda r: r.pop("epochs")), True, r"not what this program writes \(it lacks 'epochs'\)"),
        (record(lambda r: r["trials"][0].update(state="gone")), True, "trial 0's state"),
        (record(lambda r: r["trials"][0].update(artifacts="../../etc")), True, "the columns of tuner_trials"),
        (record(lambda r: r["trials"][0].update(params="r")), True, "params = 'r'"),
        (record(lambda r: r["trials"][0]["attrs"].update({"tuner:source": "me"})), True, "a trial's source"),
        (record(lambda r: r["trials"].pop(0)), True, "the trials"),
        (record(lambda r: r["study"].update(folder="/")), True, "the columns of tuner_studies"),
        (record(lambda r: r["study"]["specification"].pop("space")), True, "'space'"),
        (record(lambda r: r["study"]["specification"].update(space={})), True, "not what this program writes"),
        (
            record(lambda r: r["study"]["specification"].update(ngram={"order": 3})),
            True,
            r"writes \(it lacks 'valid'\)",
        ),
        (record(lambda r: r["study"].update(name="../up")), True, "is not allowed: a name has"),
        (record(lambda r: r["study"].update(state="what")), True, "the study"),
    ],
)
def test_what_was_not_packed_so_is_refused_and_leaves_nothing(
    study: Study, tmp_path: Path, change: Change, sums: bool, said: str
) -> None:
    pack(study, tmp_path / "s.zip")
    changed = rewritten(tmp_path / "s.zip", change, sums)
    database = other(tmp_path)
    with pytest.raises(Usage, match=said):
        unpack(database, changed, tmp_path / "elsewhere")
    assert queries.all_studies(database) == []
    left = list((tmp_path / "elsewhere").rglob("*"))
    assert left == []
    assert not (tmp_path / "evil").exists()
    unpack(database, tmp_path / "s.zip", tmp_path / "elsewhere")  # nothing stands in the way


def test_a_bundle_from_before_first_default_is_read_and_trial_0s_source_comes_along(tmp_path: Path) -> None:
    made = make(Database(f"sqlite:///{tmp_path}/t.db", create=True), tmp_path, 1, first_default=True)
    run(made)
    pack(made, tmp_path / "s.zip")
    there = unpack(other(tmp_path), tmp_path / "s.zip", tmp_path / "elsewhere")
    assert [t.source for t in there.trials.all()] == ["published"]
    older = rewritten(tmp_path / "s.zip", record(lambda r: r["study"]["specification"].pop("first_default")), True)
    assert unpack(other(tmp_path, "old"), older, tmp_path / "old").spec.first_default is False


def test_every_byte_of_a_bundle_counts(study: Study, tmp_path: Path) -> None:
    pack(study, tmp_path / "s.zip", "best")
    whole = (tmp_path / "s.zip").read_bytes()
    database = other(tmp_path)
    for cut in (0, 3, len(whole) // 3, len(whole) - 30):
        (tmp_path / "cut.zip").write_bytes(whole[:cut])
        with pytest.raises(Usage, match="is no bundle"):
            unpack(database, tmp_path / "cut.zip", tmp_path / "elsewhere")
    refused = 0
    for place in range(40, len(whole), len(whole) // 40):
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        (tmp_path / "flipped.zip").write_bytes(flipped)
        try:
            found = unpack(database, tmp_path / "flipped.zip", tmp_path / "elsewhere", name=f"f{place}")
        except Usage:
            refused += 1
        else:  # a byte that decides nothing: a time or a system's number in a header
            assert [t.plain()["metrics"] for t in found.trials.all()] == [
                t.plain()["metrics"] for t in study.trials.all()
            ]
    assert refused > 20
    with pytest.raises(Usage, match="does not exist"):
        unpack(database, tmp_path / "nothing.zip", tmp_path / "elsewhere")


def test_lost_files_are_said_when_packing(study: Study, tmp_path: Path) -> None:
    (Path(study.files.store.address) / "0002" / "again" / "best.safetensors").write_bytes(b"changed")
    with pytest.raises(Fault, match="is not what was published"):
        pack(study, tmp_path / "s.zip")
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob(".*.half"))
    manifest = Path(study.files.store.address) / "0002" / "again" / MANIFEST
    manifest.unlink()
    manifest.write_text('{"half')
    with pytest.raises(Fault, match="0002/again is not whole"):
        pack(study, tmp_path / "s.zip")
    study.files.store.delete("0002")
    with pytest.raises(Fault, match="0002/again is not whole"):
        pack(study, tmp_path / "s.zip")
    with pytest.raises(Usage, match="is in no folder: make .*/no first"):
        pack(study, tmp_path / "no" / "s.zip")
    for folder in (Path(), Path("/"), tmp_path):
        with pytest.raises(Usage, match="is a folder: name a file"):
            pack(study, folder)


def test_a_store_out_of_reach_is_told_from_a_bundle_that_cannot_be_written(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OSError("EndpointConnectionError: nobody answers")

    monkeypatch.setattr(Store, "read", away)
    with pytest.raises(Fault, match=r"the study's files in .* cannot be read \(EndpointConnectionError"):
        pack(study, tmp_path / "s.zip")


def test_a_bundle_that_is_none_leaves_no_database_behind(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="does not exist"):
        app(["import", str(tmp_path / "s.zip"), "--database", f"sqlite:///{tmp_path}/t.db"], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_file_has_its_place() -> None:
    assert all(bundle.ENTRY.fullmatch(f"trials/0000/{name}") for name in FILES)
    assert bundle.ENTRY.fullmatch("trials/12345/spec.json")
