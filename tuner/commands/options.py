"""Shared parts of the commands: their options, how they speak, how they open the database."""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner import names, numbers
from tuner.errors import Usage, unwritten
from tuner.numbers import Numbers
from tuner.screen import plain, styles
from tuner.space import Value, parse_value

if TYPE_CHECKING:
    from tuner.storage.database import Database


def bounded(within: Numbers, *flags: str, **more: Any) -> Any:
    """An option that takes these numbers and no others."""

    def check(value: float | None) -> float | None:
        if value is not None and value not in within:  # NaN, which no comparison refuses
            raise typer.BadParameter(f"{value} is not {within}.")
        return value

    return typer.Option(*flags, min=within.low, max=within.high, callback=check, **more)


def no_count(folder: Path) -> Path:
    """The folder, unless it is a number: `--runs 3` means three runs to whoever writes it.

    Raises:
        Usage: if it is.
    """
    if str(folder).isdecimal():
        raise Usage(
            f"--runs {folder} is a folder for files: give a number of runs by --seeds or --trials, or write ./{folder}."
        )
    return folder


DatabaseOption = Annotated[
    str, typer.Option("--database", envvar="TUNER_DATABASE", help="The study database's URL.", show_envvar=True)
]
ApiOption = Annotated[
    str | None,
    typer.Option(
        "--api", metavar="URL", envvar="TUNER_API", show_default=False,
        help="URL of a server (`tuner serve`) in the database's place; TUNER_API_KEY holds its key.",
    ),
]  # fmt: skip
RunsOption = Annotated[
    Path,
    typer.Option(
        "--runs", envvar="TUNER_RUNS", show_envvar=True, callback=no_count,
        help="Folder for checkpoints, logs and study files.",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A hyperparameter or an option with its value, as key=value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A trial as STUDY/NUMBER, or a run's folder.", show_default=False)
]
SentencesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Sentences, each with its words divided by spaces.", show_default="validation sentences drawn at random"
    ),
]
CountOption = Annotated[int, bounded(numbers.COUNT, "--count", "-n", help="Number of sentences.")]
AncestralOption = Annotated[bool, typer.Option("--ancestral", help="Draw each token, instead of taking the likeliest.")]
CentreOption = Annotated[bool, typer.Option("--centre", help="Take a posterior's centre as the code, not a sample.")]
WritingSeedOption = Annotated[int, bounded(numbers.INDEX, "--seed", help="Seed of codes and tokens.")]
LengthOption = Annotated[int, bounded(numbers.COUNT, "--length", help="Largest number of tokens of a sentence.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name.", show_default=False)]
StudiesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[STUDY]...", help="Names of studies.", show_default="all of the database")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="File to write: .svg, .png, .pdf or .json.", show_default="a table")
]
SomeStudiesArgument = Annotated[
    list[str], typer.Argument(metavar="STUDY...", help="Names of studies.", show_default=False)
]
OneStudyArgument = Annotated[str | None, typer.Argument(metavar="STUDY", help="A study's name.", show_default=False)]
FailOption = Annotated[
    str | None,
    typer.Option(
        "--fail", metavar="STUDY/N", help="Trial to strike out, which then counts as failed.", show_default=False
    ),
]
BecauseOption = Annotated[
    str | None,
    typer.Option(
        "--because",
        metavar="TEXT",
        help="Reason for striking the trial out, which is kept with it.",
        show_default=False,
    ),
]
StudyNameOption = Annotated[
    str | None, typer.Option("--study", help="The study's name.", show_default="TECHNIQUE-CORPUS-MODEL")
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split", help="Split of the figures: valid, or test, which confirmations and runs of test=true have."
    ),
]
OriginOption = Annotated[
    str | None,
    typer.Option(
        "--corpus", "-c", help="Folder, file or name of the study's text on this machine.", show_default="where it was"
    ),
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN", help="Column to sort by; -COLUMN: the highest first.", show_default="number"
    ),
]
TopOption = Annotated[
    int | None,
    bounded(numbers.COUNT, "--top", metavar="N", help="Largest number of trials to list.", show_default=False),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Condition that listed trials fit, e.g. 'r > 5 and rate > 3'.",
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="C1,C2,…", help="Columns to show.", show_default="what the terminal holds"),
]
TagOption = Annotated[str | None, typer.Option("--tag", help="Only studies with this tag.", show_default=False)]
StateOption = Annotated[
    str | None, typer.Option("--state", help="Only studies in this state, e.g. active or finished.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise Usage(f"--log-format {text!r} is unknown: choose text or json.")
    return text


LogFormatOption = Annotated[
    str,
    typer.Option("--log-format", help="Format of the log, a line for each event: text or json.", callback=_log_format),
]
EngineOption = Annotated[str, typer.Option("--engine", help="Engine that places the workers: local or ray.")]
AddressOption = Annotated[str, typer.Option("--address", help="Address of the Ray cluster, with --engine ray.")]
WorkersOption = Annotated[
    int | None,
    bounded(
        numbers.PROCESSES,
        "--workers",
        "-w",
        help="Number of workers, each with a trial at a time.",
        show_default="one a GPU, or one",
    ),
]
PerGpuOption = Annotated[
    int | None,
    bounded(numbers.SOME, "--workers-per-gpu", help="Number of workers that share each GPU.", show_default="1"),
]
MemoryOption = Annotated[
    float, bounded(numbers.GIBIBYTES, "--trainer-memory", help="GiB of memory that a trainer may have (0: no limit).")
]
ThreadsOption = Annotated[
    int | None,
    bounded(numbers.SOME, "--threads", help="Threads of a trainer.", show_default="OMP_NUM_THREADS, or 1"),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts", envvar="TUNER_ARTIFACTS", show_envvar=True, show_default="a folder of its own in RUNS",
        help="Store for checkpoints: a folder that all workers reach, or s3://bucket/prefix.",
    ),
]  # fmt: skip


GIVEN = "COMMANDLINE"
"""Name of the source of a value that the command line gives."""


def source_of(context: typer.Context, name: str) -> str:
    """Name of the source of an option's value: `GIVEN`, `ENVIRONMENT`, or `DEFAULT` if nobody gave it."""
    source = context.get_parameter_source(name)
    return "" if source is None else source.name


def leave_out(context: typer.Context, why: str, *keys: str) -> None:
    """Refuses options that would do nothing.

    Raises:
        Usage: naming the first of them that was given on the command line.
    """
    for parameter in context.command.params:
        if parameter.name in keys and source_of(context, parameter.name) == GIVEN:
            raise Usage(f"{parameter.opts[0]} {why}: leave it out.")


def say(text: str) -> None:
    """A line for the person, beside what a command prints."""
    print(text, file=sys.stderr, flush=True)


def overwrite(text: str, end: str = "\n") -> None:
    """Prints a line for the person in place of the line that changes, in a terminal."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(start + plain(text), end=end, file=styles(sys.stderr), flush=True)


def print_json(content: object) -> None:
    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(content, ensure_ascii=is_ascii, allow_nan=False))


def settings(pairs: list[str] | None, flag: str = "--set", example: str = "max_epochs=20") -> dict[str, Value]:
    """Settings by name, from key=value pairs as given to a flag that may be repeated.

    Raises:
        Usage: if one is not such a pair.
    """
    values = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise Usage(f"{flag} {pair!r} is not key=value: write e.g. {flag} {example}.")
        values[key] = parse_value(value)
    return values


def struck_out(study: str | None, trial: str | None, because: str | None) -> tuple[str, int, str] | None:
    """The study, the number and the reason of a trial that shall be struck out; none if trials shall be listed.

    Raises:
        Usage: if it is neither one nor the other.
    """
    if trial is None and because is None:
        if study is None:
            raise Usage("tuner trials names no study: write e.g. `tuner trials STUDY`.")
        return None
    named = names.trial(trial or "")
    if named is None or study not in (None, named[0]):
        raise Usage(f"--fail {trial or ''!r} names no trial: write e.g. --fail sfb-grammar-tiny/3.")
    if because is None:
        raise Usage(f"--fail {trial} needs a reason, which is kept with the trial: say --because TEXT.")
    return *named, because


@contextmanager
def opened(url: str, create: bool = False, patience: float = 0.0) -> "Iterator[Database]":
    """The database, its errors in one sentence."""
    from tuner.storage.database import Database

    with Database(url, create, patience) as database, database.errors():
        yield database


def seconds(text: str, flag: str) -> float:
    """`90`, `90s`, `30m`, `2h` or `1d` in seconds.

    Raises:
        Usage: if it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    length = 0.0 if found is None else float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
    if not length or length not in numbers.SECONDS:
        shown = text if len(text) <= 30 else f"{text[:29]}…"
        raise Usage(
            f"{flag} {shown!r} is no duration up to {numbers.SECONDS.high:,.0f} s: write e.g. 90s, 30m, 2h or 1d."
        )
    return length


def taking(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command with these parameters, all named, from which Typer makes its options."""
    named = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in named}
    return command


def write_figure(out: Path, plain: object, draw: Callable[[], None]) -> None:
    """A figure's file, or what is in it as JSON."""
    try:
        if out.suffix == ".json":
            out.write_text(json.dumps(plain, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            draw()
    except OSError as error:
        raise unwritten("--out", out, error) from error
    say(f"wrote {out}")
