"""A sweep: a study over given values of one hyperparameter, all else at its default. The paper's figure 2 is made of such.

Its trials are in the order of the values, and no sampler proposes any, so its budget is exactly theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuner.errors import Usage
from tuner.space import Parameter, Space, Value, load, parse_value
from tuner.studies.spec import StudySpec
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


def narrowed(space: Space, name: str, values: Sequence[Value]) -> Space:
    """The space with that hyperparameter alone left to search; an option that it lacks, e.g. d_z, becomes one of its own.

    Raises:
        Usage: if a value is out of the domain.
    """
    for value in values:
        space.checked({name: value}, "over")
    others = tuple(replace(p, tuned=p.name == name) for p in space.parameters)
    if name not in space:
        others = (*others, Parameter(name, "categorical", values[0], choices=tuple(values), meaning="an option"))
    return replace(space, parameters=others)


def spec(asked: StudySpec, name: str, values: Sequence[Value]) -> StudySpec:
    """What the study of that sweep is asked to be: the other hyperparameters at their defaults unless they are set.

    Raises:
        Usage: if the hyperparameter is set too, or a value is out of its domain.
    """
    if name in asked.fixed:
        raise Usage(
            f"{name} = {asked.fixed[name]} is fixed, and it is what is swept over: leave one out.", f"fixed.{name}"
        )
    space = asked.space or load(asked.technique)
    defaults = {p.name: p.default for p in space.searched({}) if p.name != name}
    fixed = {**defaults, **asked.fixed}
    return replace(
        asked, space=narrowed(space, name, values), trials=0, sampler="grid", fixed=fixed, first_default=False
    )


def fill(study: Study, name: str, values: Sequence[Value]) -> list[Trial]:
    """Adds a trial for each value that has none yet, in their order; a study that is gone on with has them all."""
    there = [trial.params.get(name) for trial in study.trials.all()]
    wanted: list[Mapping[str, Value]] = [study.facts.space.checked({name: value}) for value in values]
    return [study.trials.enqueue(params) for params in wanted if params[name] not in there]
