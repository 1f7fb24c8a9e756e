"""The command line's own manners: its help by headings, its version, completion, and logs as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from trainers.contract import LOG
from tuner import __version__
from tuner.commands.app import GROUPS, app

TUNER = "import sys; sys.argv[0] = 'tuner'; from tuner.commands.app import main; main()"


def test_every_command_stands_under_one_heading() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(known)
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    assert [line.rstrip(":") for line in lines if line.rstrip(":") in GROUPS] == list(GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in known] == named
    assert max(map(len, lines)) <= 80


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    check = (
        "import sys, contextlib\nfrom tuner.commands.app import app\n"
        "with contextlib.suppress(SystemExit): app([sys.argv[1]])\n"
        "heavy = {'torch', 'pydantic', 'sqlalchemy', 'optuna', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for flag, said in (("--help", "One trained run:"), ("--version", f"tuner {__version__}\n")):
        done = subprocess.run(
            [sys.executable, "-c", check, flag], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert said in done.stdout


def test_the_shell_completes_commands_and_options() -> None:
    for words, at, wanted in (("tuner la", 1, {"launch", "latent"}), ("tuner launch --tech", 2, {"--technique"})):
        told = {"_TUNER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        done = subprocess.run([sys.executable, "-c", TUNER], capture_output=True, text=True, env={**os.environ, **told})
        assert set(done.stdout.split()) == wanted, done.stderr


def test_a_log_is_json_and_says_when_it_is_empty(inside: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    log = tmp_path / "run" / LOG
    log.write_text("a warning\nβ\n", encoding="utf-8")
    assert inside("log", "run").stdout == "a warning\nβ\n"
    assert json.loads(inside("log", "run", "--json").stdout) == {"run": "run", "lines": ["a warning", "β"]}
    log.write_text("")
    empty = inside("log", "run")
    assert (empty.stdout, empty.stderr) == ("", "the trainer of run run has said nothing: its log is empty\n")
    assert json.loads(inside("log", "run", "--json").stdout)["lines"] == []
