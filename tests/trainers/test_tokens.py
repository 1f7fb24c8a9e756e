"""Tokens: words, characters and pieces; texts come back; figures by character and byte compare them; runs keep the model."""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from trainers import samples, tokens
from trainers.corpus import SPECIALS, UNK, load
from trainers.errors import BadInput
from trainers.evaluation import subset
from trainers.options import CorpusOptions, Value, build
from trainers.runs import Spec, open_run, train
from trainers.session import Session

TEXTS = {
    "train": ["the cat sat on the mat", "a dog ran home", "the dog sat — on a mat", "home is where the cat ran to"]
    * 10,
    "valid": ["the cat ran home", "a  dog   sat"],
    "test": ["the mat", "a cat"],
}
SMALL: dict[str, Value] = {
    "d_z": 2, "d_e": 8, "d_h": 8, "max_epochs": 1, "nll_samples": 5, "nll": "q", "gallery": 2,
}  # fmt: skip
KINDS = ("words", "characters", "sentencepiece:20")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for split, lines in TEXTS.items():
        (made / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def options(divided: str, **values: Value) -> CorpusOptions:
    return build(CorpusOptions, {"tokens": divided, "truncation": 0, **values})


@pytest.mark.parametrize("divided", KINDS)
def test_a_text_comes_back_from_its_tokens(divided: str, folder: Path) -> None:
    corpus = load(str(folder), options(divided))
    for split, lines in TEXTS.items():
        plain = [" ".join(line.split()) for line in lines]
        assert [corpus.vocabulary.text(s.tolist()) for s in corpus.splits[split]] == plain
        assert corpus.splits[split].characters.tolist() == [len(line) + 1 for line in plain]
        assert corpus.splits[split].utf8.tolist() == [len(line.encode()) + 1 for line in plain]
    assert sum(corpus.unknown.values()) == 0
    assert corpus.warnings() == ([] if divided != "words" else corpus.warnings())


def test_a_cut_text_has_the_characters_that_are_left(folder: Path) -> None:
    (folder / "valid.txt").write_text("the cat sat on the mat a dog ran home\n", encoding="utf-8")
    for divided in KINDS:
        corpus = load(str(folder), options(divided, truncation=0.5))
        (sentence,) = corpus.splits["valid"]
        left = corpus.vocabulary.text(sentence.tolist())
        assert corpus.cut["valid"] == 1
        assert "the cat sat on the mat a dog ran home".startswith(left)
        assert corpus.splits["valid"].characters.tolist() == [len(left) + 1]


def test_characters_are_the_vocabulary_of_characters(folder: Path) -> None:
    corpus = load(str(folder), options("characters"))
    assert set(corpus.vocabulary.words) == {*SPECIALS, *"".join(TEXTS["train"])}
    (folder / "valid.txt").write_text("the zebra\n", encoding="utf-8")
    corpus = load(str(folder), options("characters"))
    assert corpus.vocabulary.text(corpus.splits["valid"][0].tolist()) == f"the {UNK}e{UNK}ra"
    assert "2 validation and test characters are not in the training text" in corpus.warnings()[0]


def test_a_text_that_has_no_piece_is_an_empty_one(folder: Path) -> None:
    plain = load(str(folder), options("sentencepiece:20"))
    for split, lines in TEXTS.items():
        (folder / f"{split}.txt").write_text("\n".join(["▁ ▁", *lines, "▁"]) + "\n", encoding="utf-8")
    found = load(str(folder), options("sentencepiece:20"))
    assert set(found.skipped.values()) == {2}
    for split in TEXTS:
        assert [s.tolist() for s in found.splits[split]] == [s.tolist() for s in plain.splits[split]]
        assert found.splits[split].characters.tolist() == plain.splits[split].characters.tolist()
    assert set(load(str(folder), options("characters")).skipped.values()) == {0}


@pytest.mark.parametrize("divided", KINDS[1:])
def test_sentences_that_are_drawn_keep_their_unknown_tokens(divided: str, folder: Path, tmp_path: Path) -> None:
    (folder / "valid.txt").write_text("the zebra sat\n", encoding="utf-8")
    trained(folder, divided, tmp_path / "run", "adversarial-word-dropout")
    corpus = load(str(folder), options(divided))
    ids = corpus.splits["valid"][0].tolist()
    text = corpus.vocabulary.text(ids)
    assert UNK in text
    (again,) = samples.reconstruct_run(tmp_path / "run", [], {"count": 1})["sentences"]
    assert again["source"] == text
    line = samples.interpolate_run(tmp_path / "run", [], {"count": 2, "source": "posterior", "centre": True})
    assert (line["ends"], line["notes"]) == ([text, text], [])
    (shown,) = samples.dropped_run(tmp_path / "run", [], {"count": 1})["sentences"]
    assert [entry["word"] for entry in shown["words"]] == corpus.vocabulary.decode(ids)


def test_pieces_are_of_the_training_text_alone_and_decide_the_fingerprint(folder: Path) -> None:
    first = load(str(folder), options("sentencepiece:20"))
    assert len(first.vocabulary) == 19 + len(SPECIALS)  # without its own <unk>
    (folder / "valid.txt").write_text("zzz zzz zzz\n" * 50, encoding="utf-8")
    other = load(str(folder), options("sentencepiece:20"))
    assert other.vocabulary.tokens.model == first.vocabulary.tokens.model
    assert other.fingerprint != first.fingerprint
    more = load(str(folder), options("sentencepiece:22"))
    prints = {load(str(folder), options(each)).fingerprint for each in KINDS} | {more.fingerprint}
    assert len(prints) == 4


def test_a_fingerprint_of_plain_words_is_what_it_always_was(folder: Path) -> None:
    import hashlib

    digest = hashlib.sha256(repr((1, 0.0)).encode())
    for split, lines in TEXTS.items():
        digest.update(split.encode())
        for line in lines:
            digest.update((" ".join(line.split()) + "\n").encode())
    assert load(str(folder), options("words")).fingerprint == digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("divided", "message"),
    [
        ("bpe", "tokens must be words, characters, or sentencepiece:N"),
        ("sentencepiece:0", "tokens must be"),
        ("sentencepiece:9", r"each of its different characters needs a piece; ask for more than \d+ pieces"),
        ("sentencepiece:4000", r"has too few different parts; ask for at most \d+ pieces"),
    ],
)
def test_tokens_that_cannot_be_are_refused_with_the_remedy(divided: str, message: str, folder: Path) -> None:
    with pytest.raises(BadInput, match=message):
        load(str(folder), options(divided))


def test_without_its_package_pieces_are_refused_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)  # type: ignore[arg-type]
    with pytest.raises(
        BadInput, match=r"needs the package sentencepiece: pip install 'text-vae-tuner\[sentencepiece\]'"
    ):
        load(str(folder), options("sentencepiece:20"))


def test_a_model_is_trained_on_evenly_spaced_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SAMPLED", 10)
    kept = tokens._sample(str(i) for i in range(100))
    steps = {int(b) - int(a) for a, b in pairwise(kept)}
    assert len(steps) == 1
    assert 5 <= len(kept) <= 10


def trained(folder: Path, divided: str, run: Path, technique: str = "vanilla") -> dict[str, Any]:
    values: dict[str, Value] = {**SMALL, "tokens": divided, "truncation": 0.0}
    return train(Spec(technique, str(folder), values=values), run, lambda *_: None)


@pytest.mark.parametrize("divided", KINDS)
def test_a_run_reads_and_writes_texts_whatever_its_tokens_are(divided: str, folder: Path, tmp_path: Path) -> None:
    found = trained(folder, divided, tmp_path / "run")
    assert (tmp_path / "run" / "sentencepiece.model").exists() == divided.startswith("sentencepiece")
    written = samples.sample_run(tmp_path / "run", {"count": 3, "decoding": "ancestral"})
    assert all("▁" not in entry["sentence"] for entry in written["sentences"])
    again = samples.reconstruct_run(tmp_path / "run", ["the  cat sat"], {"count": 1})
    assert again["sentences"][0]["source"] == "the cat sat"
    assert again["sentences"][0]["notes"] in ([], [f"what it writes has no end within 100 {_noun(divided)}"])
    near = samples.neighbours_run(tmp_path / "run", {"count": 2}, lambda *_: None)
    assert all(entry["neighbour"] in TEXTS["train"] for entry in near["sentences"])
    session = Session(tmp_path / "run")
    scored = session.log_likelihood(["the cat ran home"], 5, 0)
    corpus = load(str(folder), options(divided))
    assert scored["tokens"] == [len(corpus.splits["valid"][0])]
    gallery = json.loads((tmp_path / "run" / "samples.json").read_text())
    assert {entry["source"] for entry in gallery["reconstructions"]} <= {"the cat ran home", "a dog sat"}
    bits = found["metrics"]["nll"] * 2 / math.log(2)
    assert found["metrics"]["bits_per_char"] == pytest.approx(bits / (len("the cat ran home") + len("a dog sat") + 2))


def _noun(divided: str) -> str:
    return "pieces" if ":" in divided else divided


def test_bits_by_character_are_the_perplexitys_of_characters(folder: Path, tmp_path: Path) -> None:
    metrics = trained(folder, "characters", tmp_path / "run", "rnnlm")["metrics"]
    assert metrics["bits_per_char"] == pytest.approx(math.log2(metrics["ppl"]))
    assert metrics["bits_per_byte"] == pytest.approx(metrics["bits_per_char"])  # its held-out text is ASCII
    assert open_run(tmp_path / "run").vocabulary.split("a b") == ["a", " ", "b"]


def test_bits_are_of_the_sentences_that_were_evaluated(folder: Path, tmp_path: Path) -> None:
    values: dict[str, Value] = {**SMALL, "truncation": 0.0, "nll_sentences": 1}
    metrics = train(Spec("rnnlm", str(folder), values=values), tmp_path / "run", lambda *_: None)["metrics"]
    (chosen,) = subset([" ".join(line.split()) for line in TEXTS["valid"]], 1)
    assert metrics["bits_per_char"] == pytest.approx(metrics["nll"] / math.log(2) / (len(chosen) + 1))


def test_a_run_without_its_model_says_so(folder: Path, tmp_path: Path) -> None:
    trained(folder, "sentencepiece:20", tmp_path / "run")
    (tmp_path / "run" / "sentencepiece.model").unlink()
    with pytest.raises(BadInput, match="holds no run of sentencepiece:20: it has no sentencepiece.model"):
        open_run(tmp_path / "run")
