"""A study outlives the wording of its search space."""

from dataclasses import replace

from tuner.space import load


def test_a_space_with_other_words_is_the_space() -> None:
    space = load("sfb")
    parameters = tuple(replace(p, meaning="other words", unit="other unit") for p in space.parameters)
    reworded = replace(space, paper="", formula="", summary="other words", parameters=parameters)
    assert reworded == space
    assert replace(space, parameters=parameters[:1]) != space
