"""Commands that make the papers' figures, with a stub for the trainer."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_study import STUB

from benchmarks.stub_study import CORPUS
from tuner import run, trainer
from tuner.commands.app import app
from tuner.errors import Usage

Command = Callable[..., str]


@pytest.fixture
def tuner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command, and returns its output."""
    described = {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []}
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(trainer, "check", lambda *_: described)
    monkeypatch.delenv("STUB", raising=False)
    monkeypatch.setenv("TUNER_DATABASE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setenv("TUNER_RUNS", str(tmp_path / "runs"))

    def command(*arguments: str) -> str:
        app([*arguments], standalone_mode=False)
        return capsys.readouterr().out

    return command


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


class Model:
    """A run whose codes can be read: a sentence's numbers of letters, and a sample's seed."""

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def encode(self, sentences: list[str], centre: bool, spread: float = 1.0, seed: int = 0) -> np.ndarray:
        warnings.warn("sentence 0: cut", stacklevel=1)
        noise = 0 if centre else spread * 0.1
        return np.array([[len(sentence), sentence.count("a") + noise] for sentence in sentences])

    def decode(self, codes: Any, length: int, seed: int) -> list[str]:
        return [" ".join(f"{number:g}" for number in code) for code in codes]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "opened", lambda *_: Model())


def test_a_sum_of_codes_is_written_beside_its_parts(
    model: None, tuner: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(tuner("arithmetic", "s/0", "aaa", "a", "bbbb", "--json"))
    assert found["sentence"] == "6 2"  # 3 − 1 + 4 letters, 3 − 1 + 0 of them a
    assert found["reconstructions"] == ["3 3", "1 1", "4 0"]
    twice = json.loads(tuner("arithmetic", "s/0", "aaa", "a", "bbbb", "--factor", "2", "--sampled", "--json"))
    assert twice["sentence"] == "9 1.1"
    assert tuner("arithmetic", "s/0", "aaa", "a", "bbbb").splitlines()[-1] == "= 6 2"


def test_perturbed_codes_stand_beside_the_mean_and_a_sample_for_every_run(model: None, tuner: Command) -> None:
    asked = ("perturbed", "s/0", "s/1", "--sentence", "aab", "--sentence", "b")
    found = json.loads(tuner(*asked, "--json"))
    assert found["runs"]["s/1"] == {"M": ["3 2", "1 0"], "R": ["3 2.1", "1 0.1"], "P": ["3 3", "1 1"]}
    assert tuner(*asked, "--format", "csv", "--spread", "20").splitlines() == [
        ",s/0,s/1", "D,aab,", "M,3 2,3 2", "R,3 2.1,3 2.1", "P,3 4,3 4",
        "D,b,", "M,1 0,1 0", "R,1 0.1,1 0.1", "P,1 2,1 2",
    ]  # fmt: skip
    with pytest.raises(Usage, match="--format 'pdf' is unknown: choose one of table, markdown, latex, csv"):
        tuner(*asked, "--format", "pdf")


def test_a_file_of_questions_must_hold_some(tuner: Command, tmp_path: Path) -> None:
    (tmp_path / "q").write_text("\n\n")
    with pytest.raises(Usage, match="holds no question: it must have one a line"):
        tuner("answer", "s/0", "--file", str(tmp_path / "q"))
    with pytest.raises(Usage, match="cannot be read"):
        tuner("answer", "s/0", "--file", str(tmp_path / "none"))
