"""Commands that change what is kept of a study: its changeable settings, where its files are, that it is there at all."""

import sys
import time
from typing import Annotated

import typer

from tuner.commands.options import DatabaseOption, SomeStudiesArgument, StudyArgument, YesOption, opened, say
from tuner.commands.study_options import Given, described, with_settings
from tuner.defaults import DATABASE
from tuner.errors import Busy, Usage
from tuner.studies.spec import OPEN

app = typer.Typer()
HANDED_BACK_SECONDS = 120.0
"""for which the deletion of a stopped study waits for its trials: a lease, and a trainer's time to save"""
LOOK_SECONDS = 0.2


@app.command(epilog="Example: tuner change sfb-grammar-tiny --trials 40 --tag night")
@with_settings(*OPEN, usual="as it is", file=False)
def change(given: Given, study: StudyArgument, database: DatabaseOption = DATABASE) -> None:
    """Change a study's budget, rules, note or tags; what is not named stays as it is.

    --timeout none and --deadline none lift a limit, --note "" and --tag "" remove a remark.
    """
    from tuner.studies.amendment import amend
    from tuner.studies.study import open_study

    with opened(database) as there:
        changed = amend(open_study(there, study), given)
        say(f"study {study} is {changed.shown_state()}, with {described(changed.spec.plain(), given)}")


@app.command(epilog="Example: tuner delete sfb-grammar-tiny --yes")
def delete(studies: SomeStudiesArgument, yes: YesOption = False, database: DatabaseOption = DATABASE) -> None:
    """Delete studies with their trials, checkpoints and logs."""
    from tuner.studies.study import open_to_delete

    with opened(database) as there:
        every = [open_to_delete(there, name) for name in dict.fromkeys(studies)]
        if not yes:
            if not sys.stdin.isatty():
                raise Usage(f"deleting study {studies[0]!r} cannot be undone: say --yes.")
            count = sum(sum(found.counts().values()) for found in every)
            places = ", ".join(found.store.address for found in every)
            typer.confirm(f"Delete study {', '.join(studies)} with {count} trials and {places}?", abort=True)
        for found in every:
            until, told = time.monotonic() + HANDED_BACK_SECONDS, False
            while True:
                try:
                    found.delete()
                    break
                except Busy:
                    if time.monotonic() > until:
                        raise
                if not told:
                    say(f"waiting until the trials of study {found.name} that were under way are handed back …")
                told = True
                time.sleep(LOOK_SECONDS)
            say(f"study {found.name} is deleted")


@app.command(epilog="Example: tuner relocate sfb-grammar-tiny disk2/sfb-grammar-tiny-3f9a01")
def relocate(
    study: StudyArgument,
    place: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where its files are now, or s3://….", show_default=False)
    ],
    database: DatabaseOption = DATABASE,
) -> None:
    """Say where a study's files are, when they were moved without their database."""
    from tuner.studies.study import open_study

    with opened(database) as there:
        found = open_study(there, study)
        found.relocate(place)
    say(f"the files of study {study} are in {found.store.address}")
