"""The options of commands that train on this machine or a cluster: who trains, and with what."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from tuner.commands.options import (
    AddressOption,
    EngineOption,
    MemoryOption,
    PerGpuOption,
    ThreadsOption,
    WorkersOption,
)
from tuner.errors import Usage

OPTIONS: dict[str, tuple[Any, Any]] = {
    "workers": (WorkersOption, None),
    "workers_per_gpu": (PerGpuOption, None),
    "trainer_memory": (MemoryOption, 0.0),
    "threads": (ThreadsOption, None),
    "engine": (EngineOption, "local"),
    "address": (AddressOption, "auto"),
}
"""Type and default of each option of a staff."""
ARGUMENT = "staff"


def with_staff(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command these options; its parameter `staff` gets the workers that they name."""
    signature = inspect.signature(command)
    keyword = inspect.Parameter.KEYWORD_ONLY
    made = [inspect.Parameter(key, keyword, default=usual, annotation=kind) for key, (kind, usual) in OPTIONS.items()]
    own = [p.replace(kind=keyword) for p in signature.parameters.values()]
    place = list(signature.parameters).index(ARGUMENT)
    parameters = [*own[:place], *made, *own[place + 1 :]]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        from tuner.workers.engines import Staff

        asked = {key: values.pop(key) for key in OPTIONS}
        staff = Staff(
            asked["engine"], asked["address"], asked["workers"], asked["workers_per_gpu"], asked["trainer_memory"],
            asked["threads"],
        )  # fmt: skip
        staff.check()
        command(**values, staff=staff)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def refuse_here(context: typer.Context, *more: str) -> None:
    """Refuses options of this machine for a study that a server's workers train.

    Args:
        more: options of the command that are of this machine too.

    Raises:
        Usage: naming the first of them that was given on the command line.
    """
    for key in (*OPTIONS, *more):
        source = context.get_parameter_source(key)
        if source is not None and source.name == "COMMANDLINE":
            flag = f"--{key.replace('_', '-')}"
            raise Usage(f"{flag} is of this machine, and the server's workers train: leave it out with --api.")
