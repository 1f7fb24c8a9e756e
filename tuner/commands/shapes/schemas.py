"""JSON schemas of shapes: of type hints with TypedDicts and dataclasses in them."""

import inspect
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from tuner.commands.shapes import SHAPES

_PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def json_schemas() -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The JSON schema of what each command prints with `--json`, and the schemas that these name."""
    named: dict[str, Any] = {}
    return {name: _schema(shape, named) for name, shape in SHAPES.items()}, named


def _schema(hint: Any, named: dict[str, Any]) -> dict[str, Any]:
    """A type as a JSON schema; the classes in it are put into `named`."""
    inner, kind = get_args(hint), get_origin(hint)
    if hint in _PRIMITIVES:
        return {"type": _PRIMITIVES[hint]}
    if kind is NotRequired:
        return _schema(inner[0], named)
    if kind is Annotated:
        said = next((one.meaning for one in inner[1:] if hasattr(one, "meaning")), "")
        return {**_schema(inner[0], named), **({"description": said} if said else {})}
    if kind in (Union, UnionType):
        return {"anyOf": [_schema(one, named) for one in inner]}
    if kind is tuple and inner[1:] != (...,):
        return {
            "type": "array",
            "prefixItems": [_schema(one, named) for one in inner],
            "minItems": len(inner),
            "items": False,
        }
    if kind in (list, tuple):
        return {"type": "array", "items": _schema(inner[0], named)}
    if kind is dict:
        return {"type": "object", "additionalProperties": _schema(inner[1], named)}
    if is_typeddict(hint) or is_dataclass(hint):
        name = hint.__name__
        if name not in named:
            named[name] = {}
            hints = get_type_hints(hint, include_extras=True)
            required = sorted(getattr(hint, "__required_keys__", hints))
            own = {key: _schema(one, named) for key, one in hints.items()}
            said = inspect.cleandoc(hint.__doc__ or "")
            named[name] = {
                "type": "object", "description": said, "properties": own, "required": required, "additionalProperties": False,
            }  # fmt: skip
        return {"$ref": f"#/$defs/{name}"}
    assert hint is Any, hint
    return {}
