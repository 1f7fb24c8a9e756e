"""Commands that show what there is, techniques, samplers and studies, and carry studies elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from tuner import space as spaces
from tuner.commands.options import (
    ArtifactsOption,
    BecauseOption,
    ColumnsOption,
    DatabaseOption,
    FailOption,
    JsonOption,
    OneStudyArgument,
    OriginOption,
    RunsOption,
    SortOption,
    StudyArgument,
    TopOption,
    WhereOption,
    opened,
    print_json,
    say,
    struck_out,
)
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage
from tuner.samplers import DEFAULT as DEFAULT_SAMPLER
from tuner.samplers import SAMPLERS

app = typer.Typer()


@app.command(epilog="Example: tuner techniques --json")
def techniques(as_json: JsonOption = False) -> None:
    """List the techniques with their formulas, hyperparameters and domains."""
    loaded = [spaces.load(name) for name in spaces.techniques()]
    if as_json:
        print_json([s.plain() for s in loaded])
        return
    for s in loaded:
        print(f"{s.technique}: {s.summary}\n    {s.formula}   [{s.paper}]")
        width = max((len(p.name) for p in s.parameters), default=0)
        for p in s.parameters:
            notes = [p.unit] if p.unit else []
            notes += [f"paper {p.paper}"] if p.paper is not None else []
            notes += [] if p.tuned else ["not tuned unless a search space of your own says so"]
            print(
                f"    {p.name:<{width}} {p.domain:<28} default {p.default}  {p.meaning}"
                + (f" ({'; '.join(notes)})" if notes else "")
            )


@app.command(epilog="Example: tuner samplers")
def samplers(as_json: JsonOption = False) -> None:
    """List the samplers that can propose a study's trials."""
    if as_json:
        print_json([{"name": name, "summary": entry.summary} for name, entry in SAMPLERS.items()])
        return
    for name, entry in SAMPLERS.items():
        notes = (" (default)" if name == DEFAULT_SAMPLER else "") + (f" [{entry.extra}]" if entry.extra else "")
        print(f"{name:<13} {entry.summary}{notes}")
    print("module:Class  an Optuna sampler of your own")


@app.command(name="studies", epilog="Example: tuner studies --json")
def list_studies(database: DatabaseOption = DATABASE, as_json: JsonOption = False) -> None:
    """List the studies of the database."""
    from tuner.commands import render
    from tuner.studies import queries
    from tuner.studies.trials import OVER

    with opened(database) as there:
        found = queries.overview(there)
    if as_json:
        print_json(found)
        return
    table = render.study_table()
    for s in found:
        counts, best = s["trials"], s["best"] or {"metrics": {}, "notes": []}
        done = sum(counts.get(state, 0) for state in OVER)
        notes = list(filter(None, [s["why"], render.won(s["best"])]))
        notes += [f"best trial {note}" for note in best["notes"]]
        table.add(
            s["study"], s["state"], s["technique"], s["corpus"], s["model"], s["sampler"], f"{done}/{s['budget']}",
            str(counts.get("running", 0)), *(render.number(best["metrics"].get(key)) for key in ("nll", "rate")),
            "; ".join(notes),
        )  # fmt: skip
    table.print()


@app.command(epilog="Example: tuner show sfb-grammar-tiny")
def show(
    study: StudyArgument,
    form: Annotated[
        str, typer.Option("--format", help="table; or toml, the study file that `tuner launch --config` reads.")
    ] = "table",
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Show a study: its trials, its best trial, what made its figures."""
    from tuner.commands import render
    from tuner.studies import study as studies
    from tuner.studies import study_file

    if form not in ("table", "toml"):
        raise Usage(f"--format {form!r} is unknown: choose table or toml.")
    with opened(database) as there:
        found = studies.open_study(there, study)
        if form == "toml":
            print(study_file.write(found), end="")
            return
        if as_json:
            print_json({**found.plain(), "spec": found.spec.plain()})
            return
        sizes = ", ".join(f"{count:,} {split}" for split, count in found.facts.corpus.sentences.items())
        fixed = ", ".join(f"{key}={value}" for key, value in found.spec.fixed.items()) or "nothing"
        searched = ", ".join(f"{p.name} in {p.domain}" for p in found.searched) or "nothing"
        print(f"corpus    {found.facts.corpus.name} ({sizes} sentences, {found.facts.corpus.vocabulary:,} words)")
        print(f"searched  {searched}\nset       {fixed}\nruns in   {found.store.address}\n")
        render.summary(found)


@app.command(epilog="Example: tuner trials sfb-grammar-tiny --json")
def trials(
    study: OneStudyArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Not only the last ones and the best.")] = False,
    fail: FailOption = None,
    because: BecauseOption = None,
    sort: SortOption = None,
    top: TopOption = None,
    where: WhereOption = None,
    columns: ColumnsOption = None,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials: the last ones and the best, all (as --json does), or those that fit. Or strike one out."""
    from tuner.commands import render
    from tuner.commands.tables import console
    from tuner.studies import strikes
    from tuner.studies import study as studies
    from tuner.studies.table import Table

    struck = struck_out(study, fail, because)
    with opened(database) as there:
        if struck is not None:
            made = strikes.strike(studies.open_study(there, struck[0]), struck[1], struck[2])
            say(f"trial {made.run} is {made.state}: {made.message}")
            return
        found = studies.open_study(there, str(study))
        table = Table(found).follow()
        keys = [table.checked(key.strip(), "--columns") for key in columns.split(",")] if columns else None
        if as_json or sort or top or where:
            listed = found.trials_of(table.select(where, sort or "number")[:top])
        if as_json:
            print_json([t.plain() for t in listed])
            return
        if sort or top or where:
            render.trial_table(listed, render.marked(found), columns=keys, known=table.heads).print()
            if not listed:
                say(f"no trial of {found.name} fits {where}")
        else:
            listed = render.print_trials(found, None if every else render.ROWS, columns=keys)
            if (winner := found.winner()) is not None:
                print(f"* best by {winner.by}")
    for note, meaning in render.NOTES.items():
        if any(note in trial.notes for trial in listed):
            console().print(f"\n{meaning}")


@app.command(
    epilog="Example: tuner export sfb-grammar-tiny --bundle sfb.zip   (tuner import sfb.zip opens it elsewhere)"
)
def export(
    study: StudyArgument,
    form: Annotated[str, typer.Option("--format", help="csv, json or tensorboard.")] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A file; with tensorboard a folder.", show_default="standard output"),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Instead: all of the study in one file.", show_default=False)
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="Of a bundle: all, the best trial's, or none.")] = "all",
    database: DatabaseOption = DATABASE,
) -> None:
    """Write a study's trials as CSV or JSON, its curves for TensorBoard, or all of it into a bundle for `tuner import`."""
    from tuner.commands import render
    from tuner.studies import study as studies

    if form not in ("csv", "json", "tensorboard"):
        raise Usage(f"--format {form!r} is unknown: choose csv, json or tensorboard.")
    if form == "tensorboard" and bundle is None:  # many files
        from tuner.analysis import tensorboard

        with opened(database) as there:
            place = tensorboard.write(studies.open_study(there, study), out)
        say(f"wrote {place}; look at it with: tensorboard --logdir {out}")
        return
    with opened(database) as there:
        found = studies.open_study(there, study)
        if bundle is not None:
            from tuner.studies import bundle as bundles

            size = bundles.pack(found, bundle, weights)
            say(f"wrote {bundle}, {size / 2**20:.1f} MiB; `tuner import {bundle}` opens it elsewhere")
            return
        text = render.export(found, form)
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Fault(f"--out {out} cannot be written ({error.strerror}).") from error


@app.command(name="import", epilog="Example: tuner import sfb.zip --study sfb-of-anna")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.", show_default=False)],
    study: Annotated[str | None, typer.Option("--study", help="Its name here.", show_default="its own")] = None,
    corpus: OriginOption = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
) -> None:
    """Open a study that `tuner export --bundle` has packed, in this database; `tuner resume` then goes on with it.

    A bundle is checked whole before anything of it is entered.
    """
    from tuner.studies import bundle, corpora
    from tuner.studies.trials import OVER

    with opened(database, create=True) as there:
        source = corpora.named(database, corpus).place if corpus else ""
        found = bundle.unpack(there, file, runs, artifacts, study or "", source)
        done = sum(found.counts().get(state, 0) for state in OVER)
        say(
            f"study {found.name} is in {there.url}: {done} of {found.spec.trials} trials done; `tuner show {found.name}` has more"
        )
        if found.facts.untrusted:
            say(
                f"note: its sampler is code, the Python class {found.spec.sampler}: nothing imports it until "
                f"`tuner resume {found.name} --load-sampler` does"
            )
