"""Likeness to both ends at each point of the line between two sentences' codes (MI figure 4b).

MI measure it by BERT's F1. No package ships such a model, so likeness here is of words: F1 of the words that two sentences share,
with multiplicity, and 1 − TER as far as it is positive.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from trainers.neighbours import ter

Pair = tuple[Sequence[str], Sequence[str]]
"""Sentences that a line starts from and ends at."""


def f1(words: Sequence[str], reference: Sequence[str]) -> float:
    """Harmonic mean of the shares of shared words; 1: the same words in some order."""
    total = len(words) + len(reference)
    return 2 * (Counter(words) & Counter(reference)).total() / total if total else 1.0


def similarity(words: Sequence[str], reference: Sequence[str]) -> float:
    """1 − TER, 0 where it is negative."""
    return max(1 - ter(words, reference), 0.0) if reference else float(not words)


def likeness(lines: Sequence[Sequence[Sequence[str]]], ends: Sequence[Pair]) -> list[dict[str, float]]:
    """The mean likeness at each point to the sentence that the line starts from and to that which it ends at.

    Args:
        lines: what is written at each point, by line.
        ends: the two sentences of each line.
    """
    points = []
    for place, written in enumerate(zip(*lines, strict=True)):
        point: dict[str, float] = {"weight": place / (len(lines[0]) - 1)}
        for name, side in (("source", 0), ("target", 1)):
            pairs = [(words, pair[side]) for words, pair in zip(written, ends, strict=True)]
            point[f"f1_{name}"] = fmean(f1(*pair) for pair in pairs)
            point[f"similarity_{name}"] = fmean(similarity(*pair) for pair in pairs)
        points.append(point)
    return points
