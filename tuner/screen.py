"""Standard output and error. What they are given may come from anyone: an HTTP worker, a bundle, a text.

No such text drives a terminal or a spreadsheet, none breaks a command whose terminal lacks its letters, and a stream that is
closed or full ends in a sentence.
"""

import csv
import io
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from tuner.errors import Fault, Usage

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters on which a terminal acts, but for line ends and tabs; those that turn the direction of writing; halves of
characters.
"""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def plain(text: str) -> str:
    """The text, what a terminal would act on written as JSON does: \\u001b."""
    return ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))


def cell(value: object) -> object:
    """A value as a spreadsheet's cell: a text that would be a formula is marked as a text."""
    if not isinstance(value, str):
        return value
    return plain(f"'{value}" if value.startswith(FORMULA) else value)


def sheet(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, each value as a spreadsheet's cell."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(heads)
    lines.writerows(map(cell, row) for row in rows)
    return text.getvalue()


class Screen:
    """A stream to which texts are written plain.

    Args:
        needed: whether a stream that cannot be written ends the command; what it is given is lost otherwise.
        styled: what comes is our own, and may hold a terminal's sequences.
    """

    def __init__(self, stream: TextIO, needed: bool, styled: bool = False) -> None:
        self._stream, self._needed, self._styled = stream, needed, styled
        self._failed: list[Exception] = []
        """Errors that a write has raised, as a library may have swallowed them."""

    def write(self, text: str) -> int:
        self._do("write", text if self._styled else plain(text))
        return len(text)

    def flush(self) -> None:
        self._do("flush")

    def end(self) -> None:
        """
        Raises:
            Fault, BrokenPipeError: if not all could be written, whoever has swallowed that.
        """
        self.flush()
        if self._failed:
            raise self._failed[0]

    def _do(self, what: str, *arguments: str) -> None:
        try:
            getattr(self._stream, what)(*arguments)
        except OSError as error:
            number = self._stream.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # for what is left of it
            if isinstance(error, BrokenPipeError):  # `tuner … | head`
                self._failed.append(error)
                raise
            if self._needed:
                fault = Fault(f"standard output cannot be written ({error.strerror}).")
                self._failed.append(fault)
                raise fault from error

    @property
    def styles(self) -> "Screen":
        """A screen of this stream for our own text, whose styles are kept."""
        styled = Screen(self._stream, self._needed, styled=True)
        styled._failed = self._failed
        return styled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def styles(stream: TextIO) -> TextIO:
    """The stream to which a terminal's sequences of our own may be written."""
    return getattr(stream, "styles", stream)


def take() -> None:
    """Takes the process's standard streams; one that is closed leads nowhere, so that no file is opened in its place."""
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(errors="replace")
        setattr(sys, name, Screen(stream, needed=name == "stdout"))


def end() -> None:
    """Writes what is left of standard output.

    Raises:
        Fault, BrokenPipeError: if not all of it could be.
    """
    if isinstance(sys.stdout, Screen):
        sys.stdout.end()


def check_texts(arguments: list[str]) -> None:
    """
    Raises:
        Usage: if a word of the command line, or a variable of ours, is no text.
    """
    ours = {f"{key}=": value for key, value in os.environ.items() if key.startswith("TUNER_")}
    for flag, text in [*(("argument ", argument) for argument in arguments), *ours.items()]:
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Usage(f"{flag}{text[:80]!r} is no text in {sys.getfilesystemencoding()}: write it in UTF-8.")
