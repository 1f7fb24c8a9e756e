"""What commands print with `--json` is what docs/reference/json.md says: no field more, none less, each of its type."""

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from seeded import made
from stub_study import SQLITE, Make

from tuner.analysis.reproduction import Agreement
from tuner.commands import train
from tuner.commands.app import app
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies.study import Study
from tuner.workers.broker import DatabaseBroker

sys.path.append(str(Path(__file__).parents[3] / "docs"))
import reference

FOUND, NAMED = reference.json_schemas()


def judge(command: str, printed: object) -> None:
    jsonschema.Draft202012Validator({**FOUND[command], "$defs": NAMED}).validate(json.loads(json.dumps(printed)))


def test_every_command_with_json_is_declared() -> None:
    leaves = reference._leaves("tuner", typer.main.get_command(app))
    told = {name.removeprefix("tuner ") for name, one in leaves if any("--json" in p.opts for p in one.params)}
    assert told == set(FOUND)


def test_what_is_not_declared_is_refused() -> None:
    sampler = {"name": "tpe", "summary": "s"}
    judge("samplers", [sampler])
    for odd in ({**sampler, "more": 1}, {"name": "tpe"}, {**sampler, "summary": 3}):
        with pytest.raises(jsonschema.ValidationError):
            judge("samplers", [odd])


@SQLITE
def test_lists_and_studies(
    make: Make, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_DATABASE", database.secret_url)
    made(database, tmp_path, "mine", "sfb", 12, budget=20)
    make(2, "none")
    DatabaseBroker(database, "w").enter("cpu", lambda _: None, print)
    keys.create(database, "anna", write=True)
    for command in (
        "techniques", "samplers", "corpora describe", "studies", "show mine", "show none", "trials mine", "trials none",
        "compare mine/1 mine/2", "workers", "key list",
    ):  # fmt: skip
        app([*command.split(), "--json"], standalone_mode=False)
        name = command if command in FOUND else command.split()[0]
        judge(name, json.loads(capsys.readouterr().out))


@SQLITE
def test_launches_reports_and_reproductions(make: Make, database: Database, tmp_path: Path) -> None:
    studies: list[Study] = [made(database, tmp_path, name, name, 4) for name in ("sfb", "beta")]
    make(1, "empty")
    judge("launch", train._plain(studies[:1], []))
    judge("sweep", train._plain(studies[:1], []))
    rows = train._comparison(studies)
    judge("launch", train._plain(studies, rows))
    judge("confirm", {"valid": [row.plain() for row in rows], "test": []})
    agreement = Agreement(
        {"nll": (15.0, 15.5), "mi": (None, 1.0)}, ["nll"], False, 0.3, ({"torch": "1"}, {"torch": "2"})
    )
    judge("reproduce", {"run": "s/1", **agreement.plain()})


def test_what_models_write(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    run = str(tmp_path / "run")

    def printed(command: str, *arguments: str) -> Any:
        app([command, *arguments, "--json"], standalone_mode=False)
        found = json.loads(capsys.readouterr().out)
        judge(command, found)
        return found

    small = [f"--set={each}" for each in ("max_epochs=1", "corpus_size=100", "nll_sentences=10", "nll_samples=4")]
    printed("train", "--technique", "adversarial-word-dropout", *small, "--out", run)
    for command, *more in (
        ("sample", "-n", "2"), ("reconstruct",), ("interpolate", "the traders sell", "a ship"), ("neighbours", "-n", "2"),
        ("dropped", "-n", "2"), ("latent",), ("evaluate", *small[2:]), ("log",), ("interpolate", "--pairs", "2", "-n", "3"),
        ("neighbours", run, "-n", "1"), ("dropped", "-n", "2", "--by", "position"), ("perturbed", "-n", "1"),
        ("arithmetic", "a ship", "the ship", "the sailor"),
    ):  # fmt: skip
        printed(command, run, *more)
