"""Names that people give to studies, workers and keys: rows, folders and files are called after them."""

from tuner.errors import Refused

BYTES = 100
"""Largest number of bytes of a name in UTF-8. A file's name has 255, for it and for what is added: `-confirmed-12`,
`.log`, a token.
"""
DIGITS = 9
"""Largest number of digits of a trial's number."""
LONGEST = 128
"""Largest number of bytes of a study's name with what a confirmation adds."""


def check(field: str, name: str, longest: int = BYTES) -> None:
    """Refuses what cannot be a name.

    Args:
        field: that gives it.
        longest: bytes that it may have.
    """
    if not all(c.isalnum() or c in "-_." for c in name) or name[:1] in ("", "-", ".") or len(name.encode()) > longest:
        shown = name if len(name) <= longest else f"{name[:longest]}…"
        rule = f"letters, digits, '-', '_' and '.', neither '-' nor '.' first, and at most {longest} bytes"
        raise Refused(field, repr(shown), f"is not allowed: a name has {rule}.")


def trial(run: str) -> tuple[str, int] | None:
    """The study and the number of a trial named STUDY/NUMBER; none if it is no such name."""
    study, _, number = run.rpartition("/")
    if not (study and number.isascii() and number.isdecimal() and len(number) <= DIGITS):
        return None
    return study, int(number)
