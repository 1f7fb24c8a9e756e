"""Precision that training multiplies in: bfloat16 and TF32 against 32 bits, and evaluation that knows neither."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers import corpus as corpora
from trainers import objectives, runs
from trainers.corpus import batches
from trainers.errors import BadInput
from trainers.models import Batch, Output, SentenceCost, SentenceModel, SenVAE
from trainers.options import ModelOptions, Options
from trainers.precision import multiplying
from trainers.token_nll import TokenNLL
from trainers.training import Training, build_model

CPU = torch.device("cpu")
SIZES = ModelOptions(d_z=4, d_e=32, d_h=32, dropout=0.0)
LENGTHS = (5.0, 2.0)
SENTENCES = [torch.randint(4, 50, (n,), generator=torch.Generator().manual_seed(n)).numpy() for n in (9, 9, 7, 6, 3)]


def tf32_is_on() -> list[bool]:
    return [part.fp32_precision == "tf32" for part in (torch.backends.cuda.matmul, torch.backends.cudnn.rnn)]


def make_a_processor(monkeypatch: pytest.MonkeyPatch, able: Mapping[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)


def gradients(model: SentenceModel) -> tuple[float, Tensor]:
    """The loss per token, and all gradients in one vector."""
    torch.manual_seed(0)
    output = model(Batch.of(SENTENCES, CPU))
    loss = (output.distortion + output.rate).sum() / sum(map(len, SENTENCES))
    model.zero_grad()
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_a_loss_of_bfloat16s_is_the_exact_one_of_the_rounded_numbers() -> None:
    torch.manual_seed(0)
    states, weight, bias = (torch.randn(*shape).bfloat16().float() for shape in ((40, 16), (300, 16), (300,)))
    targets = torch.randint(300, (40,))
    leaves = [leaf.clone().requires_grad_() for leaf in (states, weight, bias)]
    found = TokenNLL.apply(*leaves, targets, torch.bfloat16, [])
    found.sum().backward()
    exact_leaves = [leaf.double().requires_grad_() for leaf in (states, weight, bias)]
    exact = F.cross_entropy(F.linear(*exact_leaves), targets, reduction="none")
    exact.sum().backward()
    assert found.dtype == torch.float32  # nats that 8 bits could not tell apart
    torch.testing.assert_close(found.double(), exact.detach(), rtol=0, atol=0.06)  # logits of up to 16, to 8 bits
    assert (found.double() - exact).mean().abs() < 0.01
    for leaf, true in zip(leaves, exact_leaves, strict=True):
        assert F.cosine_similarity(leaf.grad.double().flatten(), true.grad.flatten(), dim=0) > 0.999


@pytest.mark.parametrize(
    "change", [{}, {"conditioning": "every-step"}, {"posterior": "iaf"}, {"prior": "vamp"}], ids=str
)
def test_bfloat16_trains_along_the_same_gradients(change: dict[str, str]) -> None:
    torch.manual_seed(0)
    model = SenVAE(50, replace(SIZES, components=5, **change), LENGTHS).train()
    loss, exact = gradients(model)
    model.options = model.decoder.options = replace(model.options, precision="bfloat16")
    rounded, found = gradients(model)
    assert rounded != loss  # it was in effect
    assert rounded == pytest.approx(loss, rel=2e-3)
    assert F.cosine_similarity(found, exact, dim=0) > 0.995
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_a_transformer_decoder_sums_in_32_bits() -> None:
    """Residuals are sums; only products are of bfloat16."""
    torch.manual_seed(0)
    options = replace(SIZES, cell="transformer", decoder_layers=2, precision="bfloat16")
    model = SenVAE(50, options, LENGTHS).train()
    read: list[torch.dtype] = []
    model.decoder.cell.stack.register_forward_pre_hook(lambda _, args: read.append(args[0].dtype))
    gradients(model)
    assert set(read) == {torch.float32}


def test_evaluation_has_32_bits_whatever_training_had() -> None:
    torch.manual_seed(0)
    model = SenVAE(50, SIZES, LENGTHS).eval()
    figures = gradients(model)
    model.options = model.decoder.options = replace(SIZES, precision="bfloat16")
    again = gradients(model)
    assert again[0] == figures[0]
    assert torch.equal(again[1], figures[1])


def training(folder: Path, precision: str, report: Callable[..., None] = lambda *_: None) -> Training:
    options = Options.resolve("tiny", {"precision": precision, "corpus_size": 200, "max_epochs": 1})
    corpus = corpora.load("grammar", options.corpus)
    torch.manual_seed(0)
    objective = objectives.create("vanilla", {})
    model = build_model(objective, len(corpus.vocabulary), options.model, corpus.lengths)
    return Training(model, objective, corpus, options.training, 0, folder, report)


def test_an_epoch_in_bfloat16_ends_where_one_in_32_bits_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_a_processor(monkeypatch, {"avx512_bf16": True})
    exact = training(tmp_path / "exact", "float32").run()
    rounded = training(tmp_path / "rounded", "bfloat16").run()
    assert rounded.best != exact.best
    assert rounded.best == pytest.approx(exact.best, rel=2e-3)


def test_tf32_is_training_s_alone_and_never_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf32_is_on() == [False, False]  # of its own PyTorch takes it in recurrent networks
    monkeypatch.setattr("trainers.training.require", lambda *_: None)
    run = training(tmp_path, "tf32")
    seen: list[tuple[bool, list[bool]]] = []
    measured = type(run.model).forward

    def forward(model: SentenceModel, *given: Any, **named: Any) -> Output:
        seen.append((model.training, tf32_is_on()))
        found: Output = measured(model, *given, **named)
        return found

    monkeypatch.setattr(type(run.model), "forward", forward)
    train = run.corpus.splits["train"]
    for indices in batches(train, 64, 0):
        run._step([train[i] for i in indices], [])
    assert seen == [(True, [True, True])] * len(seen)
    assert seen
    assert tf32_is_on() == [False, False]
    with pytest.raises(ZeroDivisionError), multiplying("tf32"):
        raise ZeroDivisionError
    assert tf32_is_on() == [False, False]


def test_steps_of_inference_have_32_bits_in_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(objectives.create("semi-amortised", {"svi_steps": 2}), 50, SIZES, LENGTHS).train()
    seen: list[list[bool]] = []
    measured = SentenceCost.__call__
    monkeypatch.setattr(SentenceCost, "__call__", lambda *given: (seen.append(tf32_is_on()), measured(*given))[1])
    with multiplying("tf32"):
        model(Batch.of(SENTENCES, CPU)).distortion.sum().backward()
        assert tf32_is_on() == [True, True]
    assert seen == [[False, False]] * (2 + 4)  # two steps, and twice two more for their second derivatives


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_precision_without_instructions_for_it_is_refused(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_a_processor(monkeypatch, {"avx2": True, "avx512_bf16": False})
    spec = runs.Spec("vanilla", "grammar", values={"precision": precision, "device": "cpu"})
    why = f"precision = '{precision}'.*float32"
    with pytest.raises(BadInput, match=why):
        runs.train(spec, tmp_path, lambda *_: None)
    assert re.search(why, runs.check(spec, [])["unfit"])
    make_a_processor(monkeypatch, {"amx_bf16": True})
    assert (runs.check(spec, [])["unfit"] is None) == (precision == "bfloat16")
