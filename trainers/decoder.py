"""The generator P(x|z): embedding → recurrent cell → affine → softmax, and what it reads.

B: sentences; T: longest sentence's tokens; S: samples; A: codes of a sentence; V: vocabulary; L: layers of the state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.corpus import BOS, EOS, PAD, SPECIALS, UNK, Sentence
from trainers.options import ModelOptions
from trainers.precision import lowered

CHUNK_LOGITS = {"cpu": 4_000_000, "cuda": 128_000_000}
"""logits computed at once: what a processor's cache holds, and what keeps a GPU busy"""
BLOCK = {"cpu": (768, 1024), "cuda": (8192, 16384)}
"""the same where nothing is differentiated: states and words; on a processor what its second cache holds"""
LOG2_E = math.log2(math.e)
LEAST_SUM = 1e-30
"""Σ exp(logit) below which too much of it may have been lost to underflow"""
PAD_INDEX, BOS_INDEX, EOS_INDEX, UNK_INDEX = (SPECIALS.index(word) for word in (PAD, BOS, EOS, UNK))


@dataclass(frozen=True)
class Batch:
    """Sentences with their end token, padded on the right."""

    tokens: Tensor  # [B, T]
    lengths: Tensor  # [B], on the CPU

    @classmethod
    def of(cls, sentences: Sequence[Sentence], device: torch.device) -> "Batch":
        lengths = np.array([len(s) for s in sentences])
        tokens = np.full((len(sentences), int(lengths.max())), PAD_INDEX, dtype=np.int64)
        for row, sentence in zip(tokens, sentences, strict=True):
            row[: len(sentence)] = sentence
        return cls(torch.from_numpy(tokens).to(device), torch.from_numpy(lengths))

    @property
    def inputs(self) -> Tensor:
        """What the decoder reads: the start token, then each token but the last. [B, T]"""
        return F.pad(self.tokens[:, :-1], (1, 0), value=BOS_INDEX)

    def repeat(self, samples: int) -> "Batch":
        """The batch `samples` times over, sample-major: [S·B, T]."""
        return Batch(self.tokens.repeat(samples, 1), self.lengths.repeat(samples))


@dataclass(frozen=True)
class State:
    """Where the decoder stands in a sentence."""

    h: Tensor  # [L, A·B, d_h]
    cell: Tensor  # [L, A·B, d_h], an LSTM's; a GRU leaves it alone
    z: Tensor | None  # [A·B, d_z], the code, where it is read at every step
    averaged: int = 1
    """A: the codes of one sentence, code-major in the rows, whose states are averaged into one output"""

    @classmethod
    def start(cls, h: Tensor, z: Tensor | None, averaged: int = 1) -> "State":
        return cls(h.contiguous(), torch.zeros_like(h), z, averaged)


class Cell(nn.Module, ABC):
    """A recurrent cell over a sentence's embedded words."""

    state_layers: int
    """L, layers of its state"""

    @abstractmethod
    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """embedded [B, T, d_e] → output states [B, T, d_h] and the state after the last word."""

    def many(self, embedded: Tensor, state: State) -> Tensor:
        """Output states [S·B, T, d_h] of S·B states, sample-major, that read the same sentences [B, T, d_e]; without gradient."""
        out: Tensor = self(embedded.repeat(state.h.shape[1] // len(embedded), 1, 1), state)[0]
        return out


def _joined(z: Tensor | None, *parts: Tensor) -> Tensor:
    """The code, where there is one, beside each step's input: z [B, d_z], parts [B, T, ·] → [B, T, ·]."""
    steps = [] if z is None else [z[:, None].expand(-1, parts[0].shape[1], -1)]
    joined = [*parts, *steps]
    return torch.cat(joined, dim=-1) if len(joined) > 1 else joined[0]


class GRUCell(Cell):
    """A GRU (PA eq. 13); the code beside each word where it is read at every step (LV)."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = options.decoder_layers
        self.gru = nn.GRU(options.d_e + d_code, options.d_h, options.decoder_layers, batch_first=True)

    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        out, h = self.gru(_joined(state.z, embedded), state.h)
        return out, replace(state, h=h)

    @torch.no_grad()
    def many(self, embedded: Tensor, state: State) -> Tensor:
        """What the words alone decide is computed once for all samples; on a processor, where PyTorch's own step is slow too."""
        if embedded.is_cuda:
            return super().many(embedded, state)
        rows, (sentences, steps, d_e) = state.h.shape[1], embedded.shape
        layers = [_GRULayer(self.gru, number, d_e) for number in range(self.gru.num_layers)]
        words = layers[0].inputs(embedded.transpose(0, 1))  # [T, B, 3·d_h]
        code = None if state.z is None else layers[0].code(state.z).view(-1, sentences, words.shape[-1])
        hidden, out = list(state.h), embedded.new_empty(rows, steps, self.gru.hidden_size)
        for step in range(steps):
            read = words[step] if code is None else words[step] + code
            for place, layer in enumerate(layers):
                hidden[place] = layer.step(read, hidden[place])
                if place + 1 < len(layers):
                    read = layers[place + 1].inputs(hidden[place])
            out[:, step] = hidden[-1]
        return out


class _GRULayer:
    """One layer's weights, arranged for a step without gradient: n = tanh(a) as 2σ(2a) − 1, which is three times as fast."""

    def __init__(self, gru: nn.GRU, number: int, d_e: int) -> None:
        """d_e: units of a word, in the first layer; what it reads besides is the code."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        reading, self.recurrent, bias, more = (getattr(gru, f"{name}_l{number}").clone() for name in names)
        self.d_h = gru.hidden_size
        for part in (reading, self.recurrent, bias, more):
            part[2 * self.d_h :] *= 2
        bias[: 2 * self.d_h] += more[: 2 * self.d_h]
        self.bias, self.bias_n, self.minus_one = bias, more[2 * self.d_h :], bias.new_tensor(-1.0)
        own = reading.shape[1] if number else d_e
        self.reading, self.reading_code = reading[:, :own], reading[:, own:]

    def inputs(self, read: Tensor) -> Tensor:
        """What the gates are given by the words, or the layer below, [..., ·]: [..., 3·d_h]."""
        return F.linear(read, self.reading, self.bias)

    def code(self, z: Tensor) -> Tensor:
        """What they are given by the code at every step [rows, 3·d_h]."""
        given: Tensor = z @ self.reading_code.t()
        return given

    def step(self, read: Tensor, h: Tensor) -> Tensor:
        """The new h [rows, d_h] from `inputs` read, which are the same for rows / len(read) samples, or [S, B, ·]."""
        gates = (h @ self.recurrent.t()).view(-1, read.shape[-2], 3 * self.d_h)
        resets, n = gates[..., : 2 * self.d_h], gates[..., 2 * self.d_h :]
        resets.add_(read[..., : 2 * self.d_h]).sigmoid_()
        n.add_(self.bias_n).mul_(gates[..., : self.d_h]).add_(read[..., 2 * self.d_h :]).sigmoid_()
        new = torch.add(self.minus_one, n, alpha=2)
        return torch.lerp(new, h.view_as(new), gates[..., self.d_h : 2 * self.d_h]).view_as(h)


class LSTMCell(Cell):
    """An LSTM; the code beside each word where it is read at every step (KR §5.1, LI)."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = options.decoder_layers
        self.lstm = nn.LSTM(options.d_e + d_code, options.d_h, options.decoder_layers, batch_first=True)

    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        out, (h, cell) = self.lstm(_joined(state.z, embedded), (state.h, state.cell))
        return out, replace(state, h=h, cell=cell)


class DoubleLSTMCell(Cell):
    """Two LSTMs, each with its own state (MI appendix A): the first reads the code alone, the second the code, the first's
    output and the word. So z reaches the output past every word that is read or dropped."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = 2 * options.decoder_layers
        layers, d_h = options.decoder_layers, options.d_h
        self.first = nn.LSTM(d_code, d_h, layers, batch_first=True)
        self.second = nn.LSTM(options.d_e + d_h + d_code, d_h, layers, batch_first=True)

    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        assert state.z is not None
        half = self.state_layers // 2
        codes = state.z[:, None].expand(-1, embedded.shape[1], -1)
        out, (h_1, cell_1) = self.first(codes, (state.h[:half].contiguous(), state.cell[:half].contiguous()))
        out, (h_2, cell_2) = self.second(
            _joined(state.z, embedded, out), (state.h[half:].contiguous(), state.cell[half:].contiguous())
        )
        return out, replace(state, h=torch.cat([h_1, h_2]), cell=torch.cat([cell_1, cell_2]))


CELLS: dict[str, Callable[[int, ModelOptions], Cell]] = {
    "gru": GRUCell,
    "lstm": LSTMCell,
    "double-lstm": DoubleLSTMCell,
}


class TokenNLL(torch.autograd.Function):
    """−log softmax(W·s + b) of each target, in one buffer of logits that becomes the softmax and then its gradient.

    PyTorch's own loss holds three of them, and each of more than 32 MB goes back to the system after the step, to be cleared
    again for the next: a third of a step's time with a vocabulary of 10,000.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, spare: list[Tensor]) -> Tensor:
        """states [n, d], targets [n] → [n]. spare: buffers that no graph needs any more; backward puts its own there."""
        shape = len(states), len(weight)
        buffer = spare.pop() if spare else states.new_empty(0)
        if buffer.numel() < math.prod(shape) or (buffer.dtype, buffer.device) != (states.dtype, states.device):
            buffer = states.new_empty(math.prod(shape))
        softmax = buffer[: math.prod(shape)].view(shape)
        size, exact, found = _chunk(weight), torch.promote_types(states.dtype, torch.float32), []
        for part, target, logits in zip(states.split(size), targets.split(size), softmax.split(size), strict=True):
            torch.addmm(bias, part, weight.t(), out=logits)
            gold = logits.gather(-1, target[:, None])
            highest, place = logits.max(-1, keepdim=True)
            torch.softmax(logits, -1, out=logits)
            # log Σ exp by the largest share, which is never below 1/V; the sum in 32 bits at least
            most, share, own = (part.to(exact) for part in (highest, logits.gather(-1, place), gold))
            found.append((most - share.log() - own)[:, 0])
        ctx.save_for_backward(states, weight, targets)
        ctx.softmax, ctx.buffer, ctx.spare = softmax, buffer, spare
        return torch.cat(found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """gradient [n] of the loss by each target's."""
        states, weight, targets = ctx.saved_tensors
        if ctx.softmax is None:
            raise RuntimeError("a batch's loss is differentiated once: its softmax has become the gradient.")
        logits, ctx.softmax = ctx.softmax, None
        logits[torch.arange(len(logits), device=logits.device), targets] -= 1
        logits *= gradient[:, None]
        found = logits @ weight, logits.t() @ states, logits.sum(0)
        ctx.spare[:] = [ctx.buffer]
        ctx.buffer = None
        return *found, None, None


def _chunk(weight: Tensor) -> int:
    """Rows of logits computed at once; whole vectors of a processor, where they are many."""
    rows = max(CHUNK_LOGITS[weight.device.type] // len(weight), 1)
    return rows - rows % 16 if rows > 16 else rows


class Decoder(nn.Module):
    """The generator P(x|z)."""

    def __init__(self, vocabulary: int, d_code: int, options: ModelOptions) -> None:
        """d_code: units of the code that are read at every step, 0 where none are."""
        super().__init__()
        self.options = options
        self.embedding = nn.Embedding(vocabulary, options.d_e)
        nn.init.normal_(self.embedding.weight, std=options.d_e**-0.5)  # tied, so that logits start near unit scale
        self.cell = CELLS[options.cell](d_code, options)
        self.to_embedding = (
            nn.Linear(options.d_h, options.d_e) if options.tied and options.d_h != options.d_e else nn.Identity()
        )
        self.output = nn.Linear(options.d_e if options.tied else options.d_h, vocabulary)
        if options.tied:
            self.output.weight = self.embedding.weight
        self._spare: list[Tensor] = []
        """a buffer for a batch's logits"""

    @property
    def precision(self) -> str:
        """What products are computed in: the option's in training, 32 bits in evaluation."""
        return self.options.precision if self.training else "float32"

    def _dropout(self, states: Tensor) -> Tensor:
        """Dropout of [B, T, H], one mask for all time steps of a sentence (Gal & Ghahramani 2016) or one a step."""
        rate = self.options.dropout
        if not self.training or rate == 0:
            return states
        steps = 1 if self.options.dropout_mask == "sentence" else states.shape[1]
        mask = states.new_empty(states.shape[0], steps, states.shape[2]).bernoulli_(1 - rate)
        return states * (mask / (1 - rate))

    def _embedded(self, inputs: Tensor, masked: Tensor | None) -> Tensor:
        """The embeddings [B, T, d_e] of the words read, <unk>'s in the share `masked` [B, T]."""
        if self.options.inputless:
            inputs = torch.where(inputs == BOS_INDEX, BOS_INDEX, UNK_INDEX)
        embedded: Tensor = self.embedding(inputs)
        if masked is None:
            return embedded
        share = masked[..., None]
        return (1 - share) * embedded + share * self.embedding.weight[UNK_INDEX]

    def _outputs(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """The cell's states [B, T, d_h]; averaged over a sentence's codes at each step, where it has several (KR eq. 7)."""
        if state.averaged > 1:
            embedded = embedded.repeat(state.averaged, 1, 1)
        read = self._dropout(embedded)
        with lowered(self.precision, read.device):
            out, state = self.cell(read, state)
        out = out.to(read.dtype)
        return out if state.averaged == 1 else out.unflatten(0, (state.averaged, -1)).mean(0), state

    def states(self, inputs: Tensor, state: State, masked: Tensor | None = None) -> Tensor:
        """inputs [B, T] → what the output layer reads [B, T, ·]."""
        out, _ = self._outputs(self._embedded(inputs, masked), state)
        if self.options.dropout_at == "both":
            out = self._dropout(out)
        read: Tensor = self.to_embedding(out)
        return read

    def forward(self, batch: Batch, state: State, inputs: Tensor | None = None, masked: Tensor | None = None) -> Tensor:
        """−log P(x|z) of each sentence [B]; logits are computed only where there is a target.

        inputs: the words read [B, T], where they are not those of the batch (word dropout); masked [B, T]: the share of
        <unk> in each input, 0 or 1 but differentiable.
        """
        real = batch.tokens != PAD_INDEX
        states = self.states(batch.inputs if inputs is None else inputs, state, masked)[real]
        token_nll = self._token_nll(states, batch.tokens[real])
        row = real.nonzero()[:, 0]
        return token_nll.new_zeros(len(batch.tokens)).index_add(0, row, token_nll)

    @torch.no_grad()
    def of_samples(self, batch: Batch, state: State) -> Tensor:
        """−log P(x|z) [S, B] of S codes of each of the B sentences, whose states are sample-major; for evaluation alone."""
        assert not self.training
        out = self.cell.many(self._embedded(batch.inputs, None), state)
        if state.averaged > 1:
            out = out.unflatten(0, (state.averaged, -1)).mean(0)
        real = batch.tokens != PAD_INDEX
        states = self.to_embedding(out).unflatten(0, (-1, len(real)))[:, real]  # [S, tokens, ·]
        targets = batch.tokens[real].repeat(len(states))
        token_nll = self._token_nll(states.flatten(0, 1), targets).view(len(states), -1)
        return token_nll.new_zeros(len(states), len(real)).index_add(1, real.nonzero()[:, 0], token_nll)

    def _token_nll(self, states: Tensor, targets: Tensor) -> Tensor:
        """−log P of each target [n] from states [n, ·]."""
        weight, bias = self.output.weight, self.output.bias
        if torch.is_grad_enabled():
            kind = torch.bfloat16 if self.precision == "bfloat16" else states.dtype
            given = (tensor.to(kind) for tensor in (states, weight, bias))
            nll: Tensor = TokenNLL.apply(*given, targets, self._spare)  # type: ignore[no-untyped-call]
            return nll
        rows, words = BLOCK[states.device.type]
        buffer = states.new_empty(min(rows, len(states)) * min(words, len(weight)))  # the same memory for all parts
        parts = zip(states.split(rows), targets.split(rows), strict=True)
        return torch.cat([self._part_nll(part, target, words, buffer) for part, target in parts])

    def _part_nll(self, states: Tensor, targets: Tensor, words: int, buffer: Tensor) -> Tensor:
        """The same of so many states that a block of logits by `words` stays in the cache; without gradient.

        Σ exp is summed as it is, by powers of 2, of which a processor makes twice as many a second as of e.
        """
        weight, bias = self.output.weight, self.output.bias
        total = states.new_zeros(len(states))
        for block, own in zip(weight.split(words), bias.split(words), strict=True):
            # words first: that product is a third faster
            logits = buffer[: len(block) * len(states)].view(len(block), -1)
            torch.addmm(own[:, None], block, states.t(), beta=LOG2_E, alpha=LOG2_E, out=logits)
            total += logits.exp2_().sum(0)
        if bool(((total > LEAST_SUM) & total.isfinite()).all()):
            log_sum = total.log()
        else:
            log_sum = torch.addmm(bias, states, weight.t()).logsumexp(-1)
        return log_sum - (weight[targets] * states).sum(-1) - bias[targets]

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """One word on: words [B] → logits [B, V] of the next word and the new state."""
        out, state = self._outputs(self._embedded(words[:, None], None), state)
        return self.output(self.to_embedding(out))[:, 0], state

    def correct(self, batch: Batch, state: State) -> tuple[int, int]:
        """Next words guessed right given the true prefix, and all words."""
        real = batch.tokens != PAD_INDEX
        guesses = self.output(self.states(batch.inputs, state)[real]).argmax(-1)
        return int((guesses == batch.tokens[real]).sum()), int(real.sum())
