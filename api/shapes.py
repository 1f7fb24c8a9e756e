"""Schemas made from the shapes of answers, so that a field is declared once."""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any, get_type_hints

from pydantic import BaseModel, Field, create_model


def notes_of(shape: type) -> dict[str, str]:
    """The note under each field of a class, on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in pairwise(body.body):
        note = below.value if isinstance(below, ast.Expr) else None
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(note.value).split())
    return found


def schema(shape: type, base: type[BaseModel] = BaseModel, **types: Any) -> Any:
    """A schema with the fields of a `TypedDict` or a dataclass, their notes as descriptions; all of them are required.

    Args:
        base: has some of the fields already.
        types: says more of a field than its annotation does, e.g. which words it may be.
    """
    notes = notes_of(shape)
    fields: dict[str, Any] = {
        key: (types.get(key, hint), Field(description=notes.get(key)))
        for key, hint in get_type_hints(shape).items()
        if key not in base.model_fields
    }
    return create_model(shape.__name__, __base__=base, __doc__=inspect.cleandoc(shape.__doc__ or ""), **fields)
