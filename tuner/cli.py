"""The command line: a thin coat over `tuner.studies`. Heavy imports wait until a command needs them."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tuner import online
from tuner import space as spaces
from tuner.commands import app as service
from tuner.commands import work, work_detached
from tuner.console import (
    DATABASE,
    RUNS,
    AddressOption,
    ArtifactsOption,
    CorpusOption,
    DatabaseOption,
    EngineOption,
    JsonOption,
    MemoryOption,
    ModelOption,
    NllOption,
    OriginOption,
    PerGpuOption,
    RunsOption,
    SamplerSettingsOption,
    SeedOption,
    SetOption,
    SpaceOption,
    StudyArgument,
    StudyNameOption,
    TechniqueOption,
    TimeoutOption,
    TrialsOption,
    WorkersOption,
    opened,
    print_json,
    say,
    seconds,
    settings,
    space_of,
)
from tuner.errors import Fault, Interrupted, Usage
from tuner.reading import app as reading
from tuner.results import app as results
from tuner.runs import app as run_commands
from tuner.samplers import DEFAULT as DEFAULT_SAMPLER
from tuner.samplers import SAMPLERS
from tuner.serving import app as serving

if TYPE_CHECKING:
    from tuner.engines import Staff
    from tuner.paper import Row
    from tuner.studies import Study

DEFAULT_TRIALS = 8

app = typer.Typer(
    help="Tunes the techniques against posterior collapse in text VAEs by validation importance-sampled NLL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Example: tuner launch --technique sfb   (studies of a server: tuner --api URL --help)",
)
app.add_typer(service)
app.add_typer(serving)
app.add_typer(run_commands)
app.add_typer(results)
app.add_typer(reading, name="corpora")


@app.command(epilog="Example: tuner launch --technique sfb --corpus ptb --model small --trials 20")
def launch(
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "--technique", "-t", help="What to train: see `tuner techniques`; several are compared.", show_default=False
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All techniques, compared at the end.")] = False,
    corpus: CorpusOption = "grammar",
    study: StudyNameOption = None,
    trials: TrialsOption = DEFAULT_TRIALS,
    sampler: Annotated[
        str, typer.Option("--sampler", help="What proposes trials: see `tuner samplers`.")
    ] = DEFAULT_SAMPLER,
    sampler_option: SamplerSettingsOption = None,
    model: ModelOption = "tiny",
    pruner: Annotated[
        str, typer.Option("--pruner", help="Ends poor trials early: none, median, hyperband or dominated.")
    ] = "none",
    min_rate: Annotated[
        float, typer.Option("--min-rate", min=0, help="What a trial's rate falls short of this is added to its NLL.")
    ] = 0.0,
    objectives: Annotated[
        str, typer.Option("--objectives", help="nll; nll,rate: the front of low NLL and high rate; or melbo, for mim.")
    ] = "nll",
    nll: NllOption = None,
    stop_when: Annotated[
        float, typer.Option("--stop-when", min=0, help="End when the sampler expects to gain fewer nats (0: never).")
    ] = 0.0,
    warm_start: Annotated[
        str | None,
        typer.Option("--warm-start", metavar="STUDY", help="Begin with the finished trials of another study."),
    ] = None,
    set_: SetOption = None,
    space: SpaceOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    workers_per_gpu: PerGpuOption = None,
    trainer_memory: MemoryOption = 0.0,
    timeout: TimeoutOption = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", help="The study stops so long from now, e.g. 8h; it can go on.")
    ] = None,
    max_failures: Annotated[
        int,
        typer.Option("--max-failures", min=0, help="Trials in a row that may fail before the study stops (0: any)."),
    ] = 3,
    engine: EngineOption = "local",
    address: AddressOption = "auto",
    detach: Annotated[bool, typer.Option("--detach", help="Leave the workers in the background.")] = False,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a technique: create a study, or go on with it, and train its trials.

    Several techniques, or --all, have a study each of the same budget, one after another, and a table at the end.
    Ctrl-C stops in order; the same command goes on where it stopped.
    """
    from tuner import corpora, report, studies
    from tuner import launch as launches
    from tuner.artifacts import Store
    from tuner.database import PATIENCE
    from tuner.engines import Staff
    from tuner.specification import Rules

    names = _techniques(technique, every)
    alone = {"--study": study, "--space": space, "--warm-start": warm_start, "--detach": detach}
    if len(names) > 1 and (given := [flag for flag, value in alone.items() if value]):
        raise Usage(
            f"{given[0]} is for one technique, and there are {len(names)}: leave it out, or name one technique."
        )
    source = corpora.named(database, corpus)
    rules = Rules(
        timeout=seconds(timeout, "--timeout") if timeout else 0.0,
        deadline=time.time() + seconds(deadline, "--deadline") if deadline else None,
        max_failures=max_failures,
    )
    options = settings(sampler_option, "--sampler-option", "samples=20")
    proposals = [
        launches.Proposal(
            space_of(each, space), trials, study or launches.name_of(each, source.name, model), source.place, model, sampler,
            options, seed, objectives, pruner, min_rate, stop_when, {**source.values, **settings(set_)}, nll, rules, warm_start,
        )
        for each in names
    ]  # fmt: skip
    with ExitStack() as stack:
        prepared = launches.prepare_all(proposals, lambda: stack.enter_context(opened(database)), say, skip=every)
    if artifacts is not None:
        Store(artifacts)
    staff = Staff(engine, address, workers, workers_per_gpu, trainer_memory)
    staff.check(database)
    with opened(database, create=True, patience=PATIENCE) as there:
        made = [studies.go_on(there, name, *found, runs, artifacts) for name, found in prepared.items()]
        if detach or workers == 0:
            for current in made:
                (work if workers == 0 else work_detached)(current, staff, database, runs)
            if as_json:
                print_json(_plain(made, []))
            return
        broken = _work_in_turn(made, staff, database, runs)
        if as_json:
            print_json(_plain(made, _comparison(made)))
        elif len(made) == 1:
            report.summary(made[0])
            report.next_commands(made[0], "" if database == DATABASE else f" --database {there.url}")
        else:
            _print_comparison(made)
    if broken:
        raise Fault(" ".join(broken))


def _techniques(named: list[str] | None, every: bool) -> list[str]:
    if every and named:
        raise Usage(f"--technique {named[0]} and --all exclude each other: leave one out.")
    if not every and not named:
        raise Usage("launch needs --technique NAME (see `tuner techniques`), or --all.")
    return spaces.techniques() if every else list(dict.fromkeys(named or ()))


def _work_in_turn(made: "list[Study]", staff: "Staff", database: str, runs: Path) -> list[str]:
    """Has each study trained, though others stop themselves; returns what is to be said of those."""
    if len(made) == 1:
        work(made[0], staff, database, runs)
        return []
    broken = []
    for study in made:
        try:
            work(study, staff, database, runs)
        except Fault as fault:
            if study.refresh().state != "broken":
                raise
            say(f"tuner: {fault}")
            broken.append(str(fault))
    return broken


def _comparison(made: "list[Study]") -> "list[Row]":
    """Their best trials, if any; one study is compared with none."""
    from tuner import paper

    ended = [study.name for study in made if study.best() is not None]
    return paper.rows(made[0].database, ended, "valid") if len(made) > 1 and ended else []


def _plain(made: "list[Study]", rows: "list[Row]") -> dict[str, Any]:
    if len(made) == 1:
        return made[0].plain()
    return {"studies": [study.plain() for study in made], "comparison": [row.plain() for row in rows]}


def _print_comparison(made: "list[Study]") -> None:
    from tuner import paper

    rows = _comparison(made)
    if rows:
        print(paper.table(rows))
    print("next:\n  tuner show STUDY      one of " + ", ".join(study.name for study in made))
    print("  tuner confirm STUDY   its winner with new seeds, on the test sentences too; then `tuner report`")


@app.command(epilog="Example: tuner train --technique mdr --set r=8 --set max_epochs=20")
def train(
    technique: TechniqueOption,
    corpus: CorpusOption = "grammar",
    model: ModelOption = "tiny",
    set_: SetOption = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of the weights, the batches and the samples.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder.", show_default="RUNS/TECHNIQUE-CORPUS-DIGEST")
    ] = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate one model, without a study.

    The same command goes on after an interruption and answers at once when the run is done.
    """
    import hashlib

    from tuner import corpora, report, trainer
    from tuner.progress import Progress

    spaces.load(technique)  # refuses an unknown one at once
    source = corpora.named(database, corpus)
    # One run is no search: the technique's own rules apply, not the search's domains.
    values = {**source.values, **settings(set_)}
    spec = {"technique": technique, "corpus": source.place, "model": model, "values": values, "seed": seed}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    folder = out or runs / "train" / f"{technique}-{source.name}-{digest}"
    progress = Progress(1)

    def hear(event: Mapping[str, Any]) -> None:
        for warning in event["warnings"] if event["event"] == "started" else ():
            say(f"warning: {warning}")
        progress(event["event"], 0, event)

    result = trainer.ask("train", json.dumps(spec), folder, log=folder / "trainer.log", hear=hear)
    if as_json:
        print_json(result)
        return
    say("")
    report.metrics_table(result["metrics"], result["entropy"])
    print(
        f"run {result['run']}: {result['epochs']} epochs, the best was {result['best_epoch']}, "
        f"{result['tokens_per_second']:,.0f} tokens/s; checkpoint {result['checkpoint']}"
    )


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
    from tuner import inventory, report
    from tuner.trials import OVER

    with opened(database) as there:
        found = inventory.overview(there)
    if as_json:
        print_json(found)
        return
    table = report.table(
        "study", "state", "technique", "corpus", "model", "sampler", "done", "running", "best NLL", "R", "note"
    )
    for s in found:
        counts, best = s["trials"], s["best"] or {"value": None, "metrics": {}}
        done = sum(counts.get(state, 0) for state in OVER)
        notes = [s["why"]] if s["why"] else []
        notes += ["best trial collapsed"] if best["metrics"].get("collapsed") else []
        table.add_row(
            s["study"], s["state"], s["technique"], s["corpus"], s["model"], s["sampler"], f"{done}/{s['budget']}",
            str(counts.get("running", 0)), report.number(best["value"]), report.number(best["metrics"].get("rate")),
            "; ".join(notes),
        )  # fmt: skip
    report.console().print(table)


@app.command(epilog="Example: tuner show sfb-grammar-tiny")
def show(study: StudyArgument, database: DatabaseOption = DATABASE, as_json: JsonOption = False) -> None:
    """Show a study: its trials, its best trial, what made its figures."""
    from tuner import report, studies

    with opened(database) as there:
        found = studies.open_study(there, study)
        if as_json:
            print_json({**found.plain(), "specification": found.specification})
            return
        facts = found.specification
        sizes = ", ".join(f"{count:,} {split}" for split, count in facts["corpus"]["sentences"].items())
        fixed = ", ".join(f"{key}={value}" for key, value in facts["fixed"].items()) or "nothing"
        searched = ", ".join(f"{p.name} in {p.domain}" for p in found.space.searched(facts["fixed"])) or "nothing"
        print(f"corpus    {facts['corpus']['name']} ({sizes} sentences, {facts['corpus']['vocabulary']:,} words)")
        print(f"searched  {searched}\nset       {fixed}\nruns in   {found.store.address}\n")
        report.summary(found)


@app.command(epilog="Example: tuner trials sfb-grammar-tiny --json")
def trials(
    study: StudyArgument,
    every: Annotated[bool, typer.Option("--all", help="Not only the last ones and the best.")] = False,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials: the last ones and the best, or all (--json lists all)."""
    from tuner import report, studies

    with opened(database) as there:
        found = studies.open_study(there, study)
        if as_json:
            print_json([t.plain() for t in found.trials()])
            return
        shown = report.print_trials(found, None if every else report.ROWS)
    if any(t.metrics and t.metrics["collapsed"] for t in shown):
        report.console().print(f"\n{report.COLLAPSED}")


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
    from tuner import report, studies

    if form not in ("csv", "json", "tensorboard"):
        raise Usage(f"--format {form!r} is unknown: choose csv, json or tensorboard.")
    if form == "tensorboard" and bundle is None:  # many files
        from tuner import tensorboard

        with opened(database) as there:
            place = tensorboard.write(studies.open_study(there, study), out)
        say(f"wrote {place}; look at it with: tensorboard --logdir {out}")
        return
    with opened(database) as there:
        found = studies.open_study(there, study)
        if bundle is not None:
            from tuner import bundle as bundles

            size = bundles.pack(found, bundle, weights)
            say(f"wrote {bundle}, {size / 2**20:.1f} MiB; `tuner import {bundle}` opens it elsewhere")
            return
        text = report.export(found, form)
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
    from tuner import bundle, corpora
    from tuner.trials import OVER

    with opened(database, create=True) as there:
        source = corpora.named(database, corpus).place if corpus else ""
        found = bundle.unpack(there, file, runs, artifacts, study or "", source)
        done = sum(found.counts().get(state, 0) for state in OVER)
        say(
            f"study {found.name} is in {there.url}: {done} of {found.budget} trials done; `tuner show {found.name}` has more"
        )
        if bundle.is_foreign(found):
            say(f"note: `tuner resume` would load its sampler, the Python class {found.specification['sampler']}")


def _interrupt(number: int, _frame: object) -> NoReturn:
    raise Interrupted() if number == signal.SIGINT else Interrupted("preempted", "this machine was told to stop.")


def main() -> None:
    """Runs a command; a user's mistake ends in one sentence and exit code 2, the world's in one and 1."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a preempted machine stops like Ctrl-C: in order
        signal.signal(number, _interrupt)
    try:
        server, arguments = online.address_in(sys.argv[1:])
        if server is None:
            app()
        else:
            online.run(server, arguments)
    except Usage as error:
        _end(str(error), 2)
    except Fault as error:
        _end(str(error), 1)
    except Interrupted:
        _end("interrupted; nothing is lost, the same command goes on.", 1)
    except BrokenPipeError:  # `tuner … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _end(message: str, code: int) -> NoReturn:
    say(f"{chr(13) + chr(27) + '[K' if sys.stderr.isatty() else ''}tuner: {message}")
    sys.exit(code)
