"""Runs made again: exact where they must be, within the tolerance elsewhere, and what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tuner.analysis.reproduction import Record, compare
from tuner.commands.app import app
from tuner.commands.render import agreement
from tuner.errors import Fault, Usage
from tuner.metrics import METRICS

QUICK = ("corpus_size=100", "nll_samples=3", "nll_sentences=30", "d_h=8", "d_e=8", "max_epochs=1", "gallery=0")
HERE = {"system": "Linux", "architecture": "x86_64", "processor": "p", "accelerator": "", "threads": 1, "torch": "2.11"}


def record(machine: dict[str, Any] | None = None, **figures: Any) -> Record:
    metrics = {**dict.fromkeys(METRICS, 1.0), "nll": 100.0, "rate_error": None, **figures}
    return Record({}, "f", {**HERE, **(machine or {})}, 1, metrics)


def test_on_one_class_of_machine_any_difference_counts() -> None:
    assert compare(record(), record()).differs == []
    nan = {"nll_se": math.nan}
    assert compare(record(**nan), record(**nan)).differs == []
    assert (
        compare(record(**nan), record(nll_se=None)).differs == []
    )  # one sentence's, by an older version and by this one
    older = record()
    del older.metrics["target_rate"]  # which its program did not tell
    assert compare(older, record()).differs == []
    found = compare(record(), record(mi=1.0 + 1e-15, rate_error=0.0, test={"nll": 5.0}))
    assert (found.exact, found.differs) == (True, ["rate_error", "mi", "test.nll"])
    assert found.plain()["figures"]["nll"] == {"then": 100.0, "now": 100.0}


@pytest.mark.parametrize("key", sorted(HERE))
def test_on_another_class_the_figures_in_nats_must_be_near(key: str) -> None:
    other = {key: 99}
    assert compare(record(), record(other, nll=101.9, rate=2.9, active_units=7, mi=0.1)).differs == []
    found = compare(record(test={"nll": 100.0}), record(other, nll=102.1, rate=3.1, test={"nll": 97.9}))
    assert (found.exact, found.tolerance, found.differs) == (False, 2.0, ["nll", "rate", "test.nll"])
    assert compare(record(), record(other, rate=None)).differs == ["rate"]
    assert compare(record(), record(other, nll=100.5), tolerance=0.001).differs == ["nll"]


def test_on_a_gpu_the_figures_in_nats_must_be_near_even_on_the_same_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = {"accelerator": "a card"}
    assert compare(record(card), record(card, nll=101.9, mi=0.1)).differs == []
    found = compare(record(card), record(card, nll=102.1))
    assert (found.exact, found.differs) == (False, ["nll"])
    agreement(found)
    assert "on a GPU, which adds in any order: NLL, −ELBO, D and R must agree within 2 nats" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = [part for key in (*QUICK, "dropout=0.2", "tied=false") for part in ("--set", key)]
    app(["train", "-t", "mdr", "--seed", "3", "--out", str(folder), "--json", *settings], standalone_mode=False)
    return folder


@pytest.fixture
def reproduce(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(folder: Path, *more: str) -> dict[str, Any]:
        app(["reproduce", str(folder), "--runs", str(tmp_path / "runs"), "--json", *more], standalone_mode=False)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_a_run_records_what_made_it_and_comes_out_the_same(
    trained: Path, reproduce: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    known = json.loads((trained / "spec.json").read_text())
    assert known["versions"]["torch"] == torch.__version__
    assert {"python", "numpy", "safetensors"} <= set(known["versions"])
    assert known["spec"]["seed"] == 3
    assert len(known["corpus"]["fingerprint"]) == 16
    assert known["command"].startswith(
        "tuner train --technique mdr --corpus grammar --model tiny --seed 3 --set corpus_s"
    )
    assert known["command"].endswith("--set dropout=0.2 --set tied=false")
    found = reproduce(trained)
    assert (found["agrees"], found["exact"], found["differs"]) == (True, True, [])
    assert found["machine"]["then"] == found["machine"]["now"]
    assert not list((tmp_path / "runs" / "reproduce").iterdir())


def test_a_run_that_differs_ends_in_a_fault(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    result = json.loads((other / "result.json").read_text())
    result["metrics"]["ppl"] += 1e-9
    (other / "result.json").write_text(json.dumps(result))
    with pytest.raises(Fault, match="did not come out the same: ppl differ"):
        app(["reproduce", str(other), "--runs", str(tmp_path / "runs")], standalone_mode=False)


def test_what_cannot_be_made_again_is_said(trained: Path, tmp_path: Path) -> None:
    half, old, text = (tmp_path / name for name in ("half", "old", "text"))
    for folder in (half, old):
        shutil.copytree(trained, folder)
    (half / "result.json").unlink()
    with pytest.raises(Usage, match="is not finished, so there are no figures to compare with"):
        Record.read(half, "half")
    known = json.loads((old / "spec.json").read_text())
    del known["hardware"]
    (old / "spec.json").write_text(json.dumps(known))
    with pytest.raises(Usage, match="an older version, which recorded no hardware"):
        Record.read(old, "old")
    text.mkdir()
    for split in ("train", "valid", "test"):
        (text / f"{split}.txt").write_text("a b\n" * 20)
    with pytest.raises(Usage, match="has changed since"):
        app(["reproduce", str(trained), "--corpus", str(text), "--out", str(tmp_path / "o")], standalone_mode=False)
