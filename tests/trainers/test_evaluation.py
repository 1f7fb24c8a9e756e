"""The metrics against quadrature, naive loops and Jensen's inequality."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor, nn

from trainers import evaluation, information
from trainers.evaluation import Samples, each_nll, evaluate, importance_samples, subset, validate
from trainers.information import batch_mutual_information
from trainers.latent.distributions import Gaussian, Mixture
from trainers.models import RNNLM, Batch, SenVAE
from trainers.options import EvaluationOptions
from tuner.estimators import estimate, notes_of
from tuner.metrics import FIGURES

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(40)]


def vae(strength: float = 3.0, **options: Any) -> SenVAE:
    """A model whose decoder really listens to z."""
    model = SenVAE(11, replace(SMALL, **options), LENGTHS).double()
    with torch.no_grad():
        model.to_h_0.weight.mul_(strength)
        model.decoder.embedding.weight.mul_(strength)
    return model.eval()


def quadrature(model: SenVAE) -> list[float]:
    """Exact −log P(x) of each sentence, the code being one number."""
    z = torch.linspace(-9, 9, 2001, dtype=torch.float64)[:, None]
    log_p = model.prior_distribution().log_prob(z)
    exact = []
    for sentence in SENTENCES:
        batch = Batch.of([sentence], CPU).repeat(len(z))
        log_joint = log_p - model.decoder(batch, model.initial_state(z))
        exact.append(-math.log(torch.trapezoid(log_joint.exp(), z[:, 0]).item()))
    return exact


@pytest.mark.parametrize("prior", ["normal", "mog", "vamp"])
@pytest.mark.parametrize("posterior", ["gaussian", "iaf", "planar"])
@torch.no_grad()
def test_importance_sampled_nll_agrees_with_quadrature_in_one_dimension(posterior: str, prior: str) -> None:
    model = vae(d_z=1, posterior=posterior, prior=prior)
    # wide enough, after what the flows' steps contract, for the weights to have a finite variance
    model.to_posterior.scale.bias.fill_(1.0 if posterior == "gaussian" else 4.0)
    found = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=10_000, rows=100_000), seed=1)
    exact = quadrature(model)
    assert found.nll == pytest.approx(np.mean(exact), abs=2e-3 if posterior == "gaussian" else 0.01)
    tokens = sum(map(len, SENTENCES))
    assert found.ppl == pytest.approx(math.exp(np.sum(exact) / tokens), rel=5e-3)
    assert found.ppl_no_end == pytest.approx(math.exp(np.sum(exact) / (tokens - len(SENTENCES))), rel=5e-3)
    assert found.ppl_elbo == pytest.approx(math.exp(found.neg_elbo * len(SENTENCES) / tokens))
    assert found.nll_se == pytest.approx(np.std(exact, ddof=1) / math.sqrt(len(exact)), rel=1e-2)
    assert found.nll <= found.neg_elbo


@pytest.mark.parametrize(("posterior", "prior"), [("gaussian", "normal"), ("planar", "mog")])
@torch.no_grad()
def test_the_nll_of_several_codes_agrees_with_quadrature_over_all_of_them(posterior: str, prior: str) -> None:
    model = SenVAE(11, replace(SMALL, d_z=1, posterior=posterior, prior=prior), LENGTHS, codes=2).double().eval()
    assert model.to_h_0 is not None
    model.to_h_0.weight.mul_(3)
    model.decoder.embedding.weight.mul_(3)
    model.to_posterior.scale.bias.fill_(1.0 if posterior == "gaussian" else 2.5)
    found = evaluate(model, SENTENCES[:8], EvaluationOptions(nll_samples=20_000, rows=100_000), seed=1)
    line = torch.linspace(-8, 8, 81, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    single = replace(model.prior_distribution(), copies=1)
    log_p = single.log_prob(z[:, :1]) + single.log_prob(z[:, 1:])
    exact = []
    for sentence in SENTENCES[:8]:
        log_joint = log_p - model.decoder(Batch.of([sentence], CPU).repeat(len(z)), model.initial_state(z))
        exact.append(-math.log(log_joint.exp().sum().item() * (line[1] - line[0]).item() ** 2))
    assert found.nll == pytest.approx(np.mean(exact), abs=0.01)
    assert found.nll <= found.neg_elbo
    assert found.paper_elbo == pytest.approx(found.distortion + found.rate / 2)
    assert found.rate_once == pytest.approx(found.rate / 2)
    tokens = sum(map(len, SENTENCES[:8]))
    assert found.ppl_paper_elbo == pytest.approx(math.exp(found.paper_elbo * 8 / tokens))
    assert found.nll_once is not None
    if posterior == "planar":  # R and D are means over the weights' own samples
        assert found.nll_once <= found.paper_elbo
    assert found.active_units <= 1  # both codes have one mean


@torch.no_grad()
def test_one_code_of_several_counts_in_the_figures_that_say_so() -> None:
    model = SenVAE(11, replace(SMALL, d_z=2, posterior="iaf"), LENGTHS, codes=3).double().eval()
    batch = Batch.of(SENTENCES[:6], CPU)
    q, p = model.posterior(batch), model.prior_distribution()
    drawn = importance_samples(model, batch, q, p, q.noise(5), rows=1000)
    weights = drawn.weights_once(3).numpy()
    for s in range(5):
        for i in range(6):
            ratio = (drawn.log_p[s, i] - drawn.log_q[s, i]).item()
            assert weights[s, i] == pytest.approx(ratio / 3 - drawn.distortion[s, i].item())
    options = EvaluationOptions(nll_samples=50)
    several, one = evaluate(model, SENTENCES[:6], options, seed=1), evaluate(vae(), SENTENCES[:6], options, seed=1)
    assert several.nll_once is not None
    assert several.nll_once < several.nll  # two thirds of a cost are left out
    assert (one.nll_once, one.rate_once, one.paper_elbo, one.ppl_paper_elbo) == (None,) * 4
    assert evaluate(model, SENTENCES[:6], replace(options, nll="tempered"), seed=1).nll_once is None


def test_the_nll_from_q_tells_how_far_it_fell_as_its_draws_were_added() -> None:
    weights = torch.randn(11, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 4
    nothing = torch.zeros_like(weights)
    found = Samples(nothing, nothing, weights, nothing).fall
    for i in range(3):
        logs = weights[:8, i].tolist()  # a quarter of 11 draws is 2

        def nll(part: list[float]) -> float:
            return -math.log(sum(map(math.exp, part)) / len(part))

        quarters = [nll(logs[start : start + 2]) for start in range(0, 8, 2)]
        assert found[i].item() == pytest.approx(sum(quarters) / 4 - nll(logs))
    few = nothing[:3]
    assert Samples(few, few, few, few).fall.isnan().all()


@torch.no_grad()
def test_an_nll_from_too_few_draws_of_a_narrow_q_is_not_resolved() -> None:
    wide, narrow = vae(d_z=8, strength=1.0), vae(d_z=8, strength=1.0)
    wide.to_posterior.location.weight.mul_(0.1)
    wide.to_posterior.scale.bias.fill_(0.5)
    narrow.to_posterior.scale.bias.fill_(-8.0)
    options = EvaluationOptions(nll_samples=100)
    good, bad = (evaluate(model, SENTENCES, options, seed=1).estimator for model in (wide, narrow))
    assert (good["resolved"], bad["resolved"]) == (True, False)
    assert 0 <= good["fall"] < 0.04 < 0.5 < bad["fall"]
    assert "fall" not in evaluate(narrow, SENTENCES, replace(options, nll_samples=3), seed=1).estimator
    both = evaluate(narrow, SENTENCES, replace(options, nll="both"), seed=1).estimator
    assert both["fall"] == bad["fall"]
    assert "fall" not in both["tempered"]


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 3])
def test_too_few_samples_to_tell_are_not_resolved(samples: int) -> None:
    found = evaluate(SenVAE(11, SMALL, LENGTHS), SENTENCES, EvaluationOptions(nll_samples=samples), seed=0).plain()
    assert (found["estimator"]["resolved"], "fall" in found["estimator"]) == (False, False)
    assert "not resolved, since so few draws do not tell" in estimate(found)
    assert "not resolved from q" in notes_of(found)


@pytest.mark.parametrize("kind", [SenVAE, RNNLM])
def test_likelihoods_alone_are_those_of_an_evaluation_without_its_work(
    kind: type[SenVAE | RNNLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SenVAE(11, SMALL, LENGTHS) if kind is SenVAE else RNNLM(11, SMALL)
    each = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=7), seed=2).each
    monkeypatch.setattr(evaluation, "_codes", None)  # N² densities
    assert each_nll(model, SENTENCES, 7, EvaluationOptions().rows, 2).tolist() == list(each)


def test_importance_weights_equal_a_loop_over_samples_whatever_the_rows() -> None:
    model, batch = vae(), Batch.of(SENTENCES[:5], CPU)
    q, p = model.posterior(batch), model.prior_distribution()
    noise = q.noise(7)
    drawn = importance_samples(model, batch, q, p, noise, rows=1000)
    for rows in (1, 11):
        torch.testing.assert_close(importance_samples(model, batch, q, p, noise, rows).log_weights, drawn.log_weights)
    assert isinstance(q, Gaussian)
    z = drawn.z
    for s in range(7):
        for i in range(5):
            alone = Batch.of([SENTENCES[i]], CPU)
            log_p_x = -model.decoder(alone, model.initial_state(z[s, i : i + 1])).item()
            log_p_z = sum(-0.5 * math.log(2 * math.pi) - 0.5 * float(v) ** 2 for v in z[s, i])
            log_q_z = sum(
                -0.5 * math.log(2 * math.pi) - math.log(sd) - 0.5 * ((v - u) / sd) ** 2
                for v, u, sd in zip(z[s, i].tolist(), q.location[i].tolist(), q.scale[i].tolist(), strict=True)
            )
            assert drawn.log_weights[s, i].item() == pytest.approx(log_p_x + log_p_z - log_q_z)
            assert drawn.distortion[s, i].item() == pytest.approx(-log_p_x)


def test_elbo_bounds_nll_and_more_samples_tighten_it() -> None:
    model = vae()
    few = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=2), seed=0)
    many = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=500), seed=0)
    assert many.nll < few.nll < few.neg_elbo + 0.1
    assert many.nll < many.neg_elbo
    assert many.neg_elbo == many.distortion + many.rate


def test_melbo_is_the_distortion_and_the_log_of_the_sentences_on_the_same_samples() -> None:
    found = evaluate(vae(), SENTENCES, EvaluationOptions(nll_samples=7, nll_sentences=23), seed=0)
    assert found.melbo == found.distortion + math.log(23)
    tokens = sum(len(s) for s in subset(SENTENCES, 23))
    assert found.ppl_melbo == pytest.approx(math.exp(found.melbo * 23 / tokens))


@torch.no_grad()
def test_melbo_bounds_the_nll_of_the_decoder_with_the_posteriors_as_its_prior() -> None:
    model = vae(d_z=1)
    sentences = SENTENCES[:12]
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=4000), seed=0)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    own_prior = Mixture(model.posterior(Batch.of(sentences, CPU))).log_prob(z)
    exact = []
    for sentence in sentences:
        log_joint = own_prior - model.decoder(Batch.of([sentence], CPU).repeat(len(z)), model.initial_state(z))
        exact.append(-math.log(torch.trapezoid(log_joint.exp(), z[:, 0]).item()))
    assert np.mean(exact) < found.melbo


def test_an_epochs_densities_are_the_codes_own() -> None:
    model = vae()
    found = validate(model, SENTENCES, seed=0)
    q, p = model.posterior(Batch.of(SENTENCES, CPU)), model.prior_distribution()
    z = q.transform(q.noise(4000))[0]
    assert found.log_q == pytest.approx(q.log_prob(z).mean().item(), abs=0.5)
    assert found.log_p == pytest.approx(p.log_prob(z).mean().item(), abs=0.5)


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
    assert one.estimator == {**expected, "fall": one.estimator["fall"], "resolved": False}


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
    assert {key for key, value in found.plain().items() if value is None} == {
        key for key, metric in FIGURES.items() if metric.latent
    } | {"bits_per_char", "bits_per_byte"}  # which a run adds, whose text is known


class Place(nn.Module):
    """A posterior at a place that the features tell."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.sd = scale

    def forward(self, place: Tensor) -> Gaussian:
        return Gaussian(place, torch.full_like(place, self.sd))


def test_mutual_information_of_separate_codes_is_log_n_and_of_a_constant_code_nothing() -> None:
    class Told(SenVAE):
        """A model whose posterior is far apart for each sentence, or the same for all."""

        apart = 1.0

        def features(self, batch: Batch) -> Tensor:
            return (batch.tokens[:, :1].double() * 20 * self.apart + 1).expand(-1, 3)

    model = Told(11, SMALL, LENGTHS).double()
    model.to_posterior = Place(0.01)
    sentences = [np.array([w, 2]) for w in range(4, 11)]
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=2), seed=0)
    assert found.mi == pytest.approx(math.log(7), abs=0.01)
    assert found.active_units == 3
    assert not found.collapsed
    model.apart, model.to_posterior = 1e-3, Place(1e-5)  # means hardly apart, and posteriors narrower still
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=2), seed=0)
    assert found.active_units == 0
    assert found.mi == pytest.approx(math.log(7), abs=0.01)
    assert not found.collapsed
    model.apart, model.to_posterior = 0.0, Place(0.01)
    found = evaluate(model, sentences, EvaluationOptions(nll_samples=2), seed=0)
    assert found.rate > 5  # paid by every sentence alike, so it tells nothing
    assert found.mi == pytest.approx(0, abs=0.05)
    assert found.active_units == 0
    assert found.collapsed


def test_he_et_als_estimate_equals_a_loop_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information, "HE_BATCH", 4)
    u, s = torch.randn(10, 2).double(), torch.rand(10, 2).double() + 0.1
    q = Gaussian(u, s)
    z, log_q = (t[0] for t in q.transform(q.noise(1)))
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3)).tolist()
    total = 0.0
    for start in (0, 4, 8):
        part = order[start : start + 4]
        for n in part:
            negative_entropy = -sum(0.5 * math.log(2 * math.pi * math.e * v**2) for v in s[n].tolist())
            densities = [
                math.prod(
                    math.exp(-0.5 * ((z[n, d] - u[m, d]) / s[m, d]) ** 2) / (s[m, d] * math.sqrt(2 * math.pi))
                    for d in range(2)
                )
                for m in part
            ]
            total += negative_entropy - math.log(sum(densities) / len(part))
    assert batch_mutual_information(q, z, log_q, seed=3) == pytest.approx(total / 10)


class Missed(Gaussian):
    """A posterior like a narrow flow: its inverse cannot find its own codes again."""

    entropy = None  # type: ignore[assignment]

    def log_prob(self, z: Tensor) -> Tensor:
        found = super().log_prob(z)
        return torch.where(found > -50, math.nan if len(z) % 2 else -1e30, found)

    def __getitem__(self, index: Tensor) -> "Missed":
        return Missed(self.location[index], self.scale[index])


@pytest.mark.parametrize("sentences", [6, 7])
def test_information_of_posteriors_whose_own_codes_cannot_be_inverted_is_at_most_log_n(sentences: int) -> None:
    location = 1000.0 * torch.arange(sentences)[:, None].expand(-1, 3)
    q = Missed(location, torch.full_like(location, 1e-3))
    z, log_q = (t[0] for t in q.transform(q.noise(1)))
    assert not q.log_prob(z[:, None]).diagonal().gt(-50).any()
    assert information.mutual_information(q, z, log_q) == pytest.approx(math.log(sentences))
    assert batch_mutual_information(q, z, log_q, seed=3) == pytest.approx(math.log(sentences))


@pytest.mark.parametrize("posterior", ["iaf", "planar"])
def test_a_flows_collapsed_code_has_no_active_unit_however_noisy_its_means(posterior: str) -> None:
    model = vae(posterior=posterior)
    with torch.no_grad():
        for parameter in model.to_posterior.parameters():
            parameter.zero_()  # the same posterior for every sentence
    found = evaluate(model, SENTENCES, EvaluationOptions(nll_samples=3), seed=0)
    assert found.active_units == 0
    assert found.mi == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        model.to_posterior.location.weight.normal_(std=3.0)
    assert evaluate(model, SENTENCES, EvaluationOptions(nll_samples=3), seed=0).active_units == 3


def test_accuracy_gap_is_high_when_only_the_code_knows_the_words() -> None:
    class Knows(SenVAE):
        """A model whose z tells the word; the decoder says it and then ends the sentence."""

        def features(self, batch: Batch) -> Tensor:
            return torch.where(batch.tokens[:, :1] == 5, 50.0, -50.0).double()

    model = Knows(11, replace(SMALL, d_z=1), LENGTHS).double()
    model.to_posterior = Place(0.01)
    model.decoder.correct = lambda batch, state: (  # type: ignore[method-assign]
        int(((state.h[0, :, 0] > 0) == (batch.tokens[:, 0] == 5)).sum()),
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


@torch.no_grad()
@pytest.mark.parametrize(
    ("nll", "noise"), [("q", 0.15), ("tempered", 1.0)]
)  # nats; tempered has 16 draws of a sentence
def test_each_sentences_figure_stands_in_the_sentences_own_order(nll: str, noise: float) -> None:
    model = vae(d_z=1)
    found = evaluate(model, SENTENCES, EvaluationOptions(nll=nll, nll_samples=3000, rows=100_000), seed=1)
    assert np.array(found.each) == pytest.approx(np.array(quadrature(model)), abs=noise)
    assert found.nll == pytest.approx(np.mean(found.each), abs=1e-9)
    assert "each" not in found.plain()


@torch.no_grad()
def test_an_exact_models_sentences_are_those_of_batches_of_one() -> None:
    model = RNNLM(11, SMALL).double().eval()
    found = evaluate(model, SENTENCES, EvaluationOptions(nll_sentences=30), seed=0)
    alone = [model(Batch.of([sentence], CPU)).distortion.item() for sentence in subset(SENTENCES, 30)]
    assert found.each == pytest.approx(alone, abs=1e-5)
