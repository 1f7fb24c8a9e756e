"""A model leaves the house: exported, moved and opened in a fresh process it is the same, and its folder says what it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tuner
from trainers.contract import CARD, CONFIG, MODEL, WEIGHTS
from trainers.runs import Spec, train
from trainers.session import Session
from tuner.errors import Clash, Fault, Usage
from tuner.studies import model_folder

QUICK = {"max_epochs": 1, "nll_samples": 3, "nll_sentences": 20, "d_h": 12, "d_e": 12, "gallery": 0}
ASK = """
import json, sys, tuner
with tuner.load(sys.argv[1]) as model:
    texts = sys.argv[2:]
    print(json.dumps([
        model.sample(3, ancestral=True, seed=4), model.log_likelihood(texts, samples=9, seed=2).tolist(),
        model.encode(texts).tolist() if model.d_z else None, model.metrics, model.words,
    ]))
"""


def asked(folder: Path, texts: list[str], cwd: Path) -> list[object]:
    """Output of a fresh process about a model."""
    done = subprocess.run([sys.executable, "-c", ASK, str(folder), *texts], cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def trained(folder: Path, technique: str = "mdr", **values: object) -> Path:
    """A run on a text that lies in a folder of its own."""
    text = folder / "my_text"
    text.mkdir()
    for split, size in (("train", 60), ("valid", 20), ("test", 20)):
        lines = (
            f"the {noun} sees {n} ships"
            for n, noun in zip(range(size), ["pilot", "cook", "guest"] * size, strict=False)
        )
        (text / f"{split}.txt").write_text("\n".join(lines) + "\n")
    train(Spec(technique, str(text), "tiny", {**QUICK, **values}), folder / "run", lambda event, facts: None)
    return folder / "run"


@pytest.mark.parametrize(
    ("technique", "values"), [("mdr", {"tokens": "sentencepiece:30"}), ("rnnlm", {}), ("sfb", {"posterior": "iaf"})]
)
def test_a_moved_model_says_the_same_where_there_is_no_study(
    technique: str, values: dict[str, object], tmp_path: Path
) -> None:
    run = trained(tmp_path, technique, **values)
    texts = ["the pilot sees 7 ships", "the cook sees ships"]
    then = asked(run, texts, tmp_path)
    model_folder.write(str(run), run, tmp_path / "out")
    away = tmp_path / "away"
    shutil.move(tmp_path / "out", away / "model")
    shutil.rmtree(run)
    shutil.rmtree(tmp_path / "my_text")
    assert asked(away / "model", texts, away) == then
    assert (away / "model" / MODEL).exists() == ("tokens" in values)
    noun = "piece" if "tokens" in values else "word"
    assert f"{noun}s in the vocabulary; fingerprint" in (away / "model" / CARD).read_text()
    assert f"PPL is per {noun}: of each sentence the {noun}s and the end count." in (away / "model" / CARD).read_text()
    with tuner.load(str(away / "model")) as model:
        assert repr(model).endswith(f" {noun}s>")
    assert not [file for file in (away / "model").iterdir() if str(tmp_path).encode() in file.read_bytes()]


TRANSFORMER = {"cell": "transformer", "heads": 2, "d_f": 8}


@pytest.mark.parametrize(
    ("technique", "values"),
    [
        ("sfb", {**TRANSFORMER, "conditioning": "memory", "skip": True, "pooling": "mean", "prior": "vamp"}),
        ("vanilla", {"cell": "lstm", "own_embeddings": True, "tied": False, "pooling": "max", "polyak": 0.9}),
        ("bn", {"cell": "double-lstm", "conditioning": "both"}),
        ("delta", {"delta": 3.0, "d_h_encoder": 7}),
        ("vmf", {**TRANSFORMER, "kappa": 9.0, "tokens": "characters"}),
        ("sfb", {"posterior": "planar", "prior": "mog", "reversed": True}),
    ],
)
def test_models_of_all_options_have_equal_likelihoods_there(
    technique: str, values: dict[str, object], tmp_path: Path
) -> None:
    run = trained(tmp_path, technique, d_z=4, d_c=8, components=3, **values)
    model_folder.write("s/1", run, tmp_path / "out")
    texts = ["the pilot sees 7 ships", "the cook sees ships"]
    one, other = (Session(folder) for folder in (run, tmp_path / "out"))
    assert one.log_likelihood(texts, 5, 0) == other.log_likelihood(texts, 5, 0)
    assert one.run.options.model == other.run.options.model


def test_the_commands_write_it_and_read_it(inside: Any, tmp_path: Path) -> None:
    run = trained(tmp_path)
    done = inside("export", str(run), "--model", "out")
    assert "open it anywhere" in done.stderr + done.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        CARD, CONFIG, WEIGHTS, "manifest.json", "vocabulary.json",
    }  # fmt: skip
    first = inside("sample", str(tmp_path / "out"), "--count", "3", "--ancestral")
    assert first.stdout == inside("sample", str(run), "--count", "3", "--ancestral").stdout
    inside("reproduce", str(tmp_path / "out"), "--corpus", str(tmp_path / "my_text"))
    both = inside("export", str(run), "--model", "other", "--bundle", "b.zip", code=2)
    assert "exclude each other" in both.stderr


def test_its_card_has_figures_text_and_command_and_a_head_of_yaml(tmp_path: Path) -> None:
    run = trained(tmp_path, test=True)
    model_folder.write("s/3", run, tmp_path / "out")
    card, config = ((tmp_path / "out" / name).read_text() for name in (CARD, CONFIG))
    known = json.loads(config)
    assert card.startswith("---\nlibrary_name: text-vae-tuner\n")
    assert "| figure | valid | test | meaning |" in card
    assert f"| nll | {known['metrics']['nll']:.4g}" in card
    assert known["corpus"]["fingerprint"] in card
    assert "tuner train --technique mdr --corpus my_text" in card
    assert r"mdr on my\_text" in card
    assert known["spec"]["values"].keys() >= {"r", "d_h", "truncation", "batch_size"}


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path)
    (tmp_path / "empty").mkdir()
    with monkeypatch.context() as patched, pytest.raises(Usage, match=r"--model \. is the folder that you are in"):
        patched.chdir(tmp_path / "empty")
        model_folder.write("r", run, Path())
    (tmp_path / "empty").rmdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(Clash, match="is there already: name a new folder"):
        model_folder.write("r", run, tmp_path / "full")
    (tmp_path / "file").write_text("")
    with pytest.raises(Usage, match=r"cannot be written \(Not a directory\): name a place in a folder that is there"):
        model_folder.write("r", run, tmp_path / "file" / "out")
    model_folder.write("r", run, tmp_path / "out")
    with pytest.raises(Usage, match="is an exported model itself"):
        model_folder.write("out", tmp_path / "out", tmp_path / "twice")
    (run / "result.json").unlink()
    with pytest.raises(Usage, match="is not finished"):
        model_folder.write("r", run, tmp_path / "early")
    assert {path.name for path in tmp_path.iterdir()} == {"my_text", "run", "full", "file", "out"}


@pytest.mark.parametrize("name", ["vocabulary.json", WEIGHTS, CONFIG])
def test_a_model_that_was_changed_on_its_way_is_not_opened(name: str, tmp_path: Path) -> None:
    model_folder.write("r", trained(tmp_path), tmp_path / "out")
    file = tmp_path / "out" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Fault, match=f"{name} is not what was published"):
        tuner.load(str(tmp_path / "out"))
