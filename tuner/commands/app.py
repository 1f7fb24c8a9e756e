"""The command line: the commands of its modules, and how each ends. Heavy imports wait until a command needs them."""

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tuner import __version__, processors, screen
from tuner.commands.experiments import app as experiments
from tuner.commands.inspection import app as inspection
from tuner.commands.options import overwrite
from tuner.commands.papers import app as papers
from tuner.commands.results import app as results
from tuner.commands.service import app as service
from tuner.commands.serving import app as serving
from tuner.commands.studies import app as studies
from tuner.commands.study_options import said
from tuner.commands.texts import app as reading
from tuner.commands.track import app as tracking
from tuner.commands.train import app as training
from tuner.commands.trained import app as run_commands
from tuner.errors import Fault, Interrupted, Usage

GROUPS = {
    "Train": ("launch", "sweep", "confirm", "train", "reproduce"),
    "Studies": ("studies", "show", "trials", "change", "stop", "resume", "delete", "relocate", "export", "import", "track"),
    "Results": ("report", "paper", "compare", "pareto", "rates", "curves"),
    "One trained run": (
        "evaluate", "log", "sample", "reconstruct", "interpolate", "neighbours", "latent", "dropped", "answer", "arithmetic",
        "perturbed",
    ),
    "What there is": ("techniques", "samplers", "corpora"),
    "Service": ("serve", "worker", "workers", "key", "database"),
}  # fmt: skip
"""Commands by headings, in the order of the help."""


class Grouped(TyperGroup):
    """Commands under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        for heading, names in GROUPS.items():
            with formatter.section(heading):
                longest = formatter.width - 6 - max(map(len, names))
                formatter.write_dl([(name, self.commands[name].get_short_help_str(longest)) for name in names])


app = typer.Typer(
    cls=Grouped,
    help="Tunes the techniques against posterior collapse in text VAEs by validation importance-sampled NLL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Example: tuner launch --technique sfb",
)
app.add_typer(training)
app.add_typer(studies)
app.add_typer(inspection)
app.add_typer(tracking)
app.add_typer(service)
app.add_typer(serving)
app.add_typer(run_commands)
app.add_typer(results)
app.add_typer(papers)
app.add_typer(experiments)
app.add_typer(reading, name="corpora")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


STOPS = {
    signal.SIGINT: Interrupted().why,
    signal.SIGTERM: ("preempted", "this machine was told to stop."),
    signal.SIGHUP: ("user", "its terminal was closed."),
}
"""Signals, each with the reason and the message with which it ends what is under way."""


def _interrupt(number: int, _frame: object) -> NoReturn:
    raise Interrupted(*STOPS[signal.Signals(number)])


def main() -> None:
    """Runs a command; a user's mistake ends in one sentence and exit code 2, the world's in one and 1."""
    processors.take_one_thread()
    for number in STOPS:  # a preempted machine, or a lost terminal, stops like Ctrl-C: in order
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # else `nohup`
            signal.signal(number, _interrupt)
    screen.take()
    try:
        _run()
    except Usage as error:
        _end(said(error), 2)
    except Fault as error:
        _end(str(error), 1)
    except Interrupted:
        _end("interrupted; nothing is lost, the same command goes on.", 1)
    except BrokenPipeError:  # `tuner … | head`
        sys.exit(1)
    except UnicodeError as error:
        _end(f"a text that is none in UTF-8 can be neither kept nor read ({error}).", 1)
    except OSError as error:
        _end(f"{error.filename or 'the system'}: {error.strerror or error}.", 1)


def _run() -> None:
    try:
        screen.check_texts(sys.argv[1:])
        app()
    finally:
        screen.end()  # not at the interpreter's end, which has no sentence for a full disk


def _end(message: str, code: int) -> NoReturn:
    overwrite(f"tuner: {message}")
    sys.exit(code)
