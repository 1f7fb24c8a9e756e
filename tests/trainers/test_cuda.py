"""A GPU gives what a processor gives: figures, gradients, and a training of each technique that goes on from its checkpoint."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CHEAP
from torch.nn import functional as F

from trainers import corpus, objectives
from trainers.errors import Failure
from trainers.evaluation import evaluate
from trainers.models import Batch, SentenceModel, SenVAE
from trainers.options import EvaluationOptions, ModelOptions
from trainers.precision import multiplying
from trainers.runs import Spec, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")

SIZES = ModelOptions(d_z=4, d_e=32, d_h=32, dropout=0.0, d_c=16, components=5, flow_steps=2)
SENTENCES = [np.random.default_rng(n).integers(4, 50, size=n) for n in (1, 3, 6, 7, 9, 9, 14)]
KINDS: list[dict[str, Any]] = [
    {},
    {"conditioning": "every-step", "prior": "mog"},
    {"posterior": "iaf", "prior": "vamp"},
    {"posterior": "planar", "decoder_layers": 2, "bidirectional": False},
    {"cell": "lstm", "conditioning": "both", "own_embeddings": True, "tied": False},
    {"cell": "double-lstm", "conditioning": "both"},
    {"cell": "transformer", "conditioning": "memory", "heads": 2, "d_f": 8, "pooling": "mean", "skip": True},
]


def on_both(kind: dict[str, Any]) -> tuple[SentenceModel, SentenceModel]:
    """One model, on a processor and on a GPU."""
    torch.manual_seed(0)
    options = replace(SIZES, **kind)
    model = SenVAE(50, options, (6.0, 3.0))
    return model, copy.deepcopy(model).cuda()


def gradients(model: SentenceModel) -> tuple[float, torch.Tensor]:
    """The loss and its gradients in one vector, at the posterior's centre."""
    device = next(model.parameters()).device
    with multiplying(model.options.precision):
        model.spread = 0.0
        output = model.train()(Batch.of(SENTENCES, device))
        loss = (output.distortion + output.rate).sum()
        loss.backward()
    return loss.item(), torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_are_a_processors(kind: dict[str, Any]) -> None:
    (own, exact), (loss, found) = (gradients(model) for model in on_both(kind))
    assert loss == pytest.approx(own, rel=1e-5)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_rounded_products_train_along_the_same_gradients(precision: str) -> None:
    own, model = on_both({})
    _, exact = gradients(own)
    model.options = model.decoder.options = replace(model.options, precision=precision)
    _, found = gradients(model)
    assert F.cosine_similarity(found, exact, dim=0) > 0.99
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"  # evaluation's


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_estimate_is_a_processors(kind: dict[str, Any]) -> None:
    options = EvaluationOptions(nll="tempered", rows=64)
    own, found = (evaluate(model, SENTENCES, options, 0) for model in on_both(kind))
    assert found.nll == pytest.approx(own.nll, rel=1e-4)  # draws of a level are a sentence's own, whatever the device
    assert found.estimator["temper"] == own.estimator["temper"]


@pytest.mark.parametrize("technique", objectives.techniques())
def test_a_technique_trains_and_goes_on_from_its_checkpoint(
    technique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "GRAMMAR_HELD_OUT", 40)
    values = {
        "d_z": 4, "d_e": 8, "d_h": 8, "d_c": 8, "corpus_size": 128, "max_epochs": 2, "nll": "tempered", "nll_sentences": 20,
        "device": "cuda", **CHEAP.get(technique, {}),
    }  # fmt: skip
    spec, epochs = Spec(technique, "grammar", "tiny", values), []

    def report(event: str, facts: dict[str, Any]) -> None:
        if event == "epoch":
            epochs.append(facts["epoch"])

    with pytest.raises(Failure, match="goes on from its checkpoint"):
        train(spec, tmp_path, report, stop=lambda: bool(epochs))
    assert len(epochs) == 1
    metrics = train(spec, tmp_path, report)["metrics"]
    assert epochs == list(range(1, len(epochs) + 1))
    assert math.isfinite(metrics["nll"])
