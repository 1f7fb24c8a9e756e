"""The nearest training sentence by TER against a search over all of them."""

import random

import pytest

from trainers.neighbours import Neighbours, ter


def text(count: int, seed: int) -> list[list[str]]:
    """Sentences of a skewed vocabulary, many words shared."""
    source = random.Random(seed)
    words = [f"w{i}" for i in range(40)]
    weights = [1 / (i + 1) for i in range(40)]
    return [source.choices(words, weights, k=source.randint(2, 12)) for _ in range(count)]


def test_ter_counts_edits_and_a_moved_run_as_one() -> None:
    assert ter(list("abcd"), list("abcd")) == 0
    assert ter(list("axcd"), list("abcd")) == 0.25
    assert ter(list("cdefab"), list("abcdef")) == pytest.approx(1 / 6)  # one move
    assert ter([], list("ab")) == 1
    assert ter(list("Ab"), list("ab")) == 0.5  # case matters


def test_bounds_hold() -> None:
    training = text(200, 0)
    index = Neighbours(training)
    for sentence in text(5, 1):
        least, most = index.fewest_edits(sentence), index.most_edits(sentence)
        for place, reference in enumerate(index.training):
            edits = ter(sentence, reference) * len(reference)
            assert least[place] - 1e-9 <= edits <= most[place] + 1e-9


def test_nearest_is_what_a_search_over_all_finds() -> None:
    training = text(400, 0)
    index = Neighbours(training)
    for sentence in text(15, 2):
        found = index.nearest(sentence)
        assert found.ter == ter(sentence, found.sentence) == min(ter(sentence, reference) for reference in training)


def test_copies_unknown_words_and_nothing_are_found_neighbours_for() -> None:
    training = text(50, 0)
    index = Neighbours(training)
    assert index.nearest(training[7]).ter == 0
    assert index.nearest(training[7]).sentence == training[7]
    assert index.nearest(["never", "seen"]).ter >= 1 / 2
    assert index.nearest([]).ter == 1
