"""Transformers: against a loop over words by the formulas, the likelihood at once and step by step, and what sees what."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor
from torch.nn import functional as F

from trainers import objectives
from trainers.contract import PRESETS
from trainers.errors import BadInput
from trainers.evaluation import evaluate
from trainers.generation import GenerationOptions, decode
from trainers.models import BOS_INDEX, RNNLM, Batch, SenVAE
from trainers.options import EvaluationOptions, ModelOptions, Options
from trainers.training import build_model
from trainers.transformer import BASE, Layer, rotated

SENTENCES = [np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 10, 5, 2])]
CPU = torch.device("cpu")
SMALL_T = replace(SMALL, cell="transformer", d_h=8, heads=2, d_f=7)
PLACES = ("initial", "every-step", "both", "memory")


def model(codes: int = 1, **options: object) -> SenVAE:
    return SenVAE(11, replace(SMALL_T, **options), LENGTHS, codes).double()  # type: ignore[arg-type]


def attended(layer: Layer, rows: list[Tensor]) -> list[Tensor]:
    """A layer's outputs of the places so far, each seeing itself and those before: loops over places, heads and units."""
    d, heads = len(rows[0]), layer.heads
    h = d // heads
    projected = [layer.project(layer.attention_norm(x)) for x in rows]

    def turned(vector: Tensor, place: int) -> Tensor:
        out = vector.clone()
        for i in range(h // 2):
            angle = place * BASE ** (-2 * i / h)
            a, b = vector[i], vector[i + h // 2]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + h // 2] = a * math.sin(angle) + b * math.cos(angle)
        return out

    outs = []
    for t, x in enumerate(rows):
        parts = []
        for head in range(heads):
            at = slice(head * h, (head + 1) * h)
            q = turned(projected[t][:d][at], t)
            scores = [q @ turned(projected[s][d : 2 * d][at], s) / math.sqrt(h) for s in range(t + 1)]
            shares = torch.stack(scores).softmax(0)
            parts.append(sum(shares[s] * projected[s][2 * d :][at] for s in range(t + 1)))
        x = x + layer.attended(torch.cat(parts))
        outs.append(x + layer.narrow(F.gelu(layer.widen(layer.inner_norm(x)))))
    return outs


def naive_nll(made: SenVAE, sentence: np.ndarray, z: Tensor) -> float:
    """−log P(x|z) of one sentence by the formulas, without padding or packing."""
    o, decoder, cell = made.options, made.decoder, made.decoder.cell
    h = torch.zeros(cell.state_layers, o.d_h).double()
    if made.to_h_0 is not None:
        h = made.to_h_0(z).tanh().view(-1, o.d_h)
    beside = [z] if o.conditioning in ("every-step", "both") else []
    words = [decoder.embedding.weight[int(w)] for w in [BOS_INDEX, *sentence[:-1]]]
    rows = [h[0], *(cell.read(torch.cat([w, *beside])) for w in words)]
    for number, layer in enumerate(cell.stack.layers):
        if number < len(h):
            rows[0] = h[number]
        rows = attended(layer, rows)
    total = 0.0
    for row, target in zip(rows[1:], sentence, strict=True):
        read = decoder.to_embedding(cell.stack.norm(row))
        if made.to_output is not None:
            read = read + made.to_output.weight @ z
        total -= F.log_softmax(decoder.output(read), -1)[int(target)].item()
    return total


def stepwise(made: SenVAE | RNNLM, sentence: np.ndarray, z: Tensor) -> float:
    """−log P(x|z) word by word, as generation goes."""
    state, word, total = made.initial_state(z[None]), torch.tensor([BOS_INDEX]), 0.0
    for target in sentence:
        logits, state = made.decoder.step(word, state)
        total -= F.log_softmax(logits, -1)[0, int(target)].item()
        word = torch.tensor([int(target)])
    return total


@pytest.mark.parametrize("conditioning", PLACES)
@pytest.mark.parametrize("skip", [False, True])
@torch.no_grad()
def test_the_likelihood_is_that_of_a_loop_at_once_and_step_by_step(conditioning: str, skip: bool) -> None:
    made = model(conditioning=conditioning, skip=skip).eval()
    z, batch = torch.randn(3, SMALL.d_z).double(), Batch.of(SENTENCES, CPU)
    expected = [naive_nll(made, s, z[i]) for i, s in enumerate(SENTENCES)]
    assert made.decoder(batch, made.initial_state(z)).tolist() == pytest.approx(expected)
    assert [stepwise(made, s, z[i]) for i, s in enumerate(SENTENCES)] == pytest.approx(expected)
    many = made.decoder.of_samples(batch, made.initial_state(torch.cat([z, z.flip(0)])))
    again = [naive_nll(made, s, z[2 - i]) for i, s in enumerate(SENTENCES)]
    torch.testing.assert_close(many, torch.tensor([expected, again]).double())


@pytest.mark.parametrize("conditioning", PLACES)
@torch.no_grad()
def test_several_codes_and_a_language_model_agree_with_their_steps(conditioning: str) -> None:
    made, language = (
        model(3, conditioning=conditioning, skip=True),
        RNNLM(11, replace(SMALL_T, conditioning=conditioning)),
    )
    language.double().h_0.normal_()
    z, batch = torch.randn(3, 3 * SMALL.d_z).double(), Batch.of(SENTENCES, CPU)
    found = made.decoder(batch, made.initial_state(z)).tolist()
    assert [stepwise(made, s, z[i]) for i, s in enumerate(SENTENCES)] == pytest.approx(found)
    nothing = torch.zeros(0).double()
    expected = [stepwise(language, s, nothing) for s in SENTENCES]
    assert language(batch).distortion.tolist() == pytest.approx(expected)


def test_attention_by_place_is_relative() -> None:
    q, k = torch.randn(1, 8).double().expand(12, 8), torch.randn(1, 8).double().expand(12, 8)
    scores = rotated(q) @ rotated(k).t()
    for shift in range(-5, 6):
        diagonal = scores.diagonal(shift)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    torch.testing.assert_close(rotated(q[:3], 7), rotated(q)[7:10])


@pytest.mark.parametrize("both_ways", [True, False])
@torch.no_grad()
def test_an_encoder_sees_no_padding_and_only_what_it_may(both_ways: bool) -> None:
    made = model(bidirectional=both_ways, encoder_layers=2, pooling="last")
    alone = [made.features(Batch.of([s], CPU))[0] for s in SENTENCES]
    torch.testing.assert_close(made.features(Batch.of(SENTENCES, CPU)), torch.stack(alone))
    packing = Batch.of(SENTENCES[2:], CPU).packing
    words = torch.randn(5, SMALL.d_e).double()
    states = made.encoder(words, packing, "float32")
    words[3] += 1
    moved = (made.encoder(words, packing, "float32") - states).abs().sum(-1) > 1e-9
    assert moved.tolist() == ([True] * 5 if both_ways else [False] * 3 + [True] * 2)


@pytest.mark.parametrize("conditioning", PLACES)
def test_the_code_and_the_encoder_are_trained_in_every_place(conditioning: str) -> None:
    made = model(conditioning=conditioning)
    made(Batch.of(SENTENCES, CPU)).distortion.mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.to_posterior.parameters())


@torch.no_grad()
def test_every_figure_and_both_estimators_take_it() -> None:
    made = build_model(objectives.create("vanilla", {}), 11, SMALL_T, LENGTHS)
    options = EvaluationOptions(nll="both", nll_samples=1000, certify=8, rows=1024)
    found = evaluate(made, SENTENCES * 4, options, 0)
    assert found.nll == pytest.approx(found.nll_tempered or 0, abs=0.05)
    assert found.estimator["certificate"]["gap"] < 0.2
    z = torch.zeros(2, SMALL.d_z)
    written = decode(made, z, GenerationOptions(length=300), torch.Generator())  # longer than any sentence seen
    assert written[0] == written[1]


def test_what_makes_no_sense_is_refused() -> None:
    for values, message in (
        ({"cell": "gru", "conditioning": "memory"}, "conditioning = 'memory' is not allowed with cell = 'gru'"),
        ({"cell": "transformer", "d_h": 12, "heads": 4}, "heads = 4 is not allowed with d_h = 12"),
        ({"cell": "transformer", "d_h_encoder": 8}, "d_h_encoder = 8 is not allowed with cell = 'transformer'"),
        ({"cell": "transformer", "uniform": 0.1}, r"uniform = 0\.1 is not allowed with cell = 'transformer'"),
    ):
        with pytest.raises(BadInput, match=message):
            ModelOptions(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["small", "paper"])
def test_presets_have_the_parameters_of_their_recurrent_twins(size: str) -> None:
    counts = []
    for preset in (size, f"transformer-{size}"):
        made = SenVAE(10_002, Options.resolve(preset, {}).model, (20.0, 10.0))
        counts.append(sum(parameter.numel() for parameter in made.parameters()))
    assert counts[1] == pytest.approx(counts[0], rel=0.01)
    assert PRESETS[f"transformer-{size}"]["cell"] == "transformer"
