"""The tempered multilevel estimate against quadrature, closed forms, naive loops and its own promise of coverage."""

import functools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import tempered
from trainers.evaluation import evaluate
from trainers.latent.distributions import Gaussian
from trainers.models import Batch, SenVAE
from trainers.options import EvaluationOptions
from trainers.tempered import Proposal, estimate, moments
from tuner import estimators

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(120)]
LINE = torch.linspace(-16, 16, 4001, dtype=torch.float64)


@functools.cache
def vae(beta: float = 0.2, steps: int = 150, codes: int = 1, **options: Any) -> SenVAE:
    """A model trained with a KL weight below 1, so that its posteriors are narrower than p(z|x)."""
    torch.manual_seed(0)
    model = SenVAE(11, replace(SMALL, d_z=1, **options), LENGTHS, codes).double()
    optimizer, batch = torch.optim.Adam(model.parameters(), 0.03), Batch.of(SENTENCES, CPU)
    for _ in range(steps):
        output = model(batch)
        optimizer.zero_grad()
        (output.distortion + beta * output.rate).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


@torch.no_grad()
def exact(model: SenVAE) -> float:
    """Mean −log P(x), the code being one number."""
    log_p, found = model.prior_distribution().log_prob(LINE[:, None]), []
    for sentence in SENTENCES:
        batch = Batch.of([sentence], CPU).repeat(len(LINE))
        log_joint = log_p - model.decoder(batch, model.initial_state(LINE[:, None]))
        found.append(-math.log(torch.trapezoid(log_joint.exp(), LINE).item()))
    return float(np.mean(found))


def gaussians(*pairs: tuple[float, float]) -> Gaussian:
    means, scales = torch.tensor(pairs, dtype=torch.float64).T
    return Gaussian(means[:, None], scales[:, None])


@pytest.mark.parametrize("temper", [1.0, 0.8, 0.25])
def test_a_proposal_is_the_normalised_geometric_mean_with_each_component(temper: float) -> None:
    q, prior = gaussians((0.7, 0.3), (-2.0, 1.5)), gaussians((0.0, 1.0), (2.5, 0.4), (-3.0, 2.0))
    made = Proposal.of(q, prior, temper).log_prob(LINE[:, None, None].expand(-1, 2, 1))
    torch.testing.assert_close(torch.trapezoid(made.exp(), LINE, dim=0), torch.ones(2, dtype=torch.float64))
    log_q = q.log_prob(LINE[:, None, None])
    log_k = prior.log_prob(LINE[:, None, None])
    wanted = (temper * log_q[:, :, None] + (1 - temper) * log_k[:, None]).exp().sum(-1)  # [line, 2]
    if temper == 1:
        wanted = log_q.exp()
    wanted = wanted / torch.trapezoid(wanted, LINE, dim=0)
    torch.testing.assert_close(made.exp(), wanted)


def test_draws_of_a_proposal_follow_its_density() -> None:
    proposal = Proposal.of(gaussians((0.7, 0.5)), gaussians((0.0, 1.0), (2.5, 0.4)), 0.5)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, 1, 1, generator=generator, dtype=torch.float64)
    uniform = torch.rand(200_000, 1, generator=generator, dtype=torch.float64)
    z, log_q = proposal.draw(noise, uniform)
    torch.testing.assert_close(log_q, proposal.log_prob(z))
    density = proposal.log_prob(LINE[:, None, None])[:, 0].exp()
    for power in (1, 2, 3):
        wanted = torch.trapezoid(density * LINE**power, LINE).item()
        assert (z**power).mean().item() == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [
        ("normal", "gaussian"),
        ("mog", "gaussian"),
        ("vamp", "gaussian"),
        ("normal", "iaf"),
        ("mog", "planar"),
        ("vamp", "iaf"),
    ],
)
def test_the_estimate_agrees_with_quadrature_and_less_biased_than_q(prior: str, posterior: str) -> None:
    model = vae(prior=prior, posterior=posterior)
    truth = exact(model)
    found = [estimate(model, SENTENCES, seed, 4096) for seed in range(6)]
    assert all(e.temper < 1 and e.resolved for e in found)
    covered = [low <= truth <= high for low, high in (e.interval for e in found)]
    assert sum(covered) >= 5
    plain = tempered.Weights(model, SENTENCES, 0, 4096).of(range(120), 1000, 1000, 1.0)
    assert tempered._nll(plain).mean() - truth > 2 * abs(np.mean([e.nll for e in found]) - truth)


@pytest.mark.parametrize("posterior", ["gaussian", "iaf"])
def test_several_codes_are_tempered_each(posterior: str) -> None:
    model = vae(steps=20, codes=2, posterior=posterior)
    weights = tempered.Weights(model, SENTENCES, 0, 1024)
    drawn = weights.of([3], 7, 4000, 0.5)
    truth = weights.of([3], 8, 60_000, 1.0)
    assert tempered._nll(drawn)[0] == pytest.approx(tempered._nll(truth)[0], abs=0.02)


@pytest.mark.parametrize("posterior", ["gaussian", "planar"])
def test_weights_are_the_same_whatever_the_batches(posterior: str) -> None:
    model = vae(steps=1, prior="mog", codes=2, posterior=posterior)
    whole = tempered.Weights(model, SENTENCES, 3, 100_000).of([5, 2, 9], 64, 64, 0.4)
    parts = tempered.Weights(model, SENTENCES, 3, 30)
    for place, index in enumerate((5, 2, 9)):
        np.testing.assert_allclose(parts.of([index], 64, 64, 0.4)[0], whole[place])


def test_nll_is_the_log_of_the_weights_mean_even_of_tiny_ones() -> None:
    weights = np.array([[-1.0, -2.0, -0.5], [-900.0, -901.0, -2000.0]])
    assert tempered._nll(weights)[0] == pytest.approx(-math.log(np.mean(np.exp(weights[0]))))
    assert tempered._nll(weights)[1] == pytest.approx(900 - math.log((1 + math.exp(-1)) / 3))


def test_the_error_is_that_of_a_naive_double_sum() -> None:
    a, b = RANDOM.normal(size=9), RANDOM.normal(size=4)
    total = 0.01 + a.var(ddof=1) / 9 + b.var(ddof=1) / 4
    total += 2 * sum((a[i] - a[:4].mean()) * (b[i] - b.mean()) for i in range(4)) / 3 / 9
    assert tempered._error(0.01, {64: a, 256: b}) == pytest.approx(math.sqrt(total))


def test_more_sentences_are_taken_where_the_error_is_above_the_target() -> None:
    own, noisy = 1e-4, {64: RANDOM.normal(0, 3, 192), 256: RANDOM.normal(0, 2, 96), 1024: RANDOM.normal(0, 1, 48)}
    counts = tempered._counts(own, noisy, 100_000)
    assert all(counts[level] > len(noisy[level]) for level in noisy)
    expected = own + sum(float(g.var(ddof=1)) / counts[level] for level, g in noisy.items())
    assert math.sqrt(expected) <= tempered.TARGET
    assert tempered._counts(own, noisy, 300)[64] == 300


def test_levels_correct_what_few_draws_are_biased_by() -> None:
    """Unbiased for what 1,024 draws give: over seeds, the same mean as estimates from 1,024 draws of every sentence."""
    model = vae()
    few = SENTENCES[:48]
    weights = [tempered.Weights(model, few, 100 + seed, 4096) for seed in range(8)]
    direct = [float(tempered._nll(w.of(range(48), 1024, 1024, 1.0)).mean()) for w in weights]
    levels = [estimate(model, few, seed, 4096, tempers=(1.0,)) for seed in range(8)]
    without = [
        e.nll + (float(e.corrections[tempered.LAST].mean()) if tempered.LAST in e.corrections else 0.0) for e in levels
    ]
    error = math.hypot(np.std(direct), np.std(without)) / math.sqrt(8)
    assert abs(np.mean(direct) - np.mean(without)) < 3 * error
    assert np.mean([e.each.mean() for e in levels]) - np.mean(direct) > 6 * error


def test_an_evaluation_reports_what_made_its_figure() -> None:
    model = vae()
    found = evaluate(model, SENTENCES, EvaluationOptions(nll="tempered"), 0)
    made = estimate(model, SENTENCES, 0, 1024)
    assert found.nll == pytest.approx(made.nll)
    assert found.nll_se == pytest.approx(np.std(made.each, ddof=1) / math.sqrt(len(SENTENCES)))
    assert found.ppl == pytest.approx(math.exp(made.nll * len(SENTENCES) / sum(map(len, SENTENCES))))
    assert found.distortion == pytest.approx(evaluate(model, SENTENCES, EvaluationOptions(), 0).distortion, abs=0.1)
    facts = found.estimator
    assert (facts["proposal"], facts["temper"], facts["resolved"]) == ("tempered q", made.temper, True)
    assert facts["levels"] == {"16": 120, "64": 120, "256": 96, "1024": 48}
    assert (facts["error"], facts["bias"]) == (made.se, made.bias)
    assert "tempered, λ = " in estimators.estimate(found.plain())


def test_both_estimates_are_what_each_is_alone() -> None:
    model = vae()
    q, tempered_, both = (
        evaluate(model, SENTENCES, EvaluationOptions(nll=nll, nll_samples=50), 0) for nll in ("q", "tempered", "both")
    )
    assert (both.nll, both.ppl, both.each) == (q.nll, q.ppl, q.each)
    assert (both.nll_tempered, both.ppl_tempered) == pytest.approx((tempered_.nll, tempered_.ppl))
    assert both.estimator["tempered"].items() <= tempered_.estimator.items()
    assert {key: value for key, value in both.estimator.items() if key != "tempered"} == q.estimator
    said = estimators.estimate(both.plain())
    assert "S = 50 from q" in said
    assert "tempered, λ = " in said
    assert q.nll_tempered is None
    assert tempered_.nll_tempered is None


@pytest.mark.parametrize("nll", ["q", "tempered", "both"])
@pytest.mark.parametrize("options", [{}, {"steps": 1, "codes": 2, "prior": "mog", "posterior": "iaf"}])
def test_a_single_sentence_has_no_variance_and_so_no_error_and_no_bound_of_its_bias(
    options: dict[str, Any], nll: str
) -> None:
    found = evaluate(vae(**options), SENTENCES[:1], EvaluationOptions(nll=nll), 0)
    made = found.plain()
    json.dumps(made, allow_nan=False)
    assert made["nll_se"] is None
    assert math.isfinite(found.nll)
    if nll != "q":
        facts = found.estimator if nll == "tempered" else found.estimator["tempered"]
        assert (facts["error"], facts["bias"], facts["resolved"]) == (None, None, False)
        assert set(facts["levels"].values()) == {1}
        assert "standard error –, its bias at most –: not resolved" in estimators.estimate(made)


def test_a_single_sentence_ends_though_its_halves_differ_by_more_than_the_target() -> None:
    """The level asked for the variance of one correction, and ended the trainer."""
    model = vae()
    found = [estimate(model, SENTENCES[:1], seed, 4096, tempers=(1.0,)) for seed in range(8)]
    few = [tempered._nll(tempered.Weights(model, SENTENCES[:1], seed, 4096).of([0], 16, 16, 1.0)) for seed in range(8)]
    assert np.std(few) > 2 * tempered.TARGET
    assert all(math.isnan(e.se) and math.isinf(e.bias) and math.isfinite(e.nll) for e in found)


def test_two_sentences_have_an_error_and_a_bound_of_the_bias() -> None:
    for seed in range(4):
        found = evaluate(vae(), SENTENCES[:2], EvaluationOptions(nll="tempered"), seed)
        assert found.nll_se is not None
        assert found.nll_se > 0
        assert found.estimator["error"] > 0
        assert math.isfinite(found.estimator["bias"])


def test_it_says_how_many_of_its_draws_are_done() -> None:
    heard: list[tuple[int, int]] = []
    made = estimate(vae(), SENTENCES, 0, 1024, progress=lambda done, of: heard.append((done, of)))
    planned = 32 * 64 * 6 + 16 * 120 + 64 * 120 + 256 * 96 + 1024 * 48
    assert {of for _, of in heard} == {planned}
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[0][0] < planned / 20
    assert heard[-1][0] == planned <= made.draws + 32 * 64 * 6


def test_a_flow_narrower_than_its_numbers_has_a_gaussian_that_can_be_drawn_from_and_weighed() -> None:
    stands = moments(torch.tensor([[-300.0, 0.0, 2.0]]).expand(9, 1, 3))
    z, log_q = stands.transform(stands.noise(50))
    assert torch.isfinite(log_q).all()
    torch.testing.assert_close(stands.log_prob(z), log_q, atol=0.2, rtol=0)
