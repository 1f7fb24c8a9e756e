"""Trials' files: whole or not at all, checked, cleaned up; in a folder and in a real S3 server (moto's)."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainers.contract import BEST, FILES, LATEST, RESULT, SAMPLES
from tuner.errors import Fault, Usage
from tuner.storage import artifacts
from tuner.storage.artifacts import MANIFEST, Damaged, Store


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3 server of this process."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # of the server of an earlier part of these tests
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found = Store(f"s3://bucket-{tmp_path.name.replace('_', '-').lower()}/prefix")
    found.files.mkdir(found.root.split("/")[0])
    return found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Folder that a trainer left."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "spec.json").write_text("{}")
    (folder / LATEST).write_bytes(os.urandom(100_000))
    (folder / "not ours").write_text("x")
    return folder


def test_what_was_published_is_fetched_unchanged(store: Store, work: Path, tmp_path: Path) -> None:
    store.publish(work, "0003/a-1")
    store.fetch("0003/a-1", tmp_path / "back")
    assert {f.name for f in (tmp_path / "back").iterdir()} == {"spec.json", LATEST}
    assert (tmp_path / "back" / LATEST).read_bytes() == (work / LATEST).read_bytes()


def test_the_end_of_a_file_is_read_without_the_rest(store: Store) -> None:
    store.write("0003/a-1/log", b"0123456789")
    store.write("0003/a-1/empty", b"")
    found = [store.read("0003/a-1/log", last) for last in (None, 3, 10, 11)]
    assert found == [b"0123456789", b"789", b"0123456789", b"0123456789"]
    assert [store.read("0003/a-1/empty", 3), store.read("0003/a-1/none", 3)] == [b"", None]


def test_a_generation_does_not_change_when_the_trainer_goes_on(store: Store, work: Path, tmp_path: Path) -> None:
    store.publish(work, "0003/a-1")
    before = (work / LATEST).read_bytes()
    (work / "next").write_bytes(b"newer")
    (work / "next").replace(work / LATEST)  # as trainers write
    store.fetch("0003/a-1", tmp_path / "back")
    assert (tmp_path / "back" / LATEST).read_bytes() == before
    (tmp_path / "back" / LATEST).write_bytes(b"what was fetched is the fetcher's own")
    store.fetch("0003/a-1", tmp_path / "again")
    assert (tmp_path / "again" / LATEST).read_bytes() == before


def _go_on(work: Path, text: str, *names: str) -> None:
    """Writes files as trainers do."""
    for name in names:
        (work / "next").write_text(text)
        (work / "next").replace(work / name)


def test_a_generation_is_of_one_moment_though_the_trainer_goes_on_meanwhile(
    store: Store, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, epochs = Store._put, iter("23456789")

    def slow(self: Store, file: Path, key: str) -> None:
        put(self, file, key)
        _go_on(work, next(epochs), BEST, LATEST)

    monkeypatch.setattr(Store, "_put", slow)
    _go_on(work, "1", BEST, LATEST)
    store.publish(work, "0003/a-1")
    store.fetch("0003/a-1", tmp_path / "back")
    assert [(tmp_path / "back" / name).read_text() for name in (BEST, LATEST)] == ["1", "1"]
    assert {file.name for file in work.iterdir()} == {"spec.json", BEST, LATEST, "not ours"}


def test_what_a_trainer_saves_last_is_taken_first(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, moments = artifacts._copy, iter("23456789")

    def slow(file: Path, target: Path) -> None:
        copy(file, target)
        _go_on(work, next(moments), BEST, LATEST, SAMPLES, RESULT)

    monkeypatch.setattr(artifacts, "_copy", slow)
    _go_on(work, "1", BEST, LATEST, SAMPLES, RESULT)
    with artifacts.snapshot(work, FILES) as files:
        taken = {file.name: file.read_text() for file in files}
    assert list(taken) == ["spec.json", BEST, LATEST, RESULT, SAMPLES]
    assert max(taken[LATEST], taken[RESULT]) < min(taken[BEST], taken[SAMPLES])


@pytest.mark.parametrize("mebibytes", [0, 1, 60])  # an object store takes the last in parts
def test_a_file_that_comes_in_pieces_is_there_once_it_is_committed(store: Store, mebibytes: int) -> None:
    piece = os.urandom(2**20)
    for ending in ("discard", "commit"):
        writing = store.writing("0003/a-1/x")
        for _ in range(mebibytes):
            writing.write(piece)
        assert store.read("0003/a-1/x") is None
        assert store.sizes("0003/a-1") == {}
        getattr(writing, ending)()
        assert (store.read("0003/a-1/x") is None) == (ending == "discard")
    assert store.sizes("0003/a-1") == {"x": mebibytes * 2**20}
    assert hashlib.sha256(b"".join(store.blocks("0003/a-1/x"))).digest() == writing.sha256
    if store.local:
        assert [file.name for file in Path(store.address, "0003", "a-1").iterdir()] == ["x"]


def test_what_another_program_has_written_meanwhile_is_seen(store: Store) -> None:
    other = Store(store.address)
    if not store.local:
        other.files = type(store.files)(skip_instance_cache=True)
    for number, name in enumerate("ab"):
        assert len(store.sizes("0003/a-1")) == number
        other.write(f"0003/a-1/{name}", bytes(number + 1))
        other.write(f"0003/b-{number}/{name}", b"x")
        assert store.sizes("0003/a-1")[name] == number + 1
        assert set(store._list("0003")) == {"a-1", *(f"b-{n}" for n in range(number + 1))}


def _spoil(store: Store, key: str, content: bytes | None) -> None:
    if store.local:
        file = Path(store.address, key)
        file.unlink()
        if content is not None:
            file.write_bytes(content)
    elif content is None:
        store.files.rm_file(f"{store.root}/{key}")
    else:
        store.files.pipe_file(f"{store.root}/{key}", content)


@pytest.mark.parametrize(
    ("name", "content"),
    [(LATEST, b"bits that have rotted"), (LATEST, None), (MANIFEST, None), (MANIFEST, b'{"half')],
)
def test_a_damaged_generation_is_refused_and_nothing_of_it_left(
    store: Store, work: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    store.publish(work, "0003/a-1")
    _spoil(store, f"0003/a-1/{name}", content)
    with pytest.raises(Damaged, match="0003/a-1"):
        store.fetch("0003/a-1", tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_older_generations_go_and_others_stay(store: Store, work: Path, tmp_path: Path) -> None:
    for generation in ("0003/a-1", "0003/a-2", "0003/b-1", "0004/a-1"):
        store.publish(work, generation)
    store.drop(store.generations("0003") - {"0003/b-1"})
    for gone in ("0003/a-1", "0003/a-2"):
        with pytest.raises(Damaged):
            store.fetch(gone, tmp_path / "back")
    for kept in ("0003/b-1", "0004/a-1"):
        store.fetch(kept, tmp_path / "back")
    for kept in ("notes", "2024"):
        store.write(f"{kept}/mine", b"x")
    store.clear(5)
    store.clear(5)  # twice is no error
    assert [store.read(f"{kept}/mine") for kept in ("notes", "2024")] == [b"x", b"x"]  # no trial's
    for generation in ("0003/b-1", "0004/a-1"):
        with pytest.raises(Damaged):
            store.fetch(generation, tmp_path / "back")


def test_a_folder_with_a_generations_files(store: Store, work: Path, tmp_path: Path) -> None:
    store.publish(work, "0003/a-1")
    folder = store.folder("0003/a-1", tmp_path / "cache")
    assert (folder / LATEST).read_bytes() == (work / LATEST).read_bytes()
    assert store.folder("0003/a-1", tmp_path / "cache") == folder
    if not store.local:
        with pytest.raises(Fault, match="cannot be opened"):
            store.folder("0003/none", tmp_path / "cache")


def test_two_that_open_a_run_first_leave_each_others_files_alone(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fetch, cache = Store(f"memory://{tmp_path.name}"), Store.fetch, tmp_path / "cache"
    store.publish(work, "0003/a-1")
    before = list[int]()

    def late(self: Store, generation: str, folder: Path) -> None:
        monkeypatch.setattr(Store, "fetch", fetch)
        before.append((store.folder(generation, cache) / LATEST).stat().st_mtime_ns)
        fetch(self, generation, folder)

    monkeypatch.setattr(Store, "fetch", late)
    folder = store.folder("0003/a-1", cache)
    assert (folder / LATEST).stat().st_mtime_ns == before[0]
    assert [each.name for each in cache.iterdir()] == [folder.name]


def test_a_full_disk_leaves_nothing_of_the_generation(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    store.publish(work, "0003/a-1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        store.publish(work, "0003/a-2")
    monkeypatch.undo()
    assert [f.name for f in (tmp_path / "store" / "0003").iterdir()] == ["a-1"]


@pytest.mark.parametrize("what", ["removed", "added"])
def test_what_another_process_does_to_a_folder_meanwhile_leaves_nothing_of_it(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = Store(str(tmp_path / "store"))
    store.publish(work, "0003/a-1")
    folder, unlink, removed = tmp_path / "store" / "0003" / "a-1", os.unlink, list[str]()

    def meddle(name: str, **where: Any) -> None:
        unlink(name, **where)
        removed.append(name)
        if len(removed) == 1 and what == "added":
            (folder / "new").touch()
        elif len(removed) == 1:
            unlink(name, **where)  # as if this process came second

    monkeypatch.setattr(os, "unlink", meddle)
    store.delete("0003/a-1")
    assert not folder.exists()


def test_files_that_go_while_they_are_listed_have_no_size(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, iterdir = Store(str(tmp_path / "store")), Path.iterdir
    store.publish(work, "0003/a-1")

    def late(folder: Path) -> Iterator[Path]:
        found = list(iterdir(folder))
        shutil.rmtree(folder)
        yield from found

    monkeypatch.setattr(Path, "iterdir", late)
    assert store.sizes("0003/a-1") == {}
    assert store.sizes("0003/a-1") == {}


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(Usage, match=r"artifacts 'nonsense://x' cannot be used"):
        Store("nonsense://x")
