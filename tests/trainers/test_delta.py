"""A δ-VAE has no sentence whose rate is below δ."""

from pathlib import Path

import pytest
import torch
from conftest import SMALL

from trainers.latent.distributions import Gaussian, Mixture, divergence
from trainers.objectives.delta import Committed, bounds
from trainers.runs import Spec, train


@pytest.mark.parametrize("rate", [1e-3, 0.15, 1.0, 30.0, 1e4])
def test_the_bounds_are_the_two_roots(rate: float) -> None:
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in bounds(rate))
    assert low < 1 < high
    for sigma in (low, high)[rate > 30 :]:
        assert (0.5 * (sigma**2 - (sigma**2).log() - 1)).item() == pytest.approx(rate)


@pytest.mark.parametrize("delta", [0.01, 5.0, 60.0, 600.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_every_sentences_rate_is_at_least_delta_whatever_the_encoder_says(delta: float, kind: torch.dtype) -> None:
    layer = Committed(4, SMALL, delta).to(kind)
    features = (torch.randn(500, 4) * torch.logspace(-2, 3, 500)[:, None]).to(kind).requires_grad_()
    q, prior = layer(features), Mixture(Gaussian(torch.zeros(1, 3).to(kind), torch.ones(1, 3).to(kind)))
    each, per_dimension = divergence(q, prior, features, features)
    assert per_dimension is not None
    assert per_dimension.min().item() >= delta / 3 * (1 - 1e-5)
    assert each.min().item() == pytest.approx(delta, rel=0.2)  # the curve is reached
    each.sum().backward()
    assert torch.isfinite(features.grad).all()


def test_the_rate_holds_on_validation_data(tmp_path: Path) -> None:
    values = {"delta": 4.0, "d_z": 4, "d_e": 16, "d_h": 16, "max_epochs": 1, "nll_samples": 2, "corpus_size": 200}
    found = train(Spec("delta", "grammar", "tiny", values), tmp_path, lambda event, facts: None)["metrics"]
    assert found["rate"] >= 4.0
