"""Commands that make the papers' figures, with a stub for the trainer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stub_study import STUB

from benchmarks.stub_study import CORPUS
from tuner import trainer
from tuner.commands.app import app
from tuner.errors import Usage

Command = Callable[..., str]


@pytest.fixture
def tuner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """What a command prints."""
    described = {**CORPUS, "latent": True, "stages": 1, "limits": {}, "planned": {}, "warnings": []}
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", lambda *_: described)
    monkeypatch.delenv("STUB", raising=False)
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setenv("TUNER_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> str:
        app([*arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_curves_have_a_line_for_each_trial(tuner: Command, tmp_path: Path) -> None:
    tuner("sweep", "-t", "mdr", "--over", "r=1,5", "--study", "s")
    lines = tuner("curves", "s").splitlines()
    assert lines[0].split() == ["trial", "epochs", "first", "last", "least", "most"]
    assert [line.split()[0] for line in lines[-2:]] == ["r=1", "r=5"]
    tuner("curves", "s", "--figure", "rate", "--out", str(tmp_path / "c.json"))
    found: dict[str, Any] = json.loads((tmp_path / "c.json").read_text())
    assert (found["figure"], found["label"], found["number"]) == ("rate", ["r=1", "r=5"], [0, 1])
    assert all(len(value) == len(epoch) for value, epoch in zip(found["value"], found["epoch"], strict=True))
    tuner("curves", "s", "--out", str(tmp_path / "c.svg"))
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")
    with pytest.raises(Usage, match="figure 'score_norm' has no curve in study 's'"):
        tuner("curves", "s", "--figure", "score_norm")


def test_means_alone_are_drawn(tuner: Command) -> None:
    with pytest.raises(Usage, match="--out x.svg draws means, and --by is word"):
        tuner("dropped", "s/0", "--out", "x.svg")
