"""The cache of encoded corpora: made once, shared, never half an entry, bounded, and no more than a convenience."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainers import corpus_cache, encoding
from trainers.corpus import Corpus, load
from trainers.errors import BadInput, Failure
from trainers.options import CorpusOptions

OPTIONS = CorpusOptions(truncation=0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(corpus_cache.PLACE, str(tmp_path / "cache"))
    monkeypatch.setattr(corpus_cache, "RECENT_NS", -1)  # files made by the test are relied on at once
    return tmp_path / "cache"


def texts(folder: Path, train: str = "a b c\nb c d\n") -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text(train if split == "train" else "a b c\n", encoding="utf-8")
    return folder


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that corpora were encoded in."""
    found: list[Path] = []
    finish: Callable[..., None] = encoding.Encoder.finish

    def counted(self: encoding.Encoder, *arguments: object) -> None:
        found.append(self.folder)
        finish(self, *arguments)

    monkeypatch.setattr(encoding.Encoder, "finish", counted)
    return found


def same(one: Corpus, other: Corpus) -> bool:
    return one.facts == other.facts and all(
        np.array_equal(one.splits[split].tokens, other.splits[split].tokens) for split in one.splits
    )


def test_a_corpus_is_encoded_once(cache: Path, tmp_path: Path, made: list[Path]) -> None:
    folder = str(texts(tmp_path / "t"))
    first, again = load(folder, OPTIONS), load(folder, OPTIONS)
    assert len(made) == 1
    assert same(first, again)
    (entry,) = corpus_cache.entries()
    assert entry.fingerprint == first.fingerprint
    load(folder, CorpusOptions(truncation=0, min_count=2))
    assert len(made) == 2


def test_another_text_is_encoded_anew(cache: Path, tmp_path: Path, made: list[Path]) -> None:
    folder = texts(tmp_path / "t")
    first = load(str(folder), OPTIONS)
    stat = (folder / "train.txt").stat()
    (folder / "train.txt").write_text("a b c\nb c e\n", encoding="utf-8")  # of the same size
    os.utime(folder / "train.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and as old, as a copying program makes it
    other = load(str(folder), OPTIONS)
    assert len(made) == 2
    assert other.fingerprint != first.fingerprint
    assert first.vocabulary.text(first.splits["train"][1].tolist()) == "b c d"  # its files have not been touched


def test_a_file_that_has_just_changed_is_not_relied_on(
    cache: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_cache, "RECENT_NS", 10**12)
    folder = str(texts(tmp_path / "t"))
    load(folder, OPTIONS)
    load(folder, OPTIONS)
    assert len(made) == 2
    assert len(corpus_cache.entries()) == 1


def test_a_damaged_entry_is_made_anew(cache: Path, tmp_path: Path, made: list[Path]) -> None:
    folder = str(texts(tmp_path / "t"))
    first = load(folder, OPTIONS)
    whole = [sentence.tolist() for sentence in first.splits["train"]]
    (entry,) = corpus_cache.entries()
    for name in ("train.tokens", "facts.json", "valid.characters"):
        (cache / entry.name / name).write_bytes(b"{")
        assert [sentence.tolist() for sentence in load(folder, OPTIONS).splits["train"]] == whole
    assert len(made) == 4


def test_what_was_not_finished_is_no_entry_and_goes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        (folder / "train.tokens").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus_cache.encoded([], "x", killed, lambda folder: folder)
    left = cache / f"{corpus_cache.BUILDING}left"
    left.mkdir()
    (left / "facts.json").write_text("{}")
    assert corpus_cache.entries() == []
    os.utime(left, (0, 0))
    load(str(texts(tmp_path / "t")), OPTIONS)
    assert not left.exists()


def test_the_longest_unused_entries_go_when_it_is_full(
    cache: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [str(texts(tmp_path / f"t{i}", f"a b c\nw{i} b c\n")) for i in range(3)]
    kept = load(folders[0], OPTIONS)
    for entry in corpus_cache.entries():
        os.utime(cache / entry.name, (1, 1))
    load(folders[1], OPTIONS)
    size = corpus_cache.entries()[0].bytes
    monkeypatch.setenv(corpus_cache.BOUND, str(2.5 * size / 2**30))
    load(folders[2], OPTIONS)
    assert len(corpus_cache.entries()) == 2
    assert kept.vocabulary.text(kept.splits["train"][1].tolist()) == "w0 b c"  # mapped, though it has gone
    load(folders[1], OPTIONS)
    assert len(made) == 3
    load(folders[0], OPTIONS)
    assert len(made) == 4
    assert len(list((cache / "sources").glob("*.json"))) == 2
    monkeypatch.setenv(corpus_cache.BOUND, "0")
    load(folders[2], OPTIONS)
    assert len(corpus_cache.entries()) == 1
    monkeypatch.setenv(corpus_cache.BOUND, "much")
    with pytest.raises(BadInput, match="TUNER_CACHE_GB = 'much' is not allowed: it must be a number of gibibytes"):
        corpus_cache.described()


def test_all_go_when_they_are_cleared(cache: Path, tmp_path: Path) -> None:
    load(str(texts(tmp_path / "t")), OPTIONS)
    assert corpus_cache.cleared() == 1
    assert corpus_cache.described()["entries"] == []
    assert not any(path.is_dir() and path.name != "sources" for path in cache.iterdir())


def test_a_processes_work_that_was_killed_makes_room_for_the_next(cache: Path, tmp_path: Path) -> None:
    folder = texts(tmp_path / "t")
    script = (
        "import os, signal, sys\nfrom trainers import encoding\nfrom trainers.corpus import load\n"
        "from trainers.options import CorpusOptions\n"
        "encoding.Encoder.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nload(sys.argv[1], CorpusOptions())"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = cache.glob(f"{corpus_cache.BUILDING}*")
    load(str(folder), OPTIONS)
    assert not left.exists()
    assert len(corpus_cache.entries()) == 1


def test_equal_texts_with_other_labels_are_two_entries(cache: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        lines = (
            '{"text": "a b c", "x": 0, "y": 0}\n{"text": "b c d", "x": 1, "y": 0}\n{"text": "c d", "x": 1, "y": 1}\n'
        )
        (tmp_path / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    one, other = (CorpusOptions(truncation=0, label=label) for label in "xy")
    wanted = load(str(tmp_path), one).labels
    assert load(str(tmp_path), other).labels != wanted
    assert load(str(tmp_path), one).labels == wanted
    assert len(corpus_cache.entries()) == 2


def test_a_cache_without_locks_or_a_home_is_none(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[Path]
) -> None:
    def missing(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    folder = str(texts(tmp_path / "t"))
    monkeypatch.setattr(fcntl, "flock", missing)
    load(folder, OPTIONS)

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (corpus_cache.PLACE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    load(folder, OPTIONS)
    assert len(made) == 2
    assert not any(each.exists() for each in made)
    with pytest.raises(BadInput, match="as there is no home folder: name one by TUNER_CACHE"):
        corpus_cache.described()


def test_a_bound_that_is_no_number_costs_no_encoding(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[Path]
) -> None:
    monkeypatch.setenv(corpus_cache.BOUND, "much")
    with pytest.raises(BadInput, match="TUNER_CACHE_GB = 'much' is not allowed"):
        load(str(texts(tmp_path / "t")), OPTIONS)
    assert not made


def test_without_a_place_to_write_a_corpus_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[Path]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(corpus_cache.PLACE, str(tmp_path / "file" / "cache"))
    corpus = load(str(texts(tmp_path / "t")), OPTIONS)
    assert corpus.vocabulary.text(corpus.splits["train"][1].tolist()) == "b c d"
    assert not made[0].exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("9 requested and 1 written")])
def test_a_full_disk_is_the_worlds_fault(
    error: OSError, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    said = error.strerror or error  # NumPy has no more than a sentence
    for place, name in ((encoding.Encoder, "finish"), (tempfile, "mkdtemp")):
        with monkeypatch.context() as patched, pytest.raises(Failure) as failed:
            patched.setattr(place, name, full)
            load(str(texts(tmp_path / "t")), OPTIONS)
        assert f"cannot be written to {cache} ({said}): make room, or name another" in str(failed.value)
    assert {path.name for path in cache.iterdir()} == {"sources"}


def test_processes_that_come_together_make_one(cache: Path, tmp_path: Path) -> None:
    folder = texts(tmp_path / "t", "a b c\n" * 20_000)
    script = (
        "import sys\nfrom trainers import corpus_cache, encoding\nfrom trainers.corpus import load\n"
        "from trainers.options import CorpusOptions\ncorpus_cache.RECENT_NS = -1\nfinish = encoding.Encoder.finish\n"
        "def counted(self, *more):\n    print('made')\n    finish(self, *more)\nencoding.Encoder.finish = counted\n"
        "print(load(sys.argv[1], CorpusOptions()).fingerprint)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in started]
    assert sum(len(each) - 1 for each in said) == 1
    assert len({each[-1] for each in said}) == 1
