"""Expressions that choose trials, such as `r > 5 and rate > 3`: one grammar for commands, requests and the dashboard.

    expression  = alternative { "or" alternative }
    alternative = condition { "and" condition }
    condition   = "not" condition | "(" expression ")" | operand sign operand
    sign        = "<" | "<=" | ">" | ">=" | "=" | "==" | "!=" | "~"
    operand     = a column's name | a number | 'a text' | a word, where the other side is a column of texts

`~` holds where the left text contains the right one. Texts are compared without regard to case. A comparison with a figure that a
trial does not have does not hold.
"""

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import Usage

LONGEST = 500
"""Largest number of characters of an expression."""
DEEPEST = 20
"""Largest depth of conditions within conditions."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])|(?P<word>[^\W\d][\w.-]*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign><=|>=|==|!=|[<>=~()]))"
)
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "==": operator.eq,
    "!=": operator.ne, "~": lambda text, part: str(part) in str(text),
}  # fmt: skip
Columns = Mapping[str, Sequence[Any]]
Test = Callable[[int], bool]
"""Function that is true of a row that fits."""


@dataclass(frozen=True)
class Expression:
    """A condition on the rows of columns."""

    bind: Callable[[Columns], Test]

    def rows(self, columns: Columns, count: int) -> list[int]:
        """Numbers of the rows that fit, among the first `count`."""
        fits = self.bind(columns)
        return [row for row in range(count) if fits(row)]


def parse(text: str, figures: Collection[str], texts: Collection[str]) -> Expression:
    """An expression over columns of these names.

    Args:
        figures: columns that hold numbers.
        texts: columns that hold texts.

    Raises:
        Usage: naming the place and the rule, if it is none.
    """
    return Expression(_Reader(text, figures, texts).whole())


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


class _Reader:
    def __init__(self, text: str, figures: Collection[str], texts: Collection[str]) -> None:
        self.text, self.figures, self.texts, self.place, self.depth = text, figures, texts, 0, 0
        if len(text) > LONGEST:
            raise self._wrong(f"has {len(text)} characters, and may have {LONGEST}")
        self.tokens: list[_Token] = []
        end = 0
        while end < len(text.rstrip()):
            found = TOKEN.match(text, end)
            if found is None:
                raise self._wrong(f"has {text[end:].strip()[:20]!r} where a name, a number or a sign belongs")
            kind = str(found.lastgroup)
            self.tokens.append(_Token(kind, found[kind]))
            end = found.end()

    def _wrong(self, why: str, remedy: str = "write e.g. r > 5 and rate > 3") -> Usage:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:59]}…"
        return Usage(f"the condition {shown!r} {why}: {remedy}.", "where")

    def whole(self) -> Callable[[Columns], Test]:
        found = self._any()
        if self.place < len(self.tokens):
            raise self._wrong(f"goes on with {self.tokens[self.place].text!r} where `and`, `or` or its end belongs")
        return found

    def _next(self, *words: str) -> bool:
        """True if one of these words or signs comes next, which is then passed."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        found = token is not None and token.kind in ("word", "sign") and token.text.lower() in words
        self.place += found
        return found

    def _any(self) -> Callable[[Columns], Test]:
        return self._joined("or", self._all, any)

    def _all(self) -> Callable[[Columns], Test]:
        return self._joined("and", self._condition, all)

    def _joined(self, word: str, part: Callable[[], Any], holds: Callable[[Any], bool]) -> Callable[[Columns], Test]:
        parts = [part()]
        while self._next(word):
            parts.append(part())

        def bind(columns: Columns) -> Test:
            tests = [each(columns) for each in parts]
            return tests[0] if len(tests) == 1 else lambda row: holds(test(row) for test in tests)

        return bind

    def _condition(self) -> Callable[[Columns], Test]:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._wrong(f"has more than {DEEPEST} conditions within each other")
        try:
            if self._next("not"):
                inner = self._condition()
                return lambda columns: _negated(inner(columns))
            if self._next("("):
                found = self._any()
                if not self._next(")"):
                    raise self._wrong("lacks a closing parenthesis")
                return found
            return self._comparison()
        finally:
            self.depth -= 1

    def _comparison(self) -> Callable[[Columns], Test]:
        left = self._operand()
        sign = self.tokens[self.place] if self.place < len(self.tokens) else None
        if sign is None or sign.text not in SIGNS:
            raise self._wrong(f"compares {left.text!r} with nothing")
        self.place += 1
        right = self._operand()
        sides = (left, right)
        named = [side.text for side in sides if side.kind == "word" and side.text in (*self.figures, *self.texts)]
        is_text = any(name in self.texts for name in named)
        for side in sides:
            if side.kind == "word" and side.text not in named and not is_text:
                known = ", ".join([*self.figures, *self.texts])
                raise self._wrong(f"names {side.text!r}, which is no column", f"choose of {known}")
            if side.kind == "text" and not is_text:
                raise self._wrong(f"compares the text {side.text} with {' and '.join(named) or 'no column'}, a figure")
        if sign.text == "~" and not is_text:
            raise self._wrong("looks for a text in a figure")
        compare, readers = SIGNS[sign.text], [self._value(side, is_text) for side in sides]

        def bind(columns: Columns) -> Test:
            one, other = (read(columns) for read in readers)
            return lambda row: _holds(compare, one(row), other(row))

        return bind

    def _operand(self) -> _Token:
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        if token is None or token.kind == "sign":
            raise self._wrong("lacks a name or a number" + (f" before {token.text!r}" if token else " at its end"))
        self.place += 1
        return token

    def _value(self, token: _Token, as_text: bool) -> Callable[[Columns], Callable[[int], Any]]:
        if token.kind == "word" and token.text in (*self.figures, *self.texts):

            def column(columns: Columns) -> Callable[[int], Any]:
                values = columns[token.text]
                return (lambda row: _text(values[row])) if as_text else values.__getitem__

            return column
        plain = token.text[1:-1] if token.kind == "text" else token.text
        constant: Any = _text(plain) if as_text else float(plain)
        return lambda _: lambda _row: constant


def _text(value: object) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()


def _negated(test: Test) -> Test:
    return lambda row: not test(row)


def _holds(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    return one is not None and other is not None and compare(one, other)
