"""Settings of a study: how one is declared, and what kinds of values there are.

A declaration is made once, in `spec.StudySpec`. The command line, the REST API, the study file, the form in the browser and the
reference are made from it: each knows the kinds that stand here, and no setting by its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from tuner.errors import Refused
from tuner.numbers import SECONDS, TIMES, Numbers, is_plain, storable
from tuner.space import Space, of_table

Role = Literal["identity", "changeable", "remark"]
"""Role of a setting. identity: another value makes another study; changeable: the newest value counts; remark: a note
of people.
"""
LONGEST_TEXT = 2000
MOST_KEYS = 100


class Kind:
    """A kind of value.

    `rule` tells in words what is allowed.
    """

    rule = ""

    def checked(self, value: Any) -> Any:
        """The value as a study holds it.

        Raises:
            ValueError: if it is not allowed.
        """
        raise NotImplementedError

    def plain(self, value: Any) -> Any:
        """A held value as JSON has it."""
        return value

    def kept(self, value: Any) -> Any:
        """A value of a study's row as a study holds it. What another program could choose from may be less by now, or more.

        Raises:
            ValueError: if no program of ours has written it.
        """
        return self.checked(value)


@dataclass(frozen=True)
class Number(Kind):
    """A bounded number."""

    within: Numbers

    @property
    def rule(self) -> str:  # type: ignore[override]
        return str(self.within)

    def checked(self, value: Any) -> Any:
        if value not in self.within:
            raise ValueError(self.rule)
        return value if self.within.whole else float(value)


@dataclass(frozen=True)
class Word(Kind):
    """One of a few words; `more` says what else is allowed, which another place then checks."""

    choices: tuple[str, ...]
    more: str = ""

    @property
    def rule(self) -> str:  # type: ignore[override]
        return "one of " + "; ".join(self.choices) + (f"; or {self.more}" if self.more else "")

    def checked(self, value: Any) -> Any:
        if not isinstance(value, str) or (value not in self.choices and not self.more):
            raise ValueError(self.rule)
        return storable(value)

    def kept(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("a text")
        return storable(value)


@dataclass(frozen=True)
class Text(Kind):
    """A text of so many characters at most."""

    longest: int = LONGEST_TEXT

    @property
    def rule(self) -> str:  # type: ignore[override]
        return f"a text of at most {self.longest} characters"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, str) or len(value) > self.longest:
            raise ValueError(self.rule)
        return storable(value)


class Words(Kind):
    """A few short texts, each once."""

    rule = "a list of at most 20 texts of at most 40 characters"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) > 20:
            raise ValueError(self.rule)
        if not all(isinstance(each, str) and 0 < len(each) <= 40 for each in value):
            raise ValueError(self.rule)
        return tuple(dict.fromkeys(map(storable, value)))

    def plain(self, value: Any) -> Any:
        return list(value)


class Truth(Kind):
    """True or false."""

    rule = "true or false"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise ValueError(self.rule)
        return value


class Pairs(Kind):
    """Names with values."""

    rule = f"a table of at most {MOST_KEYS} names, each with a text, a number or a truth value"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, Mapping) or len(value) > MOST_KEYS or not all(map(is_plain, value.values())):
            raise ValueError(self.rule)
        return {storable(key): storable(each) if isinstance(each, str) else each for key, each in value.items()}

    def plain(self, value: Any) -> Any:
        return dict(value)


class Duration(Kind):
    """A length of time in seconds; none is no limit."""

    rule = f"a number of seconds above 0 and at most {SECONDS.high:,.0f}"

    def checked(self, value: Any) -> Any:
        if value not in SECONDS or not value:
            raise ValueError(self.rule)
        return float(value)


class Moment(Kind):
    """A point in time, held as Unix seconds; none is never."""

    rule = "a date and a time with its zone, or Unix seconds"

    def checked(self, value: Any) -> Any:
        seconds = value
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(self.rule) from None
        if isinstance(value, datetime):
            seconds = value.timestamp() if value.tzinfo else None
        if seconds not in TIMES:
            raise ValueError(self.rule)
        return float(seconds)

    def plain(self, value: Any) -> Any:
        return None if value is None else time_of(value)


class Domains(Kind):
    """A search space of one's own; none is the technique's."""

    rule = "a search space: a table with technique and parameters"

    def checked(self, value: Any) -> Any:
        if isinstance(value, Space):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(self.rule)
        return of_table(value, "the search space", "space")

    def plain(self, value: Any) -> Any:
        return None if value is None else value.table()


class Confirmed(Kind):
    """The study, the trial and the hyperparameters that a confirmation trains again; none otherwise."""

    rule = "what `confirmation.spec` makes"

    def checked(self, value: Any) -> Any:
        return value


def time_of(seconds: float) -> str:
    """Unix seconds as RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(time: str | None) -> float | None:
    """The inverse of `time_of`; None where there is no time."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


@dataclass(frozen=True)
class Setting:
    """Declaration of a setting."""

    name: str
    meaning: str
    kind: Kind
    role: Role
    default: Any
    """Value of a setting that is not asked for; `REQUIRED` if it must be."""
    older: Any
    """Value for studies that were made before there was this setting."""
    flag: str
    """Option on the command line; empty for a setting that people do not give."""
    short: str
    """Letter of the option."""
    usual: str
    """Effect of the default in words, where its value does not tell."""
    command: str
    """Command that lists the allowed values, if one does."""

    @property
    def label(self) -> str:
        """Name of the setting for people, e.g. `Sampler options`."""
        return self.name.replace("_", " ").capitalize()

    def checked(self, value: Any, is_stored: bool = False) -> Any:
        """The value as a study holds it; None is the default where that is None.

        Args:
            is_stored: it is a row's, where older programs wrote 0 for none.

        Raises:
            Refused: if it is not allowed.
        """
        if self.default is None and (value is None or (is_stored and not value)):
            return None
        try:
            return self.kind.kept(value) if is_stored else self.kind.checked(value)
        except ValueError as error:
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
            raise Refused(self.name, shown, f"is not allowed: it must be {error}.") from None


REQUIRED = object()
UNSET = object()


def setting(
    meaning: str, kind: Kind, default: Any = REQUIRED, *, role: Role = "identity", older: Any = UNSET, flag: str | None = None,
    short: str = "", usual: str = "", command: str = "",
) -> Any:  # fmt: skip
    """A field of `StudySpec`; its arguments are `Setting`'s.

    Args:
        older: where left out, the default.
        flag: where left out, made from the field's name.
    """
    metadata = {
        "meaning": meaning, "kind": kind, "role": role, "default": default, "flag": flag, "short": short, "usual": usual,
        "command": command,
        "older": default if older is UNSET else older,
    }  # fmt: skip
    if isinstance(default, Mapping):
        return field(default_factory=dict, metadata=metadata)
    return field(default=MISSING if default is REQUIRED else default, metadata=metadata)


def settings_of(fields: Sequence[Field[Any]]) -> dict[str, Setting]:
    """The declarations of a dataclass's fields, by name."""
    found = {}
    for each in fields:
        made = dict(each.metadata)
        flag = f"--{each.name.replace('_', '-')}" if made["flag"] is None else made["flag"]
        found[each.name] = Setting(name=each.name, **{**made, "flag": flag})
    return found
