"""The folder where the user stands is not code: none of our processes imports or runs what lies there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from shell import AWAITED, DEADLINE, QUICK, Start, await_end, wait_for

from tuner.storage.database import Database
from tuner.studies.study import open_study

ROOT = Path(__file__).parents[2]
FOREIGN = (
    "numpy",
    "tuner",
    "trainers",
    "api",
    "torch",
    "rich",
    "typer",
    "sqlalchemy",
    "socket",
    "search_spaces",
    "runpy",
)
SCRIPT = "import sys\nfrom tuner.__main__ import main\nsys.exit(main())\n"
"""Text of the command `tuner`, as pip writes it."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of modules that leave a mark where they are imported or run, and the command beside as many."""
    here, commands = tmp_path / "here", tmp_path / "bin"
    mark = f"open({str(tmp_path / 'mark')!r}, 'a').write"
    for folder in (here, commands):
        folder.mkdir()
        for name in FOREIGN:
            if (folder.name, name) != ("bin", "tuner"):  # which pip's own first line would import
                (folder / f"{name}.py").write_text(f"{mark}('{folder}/{name} ')\n")
    (here / "trainers").mkdir()
    (here / "trainers" / "__main__.py").write_text(f"{mark}('__main__ ')\n")
    (commands / "tuner").write_text(SCRIPT)
    return here


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(place.parent / "bin" / "tuner"), *arguments]


def environment(path: str = str(ROOT)) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": path}


def run(place: Path, *arguments: str, path: str = str(ROOT)) -> str:
    """Runs a command from there to its end; returns all that it said."""
    done = subprocess.run(
        command(place, *arguments), cwd=place, env=environment(path), capture_output=True, text=True, check=False,
        timeout=DEADLINE,
    )  # fmt: skip
    unmarked(place)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def unmarked(place: Path) -> None:
    mark = place.parent / "mark"
    assert not mark.exists(), mark.read_text()


def test_a_command_and_its_trainer_import_nothing_of_the_users_folder(place: Path) -> None:
    assert "train" in run(place, "corpora", "grammar", "--json")


@pytest.mark.parametrize("path", [f":{ROOT}", f"{ROOT}:", f"{ROOT}::{ROOT}/tests"])
def test_an_empty_part_of_pythonpath_is_not_taken_for_the_current_folder(place: Path, path: str) -> None:
    """`PYTHONPATH=$PYTHONPATH:lib` has one where the variable was not set."""
    (place / "tuner.py").unlink()  # the command's first line would find it
    assert "train" in run(place, "corpora", "grammar", "--json", path=path)


def test_a_detached_study_starts_from_a_folder_of_foreign_modules(place: Path) -> None:
    settings = [part for key in (*QUICK, "max_epochs=1") for part in ("--set", key)]
    said = run(place, "launch", "-t", "sfb", "-n", "1", "--study", "s", *settings, "--detach")
    found = re.search(r"study s goes on in process (\d+)", said)
    assert found is not None
    await_end(int(found[1]))
    database = Database(f"sqlite:///{place}/tuner.db")
    assert [trial.state for trial in open_study(database, "s").trials.all()] == ["complete"]
    database.close()
    unmarked(place)


def test_a_server_its_workshop_and_its_worker_start_from_there_too(place: Path, start: Start, port: int) -> None:
    log = place.parent / "log"
    with log.open("wb") as said:
        serving = command(place, "serve", "--port", str(port), "--with-workers", "1")
        process = start(serving, cwd=place, env=environment(), stdout=said, stderr=said)
    wait_for(lambda: "serving" in log.read_text())
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=AWAITED) as client:
        new = {"technique": "sfb", "trials": 1, "fixed": {"max_epochs": 1, "corpus_size": 200, "nll_samples": 2}}
        made = client.post("/studies", json=new)  # made in the workshop, checked by a trainer
        assert made.status_code == 201, made.text
        wait_for(lambda: client.get("/studies/sfb-grammar-tiny").json()["counts"]["complete"] == 1)
    process.terminate()
    process.wait(AWAITED)
    unmarked(place)


def test_every_process_of_ours_is_started_without_the_current_folder() -> None:
    files = [file for room in ("tuner", "api", "trainers") for file in (ROOT / room).rglob("*.py")]
    named = [str(file.relative_to(ROOT)) for file in files if "sys.executable" in file.read_text()]
    assert named == ["tuner/process.py"]
