"""Precision of the products in training. Evaluation always has 32 bits, so that no figure hangs on what a machine would
round.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainers.errors import BadInput

PROCESSOR_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Instructions of a processor that multiply in bfloat16, by PyTorch's names."""


def require(precision: str, device: torch.device) -> None:
    """Refuses what the device has no instructions for: it would be slower than 32 bits, and worse.

    Raises:
        BadInput: if it has none.
    """
    if precision == "tf32" and device.type != "cuda":
        raise BadInput(
            "precision = 'tf32' is a GPU's: use precision=float32 here, or bfloat16 where the processor has it."
        )
    if precision == "bfloat16" and not _has_bfloat16(device):
        raise BadInput(
            f"precision = 'bfloat16' but this {device.type} has no such instructions: use precision=float32."
        )


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):
        return False  # an older PyTorch cannot tell
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in PROCESSOR_BFLOAT16)


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """TF32 in a GPU's 32-bit products, if that is the precision, else 32 bits to the last; afterwards what was before.

    Of its own PyTorch takes TF32 for cuDNN's recurrent kernels, though not for other products: `float32` says no to both.
    """
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        _products("tf32" if precision == "tf32" else "ieee")
        yield
    finally:
        _products(before)


def _products(kind: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = kind
    torch.backends.cudnn.rnn.fp32_precision = kind  # type: ignore[attr-defined]


_products("ieee")
