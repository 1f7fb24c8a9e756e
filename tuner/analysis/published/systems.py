"""The systems of a paper's table: which rows can be trained, as which studies, and which studies are a row's.

A row's study has nothing left to tune: its trials are runs of one configuration that differ in their seeds alone. Its name says
its configuration, so that the tables of a paper share the runs of the systems that they share.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainers.contract import PRESETS
from tuner.analysis.published import PAPERS, Row, Table, tables
from tuner.errors import Usage
from tuner.space import EPOCHS, STEPS, Space, Value, is_schedule, load

SCALED = ("small", "tiny")
"""Presets that are no paper's size; the plan of training sets schedules there that a paper states in steps."""
JUDGED: Mapping[str, Value] = {"nll": "both", "test": True}
"""Options that make the figures: the preset's S from q on its sentences, and the tempered estimate beside it, of both
splits.
"""
CODES = ("li", "lv")
"""Papers whose tables have measures of the codes."""


@dataclass(frozen=True)
class System:
    """A row's configuration."""

    table: Table
    row: Row
    variant: str = ""
    """Prefix of the figures that come from this variant of the table."""

    @property
    def technique(self) -> str:
        return self.row.technique

    @property
    def settings(self) -> dict[str, Value]:
        """By what it is told from others: what the row prints of it, by our names, and what makes the variant."""
        settled = {key: value for key, value in self.row.trained.items() if key in self.table.usual}
        return {**settled, **self.row.settings, **self.table.variants.get(self.variant, {})}

    @property
    def printed(self) -> set[str]:
        """The settings in which a run that was set by hand is alike, but for schedules, which a plan of training may change."""
        return {key for key in self.settings if not self._is_schedule(key)}

    def own(self, model: str) -> dict[str, Value]:
        """The settings that a preset does not have anyhow."""
        usual = {key: PRESETS[model].get(key, value) for key, value in self.table.usual.items()}
        return {key: value for key, value in self.settings.items() if key not in usual or value != usual[key]}

    def called(self, model: str) -> str:
        """The beginning of its study's name, before the corpus and the preset."""
        parts = [f"{key}{_said(value)}" for key, value in self.own(model).items() if not self._is_schedule(key)]
        return "-".join([self.table.paper_key, self.technique, *parts])

    def _is_schedule(self, key: str) -> bool:
        return is_schedule(self.technique, key)

    def spec(self, model: str, runs: int, asked: Mapping[str, Value]) -> dict[str, Any]:
        """The settings of its study, but for the corpus.

        Args:
            asked: options that all rows shall have; those that begin with a technique and a dot, that technique's rows.

        Raises:
            Usage: if one of them is what the row is told by.
        """
        wanted = {key: value for key, value in asked.items() if "." not in key}
        wanted |= {
            key.partition(".")[2]: value for key, value in asked.items() if key.partition(".")[0] == self.technique
        }
        own, sizes, space = self.own(model), PRESETS[model], load(self.technique)
        if told := [key for key in wanted if key in own]:
            raise Usage(
                f"{told[0]} = {wanted[told[0]]} is not allowed: rows of {self.table.name} print their own; leave it out."
            )
        epochs = int(wanted.get("max_epochs", sizes.get("max_epochs", 100)))
        kept = {
            key: max(epochs // 2, 1) if key == EPOCHS and int(value) > epochs else value
            for key, value in own.items()
            if not ((self.technique, key) in STEPS and model in SCALED)
        }
        usual = {p.name: sizes[p.name] for p in space.parameters if p.name in sizes}
        outside = [key for key, value in {**usual, **kept}.items() if key in space and not space[key].accepts(value)]
        left = replace(space, parameters=tuple(p for p in space.parameters if p.name not in outside))
        settled = self.row.trained if any(key in self.table.usual for key in own) else {}
        codes = {"codes": True} if self.table.paper_key in CODES else {}
        fixed = {**JUDGED, **codes, **usual, **settled, **kept, **wanted}
        planned = {p.name for p in left.searched(fixed) if self._is_schedule(p.name)}
        fixed |= {p.name: p.default for p in left.searched(fixed) if p.name not in planned}
        found = {"technique": self.technique, "model": model, "trials": runs, "sampler": "random", "fixed": fixed}
        return {**found, "first_default": False, **({"space": _untuned(left)} if planned or outside else {})}


def _said(value: Value) -> str:
    """A setting's value as part of a name."""
    if isinstance(value, bool):
        return "" if value else "-off"
    return f"{value:g}" if isinstance(value, (int, float)) else f"-{value}"


def _untuned(space: Space) -> Space:
    return replace(space, parameters=tuple(replace(p, tuned=False) for p in space.parameters))


def named(name: str) -> Table:
    """A paper's table.

    Raises:
        Usage: if there is none of that name.
    """
    if name not in tables():
        known = [f"{paper} {', '.join(_numbers(paper))}" for paper in PAPERS]
        raise Usage(f"table {name!r} is unknown: choose PAPER-NUMBER, e.g. li-10, of {'; '.join(known)}.")
    return tables()[name]


def _numbers(paper: str) -> list[str]:
    return [name.partition("-")[2] for name in tables() if name.startswith(f"{paper}-")]


def texts(table: Table) -> list[str]:
    """Keys of the corpora that a table has figures of, in its order."""
    first = [column.text for column in table.columns.values()]
    found = dict.fromkeys([*first, *(text for row in table.rows for text in table.figures(row)), table.text])
    return list(filter(None, found))


def block(table: Table, text: str | None = None) -> Table:
    """The part of a table that is of one corpus: the first one's, unless another is named.

    Raises:
        Usage: if the table has none of that key.
    """
    known = texts(table)
    if text is not None and text not in known:
        raise Usage(f"--text {text!r} is none of {table.name}'s: choose of {', '.join(known)}.")
    chosen = text or (known[0] if known else "")
    columns = {heading: column for heading, column in table.columns.items() if column.text in ("", chosen)}
    rows = [replace(row, values={h: v for h, v in row.values.items() if h in columns}) for row in table.rows]
    kept = tuple(row for row in rows if table.sentences or (row.values and chosen in table.figures(row)))
    return replace(table, text=chosen, columns=columns, rows=kept)


def absence(row: Row) -> str | None:
    """The reason why a row has no figures of ours, if it cannot."""
    if row.quoted:
        return f"{row.quoted}'s own figures, which the paper quotes"
    if not row.technique:
        return "no technique here"
    return row.untrained or None


def systems(table: Table) -> list[System]:
    """All that can be trained of a table's part, each once."""
    return [
        System(table, row, variant) for row in table.rows if absence(row) is None for variant in ("", *table.variants)
    ]


def told_by(found: Sequence[System]) -> dict[str, set[str]]:
    """The settings in which the rows of a technique differ, by technique."""
    by: dict[str, list[System]] = {}
    for system in found:
        by.setdefault(system.technique, []).append(system)
    return {
        technique: {
            key
            for key in {key for each in own for key in each.settings}
            if len({repr(each.settings.get(key)) for each in own}) > 1
        }
        for technique, own in by.items()
    }


def is_of(system: System, technique: str, values: Mapping[str, Any], keys: Iterable[str]) -> bool:
    """True if a run of that technique with these settings is the row's: alike in all settings that tell the table's
    rows apart.

    Args:
        values: its hyperparameters and options.
        keys: settings that tell the rows apart (`told_by`).
    """
    if technique != system.technique:
        return False
    usual, own = system.table.usual, system.settings
    return all(_same(values.get(key, usual.get(key)), own.get(key, usual.get(key))) for key in keys)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    return (one or None) == (other or None)
