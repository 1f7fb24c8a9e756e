"""Recurrent layers over packed sentences against PyTorch's over padded ones, and against a loop over sentences."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor, nn
from torch.nn import functional as F

from trainers import recurrent
from trainers.latent.distributions import Gaussian
from trainers.models import PAD_INDEX, Batch, SenVAE
from trainers.recurrent import Packing

CPU = torch.device("cpu")
COUNTS = [3, 9, 1, 4, 9, 6]


@pytest.mark.parametrize("counts", [COUNTS, [1], [5, 5, 5], [2, 7]], ids=str)
@pytest.mark.parametrize("times", [1, 3])
def test_packing_puts_every_token_in_its_place(counts: list[int], times: int) -> None:
    packing = Packing.of(torch.tensor(counts), CPU).repeat(times)
    counts = counts * times
    ranked = packing.order.tolist()
    assert sorted(ranked) == list(range(len(counts)))
    assert [counts[s] for s in ranked] == sorted(counts, reverse=True)
    expected = [(s, step) for step in range(max(counts)) for s in ranked if counts[s] > step]
    assert list(zip(packing.sentence.tolist(), packing.step.tolist(), strict=True)) == expected
    assert list(packing.sizes) == [sum(n > step for n in counts) for step in range(max(counts))]
    assert packing.last.tolist() == [expected.index((s, n - 1)) for s, n in enumerate(counts)]
    assert packing.mirrored.tolist() == [expected.index((s, counts[s] - 1 - step)) for s, step in expected]
    padded = torch.arange(len(counts) * max(counts) * 2).view(len(counts), max(counts), 2)
    assert packing.pack(padded).tolist() == [padded[s, step].tolist() for s, step in expected]


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize(("layers", "both_ways"), list(product([1, 2], [False, True])))
def test_layers_and_their_gradients_equal_pytorchs_of_each_sentence_alone(
    kind: type[nn.GRU | nn.LSTM], layers: int, both_ways: bool
) -> None:
    torch.manual_seed(0)
    network = kind(5, 7, layers, batch_first=True, bidirectional=both_ways).double()
    shape = (layers * (1 + both_ways), len(COUNTS), 7)
    read, h, cell = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((6, 9, 5), shape, shape))
    packing = Packing.of(torch.tensor(COUNTS), CPU)
    found = recurrent.outputs(network, packing.pack(read), packing, h, cell if kind is nn.LSTM else None, "float32")
    alone: list[Tensor] = []
    for s, n in enumerate(COUNTS):
        start = (h[:, s : s + 1].contiguous(), cell[:, s : s + 1].contiguous())
        out, _ = network(read[s : s + 1, :n], start if kind is nn.LSTM else start[0])
        alone.append(F.pad(out[0], (0, 0, 0, max(COUNTS) - n)))
    expected = packing.pack(torch.stack(alone))
    torch.testing.assert_close(found, expected)
    leaves = [read, h, *([cell] if kind is nn.LSTM else []), *network.parameters()]
    by = torch.randn_like(found)
    gradients = (torch.autograd.grad((out * by).sum(), leaves) for out in (found, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_random_batch_has_the_gradient_of_a_naive_padded_one(cell: str) -> None:
    generator = np.random.default_rng(0)
    batch = Batch.of([generator.integers(4, 60, n) for n in generator.integers(1, 40, 64)], CPU)
    torch.manual_seed(0)
    model = SenVAE(60, SMALL, LENGTHS)
    if cell == "lstm":
        model = SenVAE(60, replace(SMALL, cell="lstm"), LENGTHS)

    def ours() -> Tensor:
        output = model(batch)
        return (output.distortion + output.rate).mean()

    def naive() -> Tensor:
        decoder, z_noise = model.decoder, model.posterior(batch).noise(1)
        packed = nn.utils.rnn.pack_padded_sequence(decoder.embedding(batch.tokens).detach(), batch.lengths, True, False)
        _, last = model.encoder(packed)
        last = last[0] if isinstance(last, tuple) else last
        posterior = model.posterior_of(torch.cat([*last], dim=-1))
        assert isinstance(posterior, Gaussian)
        z, _ = posterior.transform(z_noise)
        own = torch.distributions.Normal(posterior.location, posterior.scale)
        rate = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(-1)
        h = model.initial_state(z[0]).h
        network: nn.Module = getattr(decoder.cell, cell)
        states, _ = network(decoder.embedding(batch.inputs), h if cell == "gru" else (h, torch.zeros_like(h)))
        logits = decoder.output(decoder.to_embedding(states)).flatten(0, 1)
        nll = F.cross_entropy(logits, batch.tokens.flatten(), reduction="none", ignore_index=PAD_INDEX)
        return (nll.view_as(batch.tokens).sum(-1) + rate).mean()

    found = []
    for loss in (ours, naive):
        torch.manual_seed(1)
        model.zero_grad()
        value = loss()
        value.backward()
        found.append((value.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("both_ways", [False, True])
def test_a_layer_keeps_what_gradients_need_in_evaluation_too(both_ways: bool) -> None:
    network = nn.LSTM(5, 7, batch_first=True, bidirectional=both_ways).eval()  # cuDNN looks at that flag
    seen: list[bool] = []
    network.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    packing, start = Packing.of(torch.tensor(COUNTS), CPU), torch.zeros(1 + both_ways, len(COUNTS), 7)
    for wanted in (True, False):
        seen.clear()
        with torch.set_grad_enabled(wanted):
            recurrent.outputs(network.eval(), torch.randn(sum(COUNTS), 5), packing, start, start, "float32")
        assert set(seen) == {wanted}
