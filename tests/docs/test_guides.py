"""Every command of docs/guides/ does its work, in the order in which it stands; the reference pages are the code's.

Where a guide is about models they are trained, tiny; elsewhere the stub trainer stands in.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from api_server import DESCRIBED
from stub_study import STUB
from test_readme import check_command

from benchmarks.postgres import Postgres
from tuner import trainer
from tuner.commands.app import app
from tuner.storage.database import Database
from tuner.studies import study as studies

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = [
    part
    for pair in ("max_epochs=1", "d_h=8", "d_e=8", "nll_samples=2", "nll_sentences=20", "gallery=0")
    for part in ("--set", pair)
]

Run = Callable[[list[str]], None]


def blocks(guide: str) -> list[tuple[str, str]]:
    """A guide's code blocks: the file that each is the text of ("": commands), and the text."""
    found = BLOCK.findall((DOCS / "guides" / f"{guide}.md").read_text(encoding="utf-8"))
    assert all(file for language, file, _ in found if language), "a block in a language names its file"
    return [(file, text) for _, file, text in found]


def follow(
    guide: str, folder: Path, run: Run, environment: Callable[[str, str], None] = os.environ.__setitem__
) -> None:
    """Does what a guide says, line by line: writes its files below the folder and runs its commands."""
    for file, text in blocks(guide):
        if file:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            words = shlex.split(line.replace(".venv/bin/", ""))
            if words[0] == "export":
                environment(*words[1].replace("$PWD", str(folder)).split("=", 1))
            elif words[0] == "pip":
                installs(words[-1])
            elif words[0] != "python3":
                assert words[0] == "tuner", line
                check_command(shlex.join(words))
                if words[1] != "serve":  # tests/docs/test_docker.py serves
                    run(words[1:])


def installs(requirement: str) -> None:
    """Checks that what a guide has pip install names extras that there are."""
    extras = re.fullmatch(r"(?:text-vae-tuner|\.)\[(.*)\]", requirement)
    assert extras is not None, requirement
    there = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= set(there)


def here(words: list[str]) -> None:
    """Runs a command in this process."""
    tiny = TINY if words[0] in ("launch", "train") else []
    typer.main.get_command(app)([*words, *tiny], standalone_mode=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which commands and trainers run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("TUNER_DATABASE", "TUNER_RUNS", "TUNER_ARTIFACTS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is trained."""
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", lambda spec, corners: DESCRIBED)


def states(database: str, study: str) -> list[str]:
    opened = Database(database)
    found = [trial.state for trial in studies.open_study(opened, study).trials.all()]
    opened.close()
    return found


def test_own_corpus(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow("own-corpus", place, here)
    said = capfd.readouterr().out
    assert "6 labels" in said  # what the probe was told
    assert re.search(r"^rivers +\S+/rivers, labels=last$", said, re.MULTILINE)
    assert re.search(r"^vocabulary +8,?216$", said, re.MULTILINE)


def test_own_technique(place: Path) -> None:
    for package in ("trainers", "tuner", "search_spaces"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    said = []

    def run(words: list[str]) -> None:
        tiny = [*TINY, "--set", "corpus_size=300"] if words[0] in ("launch", "train") else []
        environment = {**os.environ, "PYTHONPATH": str(place)}
        command = [sys.executable, "-m", "tuner", *words, *tiny]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)

    follow("own-technique", place, run)
    assert "hinge: a price for each nat of rate below r" in said[0]
    assert "R − r" in said[1]  # it holds a rate


@pytest.mark.usefixtures("stub")
def test_own_sampler(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(place)
    follow("own-sampler", place, here)
    opened = Database("sqlite:///tuner.db")
    study = studies.open_study(opened, "halfway")
    trials = study.trials.all()
    opened.close()
    assert study.spec.sampler == "halfway:Halfway"
    assert study.spec.sampler_options == {"share": 0.3}
    assert [t.state for t in trials] == ["complete"] * 3
    assert len({t.params["r"] for t in trials}) == 3


@pytest.mark.usefixtures("stub")
def test_cluster(
    place: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.create()
    given = {"TUNER_DATABASE": url, "TUNER_ARTIFACTS": str(place / "shared")}
    follow("cluster", place, here, lambda name, _: monkeypatch.setenv(name, given[name]))
    assert states(url, "lab") == ["complete"] * 4
    assert list((place / "shared").rglob("result.json"))
    assert "node1" in capfd.readouterr().out


@pytest.mark.usefixtures("stub")
def test_gpu_box(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow("gpu-box", place, here)
    assert states("sqlite:///tuner.db", "box") == ["complete"] * 2
    assert "tuner-" in capfd.readouterr().out  # the key


def test_security(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow("security", place, here)
    listed = capfd.readouterr().out
    assert re.search(r"anna +read, write", listed)
    assert re.search(r"screen +read ", listed)


@pytest.mark.usefixtures("stub")
def test_faults(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    follow("faults", place, here)
    assert "study steady is active and waits for workers" in capfd.readouterr().err
    opened = Database("sqlite:///tuner.db")
    assert studies.open_study(opened, "steady").spec.max_losses == 50
    opened.close()


def test_every_guide_is_followed_and_linked() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {guide.stem for guide in GUIDES} <= tests
    contents = (DOCS / "contents.md").read_text(encoding="utf-8")
    for page in set(DOCS.rglob("*.md")) - {DOCS / "contents.md"}:
        assert f"]({page.relative_to(DOCS).as_posix()})" in contents, page


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: Any) -> dict[Path, str]:
    made: dict[Path, str] = reference.pages()
    return made


def test_the_reference_pages_are_the_codes(pages: dict[Path, str]) -> None:
    assert set(pages) == set((DOCS / "reference").glob("*.md"))
    stale = [file.name for file, text in pages.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, f"run `python docs/reference.py`: {', '.join(stale)} no longer say what the code does"


def test_the_reference_leaves_nothing_out(reference: Any, pages: dict[Path, str]) -> None:
    made = {file.stem: text for file, text in pages.items()}
    for word in ("tuner launch", "tuner corpora add", "tuner key create", "tuner change"):
        assert f"### {word}\n" in made["commands"]
    for path, verbs in reference.document()["paths"].items():
        for verb in verbs:
            assert f"## {verb.upper()} {path}\n" in made["rest"]
    assert made["metrics"].count("| `melbo` |") == 1
