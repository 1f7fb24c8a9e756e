"""BN-VAE: the bound on the rate, batches of one sentence, and what evaluation normalises by."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import objectives
from trainers.errors import BadInput
from trainers.latent.distributions import Gaussian
from trainers.models import Batch, SenVAE
from trainers.objectives.bn import BatchNormalised
from trainers.runs import UNSEARCHABLE, Spec, check, corpus_of, open_run, train
from trainers.training import build_model

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(50)]


def model(gamma: float) -> SenVAE:
    made = build_model(objectives.create("bn", {"gamma": gamma}), 11, SMALL, LENGTHS)
    assert isinstance(made, SenVAE)
    return made.double()


@pytest.mark.parametrize("gamma", [0.3, 0.6, 2.0])
def test_the_rate_of_any_batch_is_at_least_the_bound(gamma: float) -> None:
    for batch in (SENTENCES[:8], SENTENCES):
        with torch.no_grad():
            rate = model(gamma)(Batch.of(batch, CPU)).rate.mean().item()
        assert rate >= 0.5 * SMALL.d_z * gamma**2 * (1 - 1e-2)


def test_means_have_the_scale_and_the_learned_shift() -> None:
    made = model(0.7)
    with torch.no_grad():
        made.to_posterior.shift.copy_(torch.tensor([1.0, -2.0, 0.5]))
    q = made.posterior(Batch.of(SENTENCES, CPU))
    assert isinstance(q, Gaussian)
    assert q.location.mean(0).tolist() == pytest.approx([1.0, -2.0, 0.5])
    assert q.location.std(0, correction=0).tolist() == pytest.approx([0.7] * 3, rel=1e-2)
    assert not [name for name, _ in made.named_parameters() if "gamma" in name]


def test_evaluation_takes_the_statistics_of_the_text_and_so_does_a_batch_of_one() -> None:
    layer = BatchNormalised(4, SMALL, 0.5).double()
    features = torch.randn(30, 4).double()
    plain = layer.location(features)
    layer.learn(features.split([7, 1, 22]))
    assert layer.mean.tolist() == pytest.approx(plain.mean(0).tolist())
    assert layer.variance.tolist() == pytest.approx(plain.var(0, correction=0).tolist())
    trained = layer(features[:1]).location  # as the last batch of an epoch may be
    layer.eval()
    torch.testing.assert_close(layer(features[:1]).location, trained)
    white = (plain - plain.mean(0)) / plain.std(0, correction=0)
    torch.testing.assert_close(layer(features).location, 0.5 * white)


def test_a_training_batch_of_one_takes_the_statistics_of_the_batch_before_it() -> None:
    layer = BatchNormalised(4, SMALL, 0.5).double()
    features = torch.randn(31, 4).double()
    layer(features[:30])
    plain = layer.location(features)
    white = (plain[30:] - plain[:30].mean(0)) / plain[:30].std(0, correction=0)
    torch.testing.assert_close(layer(features[30:]).location, 0.5 * white)


@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4])
def test_the_rate_does_not_depend_on_how_small_the_means_begin(size: float) -> None:
    torch.manual_seed(0)
    made = model(0.6)
    with torch.no_grad():
        made.to_posterior.location.weight.mul_(size)
        rate = made(Batch.of(SENTENCES, CPU)).rate.mean().item()
    assert rate >= 0.5 * SMALL.d_z * 0.6**2


def test_only_a_gaussian_under_the_standard_prior_has_the_bound() -> None:
    for options in ({"posterior": "planar"}, {"prior": "mog"}):
        with pytest.raises(BadInput, match="is not allowed for bn, whose bound is on the KL from a Gaussian"):
            build_model(objectives.create("bn", {}), 11, replace(SMALL, **options), LENGTHS)


def test_the_bound_holds_on_validation_data(tmp_path: Path) -> None:
    values = {"gamma": 1.0, "d_z": 4, "d_e": 16, "d_h": 16, "max_epochs": 2, "nll_samples": 2, "corpus_size": 600}
    found = train(Spec("bn", "grammar", "tiny", values), tmp_path, lambda event, facts: None)["metrics"]
    assert found["rate"] >= 0.5 * 4 * 1.0**2 * 0.95


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"polyak": 0.9},
        {"encoder_unk": 0.9},
        {"pretrain": "ae"},
        {"optimizer": "sgd", "learning_rate": 1.0, "uniform": 0.01},
    ],
    ids=str,
)
def test_evaluation_normalises_by_the_training_text_under_the_evaluated_weights(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values = {"d_z": 4, "d_e": 16, "d_h": 16, "max_epochs": 2, "nll_samples": 2, "corpus_size": 600, **values}
    train(Spec("bn", "grammar", "tiny", values), tmp_path, lambda event, facts: None)
    run = open_run(tmp_path)
    assert isinstance(run.model, SenVAE)
    text = Batch.of(corpus_of(run).splits["train"], CPU)
    found = run.model.posterior(text).location - run.model.to_posterior.shift
    assert found.mean(0).tolist() == pytest.approx([0.0] * 4, abs=1e-3)
    assert found.std(0, correction=0).tolist() == pytest.approx([0.6] * 4, rel=1e-3)
    assert run.model(text).rate.mean().item() >= 0.5 * 4 * 0.6**2


@pytest.mark.parametrize(
    ("technique", "values", "said"),
    [
        ("bn", {"batch_size": 1}, "batch_size = 1 is not allowed for bn, whose means are normalised over a batch"),
        ("infovae", {"batch_size": 1}, "batch_size = 1 is not allowed for infovae, whose divergence compares"),
        ("lagvae", {"batch_size": 1}, "batch_size = 1 is not allowed for lagvae, whose divergence compares"),
        ("infovae", {"batching": "length"}, "batching = 'length' is not allowed for infovae, whose divergence takes"),
        ("lagvae", {"batching": "length"}, "batching = 'length' is not allowed for lagvae, whose divergence takes"),
        ("semi-amortised", {"encoder_unk": 0.2}, "encoder_unk = 0.2 is not allowed for semi-amortised, whose steps"),
        ("word-dropout", {"inputless": True}, "inputless = true is not allowed for word-dropout, whose decoder would"),
    ],
)
def test_training_that_would_leave_the_technique_without_its_statistics_is_refused(
    technique: str, values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    asked = Spec(technique, "grammar", "tiny", {"corpus_size": 64, **values})
    attempts = [lambda: check(asked, []), lambda: train(asked, tmp_path, lambda event, facts: None)]
    if not UNSEARCHABLE.keys() & set(values):
        attempts.append(lambda: check(Spec(technique, "grammar", "tiny", {"corpus_size": 64}), [values]))
    for attempt in attempts:
        with pytest.raises(BadInput, match=said):
            attempt()
