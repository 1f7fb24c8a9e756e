"""Commands that show what there is, techniques, samplers and studies, and carry studies elsewhere."""

import inspect
import shlex
from pathlib import Path
from typing import Annotated

import typer

from tuner import space as spaces
from tuner.commands.options import (
    ApiOption,
    ArtifactsOption,
    DatabaseOption,
    JsonOption,
    OriginOption,
    RunsOption,
    leave_out,
    opened,
    print_json,
    say,
)
from tuner.commands.studies import analysed, server
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Usage, unwritten
from tuner.samplers import DEFAULT as DEFAULT_SAMPLER
from tuner.samplers import SAMPLERS, options

app = typer.Typer()


@app.command(epilog="Example: tuner techniques --json")
def techniques(as_json: JsonOption = False) -> None:
    """List the techniques by the papers that brought them, with their formulas, hyperparameters and domains."""
    if as_json:
        print_json([spaces.load(name).plain() for name in spaces.techniques()])
        return
    for paper, group in spaces.by_paper():
        print(f"\n{paper}")
        for s in group:
            _describe(s)


def _describe(s: spaces.Space) -> None:
    """Prints one technique."""
    print(f"  {s.technique}: {s.summary}\n    {s.formula}   [{s.paper}]")
    width = max((len(p.name) for p in s.parameters), default=0)
    for p in s.parameters:
        notes = [p.unit] if p.unit else []
        notes += [f"paper {p.paper}"] if p.paper is not None else []
        notes += [] if p.tuned else ["not tuned unless a search space of your own says so"]
        print(
            f"    {p.name:<{width}} {p.domain:<28} default {p.default}  {p.meaning}"
            + (f" ({'; '.join(notes)})" if notes else "")
        )


@app.command(epilog="Example: tuner samplers gp-mcmc")
def samplers(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A sampler, whose options are listed.", show_default="all samplers"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the samplers that can propose a study's trials, or the options of one with their defaults."""
    if name is not None:
        found = {key: "" if value is inspect.Parameter.empty else str(value) for key, value in options(name).items()}
        summary = SAMPLERS[name].summary if name in SAMPLERS else "your own"
        if as_json:
            print_json([{"name": name, "summary": summary, "options": found}])
            return
        print(f"{name}: {summary}")
        for key, default in found.items():
            print(f"  {key:<{max(map(len, found))}}  {default}".rstrip())
        return
    if as_json:
        print_json([{"name": name, "summary": entry.summary} for name, entry in SAMPLERS.items()])
        return
    for name, entry in SAMPLERS.items():
        notes = (" (default)" if name == DEFAULT_SAMPLER else "") + (f" [{entry.extra}]" if entry.extra else "")
        print(f"{name:<13} {entry.summary}{notes}")
    print("module:Class  an Optuna sampler of your own")


@app.command(
    epilog="Example: tuner export sfb-grammar-tiny --bundle sfb.zip   (tuner import sfb.zip opens it elsewhere)"
)
def export(
    context: typer.Context,
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A study's name; with --model a run, as STUDY/NUMBER or a folder.", show_default=False
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="Format: csv, json or tensorboard.")] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; with tensorboard a folder.", show_default="standard output"),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="File for a bundle of the whole study, in place of a table.", show_default=False),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="Weights in a bundle: all, best (of the best trial), none, or figures (none, nor words of the text).",
        ),
    ] = "all",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="New folder for one run's model, in place of a table; `tuner.load` reads it elsewhere.",
            show_default=False,
        ),
    ] = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Write a study's trials as CSV or JSON, its curves for TensorBoard, or all of it into a bundle for `tuner import`.

    With --model it writes the trained model of a run, STUDY/NUMBER, into a folder that needs no study and no text.
    """
    from tuner.studies import study as studies

    if bundle is None:
        leave_out(context, "is for --bundle", "weights")
    if bundle is not None or model is not None:
        leave_out(context, "is for a table, and --bundle and --model name what they write", "out", "form")
    if server(context, api) and (model is not None or bundle is not None or form == "tensorboard"):
        raise Usage("a server gives trials as csv or json: for anything else name its --database.")
    if model is not None:
        from tuner.studies import model_folder
        from tuner.studies.files import run_folder

        if bundle is not None:
            raise Usage(f"--model {model} and --bundle {bundle} exclude each other: leave one out.")
        model_folder.write(study, run_folder(study, database), model)
        say(f"wrote {model}; `tuner sample {shlex.quote(str(model))}` and tuner.load({str(model)!r}) open it anywhere")
        return
    if form not in ("csv", "json", "tensorboard"):
        raise Usage(f"--format {form!r} is unknown: choose csv, json or tensorboard.")
    if form == "tensorboard" and bundle is None:  # many files
        from tuner.analysis import tensorboard

        with opened(database) as there:
            place = tensorboard.write(studies.open_study(there, study), out)
        say(f"wrote {place}; look at it with: tensorboard --logdir {out}")
        return
    if bundle is not None:
        from tuner.studies import bundle as bundles

        with opened(database) as there:
            size = bundles.pack(studies.open_study(there, study), bundle, weights)
        amount = f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
        say(f"wrote {bundle}, {amount}; `tuner import {bundle}` opens it elsewhere")
        return
    with analysed(context, database, api) as analysis:
        text = analysis.export(study, form)
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritten("--out", out, error) from error


@app.command(name="import", epilog="Example: tuner import sfb.zip --study sfb-of-anna")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File that `tuner export --bundle` wrote.", show_default=False)
    ],
    study: Annotated[
        str | None, typer.Option("--study", help="Name of the study in this database.", show_default="its own")
    ] = None,
    corpus: OriginOption = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
) -> None:
    """Open a study that `tuner export --bundle` has packed, in this database; `tuner resume` then goes on with it.

    A bundle is checked whole before anything of it is entered.
    """
    from tuner.space import techniques
    from tuner.studies import bundle, corpora
    from tuner.studies.trials import count_over

    if study == "":
        raise Usage("--study '' is no name: give one, or leave it out.")
    packed = bundle.opened(file)
    with opened(database, create=True) as there:
        source = corpora.named(database, corpus).place if corpus else ""
        found = bundle.unpack(there, packed, runs, artifacts, study or "", source)
        done = count_over(found.trials.counts())
        say(
            f"study {found.name} is in {there.url}: {done} of {found.spec.trials} trials done; `tuner show {found.name}` has more"
        )
        if not packed.has_weights:
            say(f"note: it came without weights: `tuner reproduce {found.name}/NUMBER` trains a run anew")
        if found.spec.technique not in techniques():
            say(f"note: there is no technique {found.spec.technique!r} here, so that it cannot go on")
        if found.facts.untrusted:
            say(
                f"note: its sampler is code, the Python class {found.spec.sampler}: nothing imports it until "
                f"`tuner resume {found.name} --load-sampler` does"
            )
