"""Readers, vocabulary, truncation, batches, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from trainers.corpus import EOS, SPECIALS, UNK, Vocabulary, batches, load
from trainers.errors import BadInput
from trainers.options import CorpusOptions, build
from trainers.tokens import Words

DEFAULT = CorpusOptions()


def folder(path: Path, train: str, valid: str = "a\n", test: str = "a\n") -> Path:
    for name, text in {"train": train, "valid": valid, "test": test}.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path


def test_vocabulary_comes_from_training_text_only(tmp_path: Path) -> None:
    corpus = load(str(folder(tmp_path, "b a b\n a\n", valid="a c\n")), DEFAULT)
    assert corpus.vocabulary.words == (*SPECIALS, "a", "b")
    assert [corpus.vocabulary.words[i] for i in corpus.splits["valid"][0]] == ["a", UNK, EOS]
    assert corpus.unknown == {"train": 0, "valid": 1, "test": 0}
    assert "min_count=2" in corpus.warnings()[0]


def test_rare_words_become_unknown_and_a_texts_own_unk_is_the_same_word(tmp_path: Path) -> None:
    corpus = load(str(folder(tmp_path, "a a <unk> b\n", valid="a z\n")), CorpusOptions(min_count=2))
    assert corpus.vocabulary.words == (*SPECIALS, "a")
    assert corpus.unknown["train"] == 2
    assert not any("no <unk> to learn from" in said for said in corpus.warnings())


def test_reserved_words_in_a_text_are_unknown_words() -> None:
    vocabulary = Vocabulary.of({"a": 1, "<eos>": 1, "<pad>": 1}, 1, Words())
    assert vocabulary.decode(vocabulary.encode(["a", "<eos>", "<pad>", "<bos>"])) == ["a", UNK, UNK, UNK]


def test_sentences_are_cut_at_three_sd_above_the_mean_of_training_lengths(tmp_path: Path) -> None:
    lengths = [3] * 50 + [60]
    corpus = load(str(folder(tmp_path, "".join("w " * n + "\n" for n in lengths), valid="w " * 100)), DEFAULT)
    tokens = np.array(lengths) + 1
    limit = int(tokens.mean() + 3 * tokens.std())
    assert max(map(len, corpus.splits["train"])) == limit
    assert corpus.vocabulary.words[corpus.splits["valid"][0][-1]] == EOS
    assert len(corpus.splits["valid"][0]) == limit
    assert corpus.cut == {"train": 1, "valid": 1, "test": 0}
    said = f"1 of 1 validation sentences are cut to {limit} tokens"
    assert any(warning.startswith(said) for warning in corpus.warnings())


def test_cut_test_sentences_are_warned_of_too(tmp_path: Path) -> None:
    corpus = load(str(folder(tmp_path, "a b a\n" * 4, test="a\n" + "a " * 9)), DEFAULT)
    (warning,) = corpus.warnings()
    assert warning == (
        "1 of 2 test sentences are cut to 4 tokens, as in Pelsmaeker & Aziz's paper alone; truncation=0 keeps them whole."
    )
    whole = load(str(tmp_path), CorpusOptions(truncation=0))
    assert whole.warnings() == []
    assert (corpus.describe()["truncation"], whole.describe()["truncation"]) == (3.0, 0.0)


def test_empty_lines_are_counted_not_read(tmp_path: Path) -> None:
    corpus = load(str(folder(tmp_path, "a\n\n  \nb\n")), DEFAULT)
    assert len(corpus.splits["train"]) == 2
    assert corpus.skipped["train"] == 2


def test_line_ends_and_a_byte_order_mark_are_no_words(tmp_path: Path) -> None:
    folder(tmp_path, "a b\n")
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa b\r\nb\r\n")
    assert load(str(tmp_path), DEFAULT).vocabulary.words == (*SPECIALS, "b", "a")


def test_fingerprint_follows_the_text_and_the_options(tmp_path: Path) -> None:
    one = load(str(folder(tmp_path, "a b\n")), DEFAULT).fingerprint
    assert load(str(tmp_path), DEFAULT).fingerprint == one
    assert load(str(tmp_path), CorpusOptions(min_count=2)).fingerprint != one
    assert load(str(folder(tmp_path, "a b c\n")), DEFAULT).fingerprint != one


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_every_sentence_once_in_batches_of_near_equal_length(seed: int | None) -> None:
    sentences = load("grammar", CorpusOptions(corpus_size=1000)).splits["train"]
    made = list(batches(sentences, 64, seed))
    assert sorted(np.concatenate(made)) == list(range(1000))
    padded = sum(len(b) * max(len(sentences[i]) for i in b) for b in made)
    assert padded < 1.05 * sum(map(len, sentences))


def test_batches_differ_between_epochs_in_order_and_in_content() -> None:
    sentences = load("grammar", CorpusOptions(corpus_size=1000)).splits["train"]
    one, two = ([frozenset(b.tolist()) for b in batches(sentences, 64, seed)] for seed in (1, 2))
    assert one != two
    assert set(one) != set(two)


def test_grammar_is_sized_by_its_option_and_never_cut() -> None:
    corpus = load("grammar", CorpusOptions(corpus_size=1000))
    assert len(corpus.splits["train"]) == 1000
    assert sum(corpus.cut.values()) == 0
    assert corpus.entropy is not None
    assert corpus.exact_nll is not None
    assert abs(corpus.exact_nll["valid"] - corpus.entropy) < 0.4


@pytest.mark.parametrize("name", ["grammar", "questions"])
def test_an_option_that_cuts_nothing_leaves_the_fingerprint_as_it_is(name: str) -> None:
    usual, whole = (load(name, CorpusOptions(corpus_size=50, truncation=n)) for n in (CorpusOptions.truncation, 0.0))
    assert whole.fingerprint == usual.fingerprint
    if name == "grammar":
        assert load(name, DEFAULT).fingerprint == "fb66b0c2a9f6a4a5"


def test_no_limit_of_length_is_beyond_what_can_be_computed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"truncation must be a number from 0 to 1,000"):
        build(CorpusOptions, {"truncation": 1e9})
    longest = load(str(folder(tmp_path, "a\n" + "a " * 9000 + "\n")), build(CorpusOptions, {"truncation": 1000}))
    assert sum(longest.cut.values()) == 0


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (b"", "train.txt holds no sentence"),
        (b"\n \n", "train.txt holds no sentence"),
        (b"ok\n\xff\xfe\n", "train.txt is not UTF-8 text: line 2 is not, while all before it are"),
        (None, "has no file train.txt"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, train: bytes | None, message: str) -> None:
    folder(tmp_path, "a\n")
    (tmp_path / "train.txt").unlink()
    if train is not None:
        (tmp_path / "train.txt").write_bytes(train)
    with pytest.raises(BadInput, match=message):
        load(str(tmp_path), DEFAULT)


def test_a_missing_folder_and_an_unset_ptb_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="'no/such' does not exist"):
        load("no/such", DEFAULT)
    monkeypatch.delenv("PTB_DIR", raising=False)
    with pytest.raises(BadInput, match="PTB_DIR"):
        load("ptb", DEFAULT)


@pytest.mark.skipif(not os.environ.get("PTB_DIR"), reason="PTB_DIR does not name the Penn Treebank's folder")
def test_penn_treebank_has_its_known_sizes() -> None:
    corpus = load("ptb", CorpusOptions(truncation=0))
    assert {split: len(s) for split, s in corpus.splits.items()} == {"train": 42068, "valid": 3370, "test": 3761}
    assert sum(map(len, corpus.splits["train"])) == 887521 + 42068
    # 9,999 types of the text, <unk> among them, and our start, end and padding tokens
    assert len(corpus.vocabulary) == 9999 + 3
    assert corpus.unknown["valid"] > 0
    assert corpus.warnings() == []


def test_batches_not_by_length_are_random_samples_of_every_sentence_once() -> None:
    sentences = [np.zeros(1 + i % 30, dtype=np.int32) for i in range(300)]
    found = list(batches(sentences, 32, 0, by_length=False))
    assert sorted(np.concatenate(found).tolist()) == list(range(300))
    lengths = [np.mean([len(sentences[i]) for i in part]) for part in found[:-1]]
    assert np.std(lengths) < 4  # by length they would be from 1 to 30
    assert [p.tolist() for p in found] != [p.tolist() for p in batches(sentences, 32, 1, by_length=False)]


def test_a_grammar_with_unknown_words_has_no_known_entropy() -> None:
    merged = load("grammar", CorpusOptions(min_count=100))
    assert merged.unknown["train"] > 0
    assert (merged.entropy, merged.exact_nll) == (None, None)
    assert load("grammar", CorpusOptions(corpus_size=2)).entropy is None  # words that training never saw
    assert load("grammar", CorpusOptions()).entropy == pytest.approx(15.006, abs=1e-3)


def test_labels_are_read_after_the_last_tab_and_are_no_words(tmp_path: Path) -> None:
    path = str(folder(tmp_path, "a b\tgood\n\nb\tbad\n", valid="a\tgood\n", test="b\tbad\n"))
    corpus = load(path, CorpusOptions(labels="last"))
    assert corpus.labels == {"train": ["good", "bad"], "valid": ["good"], "test": ["bad"]}
    assert corpus.vocabulary.words == (*SPECIALS, "b", "a")
    assert corpus.describe()["classes"] == 2
    plain = load(path, DEFAULT)
    assert plain.labels is None
    assert "good" in plain.vocabulary
    assert "4 lines hold a tab, read as a space" in " ".join(plain.warnings())
    assert load(path, CorpusOptions(labels="last", corpus_size=1)).labels["train"] == ["good"]  # type: ignore[index]
    folder(tmp_path, "a b\tgood\nb bad\n")
    with pytest.raises(BadInput, match="line 2 has no label: labels=last wants one after the last tab"):
        load(path, CorpusOptions(labels="last"))


def test_labels_change_neither_the_text_nor_its_fingerprint(tmp_path: Path) -> None:
    for name, text in (("plain", "a b\nb\n"), ("labelled", "a b\tx\nb\ty\n")):
        (tmp_path / name).mkdir()
        rest = text.splitlines()[0] + "\n"
        folder(tmp_path / name, text, valid=rest, test=rest)
    plain, labelled = (
        load(str(tmp_path / "plain"), DEFAULT),
        load(str(tmp_path / "labelled"), CorpusOptions(labels="last")),
    )
    assert plain.fingerprint == labelled.fingerprint


@pytest.mark.parametrize("name", ["grammar", "questions", "kjv"])
@pytest.mark.parametrize("options", [{"text": "body"}, {"label": "topic"}, {"labels": "first"}])
def test_an_embedded_corpus_has_no_place_of_sentences_or_labels(name: str, options: dict[str, str]) -> None:
    (key,) = options
    with pytest.raises(BadInput, match=f"{key} = .* is not allowed with corpus '{name}', which is no file"):
        load(name, CorpusOptions(**options))


def marked(folder: Path, begin: str, end: str) -> str:
    for split in ("train", "valid", "test"):
        lines = [f"{begin}a b{i % 7} c{end}" for i in range(40)]
        (folder / f"{split}.txt").write_text("\n".join(lines))
    return str(folder)


@pytest.mark.parametrize("mark", ["<eos>", "<bos>", "<pad>"])
def test_a_mark_of_this_programs_own_is_no_word(mark: str, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=f"the text has the word {mark} 120 times, which is a mark of this program's own"
    ):
        load(marked(tmp_path, "", f" {mark}"), CorpusOptions())
    assert load(str(tmp_path), CorpusOptions(tokens="characters")).splits["train"]


@pytest.mark.parametrize("mark", ["</s>", "[SEP]", "<EOS>", "{end}", "|eos|"])
def test_marks_of_sentences_are_told(mark: str, tmp_path: Path) -> None:
    said = load(marked(tmp_path, "<s> ", f" {mark}"), CorpusOptions()).warnings()
    for each in ("<s>", mark):
        assert f"{each} stands 40 times in 40 training sentences" in "\n".join(said)


def test_a_word_of_each_sentence_is_no_mark_and_neither_is_the_unknown_word(tmp_path: Path) -> None:
    said = "\n".join(load(marked(tmp_path, "<unk> ", " ."), CorpusOptions()).warnings())
    assert "stands" not in said
