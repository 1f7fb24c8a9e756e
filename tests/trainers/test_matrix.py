"""Every technique with every posterior and prior: one step on the grammar, saved, loaded, and the same figures again."""

import math
from pathlib import Path
from typing import Any

import pytest
from conftest import CHEAP

from trainers import corpus, objectives
from trainers.errors import BadInput
from trainers.options import ModelOptions, build
from trainers.runs import Spec, check, evaluate_run, train

CELLS = [
    (technique, posterior, prior)
    for technique in objectives.techniques()
    for posterior in ("gaussian", "iaf", "planar")
    for prior in ("normal", "mog", "vamp")
]
TINY = {
    "d_z": 2, "d_e": 8, "d_h": 8, "d_c": 8, "flow_steps": 2, "components": 3, "corpus_size": 64, "max_epochs": 1,
    "nll_samples": 3, "nll_sentences": 20, "gallery": 0,
}  # fmt: skip


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


OTHER_CELLS = [
    {"cell": "lstm", "conditioning": "every-step", "bidirectional": False, "reversed": True, "dropout_mask": "step"},
    {"cell": "double-lstm", "conditioning": "both", "own_embeddings": True, "tied": False, "inputless": True},
    {"cell": "transformer", "conditioning": "memory", "heads": 2, "d_f": 8, "pooling": "mean", "skip": True},
]


def one_step(technique: str, values: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The figures of a training of one step, the same from its checkpoint; None where the technique refuses the options."""
    spec = Spec(technique, "grammar", "tiny", {**TINY, **CHEAP.get(technique, {}), **values})
    if objectives.create(technique, {}).refusal(build(ModelOptions, values)):
        for attempt in (lambda: check(spec, []), lambda: train(spec, folder, silent)):
            with pytest.raises(BadInput, match="is not allowed for"):
                attempt()
        return None
    metrics: dict[str, Any] = train(spec, folder, silent)["metrics"]
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    assert evaluate_run(folder, {}, None, silent).plain() == metrics
    return metrics


@pytest.fixture(autouse=True)
def little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "GRAMMAR_HELD_OUT", 40)


@pytest.mark.parametrize(("technique", "posterior", "prior"), CELLS)
def test_one_step_and_the_same_nll_from_the_checkpoint(
    technique: str, posterior: str, prior: str, tmp_path: Path
) -> None:
    metrics = one_step(technique, {"posterior": posterior, "prior": prior}, tmp_path)
    if metrics and posterior != "gaussian":  # R and D are means over the same samples as the NLL: Jensen holds exactly
        assert metrics["nll"] <= metrics["neg_elbo"] + 1e-4


@pytest.mark.parametrize("technique", objectives.techniques())
@pytest.mark.parametrize("options", OTHER_CELLS, ids=lambda options: options["cell"])
def test_every_technique_trains_every_cell(technique: str, options: dict[str, Any], tmp_path: Path) -> None:
    metrics = one_step(technique, {**options, "gallery": 2}, tmp_path)
    refused = {"rnnlm": "double-lstm", "coupled": "lstm"}  # no code for the first LSTM; no initial state to match
    refused |= {
        name: "double-lstm" for name in objectives.techniques() if "word-dropout" in name or name == "dvae"
    }  # no words
    assert (metrics is None) == (refused.get(technique) == options["cell"])


@pytest.mark.parametrize("technique", [name for name in objectives.techniques() if name != "rnnlm"])
def test_every_technique_goes_with_a_pretrained_encoder(technique: str, tmp_path: Path) -> None:
    assert one_step(technique, {"pretrain": "ae"}, tmp_path)


def test_a_technique_without_a_code_has_no_encoder_to_pretrain(tmp_path: Path) -> None:
    spec = Spec("rnnlm", "grammar", "tiny", {**TINY, "pretrain": "ae"})
    for attempt in (lambda: check(spec, []), lambda: train(spec, tmp_path, silent)):
        with pytest.raises(BadInput, match="pretrain = 'ae' is not allowed for a technique without a latent code"):
            attempt()


def test_cells_that_make_no_sense_are_these() -> None:
    refusing = {
        technique
        for technique, posterior, prior in CELLS
        if objectives.create(technique, {}).refusal(ModelOptions(posterior=posterior, prior=prior))
    }
    assert refusing == {"rnnlm", "fb-dim", "pretrained-fb", "bn", "delta", "vmf", "dvae", "semi-amortised"}
