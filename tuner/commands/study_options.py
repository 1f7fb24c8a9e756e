"""The options of commands that make studies, from the settings that `spec.StudySpec` declares, and a study file's settings."""

import functools
import inspect
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner import space as spaces
from tuner.commands.options import bounded, seconds, settings, source_of, taking
from tuner.errors import Refused, Usage
from tuner.studies import study_file
from tuner.studies.setting import REQUIRED, Domains, Duration, Kind, Moment, Number, Pairs, Setting, Truth, Word, Words
from tuner.studies.spec import ASKED, StudySpec

Given = dict[str, Any]
"""Settings by name that a command line and its study file name; a setting that is left out is missing."""
WRITTEN: dict[type[Kind], str] = {
    Pairs: "Written key=value; may be repeated.", Words: "May be repeated.", Duration: "Written e.g. 2h.",
    Moment: "Written e.g. 8h, from now on.", Domains: "A TOML file.",
}  # fmt: skip
"""Notes on how a kind of value is written on a command line."""
EXAMPLES = {"fixed": "max_epochs=20", "sampler_options": "samples=20"}
CONTEXT = "context"
ARGUMENT = "given"
"""Name of the command's parameter that gets the settings."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", show_default=False,
        help="Study file (TOML) with these options by their names; options of the command line come first.",
    ),
]  # fmt: skip

TechniquesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--technique", "-t", show_default=False,
        help="Technique to train (`tuner techniques` lists them); several have a study each.",
    ),
]  # fmt: skip


def with_settings(
    *names: str, usual: str | None = None, file: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each of these settings, and --config.

    The command's parameter `given` gets those that are named. A file's `name` is among them as `name`.

    Args:
        usual: what holds where an option is not given, if that is not the setting's default.
        file: without it there is no --config.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [p for key, p in signature.parameters.items() if key != ARGUMENT]
        made = [_parameter(ASKED[name], usual) for name in names]
        more: dict[str, tuple[Any, Any]] = {"config": (ConfigOption, None)} if file else {}
        more[CONTEXT] = (typer.Context, inspect.Parameter.empty)
        for name, (kind, default) in more.items():
            if name not in signature.parameters:
                made.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))

        @functools.wraps(command)
        def run(**values: Any) -> None:
            context: typer.Context = values[CONTEXT] if CONTEXT in signature.parameters else values.pop(CONTEXT)
            asked = {name: values.pop(name) for name in names}
            told = {key: value for key, value in asked.items() if source_of(context, key) != "DEFAULT"}
            config = values.pop("config", None)
            read_in = {} if config is None else study_file.read(config)
            command(
                **values, given=merged(read_in, {name: _converted(ASKED[name], value) for name, value in told.items()})
            )

        return taking(run, [*made, *own])

    return decorate


def merged(file: Mapping[str, Any], told: Mapping[str, Any]) -> Given:
    """Settings of a file, and those of the command line, which come first, in tables key by key."""
    tables = {key: {**file[key], **told[key]} for key in ("fixed", "sampler_options") if key in file and key in told}
    return {**file, **told, **tables}


def specs_of(database: str, every: Iterable[Given], name: str | None = None) -> dict[str, StudySpec]:
    """The settings of studies, by the studies' names.

    Args:
        database: that knows corpora by name.
        every: of each study its settings.
        name: of a study that is alone.
    """
    from tuner.studies import corpora
    from tuner.studies.launch import name_of

    found = {}
    for given in every:
        spec = StudySpec.of(given)
        source = corpora.named(database, spec.corpus)
        called = name or name_of(spec.technique, source.name, spec.model)
        found[called] = replace(spec, corpus=source.place, fixed={**source.values, **spec.fixed})
    return found


def of_each(
    command: str, given: Given, techniques: list[str] | None, study: str | None, every: bool = False
) -> tuple[list[Given], str | None]:
    """The settings of each technique's study, and the name of a study that is alone.

    Args:
        given: what is named for all of them; a study file's technique and name are among it.
        every: all techniques.

    Raises:
        Usage: if no technique is named, or what can be of one study alone is given for several.
    """
    if study == "":
        raise Usage("--study '' is no name: give one, or leave it out.")
    shared = dict(given)
    alone, name = shared.pop("technique", None), shared.pop("name", None)
    if every and techniques:
        raise Usage(f"--technique {techniques[0]} and --all exclude each other: leave one out.")
    names = list(dict.fromkeys(techniques or ([alone] if alone else [])))
    if every:
        names = spaces.techniques()
    if not names:
        raise Usage(f"{command} needs --technique NAME: `tuner techniques` lists them.")
    told = {"--study": study or name, "--space": given.get("space"), "--warm-start": given.get("warm_start")}
    flag = next((flag for flag, value in told.items() if value), None)
    if len(names) > 1 and flag is not None:
        raise Usage(f"{flag} is for one technique, and there are {len(names)}: leave it out, or name one technique.")
    return [{**shared, "technique": each} for each in names], study or name


def plain_of(given: Given) -> dict[str, Any]:
    """The settings as JSON values."""
    return {key: ASKED[key].kind.plain(value) if key in ASKED else value for key, value in given.items()}


def described(spec: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Some settings of a study in words, e.g. `trials 40, tags night, β`."""
    return ", ".join(f"{key.replace('_', ' ')} {_brief(spec[key])}" for key in keys)


def command_line(name: str | None, spec: StudySpec) -> str:
    """The command that makes that study; where an option cannot say a value, it names a study file (`study_file.write`)."""
    words = ["tuner", "launch", *(["--study", name] if name else [])]
    for key, value in spec.changes().items():
        declared = ASKED[key]
        said = _said(declared, declared.checked(value))
        if said is None:
            return "tuner launch --config study.toml"
        words += said
    return shlex.join(words)


def _said(declared: Setting, value: Any) -> list[str] | None:
    """A setting's option with its value; None if a command line would not give that value back."""
    kind, flag = declared.kind, declared.flag
    if isinstance(kind, Truth):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if isinstance(kind, Moment):
        return [flag, f"{max(1, round(value - time.time()))}s"]
    written: Any = f"{value}s" if isinstance(kind, Duration) else value
    if isinstance(kind, Pairs):
        written = [f"{key}={str(each).lower() if isinstance(each, bool) else each}" for key, each in value.items()]
    try:
        if isinstance(kind, Domains) or repr(declared.checked(_converted(declared, written))) != repr(value):
            return None
    except Usage:
        return None
    every = written if isinstance(kind, Pairs | Words) else [written]
    return [part for each in every for part in (flag, str(each))]


def _brief(value: Any) -> str:
    return "none" if value in (None, "", []) else ", ".join(value) if isinstance(value, list) else str(value)


def said(error: Usage) -> str:
    """A mistake in the words of the command line: options for settings, and the command that mends it."""
    text, field = str(error), error.field or ""
    if isinstance(error, Refused) and field in flags():
        text = f"{flags()[field]} {error.value} {error.rule}"
    return text if error.command is None else f"{text.rstrip('.')}: `{error.command}`."


def flags() -> dict[str, str]:
    """The option of each setting, and of a study's and a worker's name."""
    return {"name": "--study", "worker": "--name", **{key: each.flag for key, each in ASKED.items()}}


def _parameter(declared: Setting, otherwise: str | None = None) -> inspect.Parameter:
    kind, usual = declared.kind, declared.default or None
    names = [declared.flag, *([declared.short] if declared.short else [])]
    shown = otherwise or declared.usual
    more: dict[str, Any] = {"help": _help(declared)} | ({"show_default": shown} if shown else {})
    annotation: Any = str | None
    option = typer.Option(*names, **more)
    if isinstance(kind, Number):
        annotation = int if kind.within.whole else float
        option, usual = bounded(kind.within, *names, **more), declared.default
    elif isinstance(kind, Truth):
        option = typer.Option(f"{declared.flag}/--no-{declared.flag.removeprefix('--')}", **more)
        annotation, usual = bool, declared.default
    elif isinstance(kind, (Pairs, Words)):
        annotation = list[str] | None
    elif isinstance(kind, Domains):
        annotation = Path | None
    default = None if declared.default is REQUIRED else usual  # a study file may say it
    if otherwise is not None:
        annotation, default = annotation | None, None
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(declared.name, keyword, default=default, annotation=Annotated[annotation, option])


def _help(declared: Setting) -> str:
    kind, said = declared.kind, [declared.meaning]
    if isinstance(kind, Word) and not kind.more:
        said.append(f"One of: {'; '.join(kind.choices)}.")
    said += [f"See `{declared.command}`."] if declared.command else []
    return " ".join([*said, *(more for each, more in WRITTEN.items() if isinstance(kind, each))])


def _converted(declared: Setting, value: Any) -> Any:
    """The value of a setting, converted from what a command line says."""
    if isinstance(declared.kind, Pairs):
        return settings(value, declared.flag, EXAMPLES[declared.name])
    if isinstance(declared.kind, Duration | Moment) and value == declared.usual:
        return None
    if isinstance(declared.kind, Duration):
        return seconds(value, declared.flag)
    if isinstance(declared.kind, Moment):
        return time.time() + seconds(value, declared.flag)
    if isinstance(declared.kind, Words):
        return [] if value == [""] else value
    return spaces.read(value) if isinstance(declared.kind, Domains) else value
