"""The n-gram line: its probabilities are held to the formulas, written again with dictionaries, and to a known entropy."""

import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from string import ascii_lowercase

import numpy as np
import pytest

from trainers import ngram
from trainers.corpus import BOS, EOS, UNK, Corpus, Vocabulary, load
from trainers.ngram import ORDERS, NGrams
from trainers.options import CorpusOptions
from trainers.tokens import Words

Text = list[list[str]]
WORDS = [*ascii_lowercase, *map("".join, product("xyz", ascii_lowercase))]
TINY = [["a", "b", "a"], ["b"], ["a", "b", "c"], ["c", "a", "b", "a"]]


def drawn(sentences: int, seed: int = 0) -> Text:
    """Sentences whose words often follow their predecessors in the list, most of which are rare."""
    chance, made = random.Random(seed), []
    for _ in range(sentences):
        sentence = [chance.choice(WORDS[:3])]
        while chance.random() < 0.85:
            rank = min(int(chance.paretovariate(0.7)), len(WORDS)) - 1
            sentence.append(
                WORDS[(WORDS.index(sentence[-1]) + 1) % len(WORDS)] if chance.random() < 0.3 else WORDS[rank]
            )
        made.append(sentence)
    return made


def fitted(text: Text) -> tuple[NGrams, Vocabulary]:
    vocabulary = Vocabulary.of(Counter(word for sentence in text for word in sentence), 1, Words())
    return NGrams([vocabulary.encode(s) for s in text], len(vocabulary)), vocabulary


class Naive:
    """One model of order n by the definitions, nothing shared with the program: strings, dictionaries and recursion."""

    def __init__(self, text: Text, n: int, words: Sequence[str]) -> None:
        self.n, self.words = n, words
        padded = [[BOS, *s, EOS] for s in text]
        grams = [
            Counter(tuple(s[i - k + 1 : i + 1]) for s in padded for i in range(1, len(s)) if i - k + 1 >= 0)
            for k in range(n + 1)
        ]
        before: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for k in range(2, n + 1):
            for gram in grams[k]:
                before[gram[1:]].add(gram[0])
        self.a = [
            {gram: count if k == n or gram[0] == BOS else len(before[gram]) for gram, count in grams[k].items()}
            for k in range(1, n + 1)
        ]
        self.d = [self.discounts(list(a.values())) for a in self.a]

    @staticmethod
    def discounts(counts: list[int]) -> dict[int, float]:
        n = {i: counts.count(i) for i in (1, 2, 3, 4)}
        tiny = {1: 0.5, 2: 1.0, 3: 1.5}
        if 0 in n.values():
            return tiny
        y = n[1] / (n[1] + 2 * n[2])
        found = {i: i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)}
        return found if all(0 <= d <= i for i, d in found.items()) else tiny

    def p(self, word: str, history: tuple[str, ...], k: int | None = None) -> float:
        k = self.n if k is None else k
        if k == 0:
            return 1 / len(self.words)
        if len(history) < k - 1:
            return self.p(word, history, k - 1)
        h = history[len(history) - k + 1 :]
        lower = self.p(word, history, k - 1)
        own = {gram[-1]: count for gram, count in self.a[k - 1].items() if gram[:-1] == h}
        if not own:
            return lower
        taken = {w: self.d[k - 1][min(count, 3)] for w, count in own.items()}
        total = sum(own.values())
        return ((own[word] - taken[word] if word in own else 0.0) + sum(taken.values()) * lower) / total


@pytest.mark.parametrize("text", [TINY, [["a"]], drawn(300)], ids=["tiny", "one sentence of one word", "estimated"])
def test_every_token_has_the_probability_that_the_definitions_give(text: Text) -> None:
    models, vocabulary = fitted(text)
    words = [w for w in vocabulary.words if w not in ("<pad>", BOS)]
    held_out = [["a"], ["b", "a", "b", "c", "c"], ["nowhere", "a", "nowhere"], *text[:3], *drawn(5, seed=1)]
    p, of = models.probabilities([vocabulary.encode(s) for s in held_out])
    assert list(of) == [i for i, s in enumerate(held_out) for _ in range(len(s) + 1)]
    for order in ORDERS:
        naive = Naive(text, order, words)
        expected = []
        for sentence in held_out:
            known = [*(w if w in words else UNK for w in sentence), EOS]
            expected += [naive.p(known[i], (BOS, *known[:i])) for i in range(len(known))]
        np.testing.assert_allclose(p[order - 1], expected, rtol=1e-12)


def test_the_probabilities_of_all_words_sum_to_one_after_any_history() -> None:
    models, vocabulary = fitted(TINY)
    words = [i for i, w in enumerate(vocabulary.words) if w not in ("<pad>", BOS)]
    for length in range(4):
        for history in product(words, repeat=length):  # seen, unseen, with unknown words and after the end
            ends = [np.array([*history, word], dtype=np.int32) for word in words]
            p, of = models.probabilities(ends)
            last = np.flatnonzero(np.diff(of, append=-1))
            np.testing.assert_allclose(p[:, last].sum(axis=1), 1.0, rtol=1e-13)
            assert (p[:, last] > 0).all()


def test_they_sum_to_one_with_estimated_discounts_too() -> None:
    text = drawn(300)
    models, vocabulary = fitted(text)
    assert ngram.FALLBACK[1:] not in [tuple(d.values()) for d in Naive(text, 4, vocabulary.words).d]
    words = [i for i, w in enumerate(vocabulary.words) if w not in ("<pad>", BOS)]
    chance = random.Random(0)
    for _ in range(50):
        history = chance.choices(words, k=chance.randint(0, 5))
        p, of = models.probabilities([np.array([*history, word], dtype=np.int32) for word in words])
        last = np.flatnonzero(np.diff(of, append=-1))
        np.testing.assert_allclose(p[:, last].sum(axis=1), 1.0, rtol=1e-13)


def test_order_one_is_a_discounted_count_and_a_share_of_the_rest() -> None:
    text = drawn(200)
    models, vocabulary = fitted(text)
    counts = Counter(word for s in text for word in [*s, EOS])
    taken = Naive.discounts(list(counts.values()))
    rest = sum(taken[min(c, 3)] for c in counts.values()) / (len(vocabulary) - 2)
    (p, *_), _ = models.probabilities([vocabulary.encode(["b", "never seen"])])
    total = sum(counts.values())
    expected = [(counts[w] - taken[min(counts[w], 3)] + rest) / total for w in ("b", EOS)]
    assert [p[0], p[2]] == pytest.approx(expected, rel=1e-13)
    assert p[1] == pytest.approx(rest / total, rel=1e-13)  # an unknown word has what was freed


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1] * 8 + [2] * 4 + [3] * 2 + [4], [0, 0.5, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2]),
        ([1] * 8 + [2] * 4 + [3] * 2 + [5], ngram.FALLBACK),  # nothing stands four times
        ([1] * 8 + [2] * 1 + [3] * 9 + [4], ngram.FALLBACK),  # D(2) would be below 0
    ],
)
def test_discounts_are_estimated_or_else_fixed(counts: list[int], expected: Sequence[float]) -> None:
    assert ngram.discounts(np.array(counts)) == pytest.approx(expected)


def test_longer_histories_come_closer_to_the_grammars_entropy_and_never_below_it() -> None:
    corpus = load("grammar", CorpusOptions())
    assert corpus.entropy is not None
    assert corpus.exact_nll is not None
    found = ngram.lines(corpus, {split: corpus.splits[split] for split in ("valid", "test")})
    nll = [found["orders"][str(order)]["valid"]["nll"] for order in ORDERS]
    assert nll[0] > nll[1] > nll[2] > corpus.exact_nll["valid"]  # on the same sentences
    assert nll[2] > corpus.entropy
    assert nll[found["best"] - 1] == min(nll)
    larger = load("grammar", CorpusOptions(corpus_size=16_000))
    more = ngram.lines(larger, {"valid": larger.splits["valid"]})
    assert corpus.exact_nll["valid"] < more["orders"]["3"]["valid"]["nll"] < nll[2]


def test_the_figures_are_of_the_sentences_that_are_judged_and_of_their_tokens() -> None:
    corpus = load("grammar", CorpusOptions(corpus_size=400))
    judged = corpus.splits["valid"][:50]
    kept = ngram.reference(corpus, {"valid": judged, "test": corpus.splits["test"]})
    models = NGrams(corpus.splits["train"], len(corpus.vocabulary))
    each = models.nll(judged)[kept["order"] - 1]
    assert kept["valid"]["nll"] == pytest.approx(each.mean())
    assert kept["valid"]["ppl"] == pytest.approx(math.exp(each.sum() / sum(map(len, judged))))
    assert [kept["valid"][key] for key in ("sentences", "of")] == [50, 1000]
    assert [kept["test"][key] for key in ("sentences", "of")] == [1000, 1000]
    assert (kept["counted"], kept["train"]) == (400, 400)


def test_of_a_long_text_evenly_spaced_sentences_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = load("grammar", CorpusOptions(corpus_size=400))
    monkeypatch.setattr(ngram, "TRAINING_TOKENS", sum(map(len, corpus.splits["train"])) // 4)
    models, counted = ngram.of(corpus)
    assert counted in (99, 100)
    chosen = [corpus.splits["train"][i * 400 // counted] for i in range(counted)]
    whole = NGrams(chosen, len(corpus.vocabulary))
    assert (models.nll(corpus.splits["valid"]) == whole.nll(corpus.splits["valid"])).all()


def test_sentences_that_stand_in_the_training_text_are_counted() -> None:
    made: Corpus = load("grammar", CorpusOptions(corpus_size=100))
    train = made.splits["train"]
    splits = {"train": train, "valid": [train[3], train[3], train[0][1:]], "test": [train[0], train[1], train[2]]}
    assert ngram.repeated(replace(made, splits=splits)) == {
        "valid": {"count": 2, "share": pytest.approx(2 / 3)},
        "test": {"count": 3, "share": 1.0},
    }


def test_a_held_out_text_that_is_the_training_text_is_told() -> None:
    made: Corpus = load("grammar", CorpusOptions(corpus_size=100))
    train = made.splits["train"]
    copy = replace(made, splits={"train": train, "valid": train, "test": made.splits["test"]})
    (said,) = ngram.copied(copy, ngram.repeated(copy))
    assert said.startswith(
        "100 of 100 validation sentences stand in the training text too, so figures on them tell what"
    )
    assert ngram.copied(made, ngram.repeated(made)) == []
    few = replace(made, splits={"train": train, "valid": train[:3], "test": made.splits["test"]})
    assert ngram.copied(few, ngram.repeated(few)) == []  # of so few sentences shares tell nothing


@pytest.mark.skipif(not os.environ.get("PTB_DIR"), reason="PTB_DIR does not name the Penn Treebank's folder")
def test_the_penn_treebanks_trigram_has_the_published_perplexity() -> None:
    """148.3, Mikolov 2012 (Statistical Language Models Based on Neural Networks), table 4.1, KN3."""
    found = ngram.lines(load("ptb", CorpusOptions(truncation=0)))
    assert found["orders"]["3"]["test"]["ppl"] == pytest.approx(148.3, abs=0.1)
