"""Files of a run, written whole or not at all. Weights and states are safetensors; nothing is ever unpickled."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.errors import BadInput, Failure


def write(file: Path, content: bytes) -> None:
    """Replaces `file` by `content` in one step that survives a crash.

    Raises:
        Failure: with reason `disk`, if the disk is full or not writable; the old file is untouched.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(file)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            partial.unlink(missing_ok=True)
        raise Failure("disk", f"{file} cannot be written: {error.strerror}.") from error


def write_json(file: Path, content: object) -> None:
    write(file, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def save_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Tensors in a safetensors file, `facts` (JSON values) in its header."""
    # A copy each: tied weights share memory, which the format refuses.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write(file, save(plain, metadata={"facts": json.dumps(facts)}))


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote.

    Raises:
        BadInput: if the file is missing or damaged.
    """
    try:
        with safe_open(str(file), framework="pt") as handle:
            facts = json.loads(handle.metadata()["facts"])
            return {name: handle.get_tensor(name) for name in handle.keys()}, facts  # noqa: SIM118
    except FileNotFoundError as error:
        raise BadInput(f"{file} is missing: the run has not saved it yet.") from error
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise BadInput(f"{file} is damaged ({error}): delete it and train again.") from error


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def save_state(
    file: Path, model: nn.Module, objective: nn.Module, optimizers: list[Optimizer], progress: Mapping[str, Any]
) -> None:
    """Everything that training needs to go on as if it had never stopped."""
    tensors = {**_prefixed("model", model.state_dict()), **_prefixed("objective", objective.state_dict())}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    for number, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            tensors |= _prefixed(f"optimizer/{number}/{parameter}", {k: torch.as_tensor(v) for k, v in state.items()})
    save_tensors(file, tensors, progress)


def load_state(file: Path, model: nn.Module, objective: nn.Module, optimizers: list[Optimizer]) -> dict[str, Any]:
    """Restores what `save_state` wrote and returns its progress."""
    tensors, progress = load_tensors(file)
    model.load_state_dict(_below("model", tensors))
    objective.load_state_dict(_below("objective", tensors))
    for number, optimizer in enumerate(optimizers):
        content = optimizer.state_dict()
        content["state"] = {}
        for name, tensor in _below(f"optimizer/{number}", tensors).items():
            parameter, key = name.split("/")
            content["state"].setdefault(int(parameter), {})[key] = tensor
        optimizer.load_state_dict(content)
    torch.set_rng_state(tensors["rng/cpu"])
    if torch.cuda.is_available() and "rng/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng/cuda"])
    return progress
