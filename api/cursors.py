"""Cursors of pages: opaque to clients, so that what they hold may change."""

import base64
import binascii
import json
from typing import Any

from tuner.errors import Usage


def write(*place: Any) -> str:
    """The cursor of the page after this place."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The place that a cursor names, values of these kinds; None for none.

    Raises:
        Usage: if it is not one of ours.
    """
    if cursor is None:
        return None
    try:
        place: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    fits = isinstance(place, list) and [type(v) for v in place] == list(kinds)
    if not fits or not all(_is_storable(v) for v in place):
        raise Usage("cursor is not one that this list gave: leave it out to begin at the first page.", "cursor")
    return list(place)


def _is_storable(value: Any) -> bool:
    """True if the databases can compare with the value."""
    if isinstance(value, str):
        return value.isprintable()
    return isinstance(value, float) or 0 <= value < 2**31
