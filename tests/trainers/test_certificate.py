"""The certificate against quadrature, through identities that hold in expectation and fail for a wrong density."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor

from api import bodies
from trainers import certificate
from trainers.certificate import certify, compose, sandwich
from trainers.corpus import batches
from trainers.decoder import State
from trainers.evaluation import evaluate
from trainers.latent.distributions import Flow, Gaussian
from trainers.models import BOS_INDEX, EOS_INDEX, PAD_INDEX, RNNLM, UNK_INDEX, Batch, SenVAE
from trainers.options import EvaluationOptions
from trainers.tempered import Figures, Weights
from tuner import estimators
from tuner.analysis import sentences

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
CORPUS = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 6)), 2) for _ in range(40)]
LINE = torch.linspace(-9, 9, 301, dtype=torch.float64)
COUNT, MANY, LONGEST = 200, 1500, 12
TAKES = [
    {"posterior": posterior, "prior": prior}
    for posterior in ("gaussian", "iaf", "planar")
    for prior in ("normal", "mog", "vamp")
]


@torch.no_grad()
def vae(codes: int = 1, **options: Any) -> SenVAE:
    """A model whose sentences depend on z, with posteriors as wide as p(z) nearly is, so that weights have a variance."""
    torch.manual_seed(1)
    model = SenVAE(11, replace(SMALL, **{"d_z": 1, **options}), LENGTHS, codes).double()
    if model.to_h_0 is not None:
        model.to_h_0.weight.mul_(4)
    model.decoder.embedding.weight.mul_(3)
    model.to_posterior.scale.bias.fill_(0.5 if model.options.posterior == "gaussian" else 2.0)
    if model.options.posterior == "planar":
        model.to_posterior.steps.weight.mul_(0.5)
    return model.eval()


@functools.cache
def narrow() -> SenVAE:
    """A model trained with a KL weight of 0.3: q is narrower than the posterior."""
    torch.manual_seed(0)
    model = SenVAE(11, replace(SMALL, d_z=1), LENGTHS).double()
    optimizer, batch = torch.optim.Adam(model.parameters(), 0.03), Batch.of(CORPUS, CPU)
    for _ in range(150):
        output = model(batch)
        optimizer.zero_grad()
        (output.distortion + 0.3 * output.rate).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


@torch.no_grad()
def exact(model: SenVAE, sentences: list[Any]) -> Figures:
    """[B] −log P(x) by the trapezium rule on a grid of one or two numbers."""
    dimensions = model.codes * model.options.d_z
    line = LINE if dimensions == 1 else LINE[::6]
    z = torch.cartesian_prod(*[line] * dimensions).view(-1, dimensions)
    cell = dimensions * math.log((line[1] - line[0]).item())
    log_p = model.prior_distribution().log_prob(z) + cell
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-3)
    found = np.empty(len(sentences))
    for places in batches(sentences, 25, None):
        batch = Batch.of([sentences[place] for place in places], CPU)
        nll = model.decoder.of_samples(batch, model.initial_state(z.repeat_interleave(len(places), 0)))
        found[places] = -(log_p[:, None] - nll).logsumexp(0).numpy()
    return found


def deviations(
    model: SenVAE, temper: float = 1.0, samples: int = 8, longest: int = LONGEST, count: int = COUNT
) -> tuple[float, float]:
    """Numbers of standard errors that the means of 1/S Σ w / P(x) and of its counterpart with z*, inverted, are from 1.

    Both expectations are 1, the second over z* of the posterior; Jensen's inequality makes bounds of them.
    """
    composed = compose(model, count, longest, seed=0)
    weights = Weights(model, composed.sentences, 0, 4096)
    truth = exact(model, composed.sentences)
    lower, upper = certificate._bounds(weights, composed.z, certificate.OWN, samples, temper)
    ratios = [np.exp(truth - upper), np.exp(lower - truth)]
    above, below = ((ratio.mean() - 1) / (ratio.std(ddof=1) / math.sqrt(count)) for ratio in ratios)
    return float(above), float(below)


@pytest.mark.parametrize("temper", [1.0, 0.4])
@pytest.mark.parametrize("options", TAKES, ids=lambda found: f"{found['posterior']}-{found['prior']}")
def test_both_bounds_are_of_what_quadrature_finds(options: dict[str, Any], temper: float) -> None:
    above, below = deviations(vae(**options), temper)
    assert abs(above) < 3.5
    assert abs(below) < 3.5
    found = certify(vae(**options), COUNT, temper, 8, LONGEST, 0, 4096)
    truth = exact(vae(**options), compose(vae(**options), COUNT, LONGEST, 0).sentences).mean()
    assert found.gap_se is not None
    assert found.lower - 2 * found.gap_se < truth < found.upper + 2 * found.gap_se
    assert -2 * found.gap_se < found.gap < 1.5


@pytest.mark.parametrize("temper", [1.0, 0.4])
@pytest.mark.parametrize(
    "options",
    [
        {"codes": 2},
        {"codes": 2, "posterior": "planar", "prior": "mog"},
        {"d_z": 2, "prior": "mog"},
        {"cell": "lstm", "conditioning": "both", "tied": False},
        {"conditioning": "every-step", "inputless": True},
        {"cell": "double-lstm", "conditioning": "every-step", "codes": 2},
    ],
    ids=str,
)
def test_both_bounds_hold_for_several_codes_and_every_decoder(options: dict[str, Any], temper: float) -> None:
    above, below = deviations(vae(**options), temper, longest=6)
    assert abs(above) < 3.5
    assert abs(below) < 3.5


@pytest.mark.parametrize("longest", [1, 3])
def test_sentences_that_do_not_end_count_by_their_first_words(longest: int) -> None:
    composed = compose(vae(), COUNT, longest, seed=0)
    assert composed.cut == sum(EOS_INDEX not in sentence for sentence in composed.sentences) > COUNT / 4
    assert max(map(len, composed.sentences)) == longest
    above, below = deviations(vae(), 0.4, longest=longest)
    assert abs(above) < 3.5
    assert abs(below) < 3.5


def _no_determinant(self: Flow, noise: Tensor) -> tuple[Tensor, Tensor]:
    z, log_q = self.base.transform(noise)
    for step in self.steps:
        z = step.forward(z)[0]
    return z, log_q


def _no_determinant_of(self: Flow, z: Tensor) -> Tensor:
    for step in reversed(self.steps):
        z = step.inverse(z)
    return self.base.log_prob(z)


def _rolled(right: Callable[..., State]) -> Callable[..., State]:
    """Sentences are written (one code each) from their neighbours' codes."""
    return lambda self, z: right(self, z.roll(1, 0) if len(z) == MANY else z)


def _wider(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The value log P(x|z) + log N(z; 0, 2²)."""
    return lambda self, indices, z: right(self, indices, z) + (z.square() * (1 - 2**-2) / 2 - math.log(2)).sum(-1)


def test_a_wrong_density_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worth of the identities: each mistake moves one of them by many standard errors."""

    def found(model: SenVAE, temper: float = 1.0) -> bool:
        worst = max(map(abs, deviations(model, temper, samples=1, longest=6, count=MANY)))
        assert worst < 2 or worst > 4
        return worst > 4

    assert not found(vae())
    assert not found(vae(), 0.4)
    assert not found(vae(posterior="iaf"))
    with monkeypatch.context() as patched:  # the sign of log q
        right = Gaussian.transform
        patched.setattr(Gaussian, "transform", lambda self, noise: (right(self, noise)[0], -right(self, noise)[1]))
        assert found(vae())
    with monkeypatch.context() as patched:  # a flow's log-determinant, where its draws are weighed
        patched.setattr(Flow, "transform", _no_determinant)
        assert found(vae(posterior="iaf"))
    with monkeypatch.context() as patched:  # and where z* is
        patched.setattr(Flow, "log_prob", _no_determinant_of)
        assert found(vae(posterior="iaf"))
    with monkeypatch.context() as patched:  # a prior of another scale than that of the codes
        patched.setattr(Weights, "log_joint", _wider(Weights.log_joint))
        assert found(vae(), 0.4)
    with monkeypatch.context() as patched:  # other sentences' codes for z*
        patched.setattr(SenVAE, "initial_state", _rolled(SenVAE.initial_state))
        assert found(vae(), 0.4)


def test_the_bounds_cross_where_the_draws_weights_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contracting steps whose log-determinant is left out of log q alone."""
    model = vae(posterior="iaf", flow_steps=12)
    right = certify(model, COUNT, 1.0, 8, LONGEST, 0, 4096)
    monkeypatch.setattr(Flow, "transform", _no_determinant)
    wrong = certify(model, COUNT, 1.0, 8, LONGEST, 0, 4096)
    assert right.gap_se is not None
    assert wrong.gap_se is not None
    assert right.gap > 0
    assert wrong.gap < -10 * wrong.gap_se


def test_the_gap_falls_with_the_draws_and_is_least_where_the_proposal_is_the_posterior() -> None:
    composed = compose(narrow(), COUNT, LONGEST, 0)
    weights = Weights(narrow(), composed.sentences, 0, 4096)

    def gap(temper: float, samples: int) -> float:
        lower, upper = certificate._bounds(weights, composed.z, certificate.OWN, samples, temper)
        return float((upper - lower).mean())

    gaps = [gap(0.08, samples) for samples in (2, 8, 32, 128)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 10 * gaps[-1] > 0
    assert gap(1.0, 32) > 5 * gap(0.08, 32)


def test_one_draw_makes_the_bounds_of_a_naive_loop() -> None:
    drawn, ends = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=3)
    lower, upper = sandwich(drawn, ends)
    for row in range(3):
        assert upper[row] == pytest.approx(-math.log(sum(map(math.exp, drawn[row])) / 4))
        assert lower[row] == pytest.approx(-math.log((sum(map(math.exp, drawn[row][:3])) + math.exp(ends[row])) / 4))
    assert sandwich(drawn[:, :1], ends)[0] == pytest.approx(-ends)


def test_a_loose_bound_from_below_is_replaced_by_that_of_a_wider_proposal() -> None:
    """The gap of q is then what q is biased by, and no more."""
    composed = compose(narrow(), COUNT, LONGEST, 0)
    truth = exact(narrow(), composed.sentences).mean()
    own, _ = certificate._bounds(Weights(narrow(), composed.sentences, 0, 4096), composed.z, certificate.OWN, 64, 1.0)
    found = certify(narrow(), COUNT, 1.0, 64, LONGEST, 0, 4096)
    assert found.gap > certificate.GAP
    assert found.lower_temper < 1
    assert own.mean() < found.lower < truth + 0.01
    assert found.lower == pytest.approx(truth, abs=0.03)
    assert found.gap == pytest.approx(found.upper - truth, abs=0.03)
    tight = certify(narrow(), COUNT, 0.08, 256, LONGEST, 0, 4096)
    assert (tight.lower_temper, tight.gap < 0.05) == (0.08, True)


def test_a_seed_gives_the_same_certificate_whatever_the_rows() -> None:
    model = vae(codes=2, prior="mog", posterior="iaf")
    found = [certify(model, 20, temper, 30, LONGEST, 5, 1024) for temper in (1.0, 0.4)]
    assert found == [certify(model, 20, temper, 30, LONGEST, 5, 1024) for temper in (1.0, 0.4)]
    few = certify(model, 20, 0.4, 30, LONGEST, 5, 16)
    assert (few.gap, few.lower, few.mean_rate) == pytest.approx((found[1].gap, found[1].lower, found[1].mean_rate))
    assert certify(model, 20, 0.4, 30, LONGEST, 6, 1024).upper != found[1].upper


@torch.no_grad()
def test_every_token_is_written_as_often_as_the_model_says_the_special_ones_too() -> None:
    model = vae()
    composed = compose(model, 4000, 2, seed=0)
    first = np.array([sentence[0] for sentence in composed.sentences])
    logits, _ = model.decoder.step(torch.full((4000,), BOS_INDEX), model.initial_state(composed.z))
    wanted = logits.softmax(-1).mean(0)
    for token in range(11):
        share = wanted[token].item()
        assert np.mean(first == token) == pytest.approx(share, abs=4 * math.sqrt(share / 4000))
    assert {PAD_INDEX, BOS_INDEX, EOS_INDEX, UNK_INDEX} <= set(first.tolist())
    ended = [sentence for sentence in composed.sentences if sentence[0] == EOS_INDEX]
    assert {len(sentence) for sentence in ended} == {1}


@pytest.mark.parametrize("nll", ["q", "tempered", "both"])
def test_an_evaluation_states_the_certificate_of_each_of_its_estimators(nll: str) -> None:
    model, options = narrow(), EvaluationOptions(nll=nll, nll_samples=20, certify=30)
    heard: list[tuple[int, int]] = []
    found = evaluate(model, CORPUS, options, 3, lambda done, of: heard.append((done, of)))
    without = evaluate(model, CORPUS, replace(options, certify=0), 3)
    assert (found.nll, found.nll_tempered, found.each) == (without.nll, without.nll_tempered, without.each)
    assert all(done <= of for done, of in heard)
    longest = 2 * max(map(len, CORPUS))
    facts = found.estimator
    stated = [facts] if nll != "both" else [facts, facts["tempered"]]
    made = [(1.0, 20)] if nll == "q" else [(stated[-1]["temper"], max(map(int, stated[-1]["levels"])))]
    made = [(1.0, 20), *made] if nll == "both" else made
    for each, (temper, samples) in zip(stated, made, strict=True):
        own = certify(model, 30, temper, samples, longest, 3, 1024)
        told = each["certificate"]
        assert (told["gap"], told["gap_se"], told["samples"]) == (own.gap, own.gap_se, samples)
        assert told["corpus_length"] == np.mean([len(s) for s in CORPUS])
        assert told["corpus_rate"] == found.rate
        assert bodies.Certificate.model_validate(told).model_dump() == told
    plain = found.plain()
    json.dumps(plain, allow_nan=False)
    said = estimators.estimate(plain)
    assert said.count("on 30 sentences of the model, of ") == len(stated)
    gap, error = (stated[0]["certificate"][key] for key in ("gap", "gap_se"))
    bound = f"{max(gap + 1.64 * error, 0.0):.2g} nats too high (gap {gap:.2g} + 1.64 × its standard error {error:.2g})"
    assert f"certified: at most {bound} on 30 sentences of the model, of " in said
    assert "certif" not in estimators.estimate(without.plain())


def test_a_certificate_of_one_sentence_has_no_standard_error_and_bounds_nothing() -> None:
    found = evaluate(vae(), CORPUS, EvaluationOptions(nll_samples=5, certify=1), 0)
    assert found.estimator["certificate"]["gap_se"] is None
    assert estimators.estimate(found.plain()).endswith("; its certificate bounds nothing")
    assert estimators.certified_bound(found.estimator["certificate"]) is None


def test_an_exact_figure_needs_no_certificate() -> None:
    found = evaluate(RNNLM(11, SMALL), CORPUS, EvaluationOptions(certify=10), 0)
    assert "certificate" not in found.estimator


def test_a_flow_that_cannot_be_inverted_in_its_precision_leaves_the_bound_to_another_proposal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Flow, "log_prob", lambda self, z: torch.full(z.shape[:-1], math.nan, dtype=z.dtype))
    found = certify(vae(posterior="planar"), 30, 1.0, 20, LONGEST, 0, 1024)
    assert found.lower_temper < 1
    assert math.isfinite(found.gap)


def test_a_certificate_that_bounds_nothing_is_told_and_gives_a_difference_no_bias() -> None:
    plain = evaluate(vae(), CORPUS, EvaluationOptions(nll_samples=5, certify=2), 0).plain()
    plain["estimator"]["certificate"] |= {"gap": None, "lower": None}
    assert estimators.estimate(plain).endswith("; its certificate bounds nothing")
    assert sentences._bias(plain["estimator"]) is None


def test_a_wider_proposal_whose_bound_is_no_number_is_not_the_tightest(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = dict.fromkeys(certificate.WIDER, 2.0) | {certificate.WIDER[0]: math.nan, certificate.WIDER[1]: 1.0}
    monkeypatch.setattr(certificate, "_bounds", lambda _w, _z, _level, _draws, temper: (0.0, np.float64(gaps[temper])))
    assert certificate._tightest(vae(), 20, 0, 100, lambda *_: None) == certificate.WIDER[1]
