"""Readings of a folder or a file of texts: kinds of files, splits, labels, and every reading that is refused or doubted."""

import gzip
import json
import random
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.corpus import Corpus, load
from trainers.errors import BadInput
from trainers.options import CorpusOptions, Value, build

CHANCE = random.Random(0)
WORDS = [f"w{i}" for i in range(20)]
CLASSES = ("good", "bad")
Lines = list[str]


def sentences(count: int, words: int = 8) -> Lines:
    return [" ".join(CHANCE.choices(WORDS, k=words)) for _ in range(count)]


TEXTS: dict[str, Lines] = {"train": sentences(60), "valid": sentences(20), "test": sentences(20)}
LABELS = {split: [CLASSES[i % 2] for i in range(len(lines))] for split, lines in TEXTS.items()}


def text(lines: Lines) -> bytes:
    return ("\n".join(lines) + "\n").encode()


PLAIN = {f"{split}.txt": text(lines) for split, lines in TEXTS.items()}


def write(folder: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def read(folder: Path, files: Mapping[str, bytes] | None = None, **values: Value) -> Corpus:
    return load(write(folder, files or {}), build(CorpusOptions, values))


def zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def table(split: str) -> Any:
    return pa.table({"text": TEXTS[split], "label": [i % 2 for i in range(len(TEXTS[split]))], "id": TEXTS[split]})


def parquet(made: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink)
    return bytes(sink.getvalue())


def arrow(made: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as stream:
        stream.write_table(made, max_chunksize=7)
    return bytes(sink.getvalue())


def saved(split: str) -> dict[str, bytes]:
    """A data set as Hugging Face's `datasets` saves it."""
    label = {"_type": "ClassLabel", "names": list(CLASSES)}
    return {
        "data-00000-of-00001.arrow": arrow(table(split)),
        "state.json": json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}).encode(),
        "dataset_info.json": json.dumps({"features": {"text": {"_type": "Value"}, "label": label}}).encode(),
    }


def jsonl(split: str) -> bytes:
    pairs = zip(TEXTS[split], LABELS[split], strict=True)
    return text([json.dumps({"text": one, "stars": label, "body": "x"}) for one, label in pairs])


def csv(split: str, header: str = "label,text\n", divider: str = ",") -> bytes:
    pairs = zip(TEXTS[split], LABELS[split], strict=True)
    return header.encode() + text([f"{label}{divider}{one}" for one, label in pairs])


NAMES = {"train": "train", "valid": "validation", "test": "test"}
KINDS: dict[str, tuple[dict[str, bytes], dict[str, Value]]] = {
    "text": (PLAIN, {}),
    "gzip": ({f"{name}.gz": gzip.compress(content) for name, content in PLAIN.items()}, {}),
    "zstandard": ({f"{name}.zst": zst(content) for name, content in PLAIN.items()}, {}),
    "wikitext": ({f"wiki.{split}.tokens": text(lines) for split, lines in TEXTS.items()}, {}),
    "mikolov": ({f"ptb.{split}.txt": text(lines) for split, lines in TEXTS.items()}, {}),
    "dev": ({f"snli_1.0_{'dev' if s == 'valid' else s}.txt": text(lines) for s, lines in TEXTS.items()}, {}),
    "windows": ({name: content.replace(b"\n", b"\r\n") for name, content in PLAIN.items()}, {}),
    "jsonl": ({f"{NAMES[split]}.jsonl": jsonl(split) for split in TEXTS}, {"text": "text", "label": "stars"}),
    "json.gz": ({f"{split}.json.gz": gzip.compress(jsonl(split)) for split in TEXTS}, {"text": "text"}),
    "csv": ({f"{split}.csv": csv(split) for split in TEXTS}, {"label": "label"}),
    "csv without header": ({f"{split}.csv": csv(split, "") for split in TEXTS}, {"text": 2, "label": "1"}),
    "quoted csv": ({f"{s}.csv": text(["id,text", *(f'1,"{x}"' for x in x_s)]) for s, x_s in TEXTS.items()}, {}),
    "tsv": ({f"{split}.tsv": csv(split, "label\ttext\n", "\t") for split in TEXTS}, {"label": "label"}),
    "parquet": ({f"{NAMES[s]}-00000-of-00001.parquet": parquet(table(s)) for s in TEXTS}, {"label": "label"}),
    "labels last": ({f"{s}.txt": csv(s, "", "\t") for s in TEXTS}, {"labels": "first"}),
    "capital endings": (
        {f"{s}.TSV.GZ": gzip.compress(csv(s, "label\ttext\n", "\t")) for s in TEXTS},
        {"label": "label"},
    ),
    "a tsv's copy": ({f"{s}.tsv.csv": csv(s) for s in TEXTS}, {"label": "label"}),
    "zstandard in two frames": (
        {f"{name}.zst": zst(content[:99]) + zst(content[99:]) for name, content in PLAIN.items()},
        {},
    ),
    "saved": (
        {
            "dataset_dict.json": b'{"splits": ["train", "validation", "test"]}',
            **{f"{NAMES[s]}/{name}": content for s in TEXTS for name, content in saved(s).items()},
        },
        {"label": "label"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_text_is_the_same_corpus_in_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = read(tmp_path / "plain", PLAIN)
    files, values = KINDS[kind]
    found = read(tmp_path / "other", files, **values)
    assert found.fingerprint == plain.fingerprint
    assert found.vocabulary.words == plain.vocabulary.words
    assert [s.tolist() for s in found.splits["test"]] == [s.tolist() for s in plain.splits["test"]]
    if {"label", "labels"} & values.keys():
        assert found.labels is not None
        wanted = LABELS["train"] if kind not in ("parquet",) else [str(i % 2) for i in range(60)]
        assert found.labels["train"] == wanted


def test_shards_are_read_in_their_order(tmp_path: Path) -> None:
    parts = {f"train-0000{i}-of-00002.parquet": table("train").slice(30 * i, 30) for i in range(2)}
    files = {name: parquet(part) for name, part in parts.items()}
    found = read(tmp_path, {**files, "valid.txt": PLAIN["valid.txt"], "test.txt": PLAIN["test.txt"]})
    assert [found.vocabulary.text(s.tolist()) for s in found.splits["train"]] == TEXTS["train"]


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    parts = {f"train-{i + 1}-of-10.txt": text(TEXTS["train"][6 * i : 6 * i + 6]) for i in range(10)}
    found = read(tmp_path, {**parts, "valid.txt": PLAIN["valid.txt"], "test.txt": PLAIN["test.txt"]})
    assert [found.vocabulary.text(s.tolist()) for s in found.splits["train"]] == TEXTS["train"]


def test_one_file_is_divided_by_a_hash_of_the_sentence(tmp_path: Path) -> None:
    lines = sentences(2000, 5)
    copied = lines + lines[:500]
    (tmp_path / "all.txt").write_bytes(text(copied))
    (tmp_path / "turned.txt").write_bytes(text(copied[::-1]))
    found, turned = (
        load(str(tmp_path / name), build(CorpusOptions, {"truncation": 0})) for name in ("all.txt", "turned.txt")
    )
    sides = {s: {found.vocabulary.text(x.tolist()) for x in each} for s, each in found.splits.items()}
    assert not sides["train"] & (sides["valid"] | sides["test"])
    assert not sides["valid"] & sides["test"]
    sizes = {split: len(each) for split, each in found.splits.items()}
    assert sum(sizes.values()) == 2500
    assert all(75 < sizes[split] < 175 for split in ("valid", "test"))
    assert {split: len(each) for split, each in turned.splits.items()} == sizes
    said = found.warnings()[0]
    assert said.startswith(
        "no file is named valid or test: one training sentence in 20 is taken for each, by a hash of"
    )
    assert f"({sizes['train']:,} train, {sizes['valid']} valid, {sizes['test']} test sentences)" in said
    few = load(str(tmp_path / "all.txt"), build(CorpusOptions, {"truncation": 0, "corpus_size": 100}))
    assert {split: len(each) for split, each in few.splits.items()} == {**sizes, "train": 100}
    assert sum(found.skipped.values()) == 0


def test_a_folder_of_one_file_is_that_file(tmp_path: Path) -> None:
    made = read(tmp_path, {"reviews.jsonl": jsonl("train"), "README.md": b"what it is"}, text="text")
    assert sum(len(each) for each in made.splits.values()) == 60


DAMAGED = gzip.compress(PLAIN["train.txt"])[:40] + b"\xff" * 9
LATIN = [None, pa.py_buffer(b"\0\0\0\0\5\0\0\0"), pa.py_buffer(b"a b \xff")]
REFUSED: dict[str, tuple[dict[str, bytes], dict[str, Value], str]] = {
    "no text column": (
        {"train.jsonl": jsonl("train")},
        {},
        "has the columns text, stars, body: set text to the column",
    ),
    "wrong column": (
        {"train.csv": csv("train")},
        {"text": "review"},
        "text = 'review' is no column of corpus file .*train.csv, which has the columns label, text",
    ),
    "no header": ({"train.csv": csv("train", "")}, {}, "has 2 columns and no header line: set text to the column"),
    "jsonl in a txt": (
        {**PLAIN, "train.txt": jsonl("train")},
        {},
        "line 1 is a JSON object, no sentence: name the file train.jsonl and set text",
    ),
    "csv in a txt": ({**PLAIN, "train.txt": csv("train")}, {}, r"line 1 is a header \(label, text\), no sentence"),
    "header before labels": (
        {**PLAIN, "train.txt": csv("train", "label\ttext\n", "\t")},
        {"labels": "first"},
        r"line 1 is a header \(label, text\), no sentence: name the file\s+train.tsv and set text and label",
    ),
    "array": ({"train.json": b'[\n{"text": "a b c"}\n]\n'}, {}, "line 1 is one JSON array, not one object a line"),
    "a line that is no json": ({"train.jsonl": b'{"text": "a b"}\nb c\n'}, {}, "line 2 is no JSON"),
    "a number": ({"train.jsonl": b'{"text": 5}\n'}, {}, "line 1: text is '5', no text: set text to a column of texts"),
    "half a character": ({"train.jsonl": b'{"text": "a \\ud800"}\n' * 9}, {}, "half of a character"),
    "no label": ({"train.jsonl": b'{"text": "a"}\n'}, {"label": "stars"}, "label = 'stars' is no column"),
    "an empty label": (
        {"train.csv": b"label,text\n,a b c\n"},
        {"label": "label"},
        "row 2 has no label: give it one, or leave out label",
    ),
    "ragged": ({"train.csv": b"label,text\na,b\na,b,c\n"}, {}, "row 3 has 3 cells, not 2 as the first"),
    "open quotes": ({"train.csv": b'label,text\na,"b c\nd,e\n'}, {}, "a quotation mark there may not be closed"),
    "labels of a table": ({"train.csv": csv("train")}, {"labels": "last"}, "is a table: set label to its column"),
    "a column of lines": (PLAIN, {"text": "text"}, "text = 'text' names a column, and corpus file .* has none"),
    "two ways": (PLAIN, {"labels": "last", "label": "x"}, "labels = 'last' is not allowed with text or label"),
    "one column twice": ({"train.csv": csv("train")}, {"text": "text", "label": "text"}, "are both 'text'"),
    "archive": ({"train.zip": b"PK"}, {}, "train.zip is no text: unpack it"),
    "no parquet": ({"train.parquet": b"PK" * 40}, {}, "is no Parquet file"),
    "cut gzip": ({"train.txt.gz": gzip.compress(PLAIN["train.txt"])[:-20]}, {}, "train.txt.gz cannot be read"),
    "two validation texts": (
        {**PLAIN, "a.valid.txt": b"a\n", "b.valid.txt": b"a\n", "valid.txt": b""},
        {},
        "valid.txt holds no sentence",
    ),
    "two training texts": ({"a.train.txt": b"a\n", "b.train.txt": b"a\n"}, {}, "has 2 files named train"),
    "a misnamed split": (
        {"train.txt": PLAIN["train.txt"], "vlid.txt": b"a\n", "test.txt": b"a\n"},
        {},
        "has no file valid.txt but vlid.txt: name that file valid",
    ),
    "utf-16": ({**PLAIN, "train.txt": "a b c\n".encode("utf-16")}, {}, "is not UTF-8 text but UTF-16"),
    "latin-1": ({**PLAIN, "train.txt": b"a b c\nc\xe9 d e\n"}, {}, "line 2 is not, while all before it are"),
    "nul": ({**PLAIN, "valid.txt": b"a b c\nd\0e\n"}, {}, "valid.txt, line 2 holds a NUL byte"),
    "carriage returns": (
        {**PLAIN, "train.txt": b"a b\nc d\re f\n"},
        {},
        "line 2 holds a carriage return without a line",
    ),
    "a book on a line": (
        {**PLAIN, "train.txt": text([*TEXTS["train"], "w1 " * 20_000])},
        {},
        "line 61 of .*train.txt has 20,000 words: write one sentence a line",
    ),
    "labels first": (
        {f"{s}.txt": csv(s, "", "\t") for s in TEXTS},
        {"labels": "last"},
        "reads sentences of 1.0 words and labels of 8.0: the label seems to stand first in each line; set labels=first",
    ),
    "as many classes as sentences": (
        {**PLAIN, "train.txt": text([f"{line}\tid{i}" for i, line in enumerate(TEXTS["train"])])},
        {"labels": "last"},
        "the 60 training sentences have 60 different labels",
    ),
    "damaged gzip": ({"train.txt.gz": DAMAGED}, {}, "train.txt.gz cannot be read: Error -3 while decompressing"),
    "gzip in a txt": (
        {**PLAIN, "train.txt": DAMAGED},
        {},
        "is no text but gzip: unpack it, or give it the ending of its kind",
    ),
    "utf-32": ({**PLAIN, "train.txt": "a b\n".encode("utf-32")}, {}, "is not UTF-8 text but UTF-32: convert it"),
    "json without an end": ({"train.jsonl": b"[" * 100_000}, {}, "line 1 is one JSON array, not one object a line"),
    "json after an empty line": (
        {**PLAIN, "train.txt": b"\n" + jsonl("train")},
        {},
        "line 2 is a JSON object, no sentence",
    ),
    "a label that is no number": (
        {"train.jsonl": b'{"text": "a", "label": NaN}\n'},
        {"label": "label"},
        "1 has no label: give",
    ),
    "semicolons": (
        {"train.csv": csv("train", "label;text\n", ";")},
        {"label": "label"},
        r"train.csv has one column, whose cells ';' divides in 2: save it with ',' between its cells\.",
    ),
    "semicolons without a header": (
        {"train.csv": csv("train", "", ";")},
        {},
        "has one column, whose cells ';' divides in 2",
    ),
    "semicolons in a txt": (
        {**PLAIN, "train.txt": csv("train", "label;text\n", ";")},
        {},
        "line 1 is a header .label, text., no sentence: save it as train.csv with commas and set text to the columns",
    ),
    "commas in a tsv": (
        {"train.tsv": csv("train")},
        {},
        r"has one column, whose cells ',' divides in 2: save it with '\\t' between its cells, or name it train.csv",
    ),
    "two columns of a name": (
        {"train.csv": csv("train", "text,text\n")},
        {"text": "text"},
        "text = 'text' is the name of 2 columns of corpus file .*train.csv: give each its own",
    ),
    "no columns": (
        {"train.parquet": parquet(pa.table({}))},
        {},
        "train.parquet has no columns: one must have the sentences",
    ),
    "a damaged parquet": (
        {"train.parquet": (whole := parquet(pa.table({"text": TEXTS["train"]})))[:30] + b"\xff" * 60 + whole[90:]},
        {},
        "train.parquet cannot be read .*: write it anew",
    ),
    "a parquet of other bytes": (
        {"train.parquet": parquet(pa.table({"text": pa.Array.from_buffers(pa.string(), 1, LATIN)}))},
        {},
        "train.parquet cannot be read .*UTF8.*: write it anew",
    ),
    "a shard missing": (
        {f"train-0000{i}-of-00003.txt": PLAIN["train.txt"] for i in (0, 2)},
        {},
        "has shards 0, 2 of 3 of train: a split must have each of its shards once",
    ),
    "a saved data set of no files": ({"state.json": b'{"_data_files": []}'}, {}, "does not tell a data set's files"),
    "a saved data set without its file": (
        {"state.json": b'{"_data_files": [{"filename": "a.arrow"}]}'},
        {},
        "corpus file .*a.arrow cannot be read: No such file or directory",
    ),
    "one sentence": (
        {"train.txt": b"a b c\n"},
        {},
        "no sentence of corpus file .*train.txt falls to valid, which gets one in 20 by a hash of its text: give more",
    ),
    "a word of many letters": (
        {**PLAIN, "train.txt": text(["w" * 300_000])},
        {},
        "line 1 of .* has 300,000 letters: write one",
    ),
    "nothing known": (
        PLAIN,
        {"min_count": 1000},
        "all tokens of the training text are <unk> with min_count = 1000, so nothing",
    ),
    "no spaces": (
        {name: text(["我们今天去公园散步然后回家" * 2] * 30) for name in PLAIN},
        {},
        r"no spaces between its words \(100% of its letters .* 26.0 letters\): set tokens=characters, or tokens=sentencep",
    ),
}


@pytest.mark.parametrize("name", ["/dev/null", "x" * 5000])
def test_what_is_no_file_and_no_folder_is_refused(name: str) -> None:
    with pytest.raises(
        BadInput, match="neither a folder nor a plain file: name one|cannot be read: File name too long"
    ):
        load(name, CorpusOptions())


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_misread_is_refused_with_its_place_and_the_remedy(case: str, tmp_path: Path) -> None:
    files, values, message = REFUSED[case]
    if "first" in case or "classes" in case:  # labels are looked at in all splits
        files = {**{f"{s}.txt": csv(s, "", "\t") for s in TEXTS}, **files}
        for split in ("valid", "test"):
            files[f"{split}.txt"] = text([f"{x}\t{y}" for x, y in zip(LABELS[split], TEXTS[split], strict=True)])
    with pytest.raises(BadInput, match=message):
        read(tmp_path, files, **values)


DOUBTED: dict[str, tuple[dict[str, bytes], str]] = {
    "marks in the middle": (
        {"train.txt": text([*TEXTS["train"], "w1 \ufeffw2 w3"])},
        "1 line holds byte-order marks, the first is line 61 of .*train.txt",
    ),
    "zero width": (
        {"valid.txt": text([*TEXTS["valid"], "w1 w\u200b2 w3", "w\u200b2 w1 w2"])},
        "2 lines hold zero-width characters or soft hyphens, the first is line 21 of .*valid.txt",
    ),
    "a joiner between Latin letters": (
        {"train.txt": text([*TEXTS["train"], "w1 a\u200db c"])},
        "1 line holds zero-width",
    ),
    "control": ({"train.txt": text(["w1 w\x072 w3", *TEXTS["train"]])}, "control characters, the first is line 1 of"),
    "lost letters": (
        {"train.txt": text(["w1 w\ufffd w3", *TEXTS["train"]])},
        "which stand for letters that were lost, the first is line 1 of",
    ),
    "unknown words though the text has some": (
        {"train.txt": text([*TEXTS["train"], "<unk> w1 w2"]), "valid.txt": text(["w1 w2 w3 w4 n1"] * 10)},
        r"20% of the validation tokens \(10 of 50\) are <unk>",
    ),
    "another's unknown word": (
        {"train.txt": text([*TEXTS["train"], "_UNK w1 [UNK] _UNK"])},
        r"the training text has _UNK \(2\), \[UNK\] \(1\), which seems to stand for an unknown word",
    ),
    "words for sentences": ({"train.txt": text(WORDS * 3)}, "the training sentences have 1.0 words on average"),
    "files besides": (
        {"train.jsonl": jsonl("train"), "validation.csv": csv("valid"), "notes.txt": b"a\n"},
        "not read: train.jsonl, validation.csv; the splits are read from train.txt, valid.txt, test.txt, whose names go before",
    ),
    "tabs": ({"train.txt": text([f"{line}\tx" for line in TEXTS["train"]])}, "60 lines hold a tab, read as a space"),
}


@pytest.mark.parametrize("case", DOUBTED)
def test_what_is_doubtful_is_said_with_numbers(case: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    files, message = DOUBTED[case]
    assert read(tmp_path / "plain", PLAIN).warnings() == []
    said = "\n".join(read(tmp_path / "odd", {**PLAIN, **files}).warnings())
    assert re.search(message, said), said


def test_records_without_a_text_are_counted_where_they_are_many(tmp_path: Path) -> None:
    lines = [json.dumps({"text": line} if i % 3 else {"txt": line}) for i, line in enumerate(TEXTS["train"], 1)]
    files = {"train.jsonl": text(lines), "valid.txt": PLAIN["valid.txt"], "test.txt": PLAIN["test.txt"]}
    (said,) = read(tmp_path, files).warnings()
    assert re.match(
        "20 records of .*train.jsonl have no text and are left out, beside 40 train sentences: is the", said
    )


def test_a_nul_that_is_written_as_an_escape_is_doubted(tmp_path: Path) -> None:
    files = {f"{s}.jsonl": text([json.dumps({"text": f"{x} \0 w1"}) for x in each]) for s, each in TEXTS.items()}
    assert "100 lines hold control characters" in read(tmp_path, files).warnings()[0]


@pytest.mark.parametrize(
    ("divided", "rest"),
    [("characters", "character; more text or a lower min_count"), ("sentencepiece:20", "piece; more training text")],
)
def test_unknown_tokens_are_named_after_what_they_are(divided: str, rest: str, tmp_path: Path) -> None:
    said = read(tmp_path, {**PLAIN, "valid.txt": text(["äöü ßéè"] * 20)}, tokens=divided).warnings()
    assert any(f"says little where so much is one {rest} leaves fewer." in one for one in said), said


def test_joiners_of_scripts_that_need_them_are_letters(tmp_path: Path) -> None:
    persian = [f"می\u200cخواهم {line}" for line in TEXTS["train"]]
    assert read(tmp_path, {**PLAIN, "train.txt": text(persian)}).warnings() == []


def test_reading_stops_at_the_size_that_is_asked_for(tmp_path: Path) -> None:
    broken = text(TEXTS["train"]) + b"x" * (1 << 24) + b"\n\xff\n"
    found = read(tmp_path, {**PLAIN, "train.txt": broken}, corpus_size=10)
    assert len(found.splits["train"]) == 10


def test_without_its_package_a_table_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"needs the package pyarrow: pip install 'text-vae-tuner\[datasets\]'"):
        read(tmp_path, {"train.parquet": parquet(table("train"))})


def test_settings_of_an_older_program_are_read_as_todays(tmp_path: Path) -> None:
    files = {f"{s}.txt": text([f"{x}\t{y}" for x, y in zip(TEXTS[s], LABELS[s], strict=True)]) for s in TEXTS}
    assert read(tmp_path, files, labels=True).labels == LABELS
    assert read(tmp_path, labels=False).labels is None
