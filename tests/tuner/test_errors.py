"""Errors come out of another process as they were raised there."""

import pickle

import pytest

from tuner import errors
from tuner.errors import Busy, Refused, Usage

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
