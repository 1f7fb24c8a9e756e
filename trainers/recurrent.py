"""GRU and LSTM layers over sentences of different lengths, with little or no multiplication for padding.

Tokens are packed as in PyTorch's `PackedSequence`: step by step, the sentences from longest to shortest, so that the sentences
still under way at a step are the first rows of the step before. Which way computes them was measured (benchmarks/recurrent.py).
On a GPU it is PyTorch's own layers. On a processor it is, for an LSTM, PyTorch's layer over a few groups of like length, each
padded; for a GRU a layer of our own: each of PyTorch's steps multiplies a slice of the weights' gradient and adds it up, ours has
one product a step, and one over all tokens for the weights.

B: sentences; N: tokens of all of them; H: units of a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from trainers.products import ROWS, linear, product

Recurrent = nn.GRU | nn.LSTM
GROUPS = 4
"""Number of groups of like length into which an LSTM's sentences are cut on a processor."""


@dataclass(frozen=True)
class Packing:
    """The place of each token of B sentences in packed order."""

    order: Tensor  # [B] the sentences from longest to shortest
    sizes: tuple[int, ...]
    """Number of sentences still under way at each step."""
    sentence: Tensor  # [N] the sentence of each token
    step: Tensor  # [N] the token's place in its sentence
    lengths: Tensor  # [B] in the sentences' own order

    @classmethod
    def of(cls, lengths: Tensor, device: torch.device) -> "Packing":
        """The packing of sentences of these lengths [B], on the CPU, each at least 1."""
        counts = lengths.numpy()
        order = np.argsort(-counts, kind="stable")
        sizes = len(counts) - np.searchsorted(np.sort(counts), np.arange(counts.max()), side="right")
        sentence = np.concatenate([order[:size] for size in sizes])
        step = np.repeat(np.arange(len(sizes)), sizes)
        places = [torch.from_numpy(each).to(device) for each in (order, sentence, step)]
        return cls(places[0], tuple(sizes.tolist()), places[1], places[2], lengths.to(device))

    def repeat(self, times: int) -> "Packing":
        """The packing of the sentences so many times over, copy-major; a token's copies follow each other."""
        if times == 1:
            return self
        copies = torch.arange(times, device=self.order.device) * len(self.order)
        return Packing(
            (self.order[:, None] + copies).flatten(),
            tuple(size * times for size in self.sizes),
            (self.sentence[:, None] + copies).flatten(),
            self.step.repeat_interleave(times),
            self.lengths.repeat(times),
        )

    @cached_property
    def starts(self) -> Tensor:
        """The place of each step's first token in packed order."""
        sizes = torch.tensor((0, *self.sizes[:-1]), device=self.order.device)
        return sizes.cumsum(0)

    @cached_property
    def _rank(self) -> Tensor:
        """The place of each sentence in `order`: [B]."""
        return self.order.argsort()

    @cached_property
    def last(self) -> Tensor:
        """The place of each sentence's last token in packed order: [B]."""
        return self.starts[self.lengths - 1] + self._rank

    @cached_property
    def mirrored(self) -> Tensor:
        """The place in packed order of each token's mirror image in its sentence: [N]. Its own inverse."""
        return self.starts[self.lengths[self.sentence] - 1 - self.step] + self._rank[self.sentence]

    def pack(self, padded: Tensor) -> Tensor:
        """The tokens of [B, T, ...] in packed order: [N, ...]."""
        return padded.flatten(0, 1).index_select(0, self.sentence * padded.shape[1] + self.step)


def outputs(
    network: Recurrent, read: Tensor, packing: Packing, h: Tensor, cell: Tensor | None, precision: str
) -> Tensor:
    """The last layer's state after each token, [N, H], or [N, 2H] of a bidirectional network.

    Args:
        read: what each token brings, in packed order: [N, ·].
        h: the states before the first token [layers·directions, B, H], the sentences in their own order; an LSTM's `cell` alike.
        precision: `bfloat16` rounds what products multiply.
    """
    h = h.index_select(1, packing.order)
    if isinstance(network, nn.GRU) and not read.is_cuda:
        return _gru(network, read, packing, h, precision)
    # The flag changes no output: a network drops nothing. cuDNN keeps what a backward pass needs only if it is set.
    network.train(torch.is_grad_enabled())
    start = h if cell is None else (h, cell.index_select(1, packing.order))
    with torch.autocast(read.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        in_groups = isinstance(start, tuple) and not (read.is_cuda or network.bidirectional)
        found = _by_groups(network, read, packing, *start) if in_groups else _packed(network, read, packing, start)
    return found.to(read.dtype)


def _packed(network: Recurrent, read: Tensor, packing: Packing, start: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """`outputs` by PyTorch's layers over packed sentences; the states in `start` are in packed order."""
    out: PackedSequence = network(PackedSequence(read, torch.tensor(packing.sizes)), start)[0]
    return out.data


def _by_groups(network: Recurrent, read: Tensor, packing: Packing, h: Tensor, cell: Tensor) -> Tensor:
    """`outputs` of an LSTM by PyTorch's layers over groups of like length, each padded; h and cell are in packed order."""
    lengths, starts, device = packing.lengths[packing.order], packing.starts, read.device
    places, found, done = torch.empty(len(read), dtype=torch.int64, device=device), [], 0
    for ranks in torch.arange(len(lengths), device=device).chunk(GROUPS):
        steps = torch.arange(int(lengths[ranks[0]]), device=device)
        real = steps < lengths[ranks][:, None]
        tokens = torch.where(real, starts[steps] + ranks[:, None], 0)  # what is read after the end is thrown away
        own = (part[:, ranks[0] : ranks[-1] + 1].contiguous() for part in (h, cell))
        found.append(network(read[tokens], tuple(own))[0].flatten(0, 1))
        places[tokens[real]] = done + torch.arange(real.numel(), device=device)[real.flatten()]
        done += real.numel()
    return torch.cat(found).index_select(0, places)


def _gru(network: nn.GRU, read: Tensor, packing: Packing, h: Tensor, precision: str) -> Tensor:
    """`outputs` of a GRU by layers of our own; h is in packed order."""
    kind = torch.bfloat16 if precision == "bfloat16" else read.dtype
    directions = 1 + network.bidirectional
    for layer in range(network.num_layers):
        ways = []
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            reading, recurrent, bias, more = (getattr(network, name + suffix) for name in names)
            given = read if direction == 0 else read.index_select(0, packing.mirrored)
            given = linear(given.to(kind), reading.to(kind), bias.to(kind))
            out: Tensor = _GRU.apply(given, h[layer * directions + direction], recurrent, more, packing.sizes)  # type: ignore[no-untyped-call]
            ways.append(out if direction == 0 else out.index_select(0, packing.mirrored))
        read = ways[0] if directions == 1 else torch.cat(ways, dim=-1)
    return read


def step(network: Recurrent, read: Tensor, h: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One token on: read [B, ·] → output [B, H], states [layers, B, H] and cells alike; a GRU leaves the cells alone."""
    if isinstance(network, nn.LSTM):
        out, (h, cell) = network(read[:, None], (h, cell))
    else:
        out, h = network(read[:, None], h)
    return out[:, 0], h, cell


def _before(start: Tensor, states: Sequence[Tensor], padding: int) -> Tensor:
    """The state before each token, from the start [B, H] and the states after each step, and rows of zeros: [N + padding, H]."""
    own = (earlier[: len(later)] for earlier, later in pairwise(states))
    return torch.cat([start, *own, start.new_zeros(padding, start.shape[1])])


def tanh_(a: Tensor) -> Tensor:
    """Computes tanh(a) in a's place, as 2σ(2a) − 1: PyTorch's own takes a processor eight times as long as σ."""
    return a.mul_(2).sigmoid_().mul_(2).sub_(1)


class _GRU(torch.autograd.Function):
    """One direction of a GRU layer (PyTorch's formulas, whose n has the reset gate outside of its product)."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, start: Tensor, weight: Tensor, bias: Tensor, sizes: Sequence[int]) -> Tensor:
        """The states [N, H] after each token.

        Args:
            given: [N, 3H], the inputs of the gates r, z, n from the tokens.
            start: [B, H], the states before the first tokens.
            weight: [3H, H].

        Products multiply numbers of `given`'s type; everything else is of `start`'s.
        """
        units, kind = start.shape[1], given.dtype
        rounded, added, given = weight.to(kind), bias.to(kind), given.to(start.dtype)
        gates, new, out = (
            torch.empty_like(given),
            given.new_empty(len(given), units),
            given.new_empty(len(given), units),
        )
        both, resets, updates = gates[:, : 2 * units], gates[:, :units], gates[:, units : 2 * units]
        h = start
        for given_both, given_n, rz, r, z, hidden, n, o in zip(
            *(part.split(sizes) for part in (given[:, : 2 * units], given[:, 2 * units :], both, resets, updates)),
            *(part.split(sizes) for part in (gates[:, 2 * units :], new, out)),
            strict=True,
        ):
            h = h[: len(o)]
            told = product(h.to(kind), rounded, added)
            torch.add(given_both, told[:, : 2 * units], out=rz).sigmoid_()
            hidden.copy_(told[:, 2 * units :])
            tanh_(torch.addcmul(given_n, r, hidden, out=n))
            h = torch.lerp(n, h, z, out=o)
        ctx.save_for_backward(gates, new, start, out, weight)
        ctx.sizes, ctx.kind = sizes, kind
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """The gradients by the inputs, from the gradient [N, H] of the loss by the states."""
        gates, new, start, out, weight = ctx.saved_tensors
        units, sizes, kind = start.shape[1], ctx.sizes, ctx.kind
        r, z, hidden = gates.split(units, 1)
        before = _before(start, out.split(sizes), -len(out) % ROWS)
        by_new = (1 - new * new).mul_(1 - z)  # ∂h/∂(what n's tanh is taken of)
        held = before[: len(out)] - new
        slopes = torch.stack([by_new * hidden * r * (1 - r), held * z * (1 - z), by_new * r], 1)  # [N, 3, H]
        rows = gates.new_empty(len(before), 3 * units, dtype=kind)
        rows[len(out) :] = 0
        by_state, by_gates, turned = gradient.clone(), rows[: len(out)], weight.to(kind).t()
        later = gradient.new_empty(0, units)
        steps = zip(
            *(part.split(sizes) for part in (by_state, slopes, by_gates.view(-1, 3, units), by_gates, z)), strict=True
        )
        for state, slope, gate, flat, update in reversed(list(steps)):
            state[: len(later)].add_(later)
            torch.mul(state[:, None], slope, out=gate)
            later = (state * update).add_(product(flat, turned))
        by_weight = product(rows.t(), before.to(kind).t()).to(weight.dtype)
        by_bias = by_gates.sum(0, dtype=weight.dtype)
        torch.mul(
            by_state, by_new, out=by_gates[:, 2 * units :]
        )  # of n's own tanh: by_gates is now the gradient by `given`
        return by_gates, later, by_weight, by_bias, None
