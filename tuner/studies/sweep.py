"""A sweep: a study over given values of a hyperparameter, or over every combination of several's, all else at its default.

The paper's figure 2 is made of sweeps over one. Trials are in the order of the values, and no sampler proposes any, so the budget
is exactly theirs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuner.errors import Usage
from tuner.space import Parameter, Space, Value, is_schedule, load, parse_value
from tuner.studies.spec import Definition, StudySpec
from tuner.studies.study import Study
from tuner.studies.trials import Trial


def parse(over: str) -> tuple[str, list[Value]]:
    """`r=1,2,5` as the hyperparameter and its values, each once.

    Raises:
        Usage: if it is not of that form.
    """
    name, equals, listed = over.partition("=")
    values = [part.strip() for part in listed.split(",")]
    if not (name and equals and all(values)):
        raise Usage(f"--over {over!r} is no list of values: write e.g. --over r=1,2,5,10,20.")
    return name.strip(), list(dict.fromkeys(parse_value(value) for value in values))


Over = Mapping[str, Sequence[Value]]
"""Values of each hyperparameter that is swept over."""


def parse_all(overs: Sequence[str]) -> Over:
    """Each as `parse` reads it.

    Raises:
        Usage: if one of them is of no such form, or two are of one hyperparameter.
    """
    found: dict[str, Sequence[Value]] = {}
    for name, values in map(parse, overs):
        if name in found:
            raise Usage(f"--over names {name} twice: give all of its values in one list.")
        found[name] = values
    return found


def narrowed(space: Space, over: Over) -> Space:
    """The space with those hyperparameters alone left to search; an option that it lacks, e.g. d_z, becomes one of its own.

    Raises:
        Usage: if a value is out of the domain.
    """
    for name, values in over.items():
        for value in values:
            space.checked({name: value}, "over")
    own = tuple(replace(p, tuned=p.name in over) for p in space.parameters)
    options = tuple(
        Parameter(name, "categorical", values[0], choices=tuple(values), meaning="an option")
        for name, values in over.items()
        if name not in space
    )
    return replace(space, parameters=(*own, *options))


def spec(asked: StudySpec, over: Over) -> StudySpec:
    """The settings of that sweep's study, with the other hyperparameters at their defaults unless they are set.

    Schedules are left to the plan of training.

    Raises:
        Usage: if a hyperparameter is set too, or a value is out of its domain.
    """
    for name in over:
        if name in asked.fixed:
            raise Usage(
                f"{name} = {asked.fixed[name]} is fixed, and it is what is swept over: leave one out.", f"fixed.{name}"
            )
    space = asked.space or load(asked.technique)
    left = [p for p in space.searched({}) if p.name not in over]
    defaults = {p.name: p.default for p in left if asked.space is not None or not is_schedule(asked.technique, p.name)}
    fixed = {**defaults, **asked.fixed}
    return replace(asked, space=narrowed(space, over), trials=0, sampler="grid", fixed=fixed, first_default=False)


def check(definition: Definition, over: Over) -> None:
    """
    Raises:
        Usage: if what is swept over has one value in all trials of the study, or a value is out of its domain there.
    """
    searched = {p.name for p in definition.searched}
    for name in over:
        if name not in searched:
            value = definition.spec.fixed.get(name)
            raise Usage(
                f"--over {name} is not allowed: all trials have {name} = {value}, so sweep over another option."
            )
        for each in over[name]:
            definition.facts.space.checked({name: each}, "over")


def fill(study: Study, over: Over) -> list[Trial]:
    """Adds a trial for each combination that has none yet, in their order; a study that is gone on with has them all."""
    points = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    return study.trials.enqueue_missing(points)
