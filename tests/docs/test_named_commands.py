"""All that people are told to type exists: commands, options, modules and routes that messages, pages and documents name."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from test_readme import check_command

from api.app import create_app
from api.settings import Settings
from tuner.commands.app import app

ROOT = Path(__file__).parents[2]
SOURCES = [file for room in ("tuner", "api", "trainers", "benchmarks") for file in sorted((ROOT / room).rglob("*.py"))]
PAGES = [*sorted((ROOT / "api/dashboard").glob("*.js")), ROOT / "api/dashboard/index.html"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUOTED = re.compile(r"`(tuner(?: [^`]+)?)`")
ON_PAGE = re.compile(r"""["'`>](tuner (?:\$\{[^}]*\}|[^"'`<])+)["'`<]""")
MODULE = re.compile(r"python3? -m ((?:benchmarks|trainers|api|tuner)[\w.]*)([^`\n]*)")
ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)`? `?(/(?:v1|healthz|readyz|metrics)[\w/{}.-]*)")


def texts(file: Path) -> Iterator[str]:
    """A program's strings, with what is put into them as X."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def named() -> dict[str, str]:
    """Command lines, each with a file that names it."""
    found: dict[str, str] = {}
    for file in SOURCES:
        for text in texts(file):
            example = re.fullmatch(r"Example: (tuner .*?)(?:   .*)?", text)
            found |= dict.fromkeys(QUOTED.findall(text) + ([example[1]] if example else []), file.name)
    for file in PAGES:
        found |= {
            re.sub(r"\$\{[^}]*\}", "X", line): file.name for line in ON_PAGE.findall(file.read_text(encoding="utf-8"))
        }
    for file in DOCUMENTS:
        plain = re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found |= {" ".join(line.split()): file.name for line in QUOTED.findall(plain)}
    return found


def commands(line: str) -> Iterator[str]:
    """The command lines that one names: `tuner stop|resume STUDY` names two, `tuner … | head` none."""
    server = " --api URL" if "--api" in line else ""
    line = re.sub(r" [|>#].*| \[.*?\](\.\.\.)?| --api URL", "", line)
    words = [word for word in line.split()[1:] if word not in ("…", "COMMAND", "--help")]
    for command in words[0].split("|") if words and not words[0].startswith("[^") else ():
        yield f"tuner {' '.join([command, *words[1:]])}{server}"


NAMED = named()


def test_messages_pages_and_documents_name_commands() -> None:
    whose = set(NAMED.values())
    assert len(NAMED) > 120
    assert {"form.js", "index.html", "errors.py", "study.py", "service.md", "using.md"} - whose == {"errors.py"}


@pytest.mark.parametrize("line", sorted(NAMED))
def test_a_command_that_is_named_exists_with_its_options(line: str) -> None:
    for command in commands(line):
        check_command(command.replace("'", "").replace('"', ""))


def options_of(command: Any) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(sub) for sub in getattr(command, "commands", {}).values()))


def test_an_option_that_a_message_names_is_one_of_some_command() -> None:
    known = options_of(typer.main.get_command(app))
    known |= {
        "--help",
        "--supervised",
        "--logdir",
        "--head",
    }  # the last three: a trainer's, TensorBoard's, Ray's
    for file in (*(ROOT / "tuner").rglob("*.py"), *(ROOT / "api").rglob("*.py"), *(ROOT / "trainers").rglob("*.py")):
        for text in texts(file):
            for sentence in re.findall(r"(?:^|[\s(`'])(--[a-z][a-z-]+)", text if " " in text else ""):
                assert sentence in known, f"{sentence} in {file.name}: {text}"


def test_a_module_that_is_named_exists_with_its_options() -> None:
    seen = 0
    for file in (*DOCUMENTS, *SOURCES):
        for module, rest in MODULE.findall(file.read_text(encoding="utf-8")):
            seen += 1
            spec = importlib.util.find_spec(module.rstrip("."))
            assert spec is not None, f"{module} in {file.name}"
            place = Path(str(spec.origin))
            source = (place.with_name("__main__.py") if place.name == "__init__.py" else place).read_text(
                encoding="utf-8"
            )
            if module.startswith("benchmarks"):
                for option in re.findall(r" (--[a-z][\w-]*)", rest):
                    assert option in source or option == "--help", f"{option} of {module} in {file.name}"
    assert seen > 20


def test_a_route_that_is_named_exists(tmp_path: Path) -> None:
    server = create_app(Settings(f"sqlite:///{tmp_path}/t.db"))
    there = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in server.openapi()["paths"].items()
        for method in methods
    }
    server.state.service.close()
    seen = 0
    for file in (*DOCUMENTS, *SOURCES):
        for method, path in ROUTE.findall(file.read_text(encoding="utf-8")):
            seen += 1
            assert (method, re.sub(r"\{\w+\}", "{}", path.rstrip("/."))) in there, f"{method} {path} in {file.name}"
    assert seen > 10
