"""The models against naive loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch.nn import functional as F

from trainers.models import BOS_INDEX, RNNLM, Batch, SenVAE

SENTENCES = [np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 10, 5, 2])]
CPU = torch.device("cpu")


def naive_nll(model: RNNLM | SenVAE, sentence: np.ndarray, h_0: torch.Tensor) -> float:
    """Word by word through the decoder's parts, one sentence, no padding."""
    total, state, word = 0.0, h_0.contiguous(), BOS_INDEX
    for target in sentence:
        out, state = model.decoder.gru(model.decoder.embedding(torch.tensor([[word]])), state)
        logits = model.decoder.output(model.decoder.to_embedding(out))[0, 0]
        total -= F.log_softmax(logits, -1)[int(target)].item()
        word = int(target)
    return total


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_nll_equals_a_loop_over_words(tied: bool, grad: bool) -> None:
    model = RNNLM(11, replace(SMALL, tied=tied)).double()
    with torch.no_grad():
        model.h_0.normal_()
    with torch.set_grad_enabled(grad):
        found = model(Batch.of(SENTENCES, CPU)).distortion.tolist()
    assert found == pytest.approx([naive_nll(model, s, model.h_0) for s in SENTENCES])


def test_small_chunks_of_logits_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RNNLM(11, SMALL).double()
    with torch.no_grad():
        whole = model(Batch.of(SENTENCES, CPU)).distortion
        monkeypatch.setattr("trainers.models.CHUNK_LOGITS", 23)
        assert model(Batch.of(SENTENCES, CPU)).distortion.tolist() == pytest.approx(whole.tolist(), rel=1e-12)


def test_posterior_and_distortion_do_not_depend_on_the_batch() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    together = model.posterior(Batch.of(SENTENCES, CPU))
    z = torch.randn(3, SMALL.d_z, dtype=torch.float64)
    distortion = model.decoder(Batch.of(SENTENCES, CPU), model.initial_state(z))
    for i, sentence in enumerate(SENTENCES):
        alone = model.posterior(Batch.of([sentence], CPU))
        assert alone.location[0].tolist() == pytest.approx(together.location[i].tolist())
        assert alone.scale[0].tolist() == pytest.approx(together.scale[i].tolist())
        expected = naive_nll(model, sentence, model.initial_state(z[i : i + 1]))
        assert distortion[i].item() == pytest.approx(expected)


def test_rate_is_the_closed_form_of_two_gaussians() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    measured, q = model(Batch.of(SENTENCES, CPU)), model.posterior(Batch.of(SENTENCES, CPU))
    u, s = q.location, q.scale
    expected = 0.5 * (u**2 + s**2 - 1) - s.log()
    torch.testing.assert_close(measured.rate_per_dimension, expected)
    torch.testing.assert_close(measured.rate, expected.sum(1))


def test_detached_embeddings_get_no_gradient_from_the_encoder() -> None:
    for detached in (True, False):
        model = SenVAE(11, replace(SMALL, detached=detached), LENGTHS)
        model(Batch.of(SENTENCES, CPU)).rate.sum().backward()
        gradient = model.decoder.embedding.weight.grad
        assert (gradient is None or not gradient.any()) == detached


def test_a_step_at_a_time_gives_the_same_likelihood() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    z = torch.randn(3, SMALL.d_z, dtype=torch.float64)
    whole = model.decoder(Batch.of(SENTENCES, CPU), model.initial_state(z))
    for i, sentence in enumerate(SENTENCES):
        state, word, total = model.initial_state(z[i : i + 1]).contiguous(), torch.tensor([BOS_INDEX]), 0.0
        for target in sentence:
            logits, state = model.decoder.step(word, state)
            total -= F.log_softmax(logits, -1)[0, int(target)].item()
            word = torch.tensor([int(target)])
        assert total == pytest.approx(whole[i].item())


def test_other_words_read_change_what_is_read_but_not_what_is_predicted() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    batch, h_0 = Batch.of(SENTENCES, CPU), model.initial_state(torch.zeros(3, SMALL.d_z, dtype=torch.float64))
    assert torch.equal(model.decoder(batch, h_0, batch.inputs), model.decoder(batch, h_0))
    unread = model.decoder(batch, h_0, torch.full_like(batch.inputs, 3))
    for i, sentence in enumerate(SENTENCES):
        state, total = h_0[:, i : i + 1].contiguous(), 0.0
        for target in sentence:
            logits, state = model.decoder.step(torch.tensor([3]), state)
            total -= F.log_softmax(logits, -1)[0, int(target)].item()
        assert unread[i].item() == pytest.approx(total)


def test_dropout_uses_one_mask_for_all_time_steps() -> None:
    model = RNNLM(11, replace(SMALL, dropout=0.5, d_e=200))
    ones = torch.ones(4, 6, 200)
    dropped = model.decoder._shared_dropout(ones)
    assert (dropped == dropped[:, :1]).all()
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    model.eval()
    assert (model.decoder._shared_dropout(ones) == ones).all()


def test_weight_decay_is_gals_over_the_generator_without_embeddings() -> None:
    model = SenVAE(11, replace(SMALL, dropout=0.4), LENGTHS)
    gru, h_0, projection = model.decoder.gru, model.to_h_0, model.decoder.to_embedding
    matrices = [gru.weight_ih_l0, gru.weight_hh_l0, gru.weight_ih_l1, gru.weight_hh_l1, h_0.weight, projection.weight]
    biases = [gru.bias_ih_l0, gru.bias_hh_l0, gru.bias_ih_l1, gru.bias_hh_l1, h_0.bias, projection.bias]
    biases.append(model.decoder.output.bias)
    expected = sum(0.6 * float((w.detach() ** 2).sum()) for w in matrices) + sum(
        float((b.detach() ** 2).sum()) for b in biases
    )
    assert model.weight_decay(50).item() == pytest.approx(expected / 100, rel=1e-5)


def test_paper_preset_has_the_papers_sizes() -> None:
    from trainers.options import Options

    options = Options.resolve("paper", {})
    assert (options.model.d_e, options.model.d_h, options.model.decoder_layers) == (256, 256, 2)
    assert (options.model.encoder_layers, options.model.d_z, options.model.dropout) == (1, 32, 0.4)
    assert (options.training.batch_size, options.training.clip, options.training.learning_rate) == (64, 1.5, 1e-3)
    assert (options.model.posterior, options.model.prior, options.model.d_c) == ("gaussian", "normal", 512)
    assert (options.model.flow_steps, options.model.components) == (4, 100)
    assert options.corpus.truncation == 3
    assert (options.evaluation.nll_samples, options.evaluation.nll_sentences) == (1000, 0)
