"""The options of commands that train on this machine or a cluster: who trains, and with what."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import typer

from tuner.commands.options import (
    GIVEN,
    AddressOption,
    EngineOption,
    MemoryOption,
    PerGpuOption,
    ThreadsOption,
    WorkersOption,
    leave_out,
    source_of,
    taking,
)
from tuner.errors import Usage
from tuner.workers.engines import Staff

OPTIONS: dict[str, Any] = {
    "workers": WorkersOption,
    "workers_per_gpu": PerGpuOption,
    "trainer_memory": MemoryOption,
    "threads": ThreadsOption,
    "engine": EngineOption,
    "address": AddressOption,
}
"""Option of each of a staff's fields."""
ARGUMENT, CONTEXT = "staff", "context"


def with_staff(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command these options; its parameter `staff` gets the workers that they name."""
    own = inspect.signature(command).parameters
    place = list(own).index(ARGUMENT)
    parameters = list(own.values())
    parameters[place : place + 1] = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=getattr(Staff, key), annotation=kind)
        for key, kind in OPTIONS.items()
    ]

    if CONTEXT not in own:
        parameters.append(inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        staff = Staff(**{key: values.pop(key) for key in OPTIONS})
        staff.check()
        context: typer.Context = values[CONTEXT] if CONTEXT in own else values.pop(CONTEXT)
        if "api" not in own:
            _refuse_server(context)
        command(**values, staff=staff)

    return taking(run, parameters)


def _refuse_server(context: typer.Context) -> None:
    """Refuses a server of the environment for a command that trains on this machine alone.

    Raises:
        Usage: if there is one, and no database on the command line, which comes before it.
    """
    if os.environ.get("TUNER_API") and source_of(context, "database") != GIVEN:
        raise Usage(
            f"{context.info_name} trains on this machine, and TUNER_API names a server: unset it, or name this "
            "machine's --database."
        )


def refuse_here(context: typer.Context, *more: str) -> None:
    """Refuses options of this machine for a study that a server's workers train.

    Args:
        more: options of the command that are of this machine too.

    Raises:
        Usage: naming the first of them that was given on the command line.
    """
    leave_out(context, "is of this machine, and with --api the server's workers train", *OPTIONS, *more)
