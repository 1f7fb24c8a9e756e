"""The models against naive loops."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from torch import Tensor, nn
from torch.nn import functional as F

from trainers import objectives
from trainers.errors import BadInput
from trainers.models import BOS_INDEX, RNNLM, UNK_INDEX, Batch, SenVAE
from trainers.options import ModelOptions, Options
from trainers.recurrent import Packing
from trainers.token_nll import LongTokenNLL, Spare, TokenNLL

SENTENCES = [np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 10, 5, 2])]
CPU = torch.device("cpu")
KINDS = [
    {"cell": cell, "conditioning": conditioning}
    for cell in ("gru", "lstm", "double-lstm")
    for conditioning in ("initial", "every-step", "both")
    if (cell, conditioning) != ("double-lstm", "initial")
]


def recurrence(module: nn.Module, x: Tensor, h: list[Tensor], c: list[Tensor]) -> Tensor:
    """One step of a stacked GRU or LSTM by its formulas; changes the layers' states h and c [d_h] in place."""
    for layer in range(len(h)):
        w_x, w_h, b_x, b_h = (
            getattr(module, f"{kind}_l{layer}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        from_x, from_h = w_x @ x + b_x, w_h @ h[layer] + b_h
        if isinstance(module, nn.LSTM):
            i, f, g, o = (from_x + from_h).chunk(4)
            c[layer] = f.sigmoid() * c[layer] + i.sigmoid() * g.tanh()
            h[layer] = o.sigmoid() * c[layer].tanh()
        else:
            (r_x, u_x, n_x), (r_h, u_h, n_h) = from_x.chunk(3), from_h.chunk(3)
            u = (u_x + u_h).sigmoid()
            h[layer] = (1 - u) * (n_x + (r_x + r_h).sigmoid() * n_h).tanh() + u * h[layer]
        x = h[layer]
    return x


def naive_nll(model: RNNLM | SenVAE, sentence: np.ndarray, codes: Tensor, read: list[int] | None = None) -> float:
    """Word by word by the cells' formulas, one sentence, no padding; codes [A, d_z]; `read`: other words than the sentence's."""
    o, decoder = model.options, model.decoder
    layers, runs = decoder.cell.state_layers, []
    for z in codes:
        if isinstance(model, RNNLM):
            h_0 = model.h_0[:, 0]
        elif model.to_h_0 is None:
            h_0 = torch.zeros(layers, o.d_h).double()
        else:
            h_0 = model.to_h_0(z).tanh().view(layers, o.d_h) if o.initial_tanh else model.to_h_0(z).view(layers, o.d_h)
        runs.append((z, list(h_0), list(torch.zeros_like(h_0))))
    total = 0.0
    for word, target in zip(read or [BOS_INDEX, *sentence[:-1]], sentence, strict=True):
        e, outs = decoder.embedding.weight[int(word)], []
        for z, h, c in runs:
            beside = [z] if isinstance(model, SenVAE) and o.conditioning != "initial" else []
            if o.cell == "double-lstm":
                half = layers // 2
                h_1, c_1, h_2, c_2 = h[:half], c[:half], h[half:], c[half:]
                first = recurrence(decoder.cell.first, z, h_1, c_1)
                outs.append(recurrence(decoder.cell.second, torch.cat([e, first, z]), h_2, c_2))
                h[:], c[:] = h_1 + h_2, c_1 + c_2
            else:
                outs.append(recurrence(getattr(decoder.cell, o.cell), torch.cat([e, *beside]), h, c))
        logits = decoder.output(decoder.to_embedding(sum(outs) / len(outs)))
        total -= F.log_softmax(logits, -1)[int(target)].item()
    return total


NOTHING = torch.zeros(1, 0).double()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
@pytest.mark.parametrize("codes", [1, 3])
@torch.no_grad()
def test_every_cell_and_place_of_the_code_equals_a_loop_by_the_formulas(kind: dict[str, str], codes: int) -> None:
    model = SenVAE(11, replace(SMALL, **kind), LENGTHS, codes).double()
    z = torch.randn(3, codes * SMALL.d_z, dtype=torch.float64)
    batch, state = Batch.of(SENTENCES, CPU), model.initial_state(z)
    expected = [naive_nll(model, s, z[i].view(codes, -1)) for i, s in enumerate(SENTENCES)]
    assert model.decoder(batch, state).tolist() == pytest.approx(expected)
    for i, sentence in enumerate(SENTENCES):  # a word at a time, as generation goes
        state, word, total = model.initial_state(z[i : i + 1]), torch.tensor([BOS_INDEX]), 0.0
        for target in sentence:
            logits, state = model.decoder.step(word, state)
            total -= F.log_softmax(logits, -1)[0, int(target)].item()
            word = torch.tensor([int(target)])
        assert total == pytest.approx(expected[i])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind["cell"] != "double-lstm"])
@torch.no_grad()
def test_a_language_model_reads_no_code_wherever_one_would_enter(kind: dict[str, str]) -> None:
    model = RNNLM(11, replace(SMALL, **kind)).double()
    model.h_0.normal_()
    found = model(Batch.of(SENTENCES, CPU)).distortion.tolist()
    assert found == pytest.approx([naive_nll(model, s, NOTHING) for s in SENTENCES])


@torch.no_grad()
def test_double_lstms_first_unit_never_sees_a_word() -> None:
    model = SenVAE(11, replace(SMALL, cell="double-lstm", conditioning="both"), LENGTHS).double()
    state = model.initial_state(torch.randn(1, SMALL.d_z, dtype=torch.float64))
    ends = []
    for words in ([4, 5], [6, 7]):
        end = state
        for word in words:
            _, end = model.decoder.cell.step(model.decoder.embedding(torch.tensor([word])), end)
        ends.append(end)
    half = len(state.h) // 2
    assert torch.equal(ends[0].h[:half], ends[1].h[:half])
    assert not torch.equal(ends[0].h[half:], ends[1].h[half:])
    with pytest.raises(BadInput, match="conditioning = 'initial' is not allowed with cell = 'double-lstm'"):
        ModelOptions(cell="double-lstm")


@torch.no_grad()
def test_without_inputs_only_the_start_and_the_code_are_read() -> None:
    model = SenVAE(11, replace(SMALL, inputless=True), LENGTHS).double()
    z = torch.randn(3, SMALL.d_z, dtype=torch.float64)
    found = model.decoder(Batch.of(SENTENCES, CPU), model.initial_state(z)).tolist()
    expected = [
        naive_nll(model, s, z[i : i + 1], [BOS_INDEX] + [UNK_INDEX] * (len(s) - 1)) for i, s in enumerate(SENTENCES)
    ]
    assert found == pytest.approx(expected)


@torch.no_grad()
def test_masked_words_are_unk() -> None:
    model, batch = SenVAE(11, SMALL, LENGTHS).double(), Batch.of(SENTENCES, CPU)
    state = model.initial_state(torch.randn(3, SMALL.d_z, dtype=torch.float64))
    masked = (torch.rand(batch.inputs.shape) < 0.5).double()
    replaced = batch.inputs.masked_fill(masked > 0, UNK_INDEX)
    torch.testing.assert_close(model.decoder(batch, state, masked=masked), model.decoder(batch, state, replaced))


@torch.no_grad()
def test_encoders_read_in_the_order_and_with_the_embeddings_asked_for() -> None:
    for cell, width in (("gru", SMALL.d_h), ("lstm", SMALL.d_h), ("gru", SMALL.d_h + 3)):
        options = replace(SMALL, cell=cell, bidirectional=False, reversed=True, own_embeddings=True, d_h_encoder=width)
        model = SenVAE(11, options, LENGTHS).double()
        assert model.encoder_embedding is not None
        model.encoder_embedding.weight.normal_()
        found = model.features(Batch.of(SENTENCES, CPU))
        for i, sentence in enumerate(SENTENCES):
            h, c = [torch.zeros(width).double()], [torch.zeros(width).double()]
            for word in reversed(sentence):
                recurrence(model.encoder, model.encoder_embedding.weight[int(word)], h, c)
            torch.testing.assert_close(found[i], h[0])


def test_several_codes_are_one_latent_with_the_rate_of_all() -> None:
    one, three = (SenVAE(11, SMALL, LENGTHS, codes).double() for codes in (1, 3))
    three.load_state_dict(one.state_dict())  # the same weights: A changes no shape
    batch = Batch.of(SENTENCES, CPU)
    torch.testing.assert_close(three(batch).rate, 3 * one(batch).rate)


def test_a_renewed_generator_is_new_and_the_encoder_what_it_was() -> None:
    for own in (True, False):
        model = SenVAE(11, replace(SMALL, own_embeddings=own), LENGTHS)
        before, read = dict(copy.deepcopy(model.state_dict())), model.features(Batch.of(SENTENCES, CPU))
        model.renew_generator()
        assert torch.equal(model.features(Batch.of(SENTENCES, CPU)), read)
        same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
        shared = set() if own else {"decoder.embedding.weight", "decoder.output.weight"}
        assert same == {name for name in before if name.split(".")[0].startswith(("encoder", "to_posterior"))} | shared


def test_a_uniform_start_leaves_a_flows_gates_open() -> None:
    model = SenVAE(50, replace(SMALL, posterior="iaf", uniform=0.01), LENGTHS)
    gates = {name: p for name, p in model.named_parameters() if name.endswith("gate.bias")}
    assert gates
    assert all((gate == 2).all() for gate in gates.values())


def test_a_copy_of_a_model_has_none_of_its_buffers() -> None:
    model = SenVAE(50, SMALL, LENGTHS)
    model.decoder._spare.append(torch.zeros(9))
    assert copy.deepcopy(model).decoder._spare == []


def test_a_uniform_start_is_within_its_range() -> None:
    model = SenVAE(50, replace(SMALL, cell="lstm", uniform=0.01, tied=False, own_embeddings=True), LENGTHS)
    for name, parameter in model.named_parameters():
        limit = 0.1 if "embedding.weight" in name and "to_embedding" not in name else 0.01
        assert 0.5 * limit < parameter.abs().max() <= limit, name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_nll_equals_a_loop_over_words(tied: bool, grad: bool) -> None:
    model = RNNLM(11, replace(SMALL, tied=tied)).double()
    with torch.no_grad():
        model.h_0.normal_()
    with torch.set_grad_enabled(grad):
        found = model(Batch.of(SENTENCES, CPU)).distortion.tolist()
    assert found == pytest.approx([naive_nll(model, s, NOTHING) for s in SENTENCES])


def test_the_loss_and_its_gradients_are_cross_entropys_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.token_nll.BLOCK", {"cpu": (10, 40)})  # the least block, of 16 words
    torch.manual_seed(0)
    states, weight, bias = (torch.randn(*shape, dtype=torch.float64) * 3 for shape in ((23, 5), (37, 5), (37,)))
    targets, shares, spare = torch.randint(37, (23,)), torch.randn(23, dtype=torch.float64), []

    def loss_of(nll: Callable[..., Tensor]) -> tuple[Tensor, list[Tensor]]:
        leaves = [leaf.clone().requires_grad_() for leaf in (states, weight, bias)]
        found = nll(*leaves)
        (found * shares).sum().backward()
        return found.detach(), [leaf.grad for leaf in leaves if leaf.grad is not None]

    for _ in range(3):  # the second time in the first one's memory
        ours = loss_of(lambda s, w, b: TokenNLL.apply(s, w, b, targets, torch.float64, spare))
        plain = loss_of(lambda s, w, b: F.cross_entropy(F.linear(s, w, b), targets, reduction="none"))
        torch.testing.assert_close(ours, plain)
        assert len(spare) == 1
    states = 100 * states  # powers that 32 bits cannot hold
    torch.testing.assert_close(
        loss_of(lambda s, w, b: TokenNLL.apply(s, w, b, targets, torch.float64, spare)),
        loss_of(lambda s, w, b: F.cross_entropy(F.linear(s, w, b), targets, reduction="none")),
    )


def test_a_long_batchs_logits_are_not_kept_and_its_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.token_nll.BLOCK", {"cpu": (10, 40)})
    for scale in (3, 300):  # the latter's powers are beyond what 32 bits can hold
        states, weight, bias = (torch.randn(*shape, dtype=torch.float64) * scale for shape in ((23, 5), (37, 5), (37,)))
        targets, shares = torch.randint(37, (23,)), torch.randn(23, dtype=torch.float64)
        found = []
        for kind, more in ((LongTokenNLL, ()), (TokenNLL, ([],))):
            leaves = [leaf.clone().requires_grad_() for leaf in (states, weight, bias)]
            (kind.apply(*leaves, targets, torch.float64, *more) * shares).sum().backward()
            found.append([leaf.grad for leaf in leaves])
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("technique", ["vanilla", "mdr", "infovae", "adversarial-word-dropout"])
def test_the_bound_of_a_batchs_tokens_changes_no_gradient(technique: str) -> None:
    """Dropout is drawn alike, and losses of a whole batch, such as a constraint on its mean rate, are of the whole batch."""
    found = []
    for tokens in (0, 1):
        torch.manual_seed(0)
        objective = objectives.create(technique, {})
        model = SenVAE(11, replace(SMALL, dropout=0.3), LENGTHS).double()
        objective.grow(model)
        model.decoder.batch_tokens = tokens
        torch.manual_seed(1)
        loss = objective.double().loss(objective.measure(model, Batch.of(SENTENCES, CPU)))
        loss.backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(*found)


def test_two_losses_at_once_do_not_share_memory() -> None:
    weight, bias, spare = torch.randn(7, 3, requires_grad=True), torch.zeros(7), [torch.empty(1000)]
    first, second = torch.randn(4, 3), torch.randn(6, 3)
    a, b = torch.tensor([0, 1, 2, 3]), torch.tensor([6, 5, 4, 3, 2, 1])
    losses = [TokenNLL.apply(s, weight, bias, t, torch.float32, spare).sum() for s, t in ((first, a), (second, b))]
    (losses[0] + losses[1]).backward()
    found, weight.grad = weight.grad, None
    (
        F.cross_entropy(first @ weight.t(), a, reduction="sum")
        + F.cross_entropy(second @ weight.t(), b, reduction="sum")
    ).backward()
    torch.testing.assert_close(found, weight.grad)
    with pytest.raises(RuntimeError):
        losses[0].backward()


def test_small_chunks_of_logits_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RNNLM(11, SMALL).double()
    with torch.no_grad():
        whole = model(Batch.of(SENTENCES, CPU)).distortion
        monkeypatch.setattr("trainers.token_nll.BLOCK", {"cpu": (5, 3)})
        assert model(Batch.of(SENTENCES, CPU)).distortion.tolist() == pytest.approx(whole.tolist(), rel=1e-12)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("codes", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
def test_many_codes_of_the_same_sentences_equal_a_loop_over_codes_and_words(
    kind: dict[str, str], codes: int, tied: bool
) -> None:
    model = SenVAE(11, replace(SMALL, tied=tied, **kind), LENGTHS, codes).double().eval()
    z = torch.randn(4, 3, codes * SMALL.d_z, dtype=torch.float64)
    found = model.decoder.of_samples(Batch.of(SENTENCES, CPU), model.initial_state(z.flatten(0, 1)))
    for sample in range(4):
        for place, sentence in enumerate(SENTENCES):
            own = z[sample, place].view(codes, -1)
            assert found[sample, place].item() == pytest.approx(naive_nll(model, sentence, own))


@pytest.mark.parametrize("level", [-2000.0, 0.0, 2000.0])
def test_logits_of_any_size_give_the_nll_that_a_log_softmax_does(level: float) -> None:
    model = RNNLM(11, SMALL)
    with torch.no_grad():
        model.decoder.output.bias += level  # Σ exp over- or underflows
        states, targets = 30 * torch.randn(9, SMALL.d_e), torch.randint(11, (9,))
        found = model.decoder._token_nll(states, targets)
        exact = F.cross_entropy(model.decoder.output(states).double(), targets, reduction="none")
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("loss", [TokenNLL, LongTokenNLL])
@pytest.mark.parametrize("level", [-66.0, 78.0, 83.0, 84.0])
@pytest.mark.parametrize(("kind", "error"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_logits_near_the_range_of_32_bits_give_the_gradient_that_a_log_softmax_does(
    loss: type[TokenNLL | LongTokenNLL], level: float, kind: torch.dtype, error: float
) -> None:
    bias, targets = torch.full((50,), level).to(kind).float(), torch.randint(50, (64,))
    states, weight = torch.randn(64, 8) / 100, 30 * torch.randn(50, 8)
    ours = [part.clone().requires_grad_() for part in (states, weight, bias)]
    exact = [part.double().requires_grad_() for part in (states, weight, bias)]
    spare = [Spare()] if loss is TokenNLL else []
    loss.apply(*ours, targets, kind, *spare).mean().backward()
    F.cross_entropy(F.linear(*exact), targets).backward()
    for found, oracle in zip(ours, exact, strict=True):
        assert found.grad is not None
        assert oracle.grad is not None
        assert (found.grad - oracle.grad).norm() <= error * oracle.grad.norm()


def test_an_nll_of_numbers_that_are_none_is_none() -> None:
    model = RNNLM(11, SMALL)
    with torch.no_grad():
        model.decoder.output.weight.fill_(torch.nan)
        assert model(Batch.of(SENTENCES, CPU)).distortion.isnan().all()


def test_posterior_and_distortion_do_not_depend_on_the_batch() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    together = model.posterior(Batch.of(SENTENCES, CPU))
    z = torch.randn(3, SMALL.d_z, dtype=torch.float64)
    distortion = model.decoder(Batch.of(SENTENCES, CPU), model.initial_state(z))
    for i, sentence in enumerate(SENTENCES):
        alone = model.posterior(Batch.of([sentence], CPU))
        assert alone.location[0].tolist() == pytest.approx(together.location[i].tolist())
        assert alone.scale[0].tolist() == pytest.approx(together.scale[i].tolist())
        expected = naive_nll(model, sentence, z[i : i + 1])
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


@torch.no_grad()
def test_other_words_read_change_what_is_read_but_not_what_is_predicted() -> None:
    model = SenVAE(11, SMALL, LENGTHS).double()
    batch, z = Batch.of(SENTENCES, CPU), torch.zeros(3, SMALL.d_z, dtype=torch.float64)
    state = model.initial_state(z)
    assert torch.equal(model.decoder(batch, state, batch.inputs), model.decoder(batch, state))
    unread = model.decoder(batch, state, torch.full_like(batch.inputs, UNK_INDEX))
    for i, sentence in enumerate(SENTENCES):
        assert unread[i].item() == pytest.approx(naive_nll(model, sentence, z[:1], [UNK_INDEX] * len(sentence)))


def test_dropout_uses_one_mask_for_all_time_steps_or_one_a_step() -> None:
    for mask in ("sentence", "step"):
        model = RNNLM(11, replace(SMALL, dropout=0.5, d_e=200, dropout_mask=mask))
        packing = Packing.of(torch.tensor([6, 4, 6]), CPU)
        ones = torch.ones(16, 200)
        dropped = model.decoder._dropout(ones, packing)
        alike = [len(dropped[packing.sentence == sentence].unique(dim=0)) == 1 for sentence in range(3)]
        assert alike == [mask == "sentence"] * 3
        assert len(dropped[packing.step == 0].unique(dim=0)) == 3
        assert set(dropped.unique().tolist()) == {0.0, 2.0}
        model.eval()
        assert (model.decoder._dropout(ones, packing) == ones).all()


def test_dropout_is_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, widths in (("both", [SMALL.d_e, SMALL.d_h]), ("inputs", [SMALL.d_e])):
        model = RNNLM(11, replace(SMALL, dropout=0.5, dropout_at=place))
        dropped: list[int] = []
        monkeypatch.setattr(model.decoder, "_dropout", lambda x, _: (dropped.append(x.shape[-1]), x)[1])  # noqa: B023
        model.decoder.states(Batch.of(SENTENCES, CPU), model.initial_state(torch.zeros(3, 0)))
        assert dropped == widths


def test_weight_decay_is_gals_over_the_generator_without_embeddings() -> None:
    model = SenVAE(11, replace(SMALL, dropout=0.4), LENGTHS)
    gru, h_0, projection = model.decoder.cell.gru, model.to_h_0, model.decoder.to_embedding
    matrices = [gru.weight_ih_l0, gru.weight_hh_l0, gru.weight_ih_l1, gru.weight_hh_l1, h_0.weight, projection.weight]
    biases = [gru.bias_ih_l0, gru.bias_hh_l0, gru.bias_ih_l1, gru.bias_hh_l1, h_0.bias, projection.bias]
    biases.append(model.decoder.output.bias)
    expected = sum(0.6 * float((w.detach() ** 2).sum()) for w in matrices) + sum(
        float((b.detach() ** 2).sum()) for b in biases
    )
    assert model.weight_decay(50).item() == pytest.approx(expected / 100, rel=1e-5)


def test_paper_preset_has_the_papers_sizes() -> None:
    options = Options.resolve("paper", {})
    assert (options.model.d_e, options.model.d_h, options.model.decoder_layers) == (256, 256, 2)
    assert (options.model.encoder_layers, options.model.d_z, options.model.dropout) == (1, 32, 0.4)
    assert (options.training.batch_size, options.training.clip, options.training.learning_rate) == (64, 1.5, 1e-3)
    assert (options.model.posterior, options.model.prior, options.model.d_c) == ("gaussian", "normal", 512)
    assert (options.model.flow_steps, options.model.components) == (4, 100)
    assert options.corpus.truncation == 3
    assert (options.evaluation.nll_samples, options.evaluation.nll_sentences) == (1000, 0)


@pytest.mark.parametrize("preset", ["lstm-vae", "lstm-vae-kr", "double-lstm", "double-lstm-mi", "svae"])
def test_the_other_papers_presets_build_their_models(preset: str) -> None:
    options = Options.resolve(preset, {"d_h": 8, "d_h_encoder": 6, "d_e": 8, "d_z": 4})
    model = SenVAE(11, options.model, LENGTHS)
    assert torch.isfinite(model(Batch.of(SENTENCES, CPU)).distortion).all()
    assert type(model.encoder) is (nn.GRU if preset == "svae" else nn.LSTM)
    assert not model.encoder.bidirectional
    assert model.at_every_step
    assert (model.encoder_embedding is None) == options.model.reversed == (preset == "svae")
