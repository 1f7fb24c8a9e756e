"""The metrics against quadrature, naive loops and Jensen's inequality."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch.distributions import Normal

from trainers.evaluation import (
    aggregate_log_density,
    evaluate,
    importance_weights,
    subset,
    validate,
)
from trainers.latent.posteriors import draw
from trainers.models import RNNLM, Batch, SenVAE
from trainers.options import EvaluationOptions

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(40)]


def vae(d_z: int = 3, strength: float = 3.0) -> SenVAE:
    """A model whose decoder really listens to z."""
    model = SenVAE(11, replace(SMALL, d_z=d_z)).double()
    with torch.no_grad():
        model.to_h_0.weight.mul_(strength)
        model.decoder.embedding.weight.mul_(strength)
    return model.eval()


@torch.no_grad()
def test_importance_sampled_nll_agrees_with_quadrature_in_one_dimension() -> None:
    model = vae(d_z=1)
    model.to_posterior.scale.bias.fill_(1.0)  # wide enough for the weights to have a finite variance
    found = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=40_000, nll_sentences=0, rows=100_000), seed=1)
    z = torch.linspace(-9, 9, 2001, dtype=torch.float64)[:, None]
    exact = []
    for sentence in SENTENCES:
        batch = Batch.of([sentence], CPU).repeat(len(z))
        log_joint = Normal(0.0, 1.0).log_prob(z[:, 0]) - model.decoder(batch, model.initial_state(z))
        exact.append(-math.log(torch.trapezoid(log_joint.exp(), z[:, 0]).item()))
    assert found.nll == pytest.approx(np.mean(exact), abs=1e-3)
    assert found.ppl == pytest.approx(math.exp(np.sum(exact) / sum(map(len, SENTENCES))), rel=1e-3)
    assert found.nll_se == pytest.approx(np.std(exact, ddof=1) / math.sqrt(len(exact)), rel=1e-2)


@torch.no_grad()
def test_importance_weights_equal_a_loop_over_samples_whatever_the_rows() -> None:
    model, batch = vae(), Batch.of(SENTENCES[:5], CPU)
    q = model.posterior(batch)
    z = draw(q, 7)
    log_w, distortion = importance_weights(model, batch, q, z, rows=1000)
    for rows in (1, 11):
        torch.testing.assert_close(importance_weights(model, batch, q, z, rows)[0], log_w)
    for s in range(7):
        for i in range(5):
            alone = Batch.of([SENTENCES[i]], CPU)
            log_p_x = -model.decoder(alone, model.initial_state(z[s, i : i + 1])).item()
            log_p_z = sum(-0.5 * math.log(2 * math.pi) - 0.5 * float(v) ** 2 for v in z[s, i])
            log_q_z = sum(
                -0.5 * math.log(2 * math.pi) - math.log(sd) - 0.5 * ((v - u) / sd) ** 2
                for v, u, sd in zip(z[s, i].tolist(), q.loc[i].tolist(), q.scale[i].tolist(), strict=True)
            )
            assert log_w[s, i].item() == pytest.approx(log_p_x + log_p_z - log_q_z)
            assert distortion[s, i].item() == pytest.approx(-log_p_x)


def test_elbo_bounds_nll_and_more_samples_tighten_it() -> None:
    model = vae()
    few = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=2), seed=0)
    many = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=500), seed=0)
    assert many.nll < few.nll < few.neg_elbo + 0.1
    assert many.nll < many.neg_elbo
    assert many.neg_elbo == many.distortion + many.rate


def test_evaluation_is_deterministic_leaves_randomness_alone_and_names_its_estimator() -> None:
    model, options = vae(), EvaluationOptions(nll_samples=5, nll_sentences=11)
    torch.manual_seed(5)
    one = evaluate(model, SENTENCES, options, seed=3)
    after = torch.randn(1)
    torch.manual_seed(5)
    assert torch.equal(torch.randn(1), after)
    assert evaluate(model, SENTENCES, options, seed=3) == one
    assert evaluate(model, SENTENCES, options, seed=4) != one
    expected = {"proposal": "q", "samples": 5, "sentences": 11, "of": 40, "seed": 3, "split": "valid"}
    assert one.estimator == expected


def test_the_chosen_sentences_are_the_same_for_every_run() -> None:
    chosen = subset(SENTENCES, 10)
    assert [id(s) for s in chosen] == [id(s) for s in subset(SENTENCES, 10)]
    assert len({id(s) for s in chosen}) == 10
    assert len(subset(SENTENCES, 0)) == len(subset(SENTENCES, 99)) == len(SENTENCES)


def test_a_language_model_is_evaluated_exactly() -> None:
    model = RNNLM(11, SMALL).double()
    found = evaluate(model, SENTENCES, EvaluationOptions(), seed=0)
    exact = [model(Batch.of([s], CPU)).distortion.item() for s in SENTENCES]
    assert found.nll == pytest.approx(np.mean(exact))
    assert (found.rate, found.active_units, found.mi, found.acc_gap, found.collapsed) == (0, 0, 0, 0, False)
    assert found.estimator["proposal"] == "exact"


def test_aggregate_posterior_equals_a_double_loop() -> None:
    z, u, s = torch.randn(6, 2).double(), torch.randn(9, 2).double(), torch.rand(9, 2).double() + 0.1
    expected = [
        math.log(
            sum(
                math.prod(
                    math.exp(-0.5 * ((z[m, d] - u[n, d]) / s[n, d]) ** 2) / (s[n, d] * math.sqrt(2 * math.pi))
                    for d in range(2)
                )
                for n in range(9)
            )
            / 9
        )
        for m in range(6)
    ]
    assert aggregate_log_density(z, u, s, chunk=4).tolist() == pytest.approx(expected)


def test_mutual_information_of_separate_codes_is_log_n_and_of_a_constant_code_nothing() -> None:
    class Told(SenVAE):
        """Its posterior is far apart for each sentence, or the same for all."""

        apart = 1.0

        def posterior(self, batch: Batch) -> Normal:
            place = batch.tokens[:, :1].double() * 20 * self.apart + 1
            return Normal(place.expand(-1, 3), torch.full((len(batch.tokens), 3), 0.01).double())

    model = Told(11, SMALL).double()
    sentences = [np.array([w, 2]) for w in range(4, 11)]
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=2), seed=0)
    assert found.mi == pytest.approx(math.log(7), abs=0.01)
    assert found.active_units == 3
    assert not found.collapsed
    model.apart = 0.0
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=2), seed=0)
    assert found.rate > 5  # paid by every sentence alike, so it tells nothing
    assert found.mi == pytest.approx(0, abs=0.05)
    assert found.active_units == 0
    assert found.collapsed


def test_accuracy_gap_is_high_when_only_the_code_knows_the_words() -> None:
    class Knows(SenVAE):
        """z tells the word; the decoder says it and then ends the sentence."""

        def posterior(self, batch: Batch) -> Normal:
            place = torch.where(batch.tokens[:, :1] == 5, 50.0, -50.0).double()
            return Normal(place, torch.full_like(place, 0.01))

    model = Knows(11, replace(SMALL, d_z=1)).double()
    model.decoder.correct = lambda batch, h_0: (  # type: ignore[method-assign]
        int(((h_0[0, :, 0] > 0) == (batch.tokens[:, 0] == 5)).sum()),
        len(batch.tokens),
    )
    with torch.no_grad():
        model.to_h_0.weight.fill_(1.0)
        model.to_h_0.bias.zero_()
    sentences = [np.array([5 + i % 2, 2]) for i in range(200)]
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=1), seed=0)
    assert found.acc_gap == pytest.approx(50, abs=12)


def test_epoch_validation_is_over_all_sentences_equally() -> None:
    model = vae()
    found = validate(model, SENTENCES, seed=0)
    rates = [model(Batch.of([s], CPU)).rate.item() for s in SENTENCES]
    assert found.rate == pytest.approx(np.mean(rates))
