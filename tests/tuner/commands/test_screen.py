"""Output of commands: nothing from outside drives a terminal or a spreadsheet, and no stream or letter breaks a command."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shell import DEADLINE, command
from stub_study import make, run, stand_in
from typer.testing import CliRunner

from tuner import trainer
from tuner.commands import render
from tuner.commands.app import app
from tuner.commands.tables import Table, console
from tuner.screen import cell, plain
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, StudyRow, TrialRow, WorkerRow
from tuner.trainer import LONGEST, Trainer, fork_server

EVIL = "[/data] [bold]x[/] :smile: \x1b]0;owned\x07\x1b[31m\x9b2J\r\x08\x7f‮ \u2028[link=http://x]y\ud800"
STORED = EVIL.replace("\ud800", "")
DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f‮\u2028\ud800]")


def test_a_text_is_written_so_that_nothing_acts_on_it() -> None:
    assert plain("é → 名\tx\r\n") == "é → 名\tx\n"
    assert not DRIVES.search(plain(EVIL))
    assert json.loads(f'"{plain(EVIL)}"') == EVIL  # as JSON writes it


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert str(cell(text)).startswith("'")
    assert [cell(value) for value in (-1.0, -1, None, "a=1", True, "")] == [-1.0, -1, None, "a=1", True, ""]


def test_a_table_takes_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[red]head[/red]", title="[b]:smile:[/]")
    table.add(EVIL)
    table.print()
    page = console()
    page.print("a [/data] b :smile:")
    page.print(render.dropped_line([{"word": EVIL, "probability": 1.0}]))
    said = capsys.readouterr().out
    assert not DRIVES.search(said)
    for text in ("[red]head[/red]", "[b]:smile:[/]", "[/data] [bold]x[/] :smile:", "a [/data] b :smile:"):
        assert text in said


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose database holds such texts wherever it may; nothing changes it."""
    place = tmp_path_factory.mktemp("evil")
    study = make(Database(f"sqlite:///{place}/tuner.db", create=True), place, 2)
    with pytest.MonkeyPatch.context() as patched:
        stand_in(patched)
        run(study)

    def spoil(session: Any) -> None:
        row = session.get(StudyRow, "s")
        row.why, row.state = STORED, "stopped"
        row.specification = {
            **row.specification,
            "corpus": {**row.specification["corpus"], "name": STORED},
            "model": STORED,
        }
        failed = session.get(TrialRow, ("s", 1))
        failed.state, failed.value, failed.metrics, failed.reason, failed.message = (
            "failed",
            None,
            None,
            STORED,
            f"={STORED}",
        )
        failed.worker = STORED
        for attempt in session.query(AttemptRow):
            attempt.message = attempt.host = STORED
        for worker in session.query(WorkerRow):
            worker.host = worker.device = STORED

    study.database.run(spoil)
    log = study.files.folder(0, place) / "trainer.log"
    log.unlink(missing_ok=True)
    log.write_text(STORED)
    study.winner()  # which is kept in its row from now on
    study.database.close()
    return place


def said(arguments: tuple[str, ...], place: Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        command(*arguments), cwd=place, timeout=DEADLINE, check=False, **{"capture_output": True, **more}
    )
    assert b"Traceback" not in (done.stderr or b""), done.stderr
    assert b"Exception ignored" not in (done.stderr or b""), done.stderr
    return done


COMMANDS = [
    ("studies",),
    ("show", "s"),
    ("trials", "s"),
    ("workers",),
    ("log", "s/0"),
    ("export", "s"),
    ("report",),
    ("pareto",),
]
COMMANDS += [(*each, "--json") for each in COMMANDS[:4]] + [
    ("export", "s", "--format", "json"),
    ("report", "--format", "csv"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_lets_a_text_drive_a_terminal(evil: Path, arguments: tuple[str, ...], inside: Any) -> None:
    done = inside(*arguments, cwd=evil)
    assert not DRIVES.search(done.stdout)
    assert not DRIVES.search(done.stderr)
    if arguments[-1] in ("--json", "json"):
        assert STORED in str(json.loads(done.stdout)) or repr(STORED)[1:-1] in str(json.loads(done.stdout))


def test_a_csv_has_no_formula_and_a_log_its_text(evil: Path, inside: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(inside("export", "s", cwd=evil).stdout)))
    assert rows[1]["message"].startswith("'=[/data]")
    assert "\\u001b[31m" in inside("log", "s/0", cwd=evil).stdout


ENCODED = [("studies",), ("show", "s"), ("techniques",), ("show", "s", "--json"), ("show", "名")]


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        *(("ascii", arguments) for arguments in ENCODED),
        *((encoding, ("show", "s", "--json")) for encoding in ("cp1252", "latin-1", "utf-16")),
        ("cp1252", ("show", "s")),
    ],
)
def test_a_terminal_without_our_letters_shows_others(evil: Path, encoding: str, arguments: tuple[str, ...]) -> None:
    done = said(arguments, evil, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == (2 if "名" in arguments else 0), done.stderr
    if "--json" in arguments:
        assert json.loads(done.stdout.decode(encoding))["why"] == STORED


CLOSED = [("studies",), ("techniques",), ("show", "s", "--json"), ("show", "nix"), ("--help",), ("nix",)]


def closing(*numbers: int) -> Callable[[], None]:
    return lambda: [os.close(number) for number in numbers] and None


@pytest.mark.parametrize(
    ("numbers", "arguments"),
    [
        *(((0, 1, 2), arguments) for arguments in CLOSED),
        *((numbers, ("show", "s", "--json")) for numbers in ((1,), (2,), (0, 1), (1, 2))),
        ((1,), ("studies",)),
        ((2,), ("show", "nix")),
    ],
)
def test_a_closed_stream_takes_nothing_and_breaks_nothing(
    evil: Path, numbers: tuple[int, ...], arguments: tuple[str, ...]
) -> None:
    before = (evil / "tuner.db").read_bytes()
    done = said(arguments, evil, preexec_fn=closing(*numbers))
    assert done.returncode == (2 if "nix" in arguments else 0), done.stderr
    if 2 in numbers and "show" in arguments and 1 not in numbers and "nix" not in arguments:
        json.loads(done.stdout)
    assert (evil / "tuner.db").read_bytes() == before


@pytest.mark.parametrize(
    ("unbuffered", "arguments"),
    [
        ("", ("studies",)),
        ("", ("techniques",)),
        ("", ("techniques", "--json")),
        ("", ("show", "s")),
        ("", ("export", "s")),
        ("", ("--help",)),
        ("", ("log", "-h")),
        ("1", ("studies",)),
        ("1", ("export", "s")),
        ("1", ("--help",)),
    ],
)
def test_a_full_stream_is_said_in_a_sentence(
    evil: Path, arguments: tuple[str, ...], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("wb") as full:
        done = said(arguments, evil, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (
            1,
            b"tuner: standard output cannot be written (No space left on device).\n",
        )
        done = said(arguments, evil, capture_output=False, stderr=full, stdout=subprocess.PIPE)
        assert done.returncode == 0


def test_a_mistake_is_one_though_it_cannot_be_said(evil: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        assert said(("show", "nix"), evil, capture_output=False, stderr=full, stdout=subprocess.PIPE).returncode == 2


def test_a_reader_that_has_had_enough_ends_a_command_quietly(evil: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = said(("techniques", "--json"), evil, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", b"\xff"),
        ("launch", "-t", b"fb\xe9"),
        ("--runs", b"\xff/x", "studies"),
        ("train", "-t", "fb", "--set", b"a=\xff"),
    ],
)
def test_an_argument_that_is_no_text_is_refused(tmp_path: Path, arguments: tuple[str | bytes, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "tuner", *arguments], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(rb"tuner: argument '[^\n]*' is no text in utf-8: write it in UTF-8\.\n", done.stderr), (
        done.stderr
    )
    named = {**os.environb, b"TUNER_RUNS": b"\xff"}
    done = subprocess.run(
        [sys.executable, "-m", "tuner", "studies"], cwd=tmp_path, capture_output=True, check=False, env=named
    )
    assert (done.returncode, done.stderr[:20]) == (2, b"tuner: TUNER_RUNS='\\")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_no_text_is_said(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    place.mkdir()
    made = subprocess.run(command("corpora", "add", "x", "."), cwd=place, capture_output=True, check=False)
    assert b"Traceback" not in made.stderr
    assert made.returncode in (1, 2)


def long(text: str, **options: int) -> str:
    """Options of a corpus as a long argument; of a key that stands twice the last value counts."""
    return f'{{"text": {json.dumps(text)}, {json.dumps({"text": "", **options})[1:]}'


E_ACUTE = "é" * 300_000


def test_a_long_text_reaches_the_trainer() -> None:
    assert trainer.ask("corpus", "grammar", long(E_ACUTE, corpus_size=50))["sentences"]["train"] == 50
    longest = long("y" * (LONGEST - len(long(""))))
    assert len(longest) == LONGEST
    assert trainer.ask("corpus", "grammar", longest)["sentences"]["train"] == 4000


def test_a_long_text_reaches_a_forked_trainer_which_ends_with_its_parent() -> None:
    server = fork_server()
    try:
        with Trainer("corpus", "grammar", long(E_ACUTE, corpus_size=50), server=server) as forked:
            assert [event["event"] for event in forked.events()] == ["done"]
        with Trainer("corpus", "grammar", long(E_ACUTE, corpus_size=10**6), server=server) as forked:
            assert forked.process.stdin is not None
            forked.process.stdin.close()
            assert forked.process.wait(60) == 1
    finally:
        server.close()


def test_long_sentences_are_asked_for_by_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As many as a shell passes on: many arguments of up to 128 KiB each."""
    sentences = ["word " * 20_000, "é " * 30_000]
    done = CliRunner().invoke(app, ["reconstruct", str(tmp_path), *sentences])
    assert "holds no run" in str(done.exception)
