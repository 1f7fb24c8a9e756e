"""Figures against truth: the grammar's exact entropy, and the rates that the techniques promise."""

from pathlib import Path
from typing import Any

import pytest

from trainers.corpus import load
from trainers.options import CorpusOptions
from trainers.runs import Spec, train

SIZE = 8000


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def figures(folder: Path, technique: str, **values: Any) -> dict[str, Any]:
    metrics: dict[str, Any] = train(Spec(technique, "grammar", "tiny", values, seed=0), folder, silent)["metrics"]
    return metrics


def test_a_language_models_nll_is_above_the_entropy_and_within_two_percent(tmp_path: Path) -> None:
    size = 32_000
    found = figures(tmp_path, "rnnlm", corpus_size=size, nll_sentences=0, max_epochs=6, dropout=0.0, learning_rate=2e-3)
    corpus = load("grammar", CorpusOptions(corpus_size=size))
    assert corpus.entropy is not None
    assert corpus.exact_nll is not None
    # The same sentences' exact −log P: the model's excess over it is a divergence, free of the draw's luck.
    assert corpus.exact_nll["valid"] < found["nll"] < corpus.exact_nll["valid"] + 0.02 * corpus.entropy
    assert corpus.entropy < found["nll"] < 1.02 * corpus.entropy


@pytest.mark.parametrize("technique", ["sfb", "fb", "mdr"])
def test_a_target_rate_is_held_and_the_nll_is_not_below_the_entropy(tmp_path: Path, technique: str) -> None:
    found = figures(tmp_path, technique, r=4.0, corpus_size=SIZE, max_epochs=8)
    entropy = load("grammar", CorpusOptions()).entropy
    assert entropy is not None
    assert found["rate"] == pytest.approx(4.0, rel=0.1)
    assert found["nll"] > entropy - found["nll_se"]
    assert found["neg_elbo"] >= found["nll"]
    assert not found["collapsed"]


@pytest.mark.parametrize("r", [2.0, 10.0])
def test_mdr_holds_its_rate_in_as_few_steps_as_the_main_job_has(tmp_path: Path, r: float) -> None:
    found = figures(tmp_path, "mdr", r=r, nll_samples=1, gallery=0)  # at the step size of the paper 4.6 and 9.5
    assert found["rate"] == pytest.approx(r, rel=0.1)


def test_vanilla_collapses_on_the_same_corpus(tmp_path: Path) -> None:
    found = figures(tmp_path, "vanilla", corpus_size=SIZE, max_epochs=8)
    assert found["rate"] < 0.2
    assert found["collapsed"]
    assert found["neg_elbo"] >= found["nll"]
