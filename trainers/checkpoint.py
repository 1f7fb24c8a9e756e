"""Files of a run, written whole or not at all. Weights and states are safetensors; nothing is ever unpickled."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.errors import BadInput, Failure
from trainers.finite import finite


def write(file: Path, content: bytes) -> None:
    """Replaces `file` by `content` in one step that survives a crash.

    Raises:
        Failure: with reason `disk`, if the disk is full or not writable; the old file is untouched.
    """
    _replace(file, lambda partial: partial.write_bytes(content))


def _replace(file: Path, put: Callable[[Path], object]) -> None:
    """Replaces `file` by what `put` writes into another, in one step; raises as `write`."""
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        put(partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            partial.unlink()
        raise Failure("disk", f"{file} cannot be written: {getattr(error, 'strerror', None) or error}.") from error


def write_json(file: Path, content: object) -> None:
    """Replaces `file` by the content as JSON; NaN and infinity, which JSON lacks, become null."""
    write(file, (json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n").encode())


def save_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Tensors in a safetensors file, `facts` (JSON values) in its header."""
    plain: dict[str, Tensor] = {}
    held: set[int] = set()
    for name, tensor in tensors.items():
        one = tensor.detach().cpu().contiguous()
        place = one.untyped_storage().data_ptr()
        plain[name] = one.clone() if place in held else one  # the format refuses tied weights, which share memory
        held.add(place)
    metadata = {"facts": json.dumps(facts), "sha256": _digest(plain)}

    def put(partial: Path) -> None:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(plain, partial, metadata=metadata)  # takes no copy in memory; makes a file for its owner alone
        partial.chmod(mode)

    _replace(file, put)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts that `save_tensors` wrote.

    Raises:
        BadInput: if the file is missing or damaged.
    """
    try:
        with safe_open(str(file), framework="pt") as handle:
            known = handle.metadata()
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            if known.get("sha256", found := _digest(tensors)) != found:  # an older trainer wrote none
                raise ValueError("its numbers are not those that were saved")
            return tensors, json.loads(known["facts"])
    except FileNotFoundError as error:
        raise BadInput(f"{file} is missing: no epoch of the run has been saved.") from error
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise BadInput(f"{file} is damaged ({error}): delete it and train again.") from error


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def _restore(file: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"{file} does not fit its model ({str(error).splitlines()[-1].strip()}): another version of the trainer made it; "
            "train again with another --out."
        ) from error


def save_weights(file: Path, model: nn.Module, objective: nn.Module, facts: Mapping[str, Any]) -> None:
    """A model's weights under their own names, and what the objective has of its own below `objective/`."""
    save_tensors(file, {**model.state_dict(), **_prefixed("objective", objective.state_dict())}, facts)


def load_weights(file: Path, model: nn.Module, objective: nn.Module | None = None) -> None:
    """Restores what `save_weights` wrote; the objective's part only where one is given.

    Raises:
        BadInput: if the file is missing or damaged, or has other weights than the model.
    """
    tensors, _ = load_tensors(file)
    _restore(file, model, {name: tensor for name, tensor in tensors.items() if not name.startswith("objective/")})
    if objective is not None:
        _restore(file, objective, _below("objective", tensors))


def save_state(
    file: Path, modules: Mapping[str, nn.Module], optimizers: list[Optimizer], progress: Mapping[str, Any]
) -> None:
    """Everything that training needs to go on as if it had never stopped."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= _prefixed(name, module.state_dict())
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    for number, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            kept = {key: torch.as_tensor(value) for key, value in state.items() if value is not None}
            tensors |= _prefixed(f"optimizer/{number}/{parameter}", kept)
    save_tensors(file, tensors, progress)


def load_state(file: Path, modules: Mapping[str, nn.Module], optimizers: list[Optimizer]) -> dict[str, Any]:
    """Restores what `save_state` wrote and returns its progress."""
    tensors, progress = load_tensors(file)
    for name, module in modules.items():
        _restore(file, module, _below(name, tensors))
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
