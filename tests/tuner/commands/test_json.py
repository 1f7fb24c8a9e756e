"""JSON that commands print is what docs/reference/json.md says: no field more, none less, each of its type."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from api_server import DESCRIBED
from seeded import made
from stub_study import SQLITE, Make

from tuner import trainer
from tuner.analysis.reproduction import Agreement
from tuner.commands import train
from tuner.commands.app import app
from tuner.commands.shapes.schemas import json_schemas
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.studies.study import Study
from tuner.workers.broker import DatabaseBroker

FOUND, NAMED = json_schemas()


def judge(command: str, printed: object) -> None:
    jsonschema.Draft202012Validator({**FOUND[command], "$defs": NAMED}).validate(json.loads(json.dumps(printed)))


def test_every_command_with_json_is_declared() -> None:
    def leaves(name: str, command: Any) -> dict[str, Any]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return {name: command}
        return {key: one for word in inner for key, one in leaves(f"{name} {word}".strip(), inner[word]).items()}

    every = leaves("", typer.main.get_command(app))
    assert {name for name, one in every.items() if any("--json" in p.opts for p in one.params)} == set(FOUND)


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
        "techniques", "samplers", "samplers gp-mcmc", "corpora describe", "studies", "show mine", "show none", "trials mine",
        "trials none", "compare mine/1 mine/2", "workers", "key list",
    ):  # fmt: skip
        app([*command.split(), "--json"], standalone_mode=False)
        name = command if command in FOUND else command.split()[0]
        judge(name, json.loads(capsys.readouterr().out))


@SQLITE
def test_launches_reports_and_reproductions(make: Make, database: Database, tmp_path: Path) -> None:
    studies: list[Study] = [made(database, tmp_path, name, name, 4) for name in ("sfb", "beta")]
    make(1, "empty")
    judge("launch", train.plain(studies[:1], []))
    judge("sweep", train.plain(studies[:1], []))
    judge("sweep", train.plain(studies, []))
    rows = train._comparison(studies)
    judge("launch", train.plain(studies, rows))
    judge("confirm", {"valid": [row.plain() for row in rows], "test": []})
    agreement = Agreement(
        {"nll": (15.0, 15.5), "mi": (None, 1.0)}, ["nll"], False, 0.3, ({"torch": "1"}, {"torch": "2"})
    )
    judge("reproduce", {"run": "s/1", **agreement.plain()})


@SQLITE
def test_a_confirmation_that_others_train(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNER_DATABASE", database.secret_url)
    monkeypatch.setattr(trainer, "check", lambda spec, corners: DESCRIBED)
    made(database, tmp_path, "sfb", "sfb", 4)
    app(["confirm", "sfb", "--workers", "0", "--runs", str(tmp_path), "--json"], standalone_mode=False)
    judge("confirm", json.loads(capsys.readouterr().out))


def test_what_models_write(inside: Any, tmp_path: Path) -> None:
    run = str(tmp_path / "run")

    def printed(command: str, *arguments: str) -> None:
        judge(command, json.loads(inside(command, *arguments, "--json").stdout))

    small = [f"--set={each}" for each in ("max_epochs=1", "corpus_size=100", "nll_sentences=10", "nll_samples=4")]
    printed("train", "--technique", "adversarial-word-dropout", *small, "--out", run)
    for command, *more in (
        ("sample", "-n", "2"), ("reconstruct",), ("interpolate", "the traders sell", "a ship"), ("neighbours", "-n", "2"),
        ("dropped", "-n", "2"), ("latent",), ("evaluate", *small[2:]), ("log",),
        ("interpolate", "--pairs", "2", "-n", "3"), ("dropped", "-n", "4", "--by", "position"),
        ("arithmetic", "a", "b", "c"), ("perturbed", "--count", "1"),
    ):  # fmt: skip
        printed(command, run, *more)
