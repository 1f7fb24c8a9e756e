"""Versions and hardware of a run, as far as they decide its figures' last digits, and the command for it."""

import platform
import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("text-vae-tuner", "torch", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Python's and the packages'; what is run from its source without being installed has none."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "torch": torch.__version__}  # which names its build too


def hardware(device: torch.device) -> dict[str, str | int]:
    """The machine and what trains on it."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Name of the processor's model, which decides what kernels are chosen."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def command(technique: str, corpus: str, model: str, seed: int, values: Mapping[str, object]) -> str:
    """Command that trains a run anew, without a study."""
    words = ["tuner", "train", "--technique", technique, "--corpus", corpus, "--model", model, "--seed", str(seed)]
    for key, value in values.items():
        words += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)
