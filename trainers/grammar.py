"""A probabilistic grammar with latent topics whose entropy is known exactly: the truth that figures are checked against.

A context-free grammar without recursion. Each sentence has exactly one derivation, because its verb belongs to one topic
and one number, so P(sentence) is the product of its rules' probabilities, and by the chain rule of entropy

    H(A) = Σ_rule p(rule) · (−log p(rule) + Σ_{B in rule} H(B))          nats, A a nonterminal, H(word) = 0

is the entropy of the sentences themselves (tests/trainers/test_grammar.py parses sentences to hold this true).
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Rules = Mapping[str, Sequence[tuple[float, tuple[str, ...]]]]
"""Rules by nonterminal: pairs of (probability, right-hand side); a symbol that is no key is a word."""


@dataclass(frozen=True)
class Grammar:
    """A probabilistic context-free grammar: finite (no recursion) and unambiguous.

    Raises:
        ValueError: if a nonterminal's probabilities do not sum to 1.
    """

    rules: Rules
    start: str = "S"

    def __post_init__(self) -> None:
        for symbol, productions in self.rules.items():
            total = math.fsum(p for p, _ in productions)
            if not math.isclose(total, 1.0, abs_tol=1e-9):
                raise ValueError(f"the rules of {symbol} have probabilities that sum to {total}, not to 1")

    @cached_property
    def entropy(self) -> float:
        """Exact entropy of a sentence, in nats."""
        known: dict[str, float] = {}

        def entropy(symbol: str) -> float:
            if symbol not in self.rules:
                return 0.0
            if symbol not in known:
                known[symbol] = math.fsum(
                    p * (-math.log(p) + math.fsum(entropy(part) for part in parts)) for p, parts in self.rules[symbol]
                )
            return known[symbol]

        return entropy(self.start)

    def sample(self, generator: random.Random) -> tuple[list[str], float]:
        """Draws a sentence; returns its words and its log-probability in nats."""
        words: list[str] = []
        log_p = 0.0
        stack = [self.start]
        while stack:
            symbol = stack.pop()
            if symbol not in self.rules:
                words.append(symbol)
                continue
            threshold, total = generator.random(), 0.0
            for p, parts in self.rules[symbol]:  # noqa: B007 - rounding may leave the last rule as the choice
                total += p
                if threshold < total:
                    break
            log_p += math.log(p)
            stack.extend(reversed(parts))
        return words, log_p


TOPICS: dict[str, tuple[float, str, str, str, str]] = {
    # topic: probability, nouns, verbs, adjectives, prepositions (a noun may serve several topics; a verb serves one)
    "sea": (0.25, "sailor ship whale gull captain boat boy net", "follow steer chase tow", "salty deep", "near under"),
    "kitchen": (0.20, "cook pan pie carrot knife guest girl pot", "boil slice taste serve", "hot sweet", "beside on"),
    "garden": (0.17, "gardener rose snail hedge bird bee fence pot", "water plant trim nibble", "green late", "behind near"),
    "concert": (0.15, "singer drum song violin crowd guest band choir", "play tune praise hear", "loud slow", "before after"),
    "market": (0.13, "trader coin stall customer basket carrot rose price", "sell weigh raise bargain", "cheap new", "at beside"),
    "court": (0.10, "judge lawyer clerk letter guard heir trader", "accuse question free warn", "tired stern", "before at"),
}  # fmt: skip


def _ranked(words: Sequence[str]) -> list[tuple[float, tuple[str, ...]]]:
    """Zipf's law: the k-th word's probability is proportional to 1/k."""
    total = math.fsum(1 / (rank + 1) for rank in range(len(words)))
    return [(1 / (rank + 1) / total, (word,)) for rank, word in enumerate(words)]


def topic_of(words: Sequence[str]) -> str:
    """The topic of one of the grammar's sentences: that of its verb."""
    return next(_TOPIC_OF_VERB[word] for word in words if word in _TOPIC_OF_VERB)


_TOPIC_OF_VERB = {
    verb + ending: topic
    for topic, (_, _, verbs, _, _) in TOPICS.items()
    for verb in verbs.split()
    for ending in ("", "s")
}


def topic_grammar() -> Grammar:
    """The corpus's grammar: a topic and a number choose the words; both must be kept in mind until the sentence's end."""
    rules: dict[str, list[tuple[float, tuple[str, ...]]]] = {
        "S": [(p, (f"S.{topic}",)) for topic, (p, *_) in TOPICS.items()],
        "When": [(0.5, ("today",)), (0.3, ("yesterday",)), (0.2, ("at", "night"))],
        "How": [(0.4, ("again",)), (0.3, ("quickly",)), (0.2, ("with", "care")), (0.1, ("in", "vain"))],
        "Det.one": [(0.5, ("the",)), (0.3, ("a",)), (0.2, ("this",))],
        "Det.many": [(0.5, ("the",)), (0.3, ("some",)), (0.2, ("these",))],
    }
    for topic, (_, nouns, verbs, adjectives, prepositions) in TOPICS.items():
        clause = [(0.6, f"NP.one.{topic}", f"VP.one.{topic}"), (0.4, f"NP.many.{topic}", f"VP.many.{topic}")]
        rules[f"S.{topic}"] = [(p * 0.8, (np, vp)) for p, np, vp in clause]
        rules[f"S.{topic}"] += [(p * 0.2, ("When", np, vp)) for p, np, vp in clause]
        rules[f"Object.{topic}"] = [(0.7, (f"NP.one.{topic}",)), (0.3, (f"NP.many.{topic}",))]
        rules[f"Adj.{topic}"] = _ranked(adjectives.split())
        rules[f"Prep.{topic}"] = _ranked(prepositions.split())
        rules[f"PP.{topic}"] = [(1.0, (f"Prep.{topic}", f"Object.{topic}"))]
        for number, noun_ending, verb_ending in (("one", "", "s"), ("many", "s", "")):
            det, noun, verb = f"Det.{number}", f"N.{number}.{topic}", f"V.{number}.{topic}"
            rules[noun] = _ranked([word + noun_ending for word in nouns.split()])
            rules[verb] = _ranked([word + verb_ending for word in verbs.split()])
            rules[f"NP.{number}.{topic}"] = [(0.7, (det, noun)), (0.3, (det, f"Adj.{topic}", noun))]
            rules[f"VP.{number}.{topic}"] = [
                (0.5, (verb, f"Object.{topic}")),
                (0.3, (verb, f"Object.{topic}", f"PP.{topic}")),
                (0.2, (verb, f"Object.{topic}", "How")),
            ]
    return Grammar(rules)
