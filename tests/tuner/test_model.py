"""A run in a notebook: its process says what the model in this one says, refuses what it cannot do, and ends."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tuner
from trainers import generation
from trainers.evaluation import evaluate
from trainers.generation import GenerationOptions
from trainers.models import SenVAE
from trainers.options import EvaluationOptions
from trainers.runs import Spec, open_run, train
from tuner import trainer
from tuner.errors import Fault, Usage
from tuner.run import Model

QUICK = {"corpus_size": 300, "max_epochs": 2, "nll_samples": 3, "nll_sentences": 30, "d_h": 12, "d_e": 12, "gallery": 0}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained runs: `vae`, and `lm` without a code."""
    folder = tmp_path_factory.mktemp("runs")
    for name, technique in (("vae", "mdr"), ("lm", "rnnlm")):
        train(Spec(technique, "grammar", "tiny", dict(QUICK)), folder / name, lambda event, facts: None)
    return folder


@pytest.fixture(scope="module")
def model(runs: Path) -> Iterator[Model]:
    with tuner.load(str(runs / "vae")) as opened:
        yield opened


def test_its_codes_sentences_and_likelihoods_are_the_models_own(model: Model, runs: Path) -> None:
    run = open_run(runs / "vae")
    assert isinstance(run.model, SenVAE)
    assert (model.technique, model.d_z, model.words) == ("mdr", 8, len(run.vocabulary))
    assert model.metrics == json.loads((runs / "vae" / "result.json").read_text())["metrics"]
    texts = model.sample(4, ancestral=True, length=12, seed=5)
    made = generation.sample(
        run.model, run.vocabulary, GenerationOptions(count=4, decoding="ancestral", length=12, seed=5)
    )
    assert texts == [" ".join(one.words) for one in made]
    texts = [text for text in texts if text] + ["this", "the ship"]
    read = [run.vocabulary.encode(text.split()) for text in texts]
    for centre in (True, False):
        generator = torch.Generator().manual_seed(3)
        codes = generation.encode(run.model, read, GenerationOptions(centre=centre), generator).numpy()
        found = model.encode(texts, centre=centre, seed=3)
        assert found.dtype == np.float32
        assert np.array_equal(found, codes)
    written = generation.reconstruct(run.model, run.vocabulary, read, GenerationOptions(centre=True))
    assert model.decode(model.encode(texts)) == [" ".join(words) for words in written]
    each = evaluate(run.model, read, EvaluationOptions(nll_samples=50), seed=2).each
    assert model.log_likelihood(texts, samples=50, seed=2).tolist() == [-nll for nll in each]
    drawn = model.prior(4000, seed=1)
    assert drawn.shape == (4000, 8)
    assert np.abs(drawn.mean(0)).max() < 0.1
    assert np.abs(drawn.std(0) - 1).max() < 0.1


def test_one_sentence_or_code_and_none(model: Model) -> None:
    code = model.encode("this ship")
    assert code.shape == (1, 8)
    assert model.decode(code[0]) == model.decode(code)
    assert model.log_likelihood("this ship").shape == (1,)
    assert model.encode([]).shape == (0, 8)
    assert model.decode(np.empty((0, 8))) == []
    assert model.log_likelihood([]).shape == (0,)


def test_without_a_code_the_likelihood_is_exact_and_the_rest_refused(runs: Path) -> None:
    run = open_run(runs / "lm")
    with tuner.load(str(runs / "lm")) as model:
        assert (model.d_z, repr(model).split(":")[1]) == (0, " rnnlm, d_z 0, " + f"{len(run.vocabulary):,} words>")
        texts = [" ".join(run.vocabulary.words[4:8]), run.vocabulary.words[5]]
        read = [run.vocabulary.encode(text.split()) for text in texts]
        state, expected = run.model.initial_state(torch.zeros(1, 0)), []
        for sentence in read:  # word by word
            at, word, total = state, torch.tensor([1]), 0.0
            for index in sentence.tolist():
                with torch.no_grad():
                    logits, at = run.model.decoder.step(word, at)
                total += logits.log_softmax(-1)[0, index].item()
                word = torch.tensor([index])
            expected.append(total)
        assert model.log_likelihood(texts).tolist() == pytest.approx(expected, abs=1e-4)
        assert len(model.sample(2, ancestral=True)) == 2
        for request in (lambda: model.encode("this"), lambda: model.decode([[0.0]]), lambda: model.prior(1)):
            with pytest.raises(Usage, match="needs a latent code, and rnnlm has none"):
                request()


def test_what_it_cannot_do_is_said_and_it_goes_on(model: Model) -> None:
    for request, said in (
        (lambda: model.encode([""]), "the sentence is empty"),
        (lambda: model.decode([[1.0, 2.0]]), r"codes of 2 numbers are not this run's: give \[n, 8\] finite numbers"),
        (lambda: model.decode(np.full((1, 8), np.nan)), "a code has a number that is none or too large"),
        (lambda: model.decode(np.zeros((1, 2, 8))), r"codes of shape \(1, 2, 8\) are not allowed"),
        (lambda: model.sample(0), "count = 0 is not allowed: count must be a whole number from 1 to 1,000,000"),
        (lambda: model.log_likelihood("this", samples=0), "nll_samples = 0 is not allowed"),
        (lambda: model.encode(["this", math.nan]), "sentence 1 is nan, a float: give strings"),
        (lambda: model.encode([b"this"]), "sentence 0 is b'this', a bytes: give strings"),
        (lambda: model.encode(b"this"), "are none: give a string, or several"),
        (lambda: model.encode(None), "sentences = None are none: give a string, or several"),
        (lambda: model.decode("x"), "are not allowed: give numbers"),
        (lambda: model.decode(np.zeros((1, 8), complex)), "codes of kind complex128 are not allowed: give numbers"),
        (lambda: model.prior(10**9), "count = 1000000000 is not allowed"),
        (lambda: tuner.load(3), "run 3 is no name: give STUDY/NUMBER or a folder"),
    ):
        with pytest.raises(Usage, match=said):
            request()
    with pytest.warns(UserWarning, match="sentence 1: not in the vocabulary, read as <unk>: qwerty"):
        assert model.encode(["this", "this qwerty"]).shape == (2, 8)
    with pytest.warns(UserWarning, match="read as <unk>|more notes") as caught:
        assert model.encode([f"this qwerty{number}" for number in range(1500)]).shape == (1500, 8)
    told = [str(warning.message) for warning in caught]
    assert told[-2:] == [
        "sentence 4: not in the vocabulary, read as <unk>: qwerty4",
        "1,495 more notes like these",
    ]
    assert len(told) == 6


def test_it_ends_with_its_block_and_names_what_is_missing(runs: Path, tmp_path: Path) -> None:
    with tuner.load(str(runs / "vae")) as model:
        process = model._trainer.process
    assert process.poll() is not None
    with pytest.raises(Usage, match="is closed: load it again"):
        model.sample(1)
    model.close()
    with tuner.load(str(runs / "vae")) as model:
        model._trainer.process.kill()
        model._trainer.process.wait()
        with pytest.raises(Fault):
            model.sample(1)
    (tmp_path / "empty").mkdir()
    shutil.copytree(runs / "vae", tmp_path / "figures", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(Usage, match="has figures and no weights, as the bundle that it came in left them out"):
        tuner.load(str(tmp_path / "figures"))
    (tmp_path / "figures" / "spec.json").write_text("[]")
    with pytest.raises(Usage, match="spec.json is no record of a run"):
        tuner.load(str(tmp_path / "figures"))
    with pytest.raises(Usage, match="holds no run"):
        tuner.load(str(tmp_path / "empty"))
    with pytest.raises(Usage, match="is no folder and no STUDY/NUMBER"):
        tuner.load("nothing")


def test_loading_a_run_loads_no_torch_and_the_example_runs(runs: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['explore.py', sys.argv[1]]; "
        "runpy.run_path('examples/explore.py', run_name='__main__'); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, str(runs / "vae")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sample: ") == 5
    assert done.stdout.count("log P -") == 2
    assert done.stderr == ""


def test_an_interrupted_call_leaves_the_model_as_it_was(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> Iterator[dict[str, Any]]:
        raise KeyboardInterrupt
        yield {}

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "_events", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.sample(2)
    assert len(model.sample(3)) == 3  # and not what was asked for before
