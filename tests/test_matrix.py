"""Every technique with every posterior and prior: one step on the grammar, saved, loaded, and the same figures again."""

import math
from pathlib import Path
from typing import Any

import pytest
from conftest import CHEAP

from trainers import corpus, objectives
from trainers.errors import BadInput
from trainers.options import ModelOptions
from trainers.runs import Spec, check, evaluate_run, train

CELLS = [
    (technique, posterior, prior)
    for technique in objectives.techniques()
    for posterior in ("gaussian", "iaf", "planar")
    for prior in ("normal", "mog", "vamp")
]
TINY = {
    "d_z": 2, "d_e": 8, "d_h": 8, "d_c": 8, "flow_steps": 2, "components": 3, "corpus_size": 64, "max_epochs": 1,
    "nll_samples": 3, "nll_sentences": 20,
}  # fmt: skip


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


@pytest.mark.parametrize(("technique", "posterior", "prior"), CELLS)
def test_one_step_and_the_same_nll_from_the_checkpoint(
    technique: str, posterior: str, prior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "GRAMMAR_HELD_OUT", 40)
    spec = Spec(
        technique, "grammar", "tiny", {**TINY, **CHEAP.get(technique, {}), "posterior": posterior, "prior": prior}
    )
    refused = objectives.create(technique, {}).refusal(ModelOptions(posterior=posterior, prior=prior))
    if refused:
        for attempt in (lambda: check(spec, []), lambda: train(spec, tmp_path, silent)):
            with pytest.raises(BadInput, match="is not allowed for"):
                attempt()
        return
    metrics = train(spec, tmp_path, silent)["metrics"]
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    if posterior != "gaussian":  # R and D are means over the same samples as the NLL: Jensen holds exactly
        assert metrics["nll"] <= metrics["neg_elbo"] + 1e-4
    assert evaluate_run(tmp_path, {}, None, silent).plain() == metrics


def test_cells_that_make_no_sense_are_these() -> None:
    refusing = {
        technique
        for technique, posterior, prior in CELLS
        if objectives.create(technique, {}).refusal(ModelOptions(posterior=posterior, prior=prior))
    }
    assert refusing == {"rnnlm", "fb-dim", "pretrained-fb"}
