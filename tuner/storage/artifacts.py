"""Trials' files: published whole, checksummed, and never half-written, in a folder or any store that fsspec knows (S3).

A trainer writes in a folder of its own on its machine. What it has written is published as a *generation*: a folder of the store
that holds the files and, written last, a manifest with their checksums. A generation is never changed. Which one is a trial's
newest, `tuner_trials.artifacts` says, and only the attempt that holds the lease can move that pointer: a worker that has lost
its trial can publish what it likes, and no one reads it.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trainers.contract import FILES, LATEST, RESULT
from tuner.errors import Fault, Usage

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BLOCK = 2**20
"""Bytes of a file that are in memory at a time."""
MANIFEST = "manifest.json"


class Damaged(Exception):
    """A generation is not what was published."""


def digest(file: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Store:
    """The published files of one study.

    Args:
        address: a folder, or an address with a protocol, e.g. s3://bucket/prefix.

    Raises:
        Usage: if the protocol is unknown or its package is missing.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.local = "://" not in address
        if self.local:
            return
        protocol, _, rest = address.partition("://")
        if not protocol or not rest.strip("/") or (rest.startswith("/") and protocol != "file"):
            raise Usage(f"artifacts {address!r} names no place: give a folder, or e.g. s3://BUCKET/PREFIX.")
        import fsspec

        try:
            self.files: AbstractFileSystem
            self.files, self.root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise Usage(
                f"artifacts {address!r} cannot be used ({error}): give a folder, or pip install 'text-vae-tuner[s3]' for s3://."
            ) from error

    def publish(self, folder: Path, generation: str, names: Sequence[str] = FILES) -> None:
        """Puts those of the named files that exist in `folder` into a new generation, as they are now.

        Raises:
            OSError: if the store cannot be written; nothing of the generation is left.
        """
        manifest: dict[str, Any] = {}
        try:
            with snapshot(folder, names) as files:
                for file in files:
                    self._put(file, f"{generation}/{file.name}")
                    manifest[file.name] = {"sha256": digest(file), "bytes": file.stat().st_size}
            self.close(generation, manifest)
        except BaseException:
            with suppress(OSError):
                self.delete(generation)
            raise

    def close(self, generation: str, manifest: Mapping[str, Any]) -> None:
        """Says what the files of a generation are, with which it is whole."""
        self.write(f"{generation}/{MANIFEST}", json.dumps(manifest, indent=1).encode())

    def fetch(self, generation: str, folder: Path) -> None:
        """Puts a generation's files into `folder`.

        Raises:
            Damaged: if one is missing or is not what was published; the folder is left without them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with emptied(folder):
            try:
                for name, facts in self.manifest(generation).items():
                    self._get(f"{generation}/{name}", folder / name)
                    if digest(folder / name) != facts["sha256"]:
                        raise Damaged(f"{self.address}/{generation}/{name} is not what was published")
            except FileNotFoundError as error:
                raise Damaged(f"{self.address}/{generation} is not whole ({error})") from error

    def manifest(self, generation: str) -> dict[str, dict[str, Any]]:
        """The files of a generation by name: bytes and sha256 of each.

        Raises:
            Damaged: if there is no such generation, or it is not whole.
        """
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._read(f"{generation}/{MANIFEST}"))
        except (FileNotFoundError, ValueError) as error:
            raise Damaged(f"{self.address}/{generation} is not whole ({error})") from error
        return found

    def probe(self, generation: str, newest: str | None) -> None:
        """Tries whether a generation could be published.

        Args:
            newest: the trial's newest generation, if it has one.

        Raises:
            OSError: if none could be, or the folder that has the newest one is gone.
        """
        if newest is not None and not self.is_there():
            raise FileNotFoundError("it is gone")
        self.write(f"{generation}/{MANIFEST}", b"{}")
        self.delete(generation)

    def read(self, path: str, last: int | None = None) -> bytes | None:
        """A published file's content; none if there is none.

        Args:
            last: so many bytes of it at most, from its end.
        """
        try:
            return self._read(path, last)
        except FileNotFoundError:
            return None

    def folder(self, generation: str, cache: Path) -> Path:
        """A folder of this machine with a generation's files: the store's own, or a copy in `cache`.

        Raises:
            Fault: if one of them is not what was published.
        """
        if self.local:
            check(Path(self.address, generation))
            return Path(self.address, generation)
        copy = cache / hashlib.sha256(f"{self.address}/{generation}".encode()).hexdigest()[:16]

        def is_whole() -> bool:
            with suppress(Fault):
                check(copy)
                return True
            return False

        if is_whole():
            return copy
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as held:
            fetched = Path(held, copy.name)
            try:
                self.fetch(generation, fetched)
                (fetched / MANIFEST).write_bytes(self._read(f"{generation}/{MANIFEST}"))
            except (Damaged, FileNotFoundError) as error:
                raise Fault(f"{error}: the run cannot be opened.") from error
            if not is_whole():  # else another process has put it there meanwhile, and may be reading
                shutil.rmtree(copy, ignore_errors=True)
                fetched.rename(copy)
        return copy

    def delete(self, path: str) -> None:
        """Removes a generation or a trial's files; what is not there is no error."""
        if self.local:
            place = Path(self.address, path)
            while place.is_dir():
                try:
                    shutil.rmtree(place)
                except OSError as error:  # another process has removed a part of it meanwhile, or added one
                    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                        raise
        else:
            with suppress(FileNotFoundError), _reached():
                self.files.rm(f"{self.root}/{path}", recursive=True)

    def clear(self, count: int) -> None:
        """Removes the files of the trials up to `count`, and the store's folder if nothing else is in it; what is not there
        is no error.
        """
        own = {f"{number:04d}" for number in range(count)}
        trials = [name for name in self._list("") if name in own]
        if self.local:
            for name in trials:
                self.delete(name)
            with suppress(OSError):
                Path(self.address).rmdir()
        elif trials:
            with suppress(FileNotFoundError), _reached():
                self.files.rm([f"{self.root}/{name}" for name in trials], recursive=True)

    def generations(self, trial: str) -> set[str]:
        """The generations of a trial that are there, whole or not."""
        return {f"{trial}/{name}" for name in self._list(trial)}

    def drop(self, generations: Iterable[str]) -> None:
        """Removes generations, as far as that can be done now."""
        for generation in generations:
            with suppress(OSError):
                self.delete(generation)

    def sizes(self, generation: str) -> dict[str, int]:
        """Bytes of the files that are there of a generation, be it whole or not; of a file on its way nothing."""
        if self.local:
            found = {}
            with suppress(FileNotFoundError, NotADirectoryError):  # nothing of it is there, or it is being removed
                for file in Path(self.address, generation).iterdir():
                    if not file.name.startswith("."):
                        found[file.name] = file.stat().st_size
            return found
        return {name: int(facts["size"]) for name, facts in self._listed(generation).items()}

    def _list(self, path: str) -> Iterable[str]:
        if self.local:
            with suppress(FileNotFoundError, NotADirectoryError):
                return [entry.name for entry in Path(self.address, path).iterdir()]
            return []
        return self._listed(path)

    def _listed(self, path: str) -> dict[str, dict[str, Any]]:
        """Facts of the entries now in a place of a store of objects, by name; other programs write there too."""
        place = f"{self.root}/{path}"
        try:
            with _reached():
                self.files.invalidate_cache(place)
                found = self.files.ls(place, detail=True)
        except FileNotFoundError:
            return {}
        return {str(facts["name"]).rstrip("/").rpartition("/")[2]: facts for facts in found}

    def _put(self, file: Path, key: str) -> None:
        if not self.local:
            with _reached():
                self.files.put_file(str(file), f"{self.root}/{key}")
            return
        target = Path(self.address, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(file, target)

    def _get(self, key: str, file: Path) -> None:
        if self.local:
            shutil.copyfile(Path(self.address, key), file)
        else:
            with _reached():
                self.files.get_file(f"{self.root}/{key}", str(file))

    def writing(self, key: str) -> "Writing":
        """A file that is to be written piece by piece."""
        return Writing(self, key)

    def blocks(self, key: str) -> Iterator[bytes]:
        """A file's content, piece by piece.

        Raises:
            FileNotFoundError: if there is none.
        """
        with _reached(), self._opened(key) as opened:
            while block := opened.read(BLOCK):
                yield block

    def _opened(self, key: str) -> IO[bytes]:
        if self.local:
            return Path(self.address, key).open("rb")
        found: IO[bytes] = self.files.open(f"{self.root}/{key}")
        return found

    def is_there(self) -> bool:
        """True if the study's folder exists; a store of objects has no folders, so it is always there."""
        return not self.local or Path(self.address).is_dir()

    def write(self, key: str, content: bytes) -> None:
        """A small file, whole or not at all.

        Raises:
            OSError: if the store cannot be written.
        """
        if not self.local:
            with _reached():
                self.files.pipe_file(f"{self.root}/{key}", content)
            return
        target = Path(self.address, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_name(f".{target.name}.half")
        with half.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        half.replace(target)

    def _read(self, key: str, last: int | None = None) -> bytes:
        if self.local:
            with Path(self.address, key).open("rb") as file:
                file.seek(0 if last is None else max(os.fstat(file.fileno()).st_size - last, 0))
                return file.read()
        with _reached():
            place = f"{self.root}/{key}"
            first = 0 if last is None else max(int(self.files.info(place)["size"]) - last, 0)
            content: bytes = self.files.cat_file(place, start=first or None)
        return content


class Writing:
    """A file of a store that comes piece by piece: there when it is committed, and not before.

    Raises:
        OSError: with each call, if the store cannot be written.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._digest, self.size = hashlib.sha256(), 0
        self._target: Path | None = None
        if store.local:
            self._target = Path(store.address, key)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._half = self._target.with_name(f".{self._target.name}.half-{secrets.token_hex(4)}")
            self._file: Any = self._half.open("wb")
        else:
            with _reached():
                self._file = store.files.open(f"{store.root}/{key}", "wb", autocommit=False)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the bytes that have come."""
        return self._digest.digest()

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self.size += len(block)
        with _reached():
            self._file.write(block)

    def commit(self) -> None:
        with _reached():
            if self._target is None:
                self._file.close()
                self._file.commit()
                return
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._half.replace(self._target)

    def discard(self) -> None:
        """Leaves nothing of it."""
        with suppress(OSError), _reached():
            if self._target is None:
                self._file.discard()
            else:
                self._file.close()
                self._half.unlink(missing_ok=True)


@contextmanager
def snapshot(folder: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """The named files that a run's folder has, all as they were at one moment though its trainer goes on.

    A trainer saves `BEST` before the `LATEST` that knows of it, and `RESULT` after all else. What is saved last is taken first:
    a `BEST` newer than its `LATEST` is only what a crash between the two leaves, and the epoch trained again replaces it; with a
    `LATEST` that is newer than its `BEST`, a training that goes on would evaluate weights that are not the best epoch's.
    """
    with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=folder) as held:
        for name in sorted(names, key=lambda name: name not in (LATEST, RESULT)):
            with suppress(FileNotFoundError):
                _copy(folder / name, Path(held, name))
        yield [file for name in names if (file := Path(held, name)).exists()]


def _copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)  # trainers replace their files, never write into them, so a link is a copy
    except OSError:
        shutil.copyfile(file, target)


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Leaves none of a run's files in a folder if they cannot all be fetched."""
    try:
        yield
    except BaseException:
        _empty(folder)
        raise


@contextmanager
def _reached() -> Iterator[None]:
    """Makes an OSError of whatever a store's package raises when the store cannot be reached, or lets nobody in."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def check(folder: Path, used: Sequence[str] = FILES) -> None:
    """Checks that the files of a generation are those that were published.

    Raises:
        Fault: if one is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for name in manifest.keys() & set(used):
            if digest(folder / name) != manifest[name]["sha256"]:
                raise Fault(
                    f"{folder / name} is not what was published, so it is not used: put a copy back, or train again."
                )
    except (OSError, AttributeError, ValueError, TypeError, KeyError) as error:
        raise Fault(f"{folder} is not whole ({error}): the run cannot be opened.") from error


def _empty(folder: Path) -> None:
    for name in (*FILES, MANIFEST):
        (folder / name).unlink(missing_ok=True)
