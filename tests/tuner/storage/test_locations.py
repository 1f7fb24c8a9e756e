"""A study's files: found beside their database wherever both are moved, and used only while they are what was saved."""

import shutil
from pathlib import Path

import pytest
import torch
from sqlalchemy import update
from stub_study import make, run
from typer.testing import CliRunner

from benchmarks.stub_study import defined
from trainers import checkpoint
from trainers.contract import LOG
from trainers.errors import BadInput
from tuner.commands.app import app
from tuner.errors import Fault, Usage
from tuner.storage import locations
from tuner.storage.artifacts import MANIFEST, Store
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import bundle, creation
from tuner.studies.files import run_folder
from tuner.studies.study import Study, open_study

pytestmark = pytest.mark.usefixtures("stub")


def project(folder: Path, whole_path: bool = False) -> Study:
    """A study of one trial, all in one folder; its place kept as older programs did where `whole_path`."""
    folder.mkdir()
    study = make(Database(f"sqlite:///{folder}/t.db", create=True), folder, 1)
    run(study)
    (generation,) = study.files._generations()
    (folder / "weights").mkdir()
    (folder / "weights" / "best.safetensors").write_bytes(bytes(1000))
    study.files.store.publish(folder / "weights", generation, ("best.safetensors",))
    if whole_path:
        row = update(StudyRow).values(folder=study.files.store.address)
        study.database.run(lambda session: session.execute(row))
    study.database.close()
    return study


@pytest.mark.parametrize("whole_path", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_a_moved_or_copied_project_has_its_own_files(tmp_path: Path, whole_path: bool, copied: bool) -> None:
    before = project(tmp_path / "a", whole_path)
    if copied:
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    else:
        (tmp_path / "a").rename(tmp_path / "b")
    database = Database(f"sqlite:///{tmp_path}/b/t.db")
    study = open_study(database, "s")
    assert Path(study.files.store.address).is_relative_to(tmp_path / "b")
    assert study.files.folder(0, tmp_path).is_relative_to(tmp_path / "b")
    bundle.pack(study, tmp_path / "s.zip")
    assert make(database, tmp_path / "b", 1).files.store.address == study.files.store.address  # gone on with
    study.delete()
    assert not Path(study.files.store.address).exists()
    assert Path(before.files.store.address).exists() == copied
    assert not (tmp_path / "a").exists() or copied
    database.close()


def test_files_that_are_gone_are_said_and_named_anew(tmp_path: Path) -> None:
    study = project(tmp_path / "a")
    Path(study.files.store.address).rename(tmp_path / "elsewhere")
    url = study.database.url
    for line in (["sample", "s/0"], ["log", "s/0"], ["evaluate", "s/0"]):
        done = CliRunner().invoke(app, [*line, "--database", url])
        assert isinstance(done.exception, Fault)
        assert "which is gone: put it back, or say where it is with `tuner relocate s FOLDER`" in str(done.exception)
    with pytest.raises(Fault, match="which is gone"):
        make(study.database, tmp_path / "a", 1)
    assert not Path(study.files.store.address).exists()  # nothing is made anew there
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "a"):
        done = CliRunner().invoke(app, ["relocate", "s", str(place), "--database", url])
        assert isinstance(done.exception, Usage), place
    assert CliRunner().invoke(app, ["relocate", "s", str(tmp_path / "elsewhere"), "--database", url]).exit_code == 0
    found = open_study(study.database, "s")
    assert found.files.folder(0, tmp_path).is_relative_to(tmp_path / "elsewhere")
    found.delete()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_a_place_that_is_named_is_no_other_of_its_name(tmp_path: Path, whole: bool) -> None:
    study = project(tmp_path / "a")
    before = Path(study.files.store.address)
    named = tmp_path / "big" / "runs" / before.name
    shutil.copytree(before, named)
    (generation,) = study.files._generations()
    if not whole:
        shutil.rmtree(named / generation)
        with pytest.raises(Usage, match="does not hold the files of study 's'"):
            study.files.relocate(str(named))
        return
    study.files.relocate(str(named))
    found = open_study(study.database, "s")
    assert found.files.folder(0, tmp_path) == named / generation
    assert before.is_dir()  # beside the database


def test_where_files_go_is_not_ignored_of_a_study_that_has_some(tmp_path: Path) -> None:
    study = project(tmp_path / "a")
    database, runs = study.database, tmp_path / "a" / "runs"
    for artifacts in (None, str(runs), f"{runs}/"):
        creation.go_on(database, "s", defined(1), tmp_path / "x", artifacts)
    for go_on in (
        lambda: creation.go_on(database, "s", defined(1), runs, "s3://bucket/x"),
        lambda: creation.go_on_each(database, {"s": defined(1)}, runs, str(tmp_path / "b")),
    ):
        with pytest.raises(Usage, match=rf"study 's' has its files in {study.files.store.address}, not in"):
            go_on()
    database.close()


def test_a_study_without_files_is_not_said_to_have_them_anywhere(tmp_path: Path) -> None:
    """The study's deletion would then remove what is there."""
    study = make(Database(f"sqlite:///{tmp_path}/t.db", create=True), tmp_path, 1)
    for place in (tmp_path, Path("/"), ""):
        with pytest.raises(Usage, match="study 's' has no files yet, so there are none in"):
            study.files.relocate(str(place))
    study.database.close()


def test_a_deletion_leaves_what_is_not_the_studys(tmp_path: Path) -> None:
    study = project(tmp_path / "a")
    thesis, other = tmp_path / "a" / "thesis.tex", tmp_path / "a" / "runs"
    thesis.write_text("years of work")
    (generation,) = study.files._generations()
    Path(study.files.store.address, "0000").rename(tmp_path / "a" / "0000")
    study.files.relocate(str(tmp_path / "a"))
    assert study.files.folder(0, tmp_path) == tmp_path / "a" / generation
    study.delete()
    assert not (tmp_path / "a" / "0000").exists()
    assert thesis.read_text() == "years of work"
    assert other.is_dir()


def test_what_the_database_keeps_of_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///t.db", create=True)
    assert locations.new(database, Path("runs"), "s-1", None) == "runs/s-1"
    assert locations.new(database, Path("/elsewhere"), "s-1", None) == "/elsewhere/s-1"
    assert locations.new(database, Path("runs"), "s-1", "files/") == "files/s-1"
    assert locations.new(database, Path("runs"), "s-1", "s3://bucket/x/") == "s3://bucket/x/s-1"
    assert locations.found(database, "runs/s-1") == str(tmp_path / "runs" / "s-1")
    assert locations.found(database, "s3://bucket/x") == "s3://bucket/x"
    assert locations.found(database, "/gone/runs/s-1") == "/gone/runs/s-1"
    database.close()


@pytest.mark.parametrize("way", ["study", "folder", "store", "cache"])
def test_flipped_bits_are_found_when_weights_are_used(way: str, tmp_path: Path) -> None:
    study = project(tmp_path / "a")
    (generation,) = study.files._generations()
    store = study.files.store if way != "cache" else Store(f"memory://{tmp_path.name}")
    if way == "cache":
        store.publish(Path(study.files.store.address, generation), generation)
        damaged = store.folder(generation, tmp_path / "cache") / "best.safetensors"
    else:
        damaged = Path(store.address, generation, "best.safetensors")
    content = bytearray(damaged.read_bytes())
    content[500] ^= 1
    damaged.unlink()
    damaged.write_bytes(content)
    if way == "cache":  # what is published is whole, and comes anew
        assert (store.folder(generation, tmp_path / "cache") / "best.safetensors").read_bytes() == bytes(1000)
        return
    with pytest.raises(Fault, match="best.safetensors is not what was published, so it is not used"):
        if way == "store":
            store.folder(generation, tmp_path)
        else:
            run_folder("s/0" if way == "study" else str(damaged.parent), study.database.url)
    assert study.files.read(0, LOG) is not None  # its log can be read

    (damaged.parent / MANIFEST).write_text("[]")
    with pytest.raises(Fault, match="is not whole"):
        store.folder(generation, tmp_path)


def test_weights_know_their_own_sum(tmp_path: Path) -> None:
    """Files of `tuner train` count too, which publishes nothing."""
    file = tmp_path / "w.safetensors"
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.tensor(2.0),
        "c": torch.arange(5),
        "d": torch.zeros(2, dtype=torch.bool),
    }
    checkpoint.save_tensors(file, {**tensors, "e": torch.ones(3, dtype=torch.bfloat16)}, {"epoch": 3})
    found, facts = checkpoint.load_tensors(file)
    assert facts == {"epoch": 3}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    whole = file.read_bytes()
    for place in range(len(whole) - 80, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        file.write_bytes(flipped)
        with pytest.raises(BadInput, match="is damaged .*not those that were saved"):
            checkpoint.load_tensors(file)
