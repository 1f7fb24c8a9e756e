"""Commands about one trained run: its figures anew, its log, and what it writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from trainers.contract import BEST, LOG, RESULT
from tuner import numbers
from tuner.commands.options import (
    AncestralOption,
    ApiOption,
    CentreOption,
    CountOption,
    DatabaseOption,
    JsonOption,
    LengthOption,
    OriginOption,
    RunArgument,
    RunsOption,
    SentencesArgument,
    SetOption,
    ThreadsOption,
    WritingSeedOption,
    bounded,
    print_json,
    say,
    settings,
)
from tuner.commands.studies import reached
from tuner.defaults import DATABASE, RUNS
from tuner.errors import Fault, Usage
from tuner.metrics import Metrics

app = typer.Typer()


@app.command(epilog="Example: tuner evaluate sfb-grammar-tiny/3 --set nll_samples=1000 --set nll_sentences=0")
def evaluate(
    run: RunArgument,
    set_: SetOption = None,
    seed: Annotated[
        int | None, bounded(numbers.INDEX, "--seed", help="Seed of the samples.", show_default="the run's")
    ] = None,
    threads: ThreadsOption = None,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a trained run anew on the validation sentences, e.g. with more samples."""
    from tuner import trainer
    from tuner.commands import render
    from tuner.trainer import Slot

    arguments = [_saved_run(run, database), json.dumps(settings(set_))]
    given = [] if seed is None else ["--seed", seed]
    metrics = cast(Metrics, trainer.ask("evaluate", *arguments, *given, slot=Slot(threads=threads)))
    if as_json:
        print_json({"run": run, "metrics": metrics})
    else:
        render.metrics_table(metrics)


def _saved_run(run: str, database: str) -> Path:
    """A run's folder, with a word if its training is not finished."""
    from tuner.studies.files import run_folder

    folder = run_folder(run, database)
    if (folder / BEST).exists() and not (folder / RESULT).exists():
        say(f"note: run {run} is not finished; this is its best epoch so far")
    return folder


@app.command(epilog="Example: tuner reproduce sfb-grammar-tiny/3")
def reproduce(
    run: RunArgument,
    corpus: OriginOption = None,
    tolerance: Annotated[
        float,
        bounded(numbers.FACTOR, "--tolerance", help="Share of the NLL that may differ on another class of machine."),
    ] = 0.02,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder in which the new run is kept.", show_default="none is kept")
    ] = None,
    threads: Annotated[
        int | None, bounded(numbers.SOME, "--threads", help="Threads of the trainer.", show_default="the run's")
    ] = None,
    database: DatabaseOption = DATABASE,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate a finished run again, and say whether its figures agree; exit code 1 if not.

    To the last digit on a processor of the same class (processor, threads, torch); within --tolerance elsewhere.
    """
    import hashlib
    import shutil

    from tuner import trainer
    from tuner.analysis.reproduction import Record, compare
    from tuner.commands import render
    from tuner.commands.progress import Progress
    from tuner.studies import corpora
    from tuner.studies.files import run_folder
    from tuner.trainer import Slot

    then = Record.read(run_folder(run, database), run)
    source = then.spec["corpus"] if corpus is None else corpora.named(database, corpus).place
    spec = json.dumps({**then.spec, "corpus": source, "fingerprint": then.fingerprint})
    folder = out or runs / "reproduce" / hashlib.sha256(f"{run} {spec}".encode()).hexdigest()[:12]
    progress = Progress(1)
    slot = Slot(threads=threads or then.threads)
    log = folder / LOG
    trainer.ask("train", spec, folder, log=log, slot=slot, hear=lambda event: progress(event["event"], 0, event))
    found = compare(then, Record.read(folder, str(folder)), tolerance)
    if out is None:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json({"run": run, **found.plain()})
    else:
        render.agreement(found)
    if found.differs:
        raise Fault(f"run {run} did not come out the same: {', '.join(found.differs)} differ.")


@app.command(epilog="Example: tuner log sfb-grammar-tiny/3")
def log(
    context: typer.Context,
    run: RunArgument,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run's trainer said: warnings, and why it crashed."""
    text = _log(context, run, database, api)
    if as_json:
        print_json({"run": run, "lines": text.splitlines()})
    elif text:
        print(text, end="")
    else:
        say(f"the trainer of run {run} has said nothing: its log is empty")


def _log(context: typer.Context, run: str, database: str, api: str | None) -> str:
    """The log of a run's folder, or of a trial here or on a server.

    Raises:
        Usage: if there is no such run, or it has no log yet.
    """
    if Path(run).is_dir():
        try:
            return (Path(run) / LOG).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise Usage(f"run {run!r} has no log yet: it comes with the end of an attempt.") from error
    from tuner.studies.files import named

    with reached(context, database, api) as studies:
        return studies.log(*named(run))


def write(command: str, run: str, database: str, options: Mapping[str, object], *more: object) -> dict[str, Any]:
    """The answer of a trainer's command, e.g. `sample`, about a run."""
    from tuner import trainer

    return trainer.ask(command, _saved_run(run, database), json.dumps(options), *more)


def _decoding(ancestral: bool) -> str:
    return "ancestral" if ancestral else "greedy"


@app.command(epilog="Example: tuner sample mdr-ptb-small/3 --count 5 --ancestral")
def sample(
    run: RunArgument,
    count: CountOption = 10,
    posterior: Annotated[
        bool,
        typer.Option(
            "--posterior", help="Take codes from posteriors of random validation sentences, not from the prior."
        ),
    ] = False,
    ancestral: AncestralOption = False,
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write sentences from codes drawn from the prior.

    Decoded greedily, all variety comes from the code: a collapsed model writes one sentence over and over.
    """
    options = {"count": count, "source": "posterior" if posterior else "prior", "decoding": _decoding(ancestral)}
    found = write("sample", run, database, {**options, "seed": seed, "length": length})
    if as_json:
        print_json({"run": run, **found})
        return
    for entry in found["sentences"]:
        print(entry["sentence"] + (f"\n    from: {entry['source']}" if "source" in entry else ""))
    say(f"{found['distinct']} of {count} sentences are distinct")


@app.command(epilog='Example: tuner reconstruct mdr-ptb-small/3 "the company said it expects a profit"')
def reconstruct(
    run: RunArgument,
    sentences: SentencesArgument = None,
    count: CountOption = 10,
    centre: CentreOption = False,
    spread: Annotated[
        float,
        bounded(
            numbers.FACTOR, "--spread", help="Factor on a posterior's standard deviation; 10 perturbs as sMIM's paper."
        ),
    ] = 1.0,
    ancestral: AncestralOption = False,
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write sentences again from their codes, with the translation edit rate (TER) between the two."""
    options = {"count": count, "centre": centre, "spread": spread, "decoding": _decoding(ancestral)}
    options |= {"seed": seed, "length": length}
    found = write("reconstruct", run, database, options, json.dumps(sentences or []))
    if as_json:
        print_json({"run": run, **found})
        return
    for entry in found["sentences"]:
        for note in entry["notes"]:
            say(f"note: {note}")
        print(f"{entry['source']}\n    {entry['sentence']}\n    TER {entry['ter']:.2f}")


@app.command(
    epilog='Example: tuner interpolate mdr-ptb-small/3 "the judge was dismissed" "the letter was dated oct. N"'
)
def interpolate(
    run: RunArgument,
    first: Annotated[
        str | None, typer.Argument(help="Sentence to start from.", show_default="a code of the prior")
    ] = None,
    last: Annotated[str | None, typer.Argument(help="Sentence to end at.", show_default="a code of the prior")] = None,
    count: Annotated[
        int, bounded(numbers.POINTS, "--count", "-n", help="Number of points on the line, ends included.")
    ] = 8,
    posterior: Annotated[
        bool,
        typer.Option(
            "--posterior", help="Take the codes of two random validation sentences where no sentence is given."
        ),
    ] = False,
    pairs: Annotated[
        int,
        bounded(
            numbers.INDEX,
            "--pairs",
            help="Random pairs of validation sentences whose likeness to each point is measured.",
            show_default="one line is written",
        ),
    ] = 0,
    centre: CentreOption = False,
    ancestral: AncestralOption = False,
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write sentences from points on the line between two sentences' codes, or two codes of the prior: a homotopy.

    --pairs tells of many lines how like each point is to both ends (Miladinović et al.'s figure 4b, with words for BERT).
    """
    from tuner.commands.tables import Column, Table

    options: dict[str, object] = {"count": count, "source": "posterior" if posterior else "prior", "centre": centre}
    options |= {"decoding": _decoding(ancestral), "seed": seed, "length": length, "pairs": pairs}
    given = [end for end in (first, last) if end is not None]
    found = write("interpolate", run, database, options, json.dumps(given))
    if as_json:
        print_json({"run": run, **found})
        return
    if pairs:
        keys = ("f1_source", "f1_target", "similarity_source", "similarity_target")
        heads = ("F1 with source", "with target", "1 − TER with source", "with target")
        table = Table("weight", *(Column(head, right=True) for head in heads))
        for point in found["points"]:
            table.add(f"{point['weight']:.2f}", *(f"{point[key]:.3f}" for key in keys))
        table.print()
        return
    for note in found["notes"]:
        say(f"note: {note}")
    ends = [[f"[{end}]"] for end in found["ends"]] or [[], []]
    print("\n".join([*ends[0], *(entry["sentence"] for entry in found["sentences"]), *ends[1]]))


@app.command(epilog="Example: tuner latent beta-grammar-tiny/3 --set labelled=0,100")
def latent(
    run: RunArgument, set_: SetOption = None, database: DatabaseOption = DATABASE, as_json: JsonOption = False
) -> None:
    """Measure what the codes are worth: BLEU, reconstruction from swapped words, smoothness, entropy, probing classifiers.

    Options of --set: sentences, swaps, pairs, nearest, labelled, seed.
    """
    from tuner.commands import render

    options = {
        key: str(value) if key == "labelled" else value for key, value in settings(set_, example="swaps=2").items()
    }
    found = write("latent", run, database, options)
    if as_json:
        print_json({"run": run, **found})
    else:
        render.latent_table(found)


@app.command(epilog='Example: tuner dropped adversarial-ptb/3 "the company said it expects a profit"')
def dropped(
    run: RunArgument,
    sentences: SentencesArgument = None,
    count: CountOption = 10,
    by: Annotated[
        str,
        typer.Option(
            "--by", help="Unit of the probabilities: word; or means by tag (part of speech), frequency or position."
        ),
    ] = "word",
    out: Annotated[
        Path | None, typer.Option("--out", help="A file for the means: .svg, .png or .pdf.", show_default="a table")
    ] = None,
    draws: Annotated[
        int, bounded(numbers.COUNT, "--draws", help="Number of draws from which a probability is estimated.")
    ] = 200,
    seed: WritingSeedOption = 0,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Show which words the adversary of adversarial-word-dropout hides: the redder, the likelier.

    --by tag is Miladinović et al.'s figure 4a: it needs the extra `tagger`, English words and more sentences (--count 1000).
    """
    from tuner.analysis import figures
    from tuner.commands import render
    from tuner.commands.tables import Column, Table, console

    if out is not None and by == "word":
        raise Usage(f"--out {out} draws means, and --by is word: say --by tag, frequency or position.")
    if out is not None and as_json:
        raise Usage(f"--json is for what is printed, and --out {out} is a file: leave one out.")
    options = {"count": count, "draws": draws, "seed": seed, "by": by}
    found = write("dropped", run, database, options, json.dumps(sentences or []))
    if out is not None:
        figures.shares(found["groups"], found["mean"], out)
        say(f"wrote {out}")
        return
    if as_json:
        print_json({"run": run, **found})
        return
    if by != "word":
        table = Table(by, Column("tokens", right=True), Column("hidden", right=True))
        for entry in found["groups"]:
            table.add(entry["group"], f"{entry['words']:,}", f"{entry['probability']:.3f}")
        table.add("all", f"{found['words']:,}", f"{found['mean']:.3f}")
        table.print()
        return
    page = console()
    for entry in found["sentences"]:
        for note in entry["notes"]:
            say(f"note: {note}")
        page.print(render.dropped_line(entry["words"]))


@app.command(epilog="Example: tuner neighbours mdr-ptb-small/3 --count 5")
def neighbours(
    run: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Trials as STUDY/NUMBER, or runs' folders.", show_default=False),
    ],
    count: CountOption = 10,
    ancestral: AncestralOption = False,
    form: Annotated[str, typer.Option("--format", help="Form of the table: table, markdown, latex or csv.")] = "table",
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write sentences from the prior and find the training sentence nearest to each by TER.

    0 is a copy; the mean is the model's novelty. Of several runs it makes Pelsmaeker & Aziz's figure 6, of one their figure 4.
    """
    from tuner.analysis import texts

    if form not in texts.FORMATS:
        raise Usage(f"--format {form!r} is unknown: choose one of {', '.join(texts.FORMATS)}.")
    options = {"count": count, "decoding": _decoding(ancestral), "seed": seed, "length": length}
    found = {name: write("neighbours", name, database, options) for name in dict.fromkeys(run)}
    if as_json:
        each = [{"run": name, **own} for name, own in found.items()]
        print_json(each[0] if len(each) == 1 else each)
        return
    if form != "table":
        rows = [
            [name, entry["sentence"], entry["neighbour"], f"{entry['ter']:.2f}"]
            for name, own in found.items()
            for entry in own["sentences"]
        ]
        print(texts.FORMATS[form](["model", "sample", "closest training sentence", "TER"], rows), end="")
        return
    for name, own in found.items():
        if len(found) > 1:
            print(name)
        for entry in own["sentences"]:
            print(f"{entry['sentence']}\n    {entry['ter']:.2f}  {entry['neighbour']}")
        print(f"novelty: mean TER {own['novelty']:.2f}; {own['distinct']} of {count} sentences are distinct")
