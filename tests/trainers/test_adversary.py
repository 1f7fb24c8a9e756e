"""Adversarial word dropout: the choice of words, its gradient, and the two players."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor

from trainers import objectives
from trainers.models import Batch, Output, SentenceModel
from trainers.objectives.adversarial_word_dropout import (
    Technique,
    hard_least,
    least,
    relaxed_least,
    reversed_gradient,
)
from trainers.training import build_model

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 9)), 2) for _ in range(30)]


def players(**values: Any) -> tuple[Technique, SentenceModel]:
    objective = objectives.create("adversarial-word-dropout", {"anneal_epochs": 0, **values})
    assert isinstance(objective, Technique)
    return objective, build_model(objective, 11, SMALL, LENGTHS)


def scores_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Random scores and the places of the words."""
    places = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None] - 1
    return torch.randn(batch.tokens.shape, dtype=torch.float64), places


def test_exactly_k_words_of_least_score_are_masked() -> None:
    scores, words = scores_of(Batch.of(SENTENCES, CPU))
    for share in (0.0, 0.3, 1.0):
        count = (share * words.sum(1)).round().long()
        masked = hard_least(scores, words, count)
        assert torch.equal(masked, least(scores, words, count, 0.5))
        assert torch.equal(masked.sum(1), count.double())
        for row, places, mask, k in zip(scores, words, masked, count.tolist(), strict=True):
            own = row[places].tolist()
            assert sorted(own)[:k] == sorted(score for score, m in zip(own, mask.tolist(), strict=False) if m)
            assert not mask[~places].any()


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_relaxed_shares_add_up_to_k_and_have_the_gradient_of_finite_differences(temperature: float) -> None:
    scores, words = scores_of(Batch.of(SENTENCES[:6], CPU))
    count = (0.5 * words.sum(1)).ceil().long().clamp(max=words.sum(1) - 1)
    enough = words.sum(1) > 1
    scores, words, count = scores[enough], words[enough], count[enough]
    shares = relaxed_least(scores, words, count, temperature)
    torch.testing.assert_close(shares.sum(1), count.double())
    weight = torch.randn_like(scores)
    moved = scores.clone().requires_grad_(True)
    (relaxed_least(moved, words, count, temperature) * weight).sum().backward()
    assert moved.grad is not None
    for row, column in words.nonzero().tolist():
        step = torch.zeros_like(scores)
        step[row, column] = 1e-5
        values = [(relaxed_least(scores + s * step, words, count, temperature) * weight).sum() for s in (1, -1)]
        assert moved.grad[row, column].item() == pytest.approx((values[0] - values[1]).item() / 2e-5, abs=1e-6)


def test_gradient_reversal_negates() -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    y = reversed_gradient(x)
    assert torch.equal(y, x)
    (y * torch.tensor([5.0, 7.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-5, -7]


def test_the_decoder_reads_unk_in_place_of_the_words_chosen_and_the_start_stays() -> None:
    objective, model = players(rate=0.4)
    batch, seen = Batch.of(SENTENCES, CPU), []

    class Reader(torch.nn.Module):
        def forward(self, batch: Batch, masked: Tensor) -> Output:
            seen.append(masked.detach())
            return model(batch, masked=masked)  # type: ignore[no-any-return]

    objective.measure(Reader(), batch)  # type: ignore[arg-type]
    (masked,) = seen
    assert not masked[:, 0].any()
    for row, length in zip(masked, batch.lengths.tolist(), strict=True):
        assert row.sum() == min(np.floor(0.4 * length + 0.5), length - 1)
        assert not row[length:].any()


def test_the_regulariser_is_the_divergence_of_the_words_scores_from_a_standard_normal() -> None:
    objective, model = players()
    batch = Batch.of(SENTENCES, CPU)
    assert objective.adversary is not None
    location, scale = objective.adversary(batch.tokens)
    penalty = objective.measure(model, batch).penalty
    assert isinstance(penalty, Tensor)
    for b, length in enumerate(batch.lengths.tolist()):
        q = torch.distributions.Normal(location[b, : length - 1], scale[b, : length - 1])
        expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
        torch.testing.assert_close(penalty[b], expected)


def telling(sentences: int) -> Batch:
    """The next token can be told from one word only, the second: 4 and 5 are followed by their like, 6 and 7 by anything."""
    rows = []
    for number in range(sentences):
        told = 4 + number % 2
        rows.append(np.array([RANDOM.integers(6, 8), told, told + 4, RANDOM.integers(6, 8), 2]))
    return Batch.of(rows, CPU)


def trained(model: SentenceModel, objective: Technique, who: str, steps: int, batch: Batch, rate: float = 0.02) -> None:
    assert objective.adversary is not None
    player = {"model": model, "adversary": objective.adversary}[who]
    optimizer = torch.optim.Adam(player.parameters(), lr=rate)
    for _ in range(steps):
        model.zero_grad()
        objective.zero_grad()
        objective.loss(objective.measure(model, batch)).backward()
        optimizer.step()


@torch.no_grad()
def distortion(model: SentenceModel, objective: Technique, batch: Batch) -> float:
    found = [objective.measure(model, batch).distortion.mean().item() for _ in range(40)]
    return float(np.mean(found))


def test_the_model_lowers_the_loss_and_the_adversary_raises_it_by_hiding_the_word_that_tells() -> None:
    objective, model = players(rate=0.2, lam=0.01)  # one word of each sentence
    batch = telling(64)
    start = distortion(model, objective, batch)
    trained(model, objective, "model", 150, batch)
    learnt = distortion(model, objective, batch)
    assert learnt < start - 0.5
    trained(model, objective, "adversary", 150, batch)
    assert distortion(model, objective, batch) > learnt + 0.1
    probabilities = objective.drop_probabilities(batch, 50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(64))
    assert probabilities.mean(0).argmax() == 1
    assert probabilities.mean(0)[1] > 0.6


def test_a_high_price_on_scores_drops_uniformly() -> None:
    objective, model = players(rate=0.2, lam=1e4)
    batch = telling(64)
    trained(model, objective, "model", 50, batch)
    trained(model, objective, "adversary", 200, batch, rate=0.01)
    probabilities = objective.drop_probabilities(batch, 400, torch.Generator().manual_seed(0))
    assert probabilities[:, :4].mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.02)
    assert objective.adversary is not None
    location, scale = objective.adversary(batch.tokens)
    assert location[:, :4].abs().max() < 0.1
    torch.testing.assert_close(scale[:, :4], torch.ones(64, 4), atol=0.1, rtol=0)
