"""Posteriors and priors against autograd, quadrature and naive loops."""

import math
from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor

from trainers.latent import distributions
from trainers.latent.distributions import Conditional, Flow, Gaussian, Mixture, Step, divergence
from trainers.latent.flows import MADE, AutoregressiveStep, PlanarStep
from trainers.latent.posteriors import POSTERIORS
from trainers.latent.priors import LENGTH_SEED
from trainers.models import SenVAE
from trainers.objectives.infovae import mmd_squared

B = 3


def made(d: int, context: int = 9) -> MADE:
    network = MADE(d, context).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.7)
    return network


def step(kind: str, d: int) -> Step:
    if kind == "iaf":
        return AutoregressiveStep(made(d), torch.randn(B, 9).double())
    return PlanarStep(*(torch.randn(B, n).double() for n in (d, d)), torch.randn(B).double())


def flow(kind: str, d: int, steps: int = 3) -> Flow:
    base = Gaussian(torch.randn(B, d).double(), torch.rand(B, d).double() + 0.5)
    return Flow(base, [step(kind, d) for _ in range(steps)])


KINDS = ("iaf", "planar")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_log_determinant_is_autograds(kind: str, d: int) -> None:
    one, z = step(kind, d), torch.randn(B, d).double()
    log_det = one.forward(z)[1]
    jacobian = torch.autograd.functional.jacobian(lambda x: one.forward(x)[0], z)  # [B, d, B, d]
    for b in range(B):
        assert log_det[b].item() == pytest.approx(math.log(abs(torch.linalg.det(jacobian[b, :, b]).item())), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_inverse_undoes_and_log_prob_agrees_with_the_samples_own_density(kind: str, d: int) -> None:
    q = flow(kind, d)
    z, log_q = q.transform(q.noise(50))
    with torch.no_grad():
        torch.testing.assert_close(q.log_prob(z), log_q, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(q.log_prob(z), log_q)  # with gradients nothing ends early


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2])
@torch.no_grad()
def test_densities_integrate_to_one(kind: str, d: int) -> None:
    q, side = flow(kind, d, steps=2), torch.linspace(-14, 14, 28001 if d == 1 else 421).double()
    grid = torch.cartesian_prod(*[side] * d).view(-1, 1, d)
    mass = q.log_prob(grid).exp().sum(0) * (side[1] - side[0]) ** d
    assert mass.tolist() == pytest.approx([1.0] * B, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_any_code_has_exact_gradients(kind: str) -> None:
    q = flow(kind, 3, steps=2)
    tensors = [q.base.location]
    for one in q.steps:
        tensors += [one.context] if isinstance(one, AutoregressiveStep) else [one.u, one.w, one.b]  # type: ignore[attr-defined]
    for tensor in tensors:
        tensor.requires_grad_()
    z = torch.randn(2, B, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: q.log_prob(z), (z, *tensors))


def test_made_is_strictly_autoregressive_and_every_dimension_sees_the_context() -> None:
    network, context = made(5), torch.randn(1, 9).double()
    z = torch.randn(1, 5).double()
    below = torch.ones(5, 5).tril(-1) > 0
    for by_z, by_context in torch.autograd.functional.jacobian(network, (z, context)):
        assert (by_z[0, :, 0][~below] == 0).all()
        assert (by_z[0, :, 0][below] != 0).all()
        assert (by_context[0, :, 0].abs().sum(-1) > 0).all()


def test_iaf_is_equation_16_of_the_paper() -> None:
    q = flow("iaf", 4, steps=2)
    noise = q.noise(1)
    z = q.base.location + q.base.scale * noise[0]
    log_q = (-0.5 * noise[0] ** 2 - 0.5 * math.log(2 * math.pi) - q.base.scale.log()).sum(-1)
    for one in q.steps:
        assert isinstance(one, AutoregressiveStep)
        u, logits = one.made(z, one.context)
        s = torch.sigmoid(logits)
        z, log_q = (1 - s) * u + s * z, log_q - s.log().sum(-1)
    torch.testing.assert_close(q.transform(noise)[0][0], z)
    torch.testing.assert_close(q.transform(noise)[1][0], log_q)


def test_a_planar_step_is_kept_invertible_whatever_the_encoder_says() -> None:
    w = torch.randn(B, 4).double()
    one = PlanarStep(-3 * w, w, torch.zeros(B).double())  # wᵀu far below −1: not invertible as it stands
    assert ((w * one.u).sum(-1) < -1).all()
    torch.testing.assert_close((w * one.u_hat).sum(-1), one.slope)
    assert (one.slope > -1).all()
    z = torch.randn(20, B, 4).double()
    torch.testing.assert_close(one.inverse(one.forward(z)[0]), z)


@pytest.mark.parametrize("kind", ["gaussian", *KINDS])
def test_conditions_can_be_picked(kind: str) -> None:
    q: Conditional = POSTERIORS[kind](6, SMALL).double()(torch.randn(5, 6).double())
    z, index = torch.randn(4, 1, SMALL.d_z).double(), torch.tensor([3, 1])
    torch.testing.assert_close(q[index].log_prob(z), q.log_prob(z)[:, index])


def naive_mixture(z: Tensor, u: Tensor, s: Tensor) -> float:
    total = 0.0
    for k in range(len(u)):
        total += math.prod(
            math.exp(-0.5 * ((z[d] - u[k, d]) / s[k, d]) ** 2) / (s[k, d] * math.sqrt(2 * math.pi))
            for d in range(u.shape[1])
        )
    return math.log(total / len(u))


def test_mixture_of_gaussians_equals_a_loop_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SenVAE(11, replace(SMALL, prior="mog"), LENGTHS).double()
    with torch.no_grad():
        model.prior.scale.normal_()
    prior, z = model.prior_distribution(), torch.randn(2, 3, SMALL.d_z).double()
    parts = prior.components
    assert isinstance(parts, Gaussian)
    expected = [naive_mixture(one, parts.location.detach(), parts.scale.detach()) for one in z.view(-1, SMALL.d_z)]
    assert prior.log_prob(z).flatten().tolist() == pytest.approx(expected)
    monkeypatch.setattr(distributions, "CHUNK_DENSITIES", 17)
    with torch.no_grad():
        assert prior.log_prob(z).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["gaussian", *KINDS])
def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(kind: str) -> None:
    model = SenVAE(11, replace(SMALL, prior="vamp", posterior=kind), LENGTHS).double()
    z, densities = torch.randn(6, SMALL.d_z).double(), []
    for pseudo, length in zip(model.prior.pseudo, model.prior.lengths_cpu, strict=True):
        _, state = model.encoder(pseudo[None, : int(length)])  # one at a time, no padding
        q = model.to_posterior(torch.cat([state[-2], state[-1]], -1))
        densities.append(q.log_prob(z[:, None])[:, 0].exp())
    expected = torch.stack(densities).mean(0).log()
    torch.testing.assert_close(model.prior_distribution().log_prob(z), expected)


def test_vamp_priors_lengths_are_those_of_the_training_text_and_always_the_same() -> None:
    options = replace(SMALL, prior="vamp", components=2000)
    first, second = (SenVAE(11, options, (20.0, 5.0)).prior.lengths_cpu for _ in range(2))
    assert torch.equal(first, second)
    assert first.double().mean() == pytest.approx(20, abs=0.5)
    assert first.double().std() == pytest.approx(5, abs=0.5)
    drawn = np.random.default_rng(LENGTH_SEED).normal(1.0, 5.0, 2000)
    assert drawn.min() < 0  # would be no length
    assert SenVAE(11, options, (1.0, 5.0)).prior.lengths_cpu.min() == 1


def test_mixture_samples_have_its_moments_and_carry_gradients_to_the_components() -> None:
    u = torch.tensor([[0.0, 5.0], [4.0, -5.0]]).double().requires_grad_()
    z = Mixture(Gaussian(u, torch.full((2, 2), 0.5).double())).sample(20_000, torch.Generator().manual_seed(0))
    assert z.mean(0).tolist() == pytest.approx([2, 0], abs=0.15)
    assert z.var(0).tolist() == pytest.approx([4.25, 25.25], rel=0.02)
    z.sum().backward()
    assert u.grad is not None
    assert u.grad.sum(0).tolist() == [20_000, 20_000]  # each draw moves one component by 1
    assert u.grad[:, 0].tolist() == pytest.approx([10_000, 10_000], rel=0.05)


def test_monte_carlo_divergence_agrees_with_the_closed_form_within_its_error() -> None:
    q = Gaussian(torch.randn(B, 2).double(), torch.rand(B, 2).double() + 0.2)
    single = Mixture(Gaussian(torch.zeros(1, 2).double(), torch.ones(1, 2).double()))
    double = Mixture(
        Gaussian(torch.zeros(2, 2).double(), torch.ones(2, 2).double())
    )  # the same density, not one Gaussian
    z, log_q = q.transform(q.noise(20_000, torch.Generator().manual_seed(0)))
    exact, per_dimension = divergence(q, single, z, log_q)
    u, s = q.location, q.scale
    torch.testing.assert_close(per_dimension, 0.5 * (u**2 + s**2 - 1) - s.log())
    sampled, nothing = divergence(q, double, z, log_q)
    assert nothing is None
    error = (log_q - double.log_prob(z)).std(0) / math.sqrt(20_000)
    assert ((sampled - exact).abs() < 4 * error).all()
    assert (error < 0.03).all()


def test_mmd_equals_a_double_loop_and_is_unbiased() -> None:
    a, b = torch.randn(4, 3).double(), torch.randn(5, 3).double() + 1
    assert mmd_squared(a, b).item() == pytest.approx(oracles.mmd_squared(a.numpy(), b.numpy()))
    draws = torch.stack([mmd_squared(torch.randn(8, 3), torch.randn(8, 3)) for _ in range(2000)])
    assert draws.min() < 0
    assert abs(draws.mean().item()) < 4 * draws.std().item() / math.sqrt(2000)
    assert mmd_squared(torch.randn(1, 3), torch.randn(8, 3)).item() == 0
