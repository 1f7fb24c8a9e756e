"""−log softmax(W·s + b) of each token, on which most of training's time and memory goes.

n: tokens; d: units of a state; V: words.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.products import ROWS, padded, product

BLOCK = {"cpu": (768, 1024), "cuda": (8192, 16384)}
"""States and words whose logits are computed at once: as many as a processor's cache holds, or as keep a GPU busy."""
KEPT_LOGITS = {"cpu": 1 << 29, "cuda": 1 << 31}
"""Bytes of a batch's logits that are kept for the backward pass unless `batch_tokens` says how many."""
AGAIN_LOGITS = {"cpu": 5 << 25, "cuda": 1 << 30}
"""Bytes of logits that a backward pass which kept none computes at once."""
LOG2_E = math.log2(math.e)
SUMS = 1e-30, 1e30
"""Sums Σ exp(logit) beyond which too much may be lost: to underflow below, of the gradient's small factors above."""


class Spare(list[Tensor]):
    """Buffers that no graph needs any more; a copy of the model has none of them."""

    def __deepcopy__(self, memo: Any) -> "Spare":
        del memo
        return Spare()


class TokenNLL(torch.autograd.Function):
    """Losses of tokens by one buffer of exp(logit) that both passes read.

    PyTorch's own loss holds three buffers of logits, and each of more than 32 MB goes back to the system after the step, to be
    cleared again for the next. Nothing is divided by Σ exp there: the gradient's products take unscaled shares, and their small
    factors and results are scaled instead. Logits are computed by words, that product being a sixth faster than by states, and in
    blocks that stay in a processor's cache. They are powers of 2, of which it makes many times as many a second as of e.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, kind: torch.dtype, spare: Spare
    ) -> Tensor:
        """The losses [n] of targets [n] at states [n, d].

        Args:
            kind: what products multiply and the buffer holds; sums are as exact as `states`.
            spare: where backward puts its own buffer.
        """
        words, read = with_bias(weight, bias).to(kind), _powers_of_two(states).to(kind)
        size = len(words) * len(read)
        buffer = spare.pop() if spare else states.new_empty(0, dtype=kind)
        if buffer.numel() < size or (buffer.dtype, buffer.device) != (kind, states.device):
            buffer = states.new_empty(size, dtype=kind)
        shares = buffer[:size].view(len(words), len(read))
        total, highest = _exponentials(words, read, states.dtype, shares)
        ctx.save_for_backward(states, weight, words, targets, total[: len(states)])
        ctx.shares, ctx.buffer, ctx.spare = shares, buffer, spare
        found: Tensor = (total.log2() + highest)[: len(states)] / LOG2_E
        return found - (weight[targets] * states).sum(-1) - bias[targets]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """The gradients by states, weight and bias, from the gradient [n] of the loss by each target's."""
        states, weight, words, targets, total = ctx.saved_tensors
        if ctx.shares is None:
            raise RuntimeError("a batch's loss is differentiated once: its buffer serves the next batch.")
        shares, ctx.shares = ctx.shares, None
        found = _gradients(shares, total, states, weight, words, targets, gradient)
        ctx.spare[:] = [ctx.buffer]
        ctx.buffer = None
        return *found, None, None, None


class LongTokenNLL(torch.autograd.Function):
    """`TokenNLL` of more tokens than memory has logits for: none is kept, backward computes them again, some states at a time."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, kind: torch.dtype) -> Tensor:
        """The losses [n] of targets [n] at states [n, d]."""
        words = with_bias(weight, bias).to(kind)
        ctx.save_for_backward(states, weight, words, targets)
        return token_nll(states, weight, bias, words, targets)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients by states, weight and bias, from the gradient [n] of the loss by each target's."""
        states, weight, words, targets = ctx.saved_tensors
        rows, by_states = min(BLOCK[states.device.type][0], _tokens_of(AGAIN_LOGITS, words)), []
        by_weight, by_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        buffer = words.new_empty(len(words) * len(padded(states[:rows])))
        for part, target, given in zip(states.split(rows), targets.split(rows), gradient.split(rows), strict=True):
            read = _powers_of_two(part).to(words.dtype)
            shares = buffer[: len(words) * len(read)].view(len(words), len(read))
            total, _ = _exponentials(words, read, states.dtype, shares)
            found = _gradients(shares, total[: len(part)], part, weight, words, target, given)
            by_states.append(found[0])
            by_weight += found[1]
            by_bias += found[2]
            del found  # which is as large as the words' matrix, before the next one is made
        return torch.cat(by_states), by_weight, by_bias, None, None


def kept_tokens(words: Tensor) -> int:
    """Tokens whose logits are held at once, for words [V, ·] of that kind."""
    return _tokens_of(KEPT_LOGITS, words)


def _tokens_of(size: dict[str, int], words: Tensor) -> int:
    """Tokens whose logits have so many bytes on the words' device, in whole rows of a product."""
    return max(size[words.device.type] // (len(words) * words.element_size()) // ROWS, 1) * ROWS


def _gradients(
    shares: Tensor, total: Tensor, states: Tensor, weight: Tensor, words: Tensor, targets: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by states [n, d], weight [V, d] and bias [V], from shares [V, ≥ n] whose sums are `total` [n]."""
    scale, kind = gradient / total, words.dtype
    by_states = product(words[:, :-1].t(), shares.t()).t()[: len(states)].to(states.dtype) * scale[:, None]
    by_states -= gradient[:, None] * weight[targets]
    by_weight = product(shares, padded((states * scale[:, None]).to(kind)).t()).to(states.dtype)
    by_weight.index_add_(0, targets, states * -gradient[:, None])
    by_bias = (shares[:, : len(states)] @ scale.to(kind)).to(states.dtype).index_add_(0, targets, -gradient)
    return by_states, by_weight, by_bias


def token_nll(states: Tensor, weight: Tensor, bias: Tensor, words: Tensor, targets: Tensor) -> Tensor:
    """−log P of each target [n] from states [n, d], some at a time; words: as by `with_bias`."""
    rows, found = BLOCK[states.device.type][0], []
    for part, target in zip(states.split(rows), targets.split(rows), strict=True):
        total, highest = _exponentials(words, _powers_of_two(part).to(words.dtype), states.dtype)
        log_sum = (total.log2() + highest)[: len(part)] / LOG2_E
        found.append(log_sum - (weight[target] * part).sum(-1) - bias[target])
    return torch.cat(found)


def with_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """The words' matrix with the bias as one more unit, which spares a pass over the logits: [V, d + 1]."""
    return torch.cat([weight, bias[:, None]], dim=1)


def _powers_of_two(states: Tensor) -> Tensor:
    """States [n, d] for `with_bias`, scaled so that 2^logit is what e^logit was, and rows of zeros: [≥ n, d + 1]."""
    return padded(F.pad(states, (0, 1), value=1.0).mul_(LOG2_E))


def _exponentials(
    words: Tensor, read: Tensor, exact: torch.dtype, out: Tensor | None = None
) -> tuple[Tensor, Tensor | float]:
    """Σ 2^(logit − highest) over the words, and `highest`, of each state: words [V, d + 1], read [n, d + 1] → [n].

    `highest` is 0 but where the sum then leaves `SUMS`. The powers go to `out` [V, n], if it is given.
    """
    rows, columns = BLOCK[words.device.type]
    size = min(max(rows * columns // max(len(read), 1), 16), len(words))
    kept = read.new_empty(size, len(read)) if out is None else out
    total = read.new_zeros(len(read), dtype=exact)
    for place in range(0, len(words), size):
        block = words[place : place + size]
        part = kept[: len(block)] if out is None else kept[place : place + size]
        total += torch.exp2(product(block, read, spare=part), out=part).sum(0, dtype=exact)
    if bool(((total > SUMS[0]) & (total < SUMS[1])).all()):
        return total, 0.0
    logits = product(words, read)
    highest = logits.amax(0)
    return torch.exp2(logits.sub_(highest), out=logits if out is None else out).sum(0, dtype=exact), highest.to(exact)
