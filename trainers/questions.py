"""Questions with their answers in one sentence (LV §4.6), out of a grammar that tells which answers are right.

`who steers the ship at dawn ? the sailor , or the captain at night`: a question's kind and topic say what its answer may be, and
no word belongs to two topics, so each sentence has one derivation and the grammar's entropy is the sentences' own. An answer is
right if the grammar gives it a probability after this question.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from trainers.grammar import Grammar

MARK = "?"
"""Word that ends a question; the words after the first one are the answer."""
WHEN = ("at dawn", "in winter", "every day")
TOPICS: dict[str, tuple[str, str, str, str]] = {
    # topic: who, does, what, where
    "sea": ("sailor captain diver", "steers repairs paints", "ship boat raft", "harbour bay"),
    "kitchen": ("cook baker waiter", "boils slices serves", "pie soup fish", "kitchen cellar"),
    "garden": ("gardener beekeeper neighbour", "waters plants trims", "rose hedge tree", "garden orchard"),
    "concert": ("singer pianist conductor", "plays tunes hears", "song violin drum", "theatre hall"),
    "court": ("judge lawyer clerk", "reads signs seals", "letter law will", "court library"),
    "farm": ("farmer shepherd rider", "feeds shears leads", "horse sheep cow", "stable meadow"),
}
KINDS = ("who", "what", "where")


def _any(words: str) -> list[tuple[float, tuple[str, ...]]]:
    """The first word half of the time, the others alike."""
    first, *others = words.split()
    return [(0.5, (first,)), *((0.5 / len(others), (word,)) for word in others)]


def question_grammar() -> Grammar:
    """S → question ? answer, for each topic and kind alike often."""
    pairs = list(itertools.product(TOPICS, KINDS))
    rules: dict[str, list[tuple[float, tuple[str, ...]]]] = {
        "S": [(1 / len(pairs), (f"Q.{kind}.{topic}", MARK, f"A.{kind}.{topic}")) for topic, kind in pairs],
        "When": [(1 / len(WHEN), tuple(phrase.split())) for phrase in WHEN],
    }
    for topic, (who, does, what, where) in TOPICS.items():
        for name, words in (("Who", who), ("Does", does), ("What", what), ("Where", where)):
            rules[f"{name}.{topic}"] = _any(words)
        one, deed, thing, place = (f"{name}.{topic}" for name in ("Who", "Does", "What", "Where"))
        rules[f"Q.who.{topic}"] = [(0.7, ("who", deed, "the", thing)), (0.3, ("who", deed, "the", thing, "When"))]
        rules[f"A.who.{topic}"] = [(0.6, ("the", one)), (0.4, ("the", one, ",", "or", "the", one, "When"))]
        rules[f"Q.what.{topic}"] = [(0.7, ("what", deed, "the", one)), (0.3, ("what", deed, "the", one, "When"))]
        rules[f"A.what.{topic}"] = [(0.6, ("the", thing)), (0.4, ("a", thing, "and", "a", thing))]
        rules[f"Q.where.{topic}"] = [(1.0, ("where", "is", "the", thing))]
        rules[f"A.where.{topic}"] = [
            (0.6, ("in", "the", place)),
            (0.4, ("near", "the", place, ",", "with", "the", one)),
        ]
    return Grammar(rules)


def _language(grammar: Grammar, symbol: str) -> Iterator[tuple[str, ...]]:
    """Every text of a symbol."""
    if symbol not in grammar.rules:
        yield (symbol,)
        return
    for _, parts in grammar.rules[symbol]:
        for combination in itertools.product(*(tuple(_language(grammar, part)) for part in parts)):
            yield tuple(itertools.chain.from_iterable(combination))


@cache
def _answers() -> dict[tuple[str, ...], frozenset[tuple[str, ...]]]:
    """The right answers of every question of the grammar."""
    grammar = question_grammar()
    found: dict[tuple[str, ...], frozenset[tuple[str, ...]]] = {}
    for topic, kind in itertools.product(TOPICS, KINDS):
        answers = frozenset(_language(grammar, f"A.{kind}.{topic}"))
        found |= dict.fromkeys(_language(grammar, f"Q.{kind}.{topic}"), answers)
    return found


def is_right(question: Sequence[str], answer: Sequence[str]) -> bool | None:
    """True if the grammar gives this answer after this question, both without its mark; None where it has no such
    question.
    """
    known = _answers().get(tuple(question))
    return None if known is None else tuple(answer) in known


def topic_of(words: Sequence[str]) -> str:
    """The topic of one of the grammar's sentences."""
    return next(_TOPIC_OF[word] for word in words if word in _TOPIC_OF)


_TOPIC_OF = {word: topic for topic, lists in TOPICS.items() for words in lists for word in words.split()}


@dataclass(frozen=True)
class Question:
    """A question's words, its mark the last of them, and answers to choose from, the right one first."""

    words: list[str]
    answers: list[list[str]]


def divided(words: Sequence[str], marks: int = 1) -> tuple[list[str], list[str]] | None:
    """Question, which ends with its so manieth mark, and answer of a sentence; none if there is nothing on one side."""
    places = [place for place, word in enumerate(words) if word == MARK][marks - 1 : marks]
    if not places or 0 in places or places[0] + 1 == len(words):
        return None
    return list(words[: places[0] + 1]), list(words[places[0] + 1 :])


def posed(sentences: Sequence[Sequence[str]], count: int, wrong: int, seed: int) -> list[Question]:
    """Questions out of sentences that hold both: the sentence's own answer, and answers of other sentences beside it.

    Those are not right where the grammar tells; of another text they are only likely to be wrong.
    """
    pairs = [pair for sentence in sentences if (pair := divided(sentence))]
    generator = random.Random(seed)
    chosen = generator.sample(pairs, min(count, len(pairs)))
    every = sorted({tuple(answer) for _, answer in pairs})
    found = []
    for words, answer in chosen:
        others = [list(other) for other in every if list(other) != answer and not is_right(words[:-1], other)]
        found.append(Question(words, [answer, *generator.sample(others, min(wrong, len(others)))]))
    return found
