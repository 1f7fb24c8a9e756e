"""Commands that make figures of the papers: what changes while a model is trained, and what its codes are good for."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from tuner import numbers
from tuner.commands.options import (
    ApiOption,
    CentreOption,
    DatabaseOption,
    JsonOption,
    RunArgument,
    StudyArgument,
    WritingSeedOption,
    bounded,
    print_json,
    say,
)
from tuner.commands.studies import analysed, reached
from tuner.commands.trained import write
from tuner.defaults import DATABASE
from tuner.errors import Usage

app = typer.Typer()

OutOption = Annotated[
    Path | None, typer.Option("--out", help="File to write: .svg, .png, .pdf or .json.", show_default="a table")
]


@app.command(epilog="Example: tuner curves adversarial-over-lam --figure score_norm --out figure3.svg")
def curves(
    context: typer.Context,
    study: StudyArgument,
    figure: Annotated[
        str,
        typer.Option(
            "--figure", help="Figure: neg_elbo, distortion, rate, active_units, or a quantity of the technique."
        ),
    ] = "neg_elbo",
    out: OutOption = None,
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Print or draw a validation figure by epoch, a line for each trial.

    Of a sweep over λ of adversarial-word-dropout, score_norm, score_sd and adversary_gradient are Miladinović et al.'s figure 3.
    """
    from tuner.analysis import figures
    from tuner.commands.render import number
    from tuner.commands.tables import Column, Table

    with analysed(context, database, api) as analysis:
        found = analysis.curves(study, figure)
    with reached(context, database, api) as studies:
        settings = {trial.number: trial.params for trial in studies.trials(study)}
    labels = [" ".join(f"{k}={number(v)}" for k, v in settings[n].items()) or f"trial {n}" for n in found["number"]]
    if not labels:
        raise Usage(f"study {study!r} has no curve yet: no trial has ended its first epoch.")
    if out is not None:
        if out.suffix == ".json":
            out.write_text(json.dumps({**found, "label": labels}, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            figures.curves(found, labels, out)
        say(f"wrote {out}")
        return
    table = Table("trial", *(Column(name, right=True) for name in ("epochs", "first", "last", "least", "most")))
    for label, values in zip(labels, found["value"], strict=True):
        known = [value for value in values if value is not None and math.isfinite(value)]
        ends = [known[0], known[-1], min(known), max(known)] if known else [None] * 4
        table.add(label, str(len(values)), *map(number, ends))
    table.print()


@app.command(epilog='Example: tuner answer mim-questions-tiny/3 "who steers the ship ?"')
def answer(
    run: RunArgument,
    question: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTION]...",
            help="Questions, each with answers to choose from behind tabs if there are any, the right one first.",
            show_default="those of validation sentences, which hold question and answer",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with such a question in each line.", show_default="none")
    ] = None,
    count: Annotated[int, bounded(numbers.COUNT, "--count", "-n", help="Number of validation sentences.")] = 500,
    wrong: Annotated[int, bounded(numbers.COUNT, "--wrong", help="Number of other answers beside each right one.")] = 4,
    hidden: Annotated[
        int,
        bounded(
            numbers.INDEX,
            "--hidden",
            help="Number of unknown words in place of an answer that is written; Livne et al. have 5, 10 and 15.",
            show_default="as many as the right answer has",
        ),
    ] = 0,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Compare codes by their distances as they are, as of an autoencoder, not by deviations."
        ),
    ] = False,
    centre: CentreOption = False,
    shown: Annotated[int, bounded(numbers.INDEX, "--show", help="Number of written answers to print.")] = 10,
    seed: WritingSeedOption = 0,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Answer questions by the codes of sentences that hold both (Livne et al.'s tables 8, 9 and 21).

    The encoder reads unknown words for the answer. The nearest candidate's code is chosen, and what is decoded after the first
    ? is the model's own answer; on the corpus `questions` it is known which are right.
    """
    from tuner.commands.render import number
    from tuner.commands.tables import Column, Table

    given = [*(question or []), *(_lines(file) if file else [])]
    if file and not given:
        raise Usage(f"--file {file} holds no question: it must have one a line.")
    options = {"count": count, "wrong": wrong, "hidden": hidden, "scaled": not plain, "centre": centre, "seed": seed}
    found = write("answer", run, database, options, json.dumps(given))
    if as_json:
        print_json({"run": run, **found})
        return
    for entry in found["answers"][: max(shown, len(question or []))]:
        mark = {True: "right", False: "wrong", None: ""}[entry["right"]]
        print(f"{entry['question']}\n    {entry['answer'] or '(no answer)'}" + (f"   [{mark}]" if mark else ""))
    table = Table("", Column("model", right=True), Column("guessing", right=True))
    if "precision" in found:
        table.add("P@1", number(found["precision"]), number(found["precision_by_chance"]))
        table.add("MRR", number(found["reciprocal_rank"]), number(found["reciprocal_rank_by_chance"]))
    if found["right"] is not None:
        table.add("right answers written", number(found["right"]), "")
    if "precision" in found or found["right"] is not None:
        table.print()
        print(f"on {found['questions']:,} questions")


def _lines(file: Path) -> list[str]:
    """A text file's lines that are not empty.

    Raises:
        Usage: if it cannot be read.
    """
    try:
        return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise Usage(f"--file {file} cannot be read ({error}).") from error
