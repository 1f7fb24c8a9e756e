"""Matrix products on a processor, by the library that is fastest there.

PyTorch gives products of 32 bits to MKL, which takes the widest instructions on processors of its own maker alone: on an AMD EPYC
with AVX-512 it reaches 105 GFLOP/s a core where oneDNN, which PyTorch takes for bfloat16, reaches 240 (docs/cost.md). So it is
asked for oneDNN's there, by the operation that PyTorch's own compiler takes. Both round to 32 bits.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

OWN_MAKER = "GenuineIntel"
"""Maker of the processors that MKL serves well."""
ROWS = 64
"""Number of tokens to whose multiples batches are padded: oneDNN makes and keeps a program, of half a megabyte, for
each shape of a product.
"""


@cache
def _is_onednn_faster() -> bool:
    """True if oneDNN is faster here; equal on all machines of a class, so that their figures are equal to the last
    digit.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and OWN_MAKER not in told


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, spare: Tensor | None = None) -> Tensor:
    """The product a·bᵀ + bias, without gradient: a [n, k], b [m, k], bias [m] → [n, m].

    Args:
        spare: memory [n, m] that the result may take.
    """
    found: Tensor
    if a.device.type == "cpu" and a.dtype == torch.float32 and _is_onednn_faster():
        found = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    elif bias is None:
        found = torch.mm(a, b.t(), out=spare)
    else:
        found = torch.addmm(bias, a, b.t(), out=spare)
    return found


def padded(rows: Tensor) -> Tensor:
    """Rows [n, k] with rows of zeros up to a multiple of `ROWS`."""
    return F.pad(rows, (0, 0, 0, -len(rows) % ROWS))


def linear(read: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W·x + b of each row x: read [n, k], weight [m, k], bias [m] → [n, m]."""
    found: Tensor = _Linear.apply(read, weight, bias)  # type: ignore[no-untyped-call]
    return found


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, read: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows = padded(read)
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)[: len(read)]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        by_rows = padded(gradient)
        by_read = product(by_rows, weight.t())[: len(gradient)] if ctx.needs_input_grad[0] else None
        return by_read, product(by_rows.t(), rows.t()), gradient.sum(0)
