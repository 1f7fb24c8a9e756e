"""Pooled encoder states and the code's way past the decoder, against loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers.encoder import POOLINGS
from trainers.models import BOS_INDEX, Batch, SenVAE

SENTENCES = [np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 10, 5, 2])]
CPU = torch.device("cpu")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_features_are_those_of_each_sentence_alone(cell: str, both_ways: bool, pooling: str) -> None:
    model = SenVAE(11, replace(SMALL, cell=cell, bidirectional=both_ways, pooling=pooling), LENGTHS).double()
    found = model.features(Batch.of(SENTENCES, CPU))
    for row, sentence in zip(found, SENTENCES, strict=True):
        embedded = model.decoder.embedding(torch.from_numpy(sentence))
        states, end = model.encoder(embedded[None])
        last = end if cell == "gru" else end[0]
        wanted = {"last": torch.cat(list(last))[:, :].flatten(), "mean": states[0].mean(0), "max": states[0].amax(0)}
        torch.testing.assert_close(row, wanted[pooling])


@pytest.mark.parametrize("codes", [1, 2])
@torch.no_grad()
def test_a_skip_connection_adds_the_codes_own_logits_at_every_step(codes: int) -> None:
    model = SenVAE(11, replace(SMALL, skip=True), LENGTHS, codes).double().eval()
    plain = SenVAE(11, SMALL, LENGTHS, codes).double().eval()
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("to_output")}
    plain.load_state_dict(kept)
    z = torch.randn(1, codes * SMALL.d_z).double()
    assert model.to_output is not None
    added = model.decoder.output.weight @ (model.to_output.weight @ z.view(codes, -1).mean(0))
    states, word, total = (model.initial_state(z), plain.initial_state(z)), torch.tensor([BOS_INDEX]), 0.0
    for target in SENTENCES[2]:
        (logits, one), (without, other) = model.decoder.step(word, states[0]), plain.decoder.step(word, states[1])
        torch.testing.assert_close(logits[0], without[0] + added)
        states, word = (one, other), torch.tensor([int(target)])
        total -= logits[0].log_softmax(-1)[int(target)].item()
    batch = Batch.of(SENTENCES[2:], CPU)
    assert model.decoder(batch, model.initial_state(z)).item() == pytest.approx(total)
    assert model.decoder.of_samples(batch, model.initial_state(z)).item() == pytest.approx(total)


def test_the_skip_is_of_the_generator_and_the_pooling_of_the_encoder() -> None:
    model = SenVAE(11, replace(SMALL, skip=True, pooling="max"), LENGTHS).double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.renew_generator()
    assert model.to_output is not None
    assert not torch.equal(model.to_output.weight, before["to_output.weight"])
    model(Batch.of(SENTENCES, CPU)).distortion.sum().backward()
    assert all(p.grad is not None for p in model.encoder_parameters())
