"""Writes docs/reference/ from the code: `python docs/reference.py`. A test says when the pages there are older than the code."""

import inspect
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from api.app import create_app
from api.settings import Settings
from api.shapes import notes_of
from trainers.contract import PRESETS
from trainers.latent_space import LatentOptions
from trainers.options import GROUPS, rule
from tuner import space
from tuner.analysis.pareto import ENDS
from tuner.commands.app import app
from tuner.commands.shapes import SHAPES
from tuner.commands.shapes.schemas import json_schemas
from tuner.metrics import AXES, ESTIMATES, FIGURES
from tuner.samplers import SAMPLERS

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made by `python docs/reference.py` from the code: change that, not this page. -->\n"


def cell(value: object) -> str:
    """A value as a table's cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines: list[tuple[object, ...]] = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines) + "\n"


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from _leaves(f"{name} {word}", inner)


def _default(parameter: Any) -> str:
    """Value that holds where an option is not given, in the words of the help."""
    said = parameter.show_default if isinstance(getattr(parameter, "show_default", None), str) else parameter.default
    return "required" if parameter.required else "" if said is None or said is False or callable(said) else str(said)


def _usage(name: str, command: Any) -> str:
    places = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
    return " ".join([name, *places, "[OPTIONS]"])


def commands() -> str:
    """Every command with its arguments and options."""
    text = [MADE, "# Commands\n"]
    text.append("As `--help` tells them. A command with `--api` is also one about a server's studies.\n")
    for name, command in _leaves("tuner", typer.main.get_command(app)):
        text.append(f"### {name}\n\n`{_usage(name, command)}`\n\n{inspect.cleandoc(command.help)}\n")
        rows = []
        for p in command.params:
            flags = (
                ", ".join(f"`{flag}`" for flag in [*p.opts, *p.secondary_opts])
                if p.param_type_name == "option"
                else f"`{p.metavar or p.name}`"
            )
            variable = f" (`{p.envvar}`)" if getattr(p, "envvar", None) else ""
            rows.append((flags, _default(p), (p.help or "") + variable))
        if rows:
            text.append(table(("argument or option", "default", "meaning"), rows))
        if command.epilog:
            text.append(f"{command.epilog.replace('Example: ', 'Example: `', 1)}`\n")
    return "\n".join(text)


def options() -> str:
    """Options of a run, presets, hyperparameters, samplers' options."""
    text = [MADE, "# Options\n", "Set with `--set key=value`. Defaults are preset `paper`.\n"]
    for group in GROUPS:
        rows = [(f"`{s.name}`", _plain(s.default), rule(s), s.metadata["meaning"]) for s in fields(group)]
        text += [
            f"## {group.__name__.removesuffix('Options')}\n",
            table(("option", "default", "rule", "meaning"), rows),
        ]
    presets = [
        (f"`{name}`", ", ".join(f"{k} {_plain(v)}" for k, v in values.items()) or "the defaults")
        for name, values in PRESETS.items()
    ]
    text += ["## Presets\n", "What `--model` changes.\n", table(("preset", "changes"), presets)]
    latent = [(f"`{s.name}`", s.default, rule(s), s.metadata["meaning"]) for s in fields(LatentOptions)]
    text += ["## Of `tuner latent`\n", table(("option", "default", "rule", "meaning"), latent)]
    text += ["## Hyperparameters\n"]
    for loaded in map(space.load, space.techniques()):
        text += [
            f"### {loaded.technique}\n",
            f"{loaded.summary[0].upper()}{loaded.summary[1:]}: ``{loaded.formula}`` ({loaded.paper}).\n",
        ]
        found = [
            (
                f"`{p.name}`",
                p.domain if p.tuned else f"{p.domain}, not tuned",
                p.default,
                "" if p.paper is None else p.paper,
                p.meaning,
            )
            for p in loaded.parameters
        ]
        text += (
            [table(("hyperparameter", "domain", "default", "paper", "meaning"), found)]
            if found
            else ["Nothing to tune.\n"]
        )
    samplers = [
        (
            f"`{name}`",
            entry.summary,
            ", ".join(f"{k} {_plain(v)}" for k, v in entry.defaults.items()),
            entry.extra or "",
        )
        for name, entry in SAMPLERS.items()
    ]
    text += ["## Samplers\n", table(("sampler", "what", "options set here", "extra"), samplers)]
    return "\n".join(text)


def techniques() -> str:
    """Every technique by the paper that brought it: its loss, what is tuned, what its paper found best."""
    rows = []
    grouped = ((name if not place else "", one) for name, group in space.by_paper() for place, one in enumerate(group))
    for brought, loaded in grouped:
        tuned = [p for p in loaded.parameters if p.tuned]
        rows.append(
            (
                brought,
                f"`{loaded.technique}`",
                loaded.summary,
                f"``{loaded.formula}``",
                "; ".join(f"`{p.name}` {p.domain}" for p in tuned) or "nothing",
                ", ".join(f"{p.name} {p.paper}" for p in tuned if p.paper is not None) or "–",
                loaded.paper,
            )
        )
    head = (
        "paper",
        "technique",
        "what",
        "loss, per sentence, nats",
        "tuned, with its domain",
        "published optimum",
        "from",
    )
    return "\n".join(
        [MADE, "# Techniques\n", "[What to know before you compare](../techniques.md).\n", table(head, rows)]
    )


def metrics() -> str:
    """The figures of a complete trial."""
    made = {(True, False): "the NLL's estimator", (True, True): "the tempered estimator beside it"}
    rows = [
        (
            f"`{key}`",
            m.label,
            m.unit,
            ENDS[m.goal],
            made.get((m.estimated, m.beside), ""),
            "yes" if m.latent else "",
            m.meaning,
        )
        for key, m in AXES.items()
    ]
    sure = ", ".join(f"`{key}`" for key in ESTIMATES)
    extra = ", ".join(f"`{key}`" for key in AXES if key not in {**FIGURES, **ESTIMATES})
    return "\n".join(
        [
            MADE,
            "# Figures\n",
            f"Keys in `--json`, exports and the API ([what they mean and what not](../metrics.md)); {sure} are under `estimator` "
            f"there; {extra} are a trial's, not an evaluation's.\n",
            table(("key", "label", "unit", "wanted", "made by", "only with a latent code", "meaning"), rows),
        ]
    )


def document() -> dict[str, Any]:
    """The API's own OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        made = create_app(Settings(f"sqlite:///{folder}/t.db", Path(folder)))
        found = made.openapi()
        made.state.service.close()
    return found


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if not schema:
        return "any"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind: str = schema.get("type", "any")
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        return f"table of {_type(schema['additionalProperties'])}"
    if kind == "array" and "prefixItems" in schema:
        return f"[{', '.join(_type(one) for one in schema['prefixItems'])}]"
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    return kind + (f" ({', '.join(limits)})" if limits else "")


LIMITS = {
    "format": "as", "minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "minLength": "length ≥",
    "maxLength": "length ≤",
}  # fmt: skip


def rest() -> str:
    """Routes and what goes through them."""
    found = document()
    text = [
        MADE,
        "# REST\n",
        "From the OpenAPI document, which a server has at `/v1/openapi.json`; [api.md](../api.md) has examples.\n",
    ]
    for path, verbs in found["paths"].items():
        for verb, route in verbs.items():
            text.append(f"## {verb.upper()} {path}\n")
            text.append(inspect.cleandoc(route.get("description") or route["summary"]) + "\n")
            rows: list[tuple[object, ...]] = [
                (
                    f"`{p['name']}`",
                    p["in"],
                    _type(p["schema"]),
                    "" if p.get("required") else _plain(p["schema"].get("default", "")),
                    p.get("description", ""),
                )
                for p in route.get("parameters", [])
            ]
            if rows:
                text.append(table(("parameter", "in", "type", "default", "meaning"), rows))
            if "requestBody" in route:
                (body,) = route["requestBody"]["content"].values()
                text.append(f"Body: {_type(body['schema'])}\n")
            for code, answer in route["responses"].items():
                kinds = [
                    _type(content.get("schema", {}))
                    for kind, content in answer.get("content", {}).items()
                    if "problem" not in kind
                ]
                if code.isdigit():
                    text.append(f"{code}: {', '.join(kinds) or 'no body'}\n")
    text.append("# Schemas\n")
    for name, schema in found["components"]["schemas"].items():
        text.append(f"## {name}\n")
        if said := schema.get("description"):
            text.append(inspect.cleandoc(said) + "\n")
        rows = [
            (
                f"`{key}`",
                _type(p),
                "required" if key in schema.get("required", ()) else _plain(p.get("default", "")),
                p.get("description", ""),
            )
            for key, p in schema.get("properties", {}).items()
        ]
        text.append(table(("field", "type", "default", "meaning"), rows) if rows else f"{_type(schema)}\n")
    return "\n".join(text)


def _meanings(shape: Any) -> dict[tuple[str, str], str]:
    """Notes under the fields of the classes within a shape, and of the classes that they name, by class and field."""
    found: dict[tuple[str, str], str] = {}
    seen: set[Any] = set()
    left = [shape]
    while left:
        one = left.pop()
        if isinstance(one, type) and one.__module__.startswith("tuner") and one not in seen:
            seen.add(one)
            for base in [one, *getattr(one, "__orig_bases__", ())]:
                if not base.__module__.startswith("tuner"):
                    continue
                found |= {(one.__name__, key): note for key, note in notes_of(base).items()}
            left += get_type_hints(one).values()
        left += get_args(one)
    return found


def json_page() -> str:
    """The page of the JSON that commands print."""
    found, named = json_schemas()
    meanings = _meanings(tuple[tuple(SHAPES.values())])  # type: ignore[misc]
    rows = [(f"`tuner {name}`", _type(schema)) for name, schema in found.items()]
    text = [
        MADE,
        "# What commands print with `--json`\n",
        "A test holds what they print to this. Keys of figures are those of [metrics.md](metrics.md); those within `estimator` "
        "are explained in [the guide to metrics](../metrics.md#what-made-a-figure).\n",
        table(("command", "prints"), rows),
    ]
    for name, schema in named.items():
        text.append(f"## {name}\n")
        if said := schema.get("description"):
            text.append(inspect.cleandoc(said) + "\n")
        text.append(
            table(
                ("field", "type", "", "meaning"),
                [
                    (
                        f"`{key}`",
                        _type(own),
                        "" if key in schema.get("required", ()) else "not always",
                        meanings.get((name, key), own.get("description", "")),
                    )
                    for key, own in schema.get("properties", {}).items()
                ],
            )
        )
    return "\n".join(text)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)


PAGES = {
    "commands": commands,
    "options": options,
    "techniques": techniques,
    "metrics": metrics,
    "rest": rest,
    "json": json_page,
}


def pages() -> dict[Path, str]:
    """Each page's file and text."""
    return {FOLDER / f"{name}.md": re.sub(r"\n{3,}", "\n\n", make()).rstrip() + "\n" for name, make in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
        print(file)
