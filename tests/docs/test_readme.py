"""The README's and guides' commands exist with their options; its marked commands are there; the option tables are the code's."""

import re
import shlex
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from trainers.options import GROUPS, rule
from tuner.commands.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLERS = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
GUIDES = [README, *(guide.read_text(encoding="utf-8") for guide in sorted((ROOT / "docs").glob("*.md")))]
BLOCKS = [block for text in GUIDES for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
COMMANDS = sorted(
    {
        line.strip().removeprefix("$ ").split("   ")[0].split("#")[0].strip()
        for block in BLOCKS
        for line in block.splitlines()
        if re.match(r"(\$ |\s*)(\.venv/bin/)?tuner ", line)
    }
)


def test_both_newcomer_commands_are_marked() -> None:
    for name in ("main", "test"):
        assert re.search(rf"^<!-- newcomer: {name} -->\n+```", README, re.MULTILINE)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("line", COMMANDS)
def test_readme_command_exists_with_its_options(line: str) -> None:
    check_command(line)


@cache
def command_tree() -> Any:
    return typer.main.get_command(app)


def check_command(line: str) -> None:
    """Checks that a command line's command exists with its options."""
    words = shlex.split(line)[1:]
    command: Any = command_tree()
    while hasattr(command, "commands"):
        if hasattr(command, "default") and (not words or words[0] not in command.commands):
            words = [command.default, *words]
        if words[0].startswith("-"):
            break
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    known = {opt for parameter in command.params for opt in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{word} in: {line}"


def option_table(group: Any) -> str:
    lines = ["| option | default | rule | meaning |", "| --- | --- | --- | --- |"]
    for spec in fields(group):
        default = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
        lines.append(f"| `{spec.name}` | {default} | {rule(spec)} | {spec.metadata['meaning']} |")
    return "\n".join(lines)


def test_the_option_tables_are_the_codes() -> None:
    page = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    assert "docs/reference/options.md" in README
    for group in GROUPS:
        table = f"## {group.__name__.removesuffix('Options')}\n\n{option_table(group)}\n\n"
        assert table in page, "it must read:\n" + table


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", SAMPLERS, re.MULTILINE | re.DOTALL))
def test_the_python_of_the_samplers_page_runs(code: str) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["study"].best_value < 0.1  # type: ignore[attr-defined]
