"""Commands that make figures of the papers: what changes while a model is trained, and what its codes are good for."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import (
    ApiOption,
    DatabaseOption,
    StudyArgument,
    say,
)
from tuner.commands.studies import analysed, reached
from tuner.defaults import DATABASE
from tuner.errors import Usage

app = typer.Typer()

OutOption = Annotated[
    Path | None, typer.Option("--out", help="A file: .svg, .png, .pdf or .json.", show_default="a table")
]


@app.command(epilog="Example: tuner curves adversarial-over-lam --figure score_norm --out figure3.svg")
def curves(
    context: typer.Context,
    study: StudyArgument,
    figure: Annotated[
        str, typer.Option("--figure", help="neg_elbo, distortion, rate, active_units, or a quantity of the technique.")
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
