"""Words: docstrings, notes of attributes and help texts are sentences that a stranger understands alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import tuner

ROOT = Path(tuner.__file__).parents[1]
FOLDERS = ("tuner", "api", "trainers", "search_spaces", "benchmarks", "tests", "examples", "docs")
FRAGMENT = re.compile(
    r"(What|Whether|Where|The same|As above|That|Of|With|Who|Whose|In which|Which|When|How|Those|Its|Their|It|They)\b"
)
SECTIONS = ("Args:", "Raises:", "Returns:")
NAMED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
HELPS = {"help", "description"}


def _constant(node: object) -> str | None:
    return node.value.strip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, kind (docstring, note or help) and text of each."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for place, each in enumerate(body if isinstance(body, list) else ()):
            if isinstance(each, ast.Expr) and (text := _constant(each.value)) is not None:
                yield each.lineno, "docstring" if place == 0 and isinstance(node, NAMED) else "note", text
        if isinstance(node, ast.keyword) and node.arg in HELPS and (text := _constant(node.value)) is not None:
            yield node.value.lineno, "help", text


def _fault(kind: str, text: str) -> str | None:
    if text.startswith(SECTIONS):
        return None
    if match := FRAGMENT.match(text):
        return f"begins with {match[0]!r}, which needs the name before it"
    if text[:1].islower():
        return "begins in lower case"
    if kind == "note" and not text.endswith("."):
        return "ends without a full stop"
    return None


def test_words_stand_alone() -> None:
    faults = [
        f"{file.relative_to(ROOT)}:{line}: the {kind} {fault}: {text[:60]!r}"
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, kind, text in _texts(ast.parse(file.read_text(encoding="utf-8")))
        if (fault := _fault(kind, text))
    ]
    assert not faults, "write a sentence that can be read without the name before it:\n" + "\n".join(faults)


def test_a_fragment_is_found() -> None:
    tree = ast.parse('CLIENTS = 10\n"""whose rates are kept"""\ndef f():\n    """What it is."""\n')
    assert [_fault(kind, text) is not None for _, kind, text in _texts(tree)] == [True, True]
