"""The von Mises–Fisher distribution against quadrature on the circle and the sphere, and the technique that takes it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import generation, objectives, tempered
from trainers.errors import BadInput
from trainers.latent import sphere
from trainers.latent.distributions import Mixture, divergence
from trainers.latent.sphere import VonMisesFisher
from trainers.models import Batch, SenVAE
from trainers.runs import Spec, train
from trainers.samples import latent_run
from trainers.session import Session
from trainers.training import build_model

CPU = torch.device("cpu")
KAPPAS = [0.3, 4.0, 40.0]
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(40)]


def direction(d: int, count: int = 1) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, d).double(), dim=-1)


def grid(d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the unit sphere of 2 or 3 dimensions and their shares of its surface: equal angles, Gauss–Legendre heights."""
    angles = torch.linspace(0, 2 * math.pi, 401).double()[:-1]
    circle = torch.stack([angles.cos(), angles.sin()], dim=-1)
    if d == 2:
        return circle, torch.full((400,), 2 * math.pi / 400).double()
    heights, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(200))
    points = torch.cat([heights[:, None, None].expand(-1, 400, 1), (1 - heights**2).sqrt()[:, None, None] * circle], -1)
    return points.flatten(0, 1), (weights * 2 * math.pi / 400).repeat_interleave(400)


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("d", [2, 3])
def test_density_rate_mean_and_entropy_are_quadratures(d: int, kappa: float) -> None:
    q, uniform = VonMisesFisher(direction(d), kappa), VonMisesFisher(direction(d), 0.0)
    (points, shares), surface = grid(d), 2 * math.pi if d == 2 else 4 * math.pi
    log_q = q.log_prob(points)
    mass = log_q.exp() * shares
    assert mass.sum().item() == pytest.approx(1)
    torch.testing.assert_close(uniform.log_prob(points), torch.full_like(log_q, -math.log(surface)))
    closed, nothing = divergence(q, Mixture(uniform), torch.empty(0), torch.empty(0))
    assert nothing is None
    assert closed.item() == pytest.approx((mass * (log_q + math.log(surface))).sum().item())
    assert q.entropy.item() == pytest.approx(-(mass * log_q).sum().item())
    torch.testing.assert_close(q.mean[0], mass @ points)


@pytest.mark.parametrize("kappa", [0.0, *KAPPAS, 500.0])
@pytest.mark.parametrize("d", [2, 3, 16])
def test_draws_follow_the_density_and_bring_it(d: int, kappa: float) -> None:
    q = VonMisesFisher(direction(d, 2), kappa)
    z, log_q = q.transform(q.noise(40_000, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones_like(log_q))
    torch.testing.assert_close(q.log_prob(z), log_q)
    cosine = (z * q.direction).sum(-1)
    weight = torch.from_numpy(np.cos(np.linspace(0, math.pi, 20_001)))
    log_density = (d - 2) / 2 * torch.log1p(-weight.square().clamp(max=1 - 1e-15)) + kappa * weight
    density = (log_density - log_density.max()).exp()
    angle = torch.linspace(0, math.pi, 20_001).double()
    for power in (1, 2, 3):
        wanted = torch.trapezoid(density * weight**power, angle) / torch.trapezoid(density, angle)
        spread = (cosine**power).std().item() / math.sqrt(cosine.numel())
        assert (cosine**power).mean().item() == pytest.approx(wanted.item(), abs=4.5 * spread + 1e-9)
    mean = q.mean
    assert (z.mean(0) - mean).abs().max() < 5 / math.sqrt(40_000 * d) + 1e-3


def test_no_noise_is_the_direction_and_more_noise_a_larger_angle() -> None:
    q, noise = VonMisesFisher(direction(5, 3), 20.0), torch.randn(1, 3, 5).double()
    torch.testing.assert_close(q.transform(0 * noise)[0][0], q.direction)
    angles = [(q.transform(by * noise)[0][0] * q.direction).sum(-1) for by in (0.5, 1.0, 2.0)]
    assert (angles[0] > angles[1]).all()
    assert (angles[1] > angles[2]).all()
    first = VonMisesFisher(torch.eye(1, 5).double(), 20.0)  # the axis itself, where the reflection is none
    torch.testing.assert_close(first.transform(noise[:, :1])[1], first.log_prob(first.transform(noise[:, :1])[0]))


@pytest.mark.parametrize(("copies", "spread"), [(1, 1.0), (2, 1.5), (1, 10.0)])
def test_a_wider_spread_is_a_lower_concentration_and_none_the_direction(copies: int, spread: float) -> None:
    d, kappa, count = 16, 25.0, 4000
    mu = direction(d)
    q = VonMisesFisher(mu.expand(count, d), kappa).repeated(copies)
    noise = q.noise(1, torch.Generator().manual_seed(0))
    cosine = (q.codes(noise, spread)[0].unflatten(-1, (copies, d)) * mu[0]).sum(-1)
    assert cosine.mean().item() == pytest.approx(sphere.mean_cosine(d, kappa / spread**2), abs=4 / math.sqrt(count * d))
    torch.testing.assert_close(q.codes(noise, 0.0)[0], mu.repeat(count, copies))


def test_draws_carry_the_gradient_of_the_direction() -> None:
    raw, noise = torch.randn(2, 4).double().requires_grad_(), torch.randn(3, 2, 4).double()

    def draw(x: torch.Tensor) -> torch.Tensor:
        return VonMisesFisher(torch.nn.functional.normalize(x, dim=-1), 7.0).transform(noise)[0]

    assert torch.autograd.gradcheck(draw, (raw,))


def test_the_normaliser_is_right_where_bessel_functions_leave_the_range_of_numbers() -> None:
    for d, kappa in ((512, 1.0), (4, 3000.0)):
        assert math.isfinite(sphere.rate(d, kappa))
        assert sphere.rate(d, kappa) > 0
    assert sphere.rate(32, 1e-4) == pytest.approx(0, abs=1e-8)
    assert sphere.rate(3, 2.0) == pytest.approx(math.log(2 / math.sinh(2)) + 2 * (1 / math.tanh(2) - 1 / 2))


def model(d: int, kappa: float = 6.0) -> SenVAE:
    made = build_model(objectives.create("vmf", {"kappa": kappa}), 11, replace(SMALL, d_z=d), LENGTHS)
    assert isinstance(made, SenVAE)
    return made.double().eval()


def test_the_tempered_proposal_is_exact_and_its_estimate_quadratures() -> None:
    made = model(2)
    with torch.no_grad():
        made.to_h_0.weight.mul_(6)
    angles = torch.linspace(0, 2 * math.pi, 2001).double()[:-1]
    z = torch.stack([angles.cos(), angles.sin()], dim=-1)
    truth = 0.0
    with torch.no_grad():
        for sentence in SENTENCES:
            nll = made.decoder(Batch.of([sentence], CPU).repeat(len(z)), made.initial_state(z))
            truth += (math.log(len(z)) - (-nll).logsumexp(0)).item() / len(SENTENCES)
        weights = tempered.Weights(made, SENTENCES, 0, 4096)
        q = made.posterior_of(weights.features[[3]])
        wanted = (0.4 * q.log_prob(z[:, None]) - 0.6 * math.log(2 * math.pi))[:, 0]
        wanted = wanted - wanted.logsumexp(0) + math.log(len(z) / (2 * math.pi))
        torch.testing.assert_close(weights.log_proposal([3], z[:, None], 0.4)[:, 0], wanted)
    found = tempered.estimate(made, SENTENCES, 0, 4096)
    low, high = found.interval
    assert low <= truth <= high
    assert found.resolved


def test_a_sphere_of_one_dimension_is_none_and_other_components_are_refused() -> None:
    with pytest.raises(BadInput, match="d_z = 1 is not allowed for vmf"):
        model(1)
    with pytest.raises(BadInput, match=r"prior = 'mog' is not allowed for vmf, which brings its own"):
        build_model(objectives.create("vmf", {}), 11, replace(SMALL, prior="mog"), LENGTHS)


def test_the_entropy_of_codes_is_of_the_sphere(tmp_path: Path) -> None:
    values = {"corpus_size": 1000, "max_epochs": 1, "nll_samples": 1, "nll_sentences": 5, "d_z": 3, "kappa": 0.01}
    train(Spec("vmf", "grammar", "tiny", values), tmp_path, lambda event, facts: None)
    found = latent_run(tmp_path, {"pairs": 10, "swaps": 1, "labelled": "0"}, lambda event, facts: None)
    assert found["entropy"] == pytest.approx(math.log(4 * math.pi), abs=0.1)
    assert found["normal_entropy"] is None


def test_a_homotopy_follows_the_sphere_from_one_code_to_the_other() -> None:
    made, ends, share = model(5), direction(5, 2), torch.linspace(0, 1, 7).double()[:, None]
    z = made.between(ends[0], ends[1], share)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(7).double())
    torch.testing.assert_close(z[[0, -1]], ends)
    plain = build_model(objectives.create("vanilla", {}), 11, replace(SMALL, d_z=5), LENGTHS)
    assert isinstance(plain, SenVAE)
    torch.testing.assert_close(plain.between(ends[0], ends[1], share), ends[0] + share * (ends[1] - ends[0]))


def test_a_sum_of_codes_is_decoded_from_its_nearest_code_on_the_sphere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"d_z": 3, "d_e": 8, "d_h": 8, "corpus_size": 64, "max_epochs": 1, "nll_samples": 2, "nll_sentences": 20}
    train(Spec("vmf", "grammar", "tiny", values), tmp_path, lambda event, facts: None)
    decoded: list[torch.Tensor] = []

    def decode(_model: SenVAE, z: torch.Tensor, *_: Any) -> list[list[int]]:
        decoded.append(z)
        return []

    monkeypatch.setattr(generation, "decode", decode)
    codes = direction(3, 4).float()
    total = codes[0] - codes[1] + codes[2]
    Session(tmp_path).decode([total.tolist(), codes[3].tolist()], False, 5, 0)
    torch.testing.assert_close(decoded[0], torch.stack([total / total.norm(), codes[3]]))
