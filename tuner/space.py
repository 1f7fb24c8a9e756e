"""Search spaces: one TOML file a technique. Reads and checks them; knows neither Optuna nor torch until asked."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from decimal import Decimal, localcontext
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import Usage
from tuner.numbers import ANY, WHOLE, is_plain, is_storable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str | bool

KINDS = ("float", "int", "categorical")
KEYS = ("type", "low", "high", "log", "step", "choices", "default", "paper", "unit", "meaning", "tuned")

STEPS = {("annealing", "gamma"), ("annealed-word-dropout", "gamma")}
"""Schedules that a paper states in steps, by technique and hyperparameter."""
EPOCHS = "anneal_epochs"
"""Schedule that is stated in epochs."""

FINEST = 1e-15
"""Smallest step as a share of its domain; a number tells no finer ones apart."""


def is_schedule(technique: str, name: str) -> bool:
    """True if a hyperparameter's published value is of another plan of training, in whose place trainers have their own."""
    return name == EPOCHS or (technique, name) in STEPS


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter's domain. `paper` is the published optimum; `tuned = False` leaves the default unless set."""

    name: str
    type: str
    default: Value
    meaning: str = field(compare=False)
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    paper: Value | None = None
    unit: str = field(default="", compare=False)
    tuned: bool = True
    planned: bool = False
    """True if its domain and default follow from the plan of training, in which the published schedule would not end."""

    @property
    def domain(self) -> str:
        """The domain in words, e.g. `1 to 30` or `0.001 to 0.1 (log)`."""
        if self.type == "categorical":
            return "one of " + ", ".join(map(str, self.choices))
        notes = ["log"] if self.log else []
        notes += [f"step {self.step:g}"] if self.step else []
        noun = "whole number " if self.type == "int" else ""
        return f"{noun}{self.low:g} to {self.high:g}" + (f" ({', '.join(notes)})" if notes else "")

    def accepts(self, value: object) -> bool:
        if self.type == "categorical":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in ANY:
            return False
        if self.type == "int" and value != int(value):
            return False
        return float(self.low or 0) <= value <= float(self.high or 0)

    def holds(self, value: object) -> bool:
        """True if a sampler could propose the value: it lies in the domain and on its steps."""
        if not self.accepts(value):
            return False
        distribution = self.distribution()
        return distribution._contains(distribution.to_internal_repr(value))

    def distribution(self) -> "BaseDistribution":
        """The domain as a distribution of Optuna's."""
        from optuna import distributions

        if self.type == "categorical":
            return distributions.CategoricalDistribution(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.type == "int":
            step = int(self.step) if self.step else 1
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return distributions.FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    """A technique's search space."""

    technique: str
    paper: str = field(compare=False)
    formula: str = field(compare=False)
    summary: str = field(compare=False)
    parameters: tuple[Parameter, ...]

    @property
    def origin(self) -> tuple[str, str]:
        """Year and name of the paper that brought the technique: the first that its file names."""
        name = self.paper.partition(";")[0]
        found = re.match(r".*?\b(\d{4})[a-z]?\b", name)
        return (found[1], found[0]) if found else ("", name)

    def __getitem__(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)

    def __contains__(self, name: str) -> bool:
        return any(p.name == name for p in self.parameters)

    def checked(self, values: Mapping[str, Value], field: str = "fixed") -> dict[str, Value]:
        """The values, numbers in their parameter's own type (5 for a float is 5.0); keys that are no parameter pass.

        Args:
            field: of a request, that holds them.

        Raises:
            Usage: naming the hyperparameter, the value, the domain and the remedy.
        """
        for name, value in values.items():
            if name in self and not self[name].accepts(value):
                raise Usage(
                    f"{name} = {_brief(value)} is out of {self.technique}'s domain: {name} must be {self[name].domain}; "
                    "choose a value inside, or give a search space of your own.",
                    f"{field}.{name}",
                )
        own = {"float": float, "int": int}
        return {k: own[self[k].type](v) if k in self and self[k].type in own else v for k, v in values.items()}

    def searched(self, fixed: Mapping[str, Value]) -> tuple[Parameter, ...]:
        """The parameters that a sampler chooses, given those fixed by hand."""
        return tuple(p for p in self.parameters if p.tuned and p.name not in fixed)

    def published(self, fixed: Mapping[str, Value]) -> tuple[dict[str, Value], bool]:
        """The published value of each searched hyperparameter, else its default; and whether any of them is published.

        A space of a user's own that says nothing of a published value has the shipped space's.

        Raises:
            Usage: naming the first of these values that a sampler could not propose.
        """
        searched = self.searched(fixed)
        known = (*load(self.technique).parameters, *self.parameters)
        planned = {p.name for p in searched if p.planned}
        papers = {p.name: p.paper for p in known if p.paper is not None and p.name not in planned}
        values = {p.name: papers.get(p.name, p.default) for p in searched}
        for p in searched:
            if not p.holds(values[p.name]):
                raise Usage(
                    f"{p.name} = {values[p.name]} is out of the search space's domain, {p.domain}: widen it to have it tried."
                )
        return self.checked(values), any(p.name in papers for p in searched)

    def within(
        self, limits: Mapping[str, Sequence[float]], planned: Mapping[str, Value], fixed: Mapping[str, Value]
    ) -> "Space":
        """The space without the values with which a schedule would not end within the plan of training.

        Args:
            limits: least and greatest value, by hyperparameter.
            planned: the defaults in this plan.
        """

        def narrowed(p: Parameter) -> Parameter:
            if not p.tuned or p.name in fixed or p.name not in limits or p.low is None or p.high is None:
                return p
            least, most = limits[p.name]
            low, high = (min(max(end, least), most) for end in (p.low, p.high))
            if (low, high) == (p.low, p.high):
                return p
            usual = p.paper if p.paper is not None else p.default
            if low <= float(usual) <= high:
                return replace(p, low=low, high=high)
            default = min(max(float(planned[p.name]), low), high)
            kind = int if p.type == "int" else float
            return replace(p, low=kind(low), high=kind(high), default=kind(default), planned=True)

        return replace(self, parameters=tuple(map(narrowed, self.parameters)))

    def corners(self, fixed: Mapping[str, Value]) -> list[dict[str, Value]]:
        """The lowest and highest values and every choice of the space, to be checked before anything is searched."""
        ends = {p.name: p.choices or (p.low, p.high) for p in self.searched(fixed)}
        count = max((len(values) for values in ends.values()), default=1)
        corners = [{name: values[min(i, len(values) - 1)] for name, values in ends.items()} for i in range(count)]
        return [{name: value for name, value in corner.items() if value is not None} for corner in corners]

    def plain(self) -> dict[str, Any]:
        """The space as JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def table(self) -> dict[str, Any]:
        """The space as the table of a search space's file, which `of_table` reads."""
        parameters, usual = {}, {f.name: f.default for f in fields(Parameter)}
        for p in self.parameters:
            own = {key: getattr(p, key) for key in KEYS if getattr(p, key) != usual.get(key, MISSING)}
            parameters[p.name] = {key: list(v) if isinstance(v, tuple) else v for key, v in own.items()}
        head = {key: getattr(self, key) for key in ("technique", "paper", "formula", "summary")}
        return {**head, "parameters": parameters}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Space":
        """The inverse of `plain`."""
        parameters = tuple(Parameter(**{**p, "choices": tuple(p["choices"])}) for p in plain["parameters"])
        return cls(**{**plain, "parameters": parameters})


def techniques() -> list[str]:
    """The names of all techniques that have a search space."""
    return sorted(
        f.name.removesuffix(".toml") for f in resources.files("search_spaces").iterdir() if f.name.endswith(".toml")
    )


def _shipped(technique: str) -> dict[str, Any]:
    if technique not in techniques():
        raise Usage(f"technique {technique!r} is unknown: choose one of {', '.join(techniques())}.", "technique")
    return tomllib.loads((resources.files("search_spaces") / f"{technique}.toml").read_text(encoding="utf-8"))


def by_paper() -> list[tuple[str, list[Space]]]:
    """The papers that brought the techniques, from the oldest, each with their spaces in the order of their names."""
    ordered = sorted(map(load, techniques()), key=lambda space: space.origin)
    return [(name, list(group)) for (_, name), group in groupby(ordered, key=lambda space: space.origin)]


def load(technique: str) -> Space:
    """The shipped space of a technique.

    Raises:
        Usage: if there is no such technique.
    """
    content = _shipped(technique)
    content.pop("objective", None)
    return of_table(content, f"search space search_spaces/{technique}.toml")


def objective(technique: str) -> str:
    """The objective of a technique's studies that name none: `nll`, or what its file says where its NLL means nothing.

    Raises:
        Usage: if there is no such technique.
    """
    found: str = _shipped(technique).get("objective", "nll")
    return found


def read(file: Path) -> Space:
    """A user's own search space.

    Raises:
        Usage: naming the file, the key, the value and the rule.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"search space {file} cannot be read ({error}): give a TOML file.") from error
    return parse(text, str(file))


def parse(text: str, file: str) -> Space:
    """Checks and reads a search space's TOML; `file` is its name in messages."""

    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of more digits than Python reads, tables within tables
        raise Usage(f"search space {file} is not TOML: {error}.") from error
    return of_table(content, f"search space {file}")


def of_table(table: Mapping[str, Any], place: str, field: str | None = None) -> Space:
    """Checks and reads a search space from its table.

    Args:
        place: what messages call it.
        field: of a request, that holds it.
    """

    def refuse(key: str, value: object, rule: str) -> Usage:
        within = None if field is None else f"{field}.{key}"
        return Usage(f"{place}: {key} = {_brief(value)} is not allowed: {rule}.", within)

    if not is_storable(table):
        raise Usage(f"{place}: a text of it has a NUL or half of a surrogate pair: leave that out.", field)
    content, head = dict(table), {}
    for key in ("technique", "paper", "formula", "summary"):
        head[key] = content.pop(key, "")
        if not isinstance(head[key], str):
            raise refuse(key, head[key], "it must be a text")
    if head["technique"] not in techniques():
        raise refuse("technique", head["technique"], f"it must be one of {', '.join(techniques())}")
    tables = content.pop("parameters", None)
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise refuse("parameters", tables, "it must be a table [parameters.NAME] for each hyperparameter")
    for key, value in content.items():
        raise refuse(key, value, "a search space has the keys technique, paper, formula, summary and parameters")
    return Space(parameters=tuple(_parameter(name, table, refuse) for name, table in tables.items()), **head)


def _parameter(name: str, table: dict[str, Any], refuse: Any) -> Parameter:
    def wrong(key: str, rule: str) -> Usage:
        error: Usage = refuse(f"parameters.{name}.{key}", table.get(key), rule)
        return error

    def is_number(key: str) -> bool:
        return table.get(key) in (WHOLE if table["type"] == "int" else ANY)

    for key in table:
        if key not in KEYS:
            raise wrong(key, f"the keys of a hyperparameter are {', '.join(KEYS)}")
    if table.get("type") not in KINDS:
        raise wrong("type", f"it must be one of {', '.join(KINDS)}")
    for key in ("log", "tuned"):
        if not isinstance(table.get(key, False), bool):
            raise wrong(key, "it must be true or false")
    if not is_plain(table.get("paper", "")):
        raise wrong("paper", "it must be a text, a number or a truth value")
    for key in ("unit", "meaning"):
        if not isinstance(table.get(key, ""), str):
            raise wrong(key, "it must be a text")
    if table["type"] == "categorical":
        choices = table.get("choices")
        if not isinstance(choices, list) or not choices or not all(map(is_plain, choices)):
            raise wrong("choices", "it must be a list of at least one text, number or truth value")
        if len(set(choices)) < len(choices):
            raise wrong("choices", "no choice may be there twice; 1, 1.0 and true count as one")
        for key in ("low", "high", "step"):
            if key in table:
                raise wrong(key, "a categorical hyperparameter has choices only")
    else:
        if "choices" in table:
            raise wrong("choices", "only a categorical hyperparameter has choices")
        noun = f"whole number up to {WHOLE.high:,}" if table["type"] == "int" else f"finite number up to {ANY.high:g}"
        for key in ("low", "high"):
            if not is_number(key):
                raise wrong(key, f"it must be a {noun}")
        if table["low"] > table["high"]:
            raise wrong("low", f"it must not exceed high = {table['high']!r}")
        if table.get("log") and table["low"] <= 0:
            raise wrong("low", "with log = true it must be above 0")
        if "paper" in table and not is_number("paper"):
            raise wrong("paper", f"it must be a {noun}")
        if "step" in table:
            if table.get("log"):
                raise wrong("step", "it cannot go together with log = true")
            if not is_number("step") or table["step"] <= 0:
                raise wrong("step", f"it must be a {noun} above 0")
            if table["step"] < FINEST * (table["high"] - table["low"]):
                raise wrong("step", f"it must be at least a {1 / FINEST:,.0f}th of high − low")
            if (most := _on_step(table)) != Decimal(repr(table["high"])):
                raise wrong("step", f"it must divide high − low: set high = {most.normalize():f}, or another step")
        if table["type"] == "float":
            table = {
                k: float(v) if k in ("low", "high", "step", "default") and is_number(k) else v for k, v in table.items()
            }
    values = {"default": table.get("choices", [table.get("low")])[0], "meaning": "", **table}
    parameter = Parameter(name=name, **{**values, "choices": tuple(values.get("choices", ()))})
    if not parameter.accepts(parameter.default):
        raise wrong("default", f"it must be {parameter.domain}")
    return parameter


def _on_step(table: Mapping[str, Any]) -> Decimal:
    """The highest value that is whole steps above the lowest, as decimals write them."""
    low, high, step = (Decimal(repr(table[key])) for key in ("low", "high", "step"))
    with localcontext(prec=60):
        return low + (high - low) // step * step


def _brief(value: object) -> str:
    """A value nearly as TOML has it; a number of more digits than Python writes is called a number."""
    try:
        said = repr(value)
    except ValueError:
        return "a number"
    return said if len(said) <= 80 else f"{said[:77]}…"


def parse_value(text: str) -> Value:
    """A `--set` value: true, false, a whole number, a number, or else a text.

    Raises:
        Usage: if it is a number that cannot be used.
    """
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if not is_plain(value):
            raise Usage(
                f"the number {text if len(text) <= 30 else text[:29] + '…'} is not allowed: a number is finite, and at most "
                f"{ANY.high:g}, a whole one {WHOLE.high:,}."
            )
        return value
    return text
