"""Commands that make figures of the papers: what changes while a model is trained, and what its codes are good for."""

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tuner import numbers
from tuner.commands.options import (
    ApiOption,
    CentreOption,
    CountOption,
    DatabaseOption,
    JsonOption,
    LengthOption,
    OutOption,
    RunArgument,
    StudyArgument,
    WritingSeedOption,
    bounded,
    print_json,
    say,
    write_figure,
)
from tuner.commands.studies import analysed, reached
from tuner.commands.trained import write
from tuner.defaults import DATABASE
from tuner.errors import Usage

app = typer.Typer()

SampledOption = Annotated[
    bool, typer.Option("--sampled", help="Codes are samples of the posteriors, not their centres.")
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
        write_figure(out, {**found, "label": labels}, lambda: figures.curves(found, labels, out))
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


@app.command(epilog='Example: tuner arithmetic mim-ptb-small/3 "he bought a house" "he bought a car" "she sold a car"')
def arithmetic(
    run: RunArgument,
    start: Annotated[str, typer.Argument(help="Sentence to start from.", show_default=False)],
    less: Annotated[str, typer.Argument(help="Sentence whose code is taken off.", show_default=False)],
    more: Annotated[str, typer.Argument(help="Sentence whose code is added.", show_default=False)],
    factor: Annotated[
        float,
        bounded(numbers.FACTOR, "--factor", help="Factor on the difference of the last two codes.", show_default="1"),
    ] = 1.0,
    sampled: SampledOption = False,
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write the sentence of a sum of codes: the first less the second plus the third.

    Beside it stands what each of the three is written as from its own code, which tells what of a change is the sum's.
    """
    from tuner import run as runs

    with noted(), runs.opened(run, database) as model:
        codes = model.encode([start, less, more], centre=not sampled, seed=seed)
        total = codes[0] + factor * (codes[2] - codes[1])
        *own, made = model.decode([*codes, total], length=length, seed=seed)
    if as_json:
        print_json({"run": run, "sources": [start, less, more], "reconstructions": own, "sentence": made})
        return
    for sign, source, text in zip((" ", "−", "+"), (start, less, more), own, strict=True):
        print(f"{sign} {source}\n      written as: {text}")
    print(f"= {made}")


@app.command(epilog="Example: tuner perturbed mim-ptb-small/3 ae-ptb-small/0 --count 3 --format latex > table12.tex")
def perturbed(
    run: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Trials as STUDY/NUMBER, or runs' folders.", show_default=False),
    ],
    sentence: Annotated[
        list[str] | None,
        typer.Option(
            "--sentence", help="Sentence to write; may be repeated.", show_default="random validation sentences"
        ),
    ] = None,
    count: CountOption = 3,
    spread: Annotated[
        float, bounded(numbers.FACTOR, "--spread", help="Factor on the standard deviation of the perturbed code.")
    ] = 10.0,
    form: Annotated[str, typer.Option("--format", help="Form of the table: table, markdown, latex or csv.")] = "table",
    seed: WritingSeedOption = 0,
    length: LengthOption = 100,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Write sentences from their posterior's mean (M), a sample (R) and a perturbed sample (P): Livne et al.'s tables 11 to 14.

    Several runs stand side by side. An autoencoder's row (AE) is its M.
    """
    from tuner import run as runs
    from tuner.analysis import texts

    if form not in texts.FORMATS:
        raise Usage(f"--format {form!r} is unknown: choose one of {', '.join(texts.FORMATS)}.")
    given = list(sentence or [])
    if not given:
        drawn = write("reconstruct", run[0], database, {"count": count, "seed": seed}, json.dumps([]))
        given = [entry["source"] for entry in drawn["sentences"]]
    written: dict[str, dict[str, list[str]]] = {}
    for name in run:
        with noted(), runs.opened(name, database) as model:
            ways = {"M": (True, 1.0), "R": (False, 1.0), "P": (False, spread)}
            written[name] = {
                key: model.decode(
                    model.encode(given, centre=centre, spread=factor, seed=seed), length=length, seed=seed
                )
                for key, (centre, factor) in ways.items()
            }
    if as_json:
        print_json({"sentences": given, "spread": spread, "runs": written})
        return
    rows = []
    for place, source in enumerate(given):
        rows.append(["D", source, *[""] * (len(run) - 1)])
        rows += [[key, *(written[name][key][place] for name in run)] for key in ("M", "R", "P")]
    print(texts.FORMATS[form](["", *run], rows), end="")


@contextmanager
def noted() -> Iterator[None]:
    """Shows what a model warns of in its sentences."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for message in dict.fromkeys(str(each.message) for each in found):
        say(f"note: {message}")
