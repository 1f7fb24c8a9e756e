"""Errors come out of another process as they were raised there."""

import errno
import os
import pickle

import pytest

from tuner import errors
from tuner.errors import Busy, Fault, Refused, Usage

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_passes_from_one_process_to_another(kind: type[Exception]) -> None:
    made = Refused("sampler", "cmaes", "is not allowed.") if kind is Refused else kind("not allowed.")
    made.__dict__["field"] = "fixed.sampler"  # which whoever knows more says later
    back = pickle.loads(pickle.dumps(made))
    assert (type(back), str(back), vars(back)) == (kind, str(made), vars(made))


def test_what_errors_carry_passes_too() -> None:
    back = pickle.loads(pickle.dumps((Busy("later", after=7.0), Usage("no", "corpus", "not here", "tuner list"))))
    assert (back[0].after, back[1].field, back[1].public, back[1].command) == (7.0, "corpus", "not here", "tuner list")


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.ENOENT, Usage, "name a place in a folder that is there and that you may write to"),
        (errno.EISDIR, Usage, "name a place in a folder that is there and that you may write to"),
        (errno.EACCES, Usage, "name a place in a folder that is there and that you may write to"),
        (errno.ENOSPC, Fault, "make room, or name another place"),
        (errno.EIO, Fault, "make room, or name another place"),
    ],
)
def test_a_place_that_cannot_hold_a_file_is_the_users_mistake_and_a_full_disk_is_none(
    number: int, kind: type[Exception], remedy: str
) -> None:
    found = errors.unwritten("--out", "a/b.svg", OSError(number, os.strerror(number)))
    assert type(found) is kind
    assert str(found) == f"--out a/b.svg cannot be written ({os.strerror(number)}): {remedy}."
