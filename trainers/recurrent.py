"""GRU and LSTM layers over sentences of different lengths, without a multiplication for padding.

Tokens are packed as in PyTorch's `PackedSequence`: step by step, the sentences from longest to shortest, so that the sentences
still under way at a step are the first rows of the step before. PyTorch's own layers do well on a GPU. On a processor each of
their steps multiplies a slice of the weights' gradient and adds it up, which costs more than the arithmetic. Here a step holds
one product, and the weights' gradient is one product over all tokens.

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
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

Recurrent = nn.GRU | nn.LSTM


@dataclass(frozen=True)
class Packing:
    """The place of each token of B sentences in packed order."""

    order: Tensor  # [B] the sentences from longest to shortest
    sizes: tuple[int, ...]
    """sentences still under way at each step"""
    sentence: Tensor  # [N] the sentence of each token
    step: Tensor  # [N] the token's place in its sentence
    lengths: Tensor  # [B] in the sentences' own order

    @classmethod
    def of(cls, lengths: Tensor, device: torch.device) -> "Packing":
        """lengths [B], on the CPU, each at least 1."""
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
    def _starts(self) -> Tensor:
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
        return self._starts[self.lengths - 1] + self._rank

    @cached_property
    def mirrored(self) -> Tensor:
        """The place in packed order of each token's mirror image in its sentence: [N]. Its own inverse."""
        return self._starts[self.lengths[self.sentence] - 1 - self.step] + self._rank[self.sentence]

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
    cell = None if cell is None else cell.index_select(1, packing.order)
    if read.is_cuda:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            packed = PackedSequence(read, torch.tensor(packing.sizes))
            found: Tensor = network(packed, h if cell is None else (h, cell))[0].data
        return found.to(read.dtype)
    directions = 1 + network.bidirectional
    for layer in range(network.num_layers):
        ways = []
        for direction in range(directions):
            given = read if direction == 0 else read.index_select(0, packing.mirrored)
            place = layer * directions + direction
            start = (h[place], None if cell is None else cell[place])
            out, _ = _layer(network, layer, direction, given, *start, packing.sizes, precision)
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


def _layer(
    network: Recurrent,
    layer: int,
    direction: int,
    read: Tensor,
    h: Tensor,
    cell: Tensor | None,
    sizes: Sequence[int],
    precision: str,
) -> tuple[Tensor, Tensor | None]:
    """One direction of one layer: its states [N, H], and an LSTM's cells."""
    suffix = f"_l{layer}" + ("_reverse" if direction else "")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    reading, recurrent, bias, more = (getattr(network, name + suffix) for name in names)
    kind = torch.bfloat16 if precision == "bfloat16" else read.dtype
    added = bias if cell is None else bias + more
    given = F.linear(read.to(kind), reading.to(kind), added.to(kind))
    if cell is None:
        return _GRU.apply(given, h, recurrent, more, sizes), None  # type: ignore[no-untyped-call]
    found: tuple[Tensor, Tensor] = _LSTM.apply(given, h, cell, recurrent, sizes)  # type: ignore[no-untyped-call]
    return found


def _before(start: Tensor, states: Sequence[Tensor]) -> Tensor:
    """The state before each token [N, H], from the start [B, H] and the states after each step."""
    return torch.cat([start, *(earlier[: len(later)] for earlier, later in pairwise(states))])


def tanh_(a: Tensor) -> Tensor:
    """tanh(a) in a's place, as 2σ(2a) − 1: PyTorch's own takes a processor eight times as long as σ."""
    return a.mul_(2).sigmoid_().mul_(2).sub_(1)


class _Product:
    """The product with one matrix at each step, what is multiplied being rounded to `kind`."""

    def __init__(self, matrix: Tensor, kind: torch.dtype) -> None:
        self.matrix, self.kind, self.exact = matrix.to(kind), kind, matrix.dtype == kind

    def __call__(self, added: Tensor, rows: Tensor, out: Tensor) -> None:
        """Writes added + rows·matrix to `out`."""
        if self.exact:
            torch.addmm(added, rows, self.matrix, out=out)
        else:
            torch.add(added, rows.to(self.kind) @ self.matrix, out=out)


class _GRU(torch.autograd.Function):
    """One direction of a GRU layer (PyTorch's formulas, whose n has the reset gate outside of its product)."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, start: Tensor, weight: Tensor, bias: Tensor, sizes: Sequence[int]) -> Tensor:
        """given [N, 3H]: what the gates r, z, n get from the tokens; start [B, H]; weight [3H, H] → [N, H].

        Products multiply numbers of `given`'s type; everything else is of `start`'s.
        """
        units, times, kind, given = (
            start.shape[1],
            _Product(weight.t(), given.dtype),
            given.dtype,
            given.to(start.dtype),
        )
        gates, new, out = (
            torch.empty_like(given),
            given.new_empty(len(given), units),
            given.new_empty(len(given), units),
        )
        both, resets, updates = gates[:, : 2 * units], gates[:, :units], gates[:, units : 2 * units]
        h = start
        for given_both, given_n, products, rz, r, z, hidden, n, o in zip(
            *(
                part.split(sizes)
                for part in (given[:, : 2 * units], given[:, 2 * units :], gates, both, resets, updates)
            ),
            *(part.split(sizes) for part in (gates[:, 2 * units :], new, out)),
            strict=True,
        ):
            h = h[: len(o)]
            times(bias, h, products)
            rz.add_(given_both).sigmoid_()
            tanh_(torch.addcmul(given_n, r, hidden, out=n))
            h = torch.lerp(n, h, z, out=o)
        ctx.save_for_backward(gates, new, start, out, weight)
        ctx.sizes, ctx.kind = sizes, kind
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """gradient [N, H] of the loss by the states."""
        gates, new, start, out, weight = ctx.saved_tensors
        units, sizes, kind = start.shape[1], ctx.sizes, ctx.kind
        r, z, hidden = gates.split(units, 1)
        before = _before(start, out.split(sizes))
        by_new = (1 - new * new).mul_(1 - z)  # ∂h/∂(what n's tanh is taken of)
        slopes = torch.stack([by_new * hidden * r * (1 - r), (before - new) * z * (1 - z), by_new * r], 1)  # [N, 3, H]
        by_state, by_gates, times = gradient.clone(), torch.empty_like(gates, dtype=kind), _Product(weight, kind)
        later = gradient.new_empty(0, units)
        for state, slope, gate, product, update in reversed(
            list(
                zip(
                    *(part.split(sizes) for part in (by_state, slopes, by_gates.view(-1, 3, units), by_gates, z)),
                    strict=True,
                )
            )
        ):
            state[: len(later)].add_(later)
            torch.mul(state[:, None], slope, out=gate)
            later = state * update
            times(later, product, later)
        by_weight = (by_gates.t() @ before.to(kind)).to(weight.dtype)
        by_bias = by_gates.sum(0, dtype=weight.dtype)
        torch.mul(
            by_state, by_new, out=by_gates[:, 2 * units :]
        )  # of n's own tanh: by_gates is now the gradient by `given`
        return by_gates, later, by_weight, by_bias, None


class _LSTM(torch.autograd.Function):
    """One direction of an LSTM layer."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, start: Tensor, cell: Tensor, weight: Tensor, sizes: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """given [N, 4H]: what the gates i, f, g, o get from the tokens; start, cell [B, H] → states and cells [N, H].

        The cells have no gradient of their own. Types as in the GRU.
        """
        units, times, kind, given = (
            start.shape[1],
            _Product(weight.t(), given.dtype),
            given.dtype,
            given.to(start.dtype),
        )
        gates = torch.empty_like(given)
        cells, squashed, out = (given.new_empty(len(given), units) for _ in range(3))
        h, c = start, cell
        for x, product, i_f, (i, f, g, o), c_out, s, h_out in zip(
            *(part.split(sizes) for part in (given, gates, gates[:, : 2 * units])),
            zip(*(part.split(sizes) for part in gates.split(units, 1)), strict=True),
            *(part.split(sizes) for part in (cells, squashed, out)),
            strict=True,
        ):
            times(x, h[: len(x)], product)
            i_f.sigmoid_()
            tanh_(g)
            o.sigmoid_()
            c = torch.mul(f, c[: len(x)], out=c_out).addcmul_(i, g)
            h = torch.mul(o, tanh_(s.copy_(c)), out=h_out)
        ctx.save_for_backward(gates, cells, squashed, start, cell, out, weight)
        ctx.mark_non_differentiable(cells)
        ctx.sizes, ctx.kind = sizes, kind
        return out, cells

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """gradient [N, H] of the loss by the states."""
        gates, cells, squashed, start, cell, out, weight = ctx.saved_tensors
        units, sizes, kind = start.shape[1], ctx.sizes, ctx.kind
        i, f, g, o = gates.split(units, 1)
        before = _before(cell, cells.split(sizes))
        by_cell = o * (1 - squashed * squashed)  # ∂h/∂c
        slopes = torch.stack([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], 1)  # [N, 3, H] ∂c/∂ i, f, g
        by_output = squashed * o * (1 - o)
        by_state, by_gates, times = gradient.clone(), torch.empty_like(gates, dtype=kind), _Product(weight, kind)
        nothing = gradient.new_zeros(len(start), units)
        three = by_gates[:, : 3 * units].unflatten(1, (3, units))
        later, later_cell = gradient.new_empty(0, units), gradient.new_empty(0, units)
        for state, through, slope, first, last, slope_o, product, forget in reversed(
            list(
                zip(
                    *(part.split(sizes) for part in (by_state, by_cell, slopes, three, by_gates[:, 3 * units :])),
                    *(part.split(sizes) for part in (by_output, by_gates, f)),
                    strict=True,
                )
            )
        ):
            state[: len(later)].add_(later)
            through.mul_(state)[: len(later)].add_(later_cell)
            torch.mul(through[:, None], slope, out=first)
            torch.mul(state, slope_o, out=last)
            later, later_cell = torch.empty_like(state), through * forget
            times(nothing[: len(state)], product, later)
        by_weight = (by_gates.t() @ _before(start, out.split(sizes)).to(kind)).to(weight.dtype)
        return by_gates, later, later_cell, by_weight, None
