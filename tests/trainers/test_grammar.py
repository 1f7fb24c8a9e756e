"""The grammar's entropy is exact: held against enumeration, an independent parser and the law of large numbers."""

import itertools
import math
import random
import statistics
from functools import cache

import pytest

from trainers.grammar import TOPICS, Grammar, topic_grammar, topic_of

TOY = Grammar(
    {
        "S": [(0.3, ("A", "B")), (0.7, ("B",))],
        "A": [(0.25, ("a",)), (0.75, ("a", "a"))],
        "B": [(0.5, ("b",)), (0.5, ("c", "b"))],
    }
)


def enumerate_sentences(grammar: Grammar, symbol: str) -> list[tuple[float, tuple[str, ...]]]:
    if symbol not in grammar.rules:
        return [(1.0, (symbol,))]
    found = []
    for p, parts in grammar.rules[symbol]:
        for combination in itertools.product(*(enumerate_sentences(grammar, part) for part in parts)):
            words = tuple(word for _, part in combination for word in part)
            found.append((p * math.prod(q for q, _ in combination), words))
    return found


def probability(grammar: Grammar, words: list[str]) -> float:
    """Σ over all parses, top-down, with no regard to how the sentence was drawn."""

    @cache
    def spans(symbol: str, start: int) -> dict[int, float]:
        if symbol not in grammar.rules:
            return {start + 1: 1.0} if start < len(words) and words[start] == symbol else {}
        ends: dict[int, float] = {}
        for p, parts in grammar.rules[symbol]:
            reached = {start: p}
            for part in parts:
                following: dict[int, float] = {}
                for position, mass in reached.items():
                    for end, q in spans(part, position).items():
                        following[end] = following.get(end, 0.0) + mass * q
                reached = following
            for end, mass in reached.items():
                ends[end] = ends.get(end, 0.0) + mass
        return ends

    return spans(grammar.start, 0).get(len(words), 0.0)


def test_toy_entropy_equals_enumeration() -> None:
    sentences = enumerate_sentences(TOY, "S")
    assert len({words for _, words in sentences}) == len(sentences)
    assert math.fsum(p for p, _ in sentences) == pytest.approx(1)
    assert TOY.entropy == pytest.approx(-math.fsum(p * math.log(p) for p, _ in sentences), abs=1e-12)


def test_topic_grammar_is_unambiguous_and_its_probabilities_are_right() -> None:
    grammar, generator = topic_grammar(), random.Random(1)
    for _ in range(300):
        words, log_p = grammar.sample(generator)
        assert math.log(probability(grammar, words)) == pytest.approx(log_p, abs=1e-9), " ".join(words)


def test_a_verb_tells_the_topic_and_the_number() -> None:
    verbs = [verb for _, _, verbs, _, _ in TOPICS.values() for verb in verbs.split()]
    forms = verbs + [verb + "s" for verb in verbs]
    assert len(set(forms)) == len(forms)


def test_entropy_agrees_with_the_mean_of_many_draws() -> None:
    grammar, generator = topic_grammar(), random.Random(2)
    losses = [-grammar.sample(generator)[1] for _ in range(20_000)]
    error = statistics.stdev(losses) / math.sqrt(len(losses))
    assert abs(statistics.mean(losses) - grammar.entropy) < 4 * error


def test_probabilities_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="rules of S have probabilities that sum to 0.9"):
        Grammar({"S": [(0.9, ("a",))]})


def test_a_sentences_topic_is_the_one_that_could_have_made_it() -> None:
    grammar, generator = topic_grammar(), random.Random(3)
    for _ in range(100):
        words, _ = grammar.sample(generator)
        makers = [t for t in TOPICS if probability(Grammar(grammar.rules, f"S.{t}"), words)]
        assert makers == [topic_of(words)]
