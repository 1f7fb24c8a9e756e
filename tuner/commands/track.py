"""The command that tells a study's epochs and figures to a tracker, while it runs or later."""

import time
from typing import Annotated

import typer

from tuner.commands.options import ApiOption, DatabaseOption, StudyArgument, say, seconds
from tuner.commands.studies import reached
from tuner.defaults import DATABASE
from tuner.numbers import counted

PROJECT = "text-vae-tuner"

app = typer.Typer()


@app.command(epilog="Example: tuner track sfb-grammar-tiny --to mlflow")
def track(
    context: typer.Context,
    study: StudyArgument,
    to: Annotated[str, typer.Option("--to", help="Tracker: mlflow or wandb.", show_default=False)],
    project: Annotated[str, typer.Option("--project", help="Experiment of MLflow, or project of wandb.")] = PROJECT,
    once: Annotated[bool, typer.Option("--once", help="Send what there is, and do not wait for more.")] = False,
    every: Annotated[str, typer.Option("--every", help="Time between two looks, e.g. 5s or 1m.")] = "5s",
    database: DatabaseOption = DATABASE,
    api: ApiOption = None,
) -> None:
    """Tell a study's epochs and figures to MLflow or Weights & Biases until it ends: a run a trial, below one of the study.

    The tracker's own variables say where its runs are. The same command goes on after an end of any kind and tells nothing twice.
    """
    from tuner.analysis.tracking import Following, tracker

    pause = seconds(every, "--every")
    with reached(context, database, api) as studies:
        studies.study(study)
        known = tracker(to, project)
        following = Following(studies, study, known)
        say(f"{study} goes to {known.place}")
        try:
            while following.look() and not once:
                time.sleep(pause)
        finally:
            following.close()
    say(f"{study}: {counted(following.told, 'trial')} told to the end")
