"""The generator P(x|z): embedding → recurrent cell → affine → softmax, and what it reads.

B: sentences; T: longest sentence's tokens; N: tokens of all sentences; S: samples; A: codes of a sentence; V: vocabulary;
L: layers of the state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers import recurrent, token_nll
from trainers.corpus import BOS, EOS, PAD, SPECIALS, UNK, Sentence
from trainers.options import ModelOptions
from trainers.products import product
from trainers.recurrent import Packing
from trainers.transformer import Stack

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
        """Tokens that the decoder reads: the start token, then each token but the last. [B, T]"""
        return F.pad(self.tokens[:, :-1], (1, 0), value=BOS_INDEX)

    @cached_property
    def packing(self) -> Packing:
        """The place of each token without the padding."""
        return Packing.of(self.lengths, self.tokens.device)

    def repeat(self, samples: int) -> "Batch":
        """The batch `samples` times over, sample-major: [S·B, T]."""
        return Batch(self.tokens.repeat(samples, 1), self.lengths.repeat(samples))


@dataclass(frozen=True)
class State:
    """State of the decoder within a sentence."""

    h: Tensor  # [L, A·B, d_h]
    cell: Tensor  # [L, A·B, d_h], an LSTM's; a GRU leaves it alone
    z: Tensor | None  # [A·B, d_z], the code, where it is read at every step
    averaged: int = 1
    """Number A of codes of one sentence, code-major in the rows, whose states are averaged into one output."""
    direct: Tensor | None = None  # [A·B, ·] what the code adds to what the output layer reads, at every step
    cache: Tensor | None = None  # a transformer's keys and values so far

    @classmethod
    def start(cls, h: Tensor, z: Tensor | None, averaged: int = 1) -> "State":
        return cls(h.contiguous(), torch.zeros_like(h), z, averaged)


class Cell(nn.Module, ABC):
    """A recurrent cell, or what stands in its place, over sentences' embedded words."""

    state_layers: int
    """Number L of layers of the cell's state."""

    @abstractmethod
    def forward(self, embedded: Tensor, packing: Packing, state: State, precision: str = "float32") -> Tensor:
        """Output states [N, d_h] of words [N, d_e] in packed order; the rows of `state` are in the sentences' own order."""

    @abstractmethod
    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """One word on: words [B, d_e] → output states [B, d_h] and the new state."""

    def many(self, embedded: Tensor, packing: Packing, state: State) -> Tensor:
        """Output states [S, N, d_h] of S·B states, sample-major, that read one set of words [N, d_e]; without gradient."""
        samples = state.h.shape[1] // len(packing.order)
        out: Tensor = self(embedded.repeat_interleave(samples, 0), packing.repeat(samples), state)
        by_sample: Tensor = out.unflatten(0, (-1, samples)).transpose(0, 1)
        return by_sample


def _joined(z: Tensor | None, rows: Tensor, *parts: Tensor) -> Tensor:
    """The code, where there is one, beside each word's parts [N, ·]: z [B, d_z] → [N, ·]; rows [N]: each word's sentence."""
    joined = [*parts] if z is None else [*parts, z.index_select(0, rows)]
    return torch.cat(joined, dim=-1) if len(joined) > 1 else joined[0]


def _every(state: State) -> Tensor:
    """One row for each sentence, as where each brings one word."""
    return torch.arange(state.h.shape[1], device=state.h.device)


class GRUCell(Cell):
    """A GRU (PA eq. 13); the code beside each word where it is read at every step (LV)."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = options.decoder_layers
        self.gru = nn.GRU(options.d_e + d_code, options.d_h, options.decoder_layers, batch_first=True)

    def forward(self, embedded: Tensor, packing: Packing, state: State, precision: str = "float32") -> Tensor:
        read = _joined(state.z, packing.sentence, embedded)
        return recurrent.outputs(self.gru, read, packing, state.h, None, precision)

    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        out, h, _ = recurrent.step(self.gru, _joined(state.z, _every(state), embedded), state.h, state.cell)
        return out, replace(state, h=h)

    @torch.no_grad()
    def many(self, embedded: Tensor, packing: Packing, state: State) -> Tensor:
        """Output states, as in `Cell.many`. The words' part is computed once for all samples, since PyTorch's own step
        is slow on a processor.
        """
        if embedded.is_cuda:
            return super().many(embedded, packing, state)
        sentences, d_e = len(packing.order), embedded.shape[1]
        layers = [_GRULayer(self.gru, number, d_e) for number in range(self.gru.num_layers)]
        words = layers[0].inputs(embedded)  # [N, 3·d_h]
        code = None
        if state.z is not None:
            code = layers[0].code(state.z).view(-1, sentences, words.shape[-1])[:, packing.order]
        hidden = [h.view(-1, sentences, h.shape[-1])[:, packing.order] for h in state.h]
        out = []
        for read in words.split(packing.sizes):
            read = read if code is None else read + code[:, : len(read)]
            for place, layer in enumerate(layers):
                hidden[place] = layer.step(read, hidden[place][:, : read.shape[-2]])
                if place + 1 < len(layers):
                    read = layers[place + 1].inputs(hidden[place])
            out.append(hidden[-1])
        return torch.cat(out, dim=1)


class _GRULayer:
    """One layer's weights, arranged for a step without gradient: n = tanh(a) as 2σ(2a) − 1, which is three times as fast."""

    def __init__(self, gru: nn.GRU, number: int, d_e: int) -> None:
        """Arranges the weights; d_e: units of a word, in the first layer, whose other inputs are the code's."""
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
        """Inputs of the gates from the words, or from the layer below, [..., ·]: [..., 3·d_h]."""
        return product(read.reshape(-1, read.shape[-1]), self.reading, self.bias).view(*read.shape[:-1], 3 * self.d_h)

    def code(self, z: Tensor) -> Tensor:
        """Inputs of the gates from the code at every step [rows, 3·d_h]."""
        given: Tensor = z @ self.reading_code.t()
        return given

    def step(self, read: Tensor, h: Tensor) -> Tensor:
        """The new states h [S, B, d_h] from h and the inputs read, [B, ·] where all samples share them, or [S, B, ·]."""
        gates = product(h.reshape(-1, self.d_h), self.recurrent).view(*h.shape[:-1], 3 * self.d_h)
        resets, n = gates[..., : 2 * self.d_h], gates[..., 2 * self.d_h :]
        resets.add_(read[..., : 2 * self.d_h]).sigmoid_()
        n.add_(self.bias_n).mul_(gates[..., : self.d_h]).add_(read[..., 2 * self.d_h :]).sigmoid_()
        new = torch.add(self.minus_one, n, alpha=2)
        return torch.lerp(new, h, gates[..., self.d_h : 2 * self.d_h])


class LSTMCell(Cell):
    """An LSTM; the code beside each word where it is read at every step (KR §5.1, LI)."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = options.decoder_layers
        self.lstm = nn.LSTM(options.d_e + d_code, options.d_h, options.decoder_layers, batch_first=True)

    def forward(self, embedded: Tensor, packing: Packing, state: State, precision: str = "float32") -> Tensor:
        read = _joined(state.z, packing.sentence, embedded)
        return recurrent.outputs(self.lstm, read, packing, state.h, state.cell, precision)

    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        out, h, cell = recurrent.step(self.lstm, _joined(state.z, _every(state), embedded), state.h, state.cell)
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

    def forward(self, embedded: Tensor, packing: Packing, state: State, precision: str = "float32") -> Tensor:
        (h_1, h_2), (cell_1, cell_2) = state.h.chunk(2), state.cell.chunk(2)
        codes = _joined(state.z, packing.sentence)
        out = recurrent.outputs(self.first, codes, packing, h_1, cell_1, precision)
        return recurrent.outputs(self.second, torch.cat([embedded, out, codes], -1), packing, h_2, cell_2, precision)

    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        assert state.z is not None
        (h_1, h_2), (cell_1, cell_2) = ([half.contiguous() for half in part.chunk(2)] for part in (state.h, state.cell))
        out, h_1, cell_1 = recurrent.step(self.first, state.z, h_1, cell_1)
        out, h_2, cell_2 = recurrent.step(self.second, torch.cat([embedded, out, state.z], -1), h_2, cell_2)
        return out, replace(state, h=torch.cat([h_1, h_2]), cell=torch.cat([cell_1, cell_2]))


class TransformerCell(Cell):
    """A transformer, whose sentences have one place before the first word: the state h, as a prefix or as each layer's memory.
    The code beside each word is added to it by the affine map that both go through."""

    def __init__(self, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.state_layers = options.decoder_layers if options.conditioning == "memory" else 1
        self.read = nn.Linear(options.d_e + d_code, options.d_h)
        self.stack = Stack(options.decoder_layers, options)

    def forward(self, embedded: Tensor, packing: Packing, state: State, precision: str = "float32") -> Tensor:
        size = len(packing.order), len(packing.sizes) + 1
        before = torch.arange(size[0], device=embedded.device) * size[1]
        place = torch.cat([packing.sentence * size[1] + packing.step + 1, before])
        with torch.autocast(embedded.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            words = self.read(_joined(state.z, packing.sentence, embedded))
            out: Tensor = self.stack(words.to(embedded.dtype), place, size, None, state.h)
        return out[: len(embedded)].to(embedded.dtype)

    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        cache = state.cache
        if cache is None:
            _, cache = self.stack.step(state.h[0], None, state.h)
        out, cache = self.stack.step(self.read(_joined(state.z, _every(state), embedded)), cache)
        return out, replace(state, cache=cache)


CELLS: dict[str, Callable[[int, ModelOptions], Cell]] = {
    "gru": GRUCell,
    "lstm": LSTMCell,
    "double-lstm": DoubleLSTMCell,
    "transformer": TransformerCell,
}


class Decoder(nn.Module):
    """The generator P(x|z)."""

    def __init__(self, vocabulary: int, d_code: int, options: ModelOptions) -> None:
        """Makes the layers; d_code: units of the code that are read at every step, 0 where none are."""
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
        self.batch_tokens = 0
        """Number of tokens in a batch, as in `TrainingOptions`."""
        self._spare = token_nll.Spare()
        """Buffers for a batch's logits."""

    @property
    def precision(self) -> str:
        """Precision of the products: the option's in training, 32 bits in evaluation."""
        return self.options.precision if self.training else "float32"

    def _dropout(self, states: Tensor, packing: Packing) -> Tensor:
        """Dropout of [N, ·], one mask for all of a sentence's words (Gal & Ghahramani 2016) or one a word."""
        rate = self.options.dropout
        if not self.training or rate == 0:
            return states
        by_sentence = self.options.dropout_mask == "sentence"
        rows = len(packing.order) if by_sentence else len(states)
        mask = states.new_empty(rows, states.shape[1]).bernoulli_(1 - rate).div_(1 - rate)
        return states * (mask.index_select(0, packing.sentence) if by_sentence else mask)

    def _embedded(self, inputs: Tensor, masked: Tensor | None = None) -> Tensor:
        """The embeddings [N, d_e] of the words read [N], <unk>'s in the share `masked` [N]."""
        if self.options.inputless:
            inputs = torch.where(inputs == BOS_INDEX, BOS_INDEX, UNK_INDEX)
        embedded: Tensor = self.embedding(inputs)
        if masked is None:
            return embedded
        share = masked[..., None]
        return (1 - share) * embedded + share * self.embedding.weight[UNK_INDEX]

    def states(self, batch: Batch, state: State, inputs: Tensor | None = None, masked: Tensor | None = None) -> Tensor:
        """Inputs [N, ·] of the output layer at each token of the batch in packed order; inputs and masked as in
        `forward`.
        """
        packing = batch.packing
        read = packing.pack(batch.inputs if inputs is None else inputs)
        embedded = self._embedded(read, None if masked is None else packing.pack(masked))
        codes = packing.repeat(state.averaged)
        read = self._dropout(embedded.repeat_interleave(state.averaged, 0), codes)
        out: Tensor = self.cell(read, codes, state, self.precision)
        if state.averaged > 1:  # over a sentence's codes (KR eq. 7)
            out = out.unflatten(0, (-1, state.averaged)).mean(1)
        found: Tensor = self.to_embedding(self._dropout(out, packing) if self.options.dropout_at == "both" else out)
        direct = self._direct(state)
        return found if direct is None else found + direct.index_select(0, packing.sentence)

    @staticmethod
    def _direct(state: State) -> Tensor | None:
        """Each sentence's code as it is added to the output layer's input [B, ·], the mean over its codes."""
        return None if state.direct is None else state.direct.unflatten(0, (state.averaged, -1)).mean(0)

    def forward(self, batch: Batch, state: State, inputs: Tensor | None = None, masked: Tensor | None = None) -> Tensor:
        """−log P(x|z) of each sentence [B]; nothing is computed for padding.

        inputs: the words read [B, T], where they are not those of the batch (word dropout); masked [B, T]: the share of
        <unk> in each input, 0 or 1 but differentiable.
        """
        packing = batch.packing
        each = self._token_nll(self.states(batch, state, inputs, masked), packing.pack(batch.tokens))
        return each.new_zeros(len(batch.tokens)).index_add(0, packing.sentence, each)

    @torch.no_grad()
    def of_samples(self, batch: Batch, state: State) -> Tensor:
        """−log P(x|z) [S, B] of S codes of each of the B sentences, whose states are sample-major; for evaluation alone."""
        assert not self.training
        packing = batch.packing
        out = self.cell.many(self._embedded(packing.pack(batch.inputs)), packing, state)
        if state.averaged > 1:
            out = out.unflatten(0, (state.averaged, -1)).mean(0)
        states = self.to_embedding(out)  # [S, N, ·]
        direct = self._direct(state)
        if direct is not None:
            states = states + direct.unflatten(0, (len(states), -1))[:, packing.sentence]
        targets = packing.pack(batch.tokens).repeat(len(states))
        each = self._token_nll(states.flatten(0, 1), targets).view(len(states), -1)
        return each.new_zeros(len(states), len(batch.tokens)).index_add(1, packing.sentence, each)

    def _token_nll(self, states: Tensor, targets: Tensor) -> Tensor:
        """−log P of each target [n] from states [n, ·]."""
        weight, bias = self.output.weight, self.output.bias
        if not torch.is_grad_enabled():
            return token_nll.token_nll(states, weight, bias, token_nll.with_bias(weight, bias), targets)
        kind = torch.bfloat16 if self.precision == "bfloat16" else states.dtype
        nll: Tensor
        if len(states) > (self.batch_tokens or token_nll.kept_tokens(weight)):
            nll = token_nll.LongTokenNLL.apply(states, weight, bias, targets, kind)  # type: ignore[no-untyped-call]
        else:
            nll = token_nll.TokenNLL.apply(states, weight, bias, targets, kind, self._spare)  # type: ignore[no-untyped-call]
        return nll

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """One word on: words [B] → logits [B, V] of the next word and the new state; without dropout."""
        embedded = self._embedded(words).repeat(state.averaged, 1)
        out, state = self.cell.step(embedded, state)
        read = self.to_embedding(out.unflatten(0, (state.averaged, -1)).mean(0))
        direct = self._direct(state)
        return self.output(read if direct is None else read + direct), state

    def correct(self, batch: Batch, state: State) -> tuple[int, int]:
        """Next words guessed right given the true prefix, and all words."""
        targets = batch.packing.pack(batch.tokens)
        states, rows = self.states(batch, state), token_nll.BLOCK[targets.device.type][0]
        guesses = torch.cat([self.output(part).argmax(-1) for part in states.split(rows)])
        return int((guesses == targets).sum()), len(targets)
