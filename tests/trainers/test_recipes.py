"""Corpora of the papers: a user's copy becomes what they trained on, and what differs is said with its numbers."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shell import run as command

from trainers import recipes
from trainers.corpus import load
from trainers.errors import BadInput
from trainers.options import CorpusOptions
from trainers.recipes import RECIPES, make

PLAIN = CorpusOptions()


def write(folder: Path, **files: list[str]) -> Path:
    folder.mkdir(parents=True)
    for split, lines in files.items():
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def lines(folder: Path, split: str) -> list[str]:
    return (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()


def small(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """The recipe with other sizes."""
    monkeypatch.setitem(recipes.RECIPES, name, replace(RECIPES[name], **changes))


@pytest.mark.skipif("PTB_DIR" not in os.environ, reason="PTB_DIR names no Penn Treebank")
def test_mikolovs_treebank_is_known_to_the_last_letter(tmp_path: Path) -> None:
    source = Path(os.environ["PTB_DIR"])
    found = make("ptb-mikolov", source, tmp_path / "out", PLAIN)
    assert found["differs"] == []
    assert len(found["same"]) == 3 + 3 + 1 + 3  # type: ignore[arg-type]
    whole = replace(PLAIN, truncation=0.0)
    assert load(str(tmp_path / "out"), whole).fingerprint == load(str(source), whole).fingerprint
    changed = lines(tmp_path / "out", "test")
    write(
        tmp_path / "copy",
        train=lines(tmp_path / "out", "train"),
        valid=lines(tmp_path / "out", "valid"),
        test=changed[1:],
    )
    differs = make("ptb-mikolov", tmp_path / "copy", tmp_path / "again", PLAIN)["differs"]
    assert differs[0] == "test: 3,760 sentences, where KR has 3,761"  # type: ignore[index]
    assert [line.split(":")[0] for line in differs] == ["test"] * 3  # type: ignore[attr-defined]


def test_unknown_words_and_labels_are_written_as_this_program_reads_them(tmp_path: Path) -> None:
    part = ["3\ta _UNK  cat sat", "1\tthe dog ran"]
    source = write(tmp_path / "yahoo", train=part * 40, valid=part, test=part)
    found = make("yahoo", source, tmp_path / "out", PLAIN)
    assert lines(tmp_path / "out", "valid") == ["a <unk> cat sat\t3", "the dog ran\t1"]
    assert found["labels"] is True
    assert "train: 80 sentences, where KR, LV has 100,000" in found["differs"]  # type: ignore[operator]
    corpus = load(str(tmp_path / "out"), replace(PLAIN, labels="last"))
    assert corpus.labels is not None
    assert sorted(set(corpus.labels["train"])) == ["1", "3"]


def test_a_label_stays_on_its_line_and_half_of_a_character_is_refused(tmp_path: Path) -> None:
    columns = replace(PLAIN, text="text", label="stars")
    source = tmp_path / "yelp"
    source.mkdir()
    for split in ("train", "valid", "test"):
        (source / f"{split}.jsonl").write_text(r'{"text": "a good\u2028place", "stars": "very\n\tgood"}' + "\n")
    make("yelp", source, tmp_path / "out", columns)
    assert (tmp_path / "out" / "test.txt").read_text() == "a good place\tvery good\n"
    for key, odd in (("text", r'{"text": "a \ud800", "stars": "1"}'), ("stars", r'{"text": "a", "stars": "\udc00"}')):
        (source / "valid.jsonl").write_text(f'{{"text": "a", "stars": "1"}}\n{odd}\n')
        with pytest.raises(BadInput, match=r"valid.jsonl, record 2 holds half of a character .*: write the text anew"):
            make("yelp", source, tmp_path / key, columns)


def test_wikitexts_headings_are_left_out_and_its_validation_text_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, "wikitext", sizes={"train": (50, "LV"), "valid": (20, "LV"), "test": (4, "LV")})
    text = [f"sentence number {n} of the wiki" for n in range(90)]
    source = write(
        tmp_path / "wiki",
        train=["= Title =", "", *text, "= = Part = ="],
        valid=["a small one"],
        test=["= T =", *text[:4]],
    )
    found = make("wikitext", source, tmp_path / "out", PLAIN)
    train, valid = lines(tmp_path / "out", "train"), lines(tmp_path / "out", "valid")
    assert (len(train), len(valid)) == (50, 20)
    assert not set(train) & set(valid)
    assert set(train) | set(valid) <= set(text)
    assert train == [line for line in text if line in set(train)]  # in their order
    assert lines(tmp_path / "out", "test") == text[:4]
    assert [line.split(":")[0] for line in found["differs"]][:2] == ["train", "valid"]  # type: ignore[attr-defined]
    make("wikitext", source, tmp_path / "again", PLAIN)
    assert lines(tmp_path / "again", "valid") == valid


def test_a_copy_of_the_size_that_is_wanted_is_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, "snli", sizes={"train": (6, "LI"), "valid": (2, "LI"), "test": (2, "LI")})
    text = [f"a man sees {n} dogs" for n in range(10)]
    source = write(tmp_path / "snli", train=text[:6], valid=text[6:8], test=text[8:])
    found = make("snli", source, tmp_path / "out", PLAIN)
    assert (found["differs"], lines(tmp_path / "out", "train")) == ([], text[:6])
    alone = write(tmp_path / "alone", train=text[:6])
    with pytest.raises(BadInput, match="there is no text left for valid: the recipe draws 2 sentences"):
        make("snli", alone, tmp_path / "none", PLAIN)


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "some", train=["a cat"], valid=["a dog"])
    with pytest.raises(BadInput, match="there is no recipe 'imdb': choose one of ptb-mikolov, ptb-dyer, yahoo"):
        make("imdb", source, tmp_path / "out", PLAIN)
    with pytest.raises(BadInput, match="has no test text"):
        make("ptb-dyer", source, tmp_path / "out", PLAIN)
    with pytest.raises(BadInput, match="is there already"):
        make("ptb-dyer", source, source, PLAIN)
    with pytest.raises(BadInput, match="is no folder"):
        make("ptb-dyer", tmp_path / "nothing", tmp_path / "out", PLAIN)
    with pytest.raises(BadInput, match="line 1 has no label: labels=first"):
        make("yelp", write(tmp_path / "bare", train=["a"], valid=["b"], test=["c"]), tmp_path / "out", PLAIN)
    assert {path.name for path in tmp_path.iterdir()} == {"some", "bare"}


def test_the_command_says_what_differs_and_what_comes_next(tmp_path: Path) -> None:
    write(tmp_path / "mine", train=["a cat sat"] * 30, valid=["a dog sat"], test=["a cow sat"])
    done = command("corpora", "get", "ptb-dyer", "--from", "mine", cwd=tmp_path)
    assert done.stdout == "differs     train: 4 types, where PA has 25,643\n"
    assert "tuner corpora add ptb-dyer corpora/ptb-dyer" in done.stderr
    assert lines(tmp_path / "corpora" / "ptb-dyer", "test") == ["a cow sat"]
