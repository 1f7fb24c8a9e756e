"""Shared parts of the speed benchmarks: the machine's arithmetic, and what a model needs of it."""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from trainers.options import ModelOptions
from trainers.products import product

GATES = {"gru": 3, "lstm": 4}
PEAK_SIZES = (256, 4096, 2048)
"""Size of the product that shows the machine's peak: about an output layer's."""


def machine() -> dict[str, Any]:
    """Machine that a figure of speed was taken on."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The median of so many calls, after one that is not counted."""
    taken = []
    for _ in range(repeats + 1):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def peak(device: torch.device, kind: torch.dtype) -> float:
    """Floating-point operations a second of a matrix product, at best: PyTorch's, or ours where that is faster."""
    rows, columns, inner = PEAK_SIZES
    a, b = torch.randn(rows, inner, device=device).to(kind), torch.randn(columns, inner, device=device).to(kind)
    return (
        2.0
        * rows
        * columns
        * inner
        / min(seconds(way, device, 30) for way in (lambda: a @ b.t(), lambda: product(a, b)))
    )


def macs(options: ModelOptions, vocabulary: int) -> dict[str, float]:
    """Multiplications of one token's forward pass, by part: matrix products alone."""
    gates, d_e, d_h = GATES[options.cell], options.d_e, options.d_h
    first, further = gates * d_h * d_e, gates * d_h * d_h
    upper = (options.decoder_layers - 1) * 2 * further
    directions = 1 + options.bidirectional
    return {
        "encoder": directions * (first + further + (options.encoder_layers - 1) * (directions + 1) * further),
        "words": first,
        "states": further + upper,
        "output": d_e * vocabulary if options.tied else d_h * vocabulary,
    }


def training_flops(options: ModelOptions, vocabulary: int) -> float:
    """Operations of a token's forward and backward pass: three products, of two operations each, for every multiplication."""
    return 6 * sum(macs(options, vocabulary).values())


def sample_flops(options: ModelOptions, vocabulary: int) -> float:
    """Operations of a token and sample of the importance-sampled NLL; what the words alone decide is done once for all."""
    parts = macs(options, vocabulary)
    return 2 * (parts["states"] + parts["output"])


def megabytes() -> int:
    """This process's memory at its most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
