"""Places of studies' files. Those beside an SQLite file are found beside it, wherever both are moved together."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.storage.database import Database


EXACT = "file://"
"""Beginning of the place of a folder that is nowhere else."""


def new(database: "Database", runs: Path, unique: str, artifacts: str | None) -> str:
    """The place of a new study as the database keeps it: a folder of its own in `runs`, or in `artifacts`."""
    return kept(database, f"{artifacts.rstrip('/')}/{unique}" if artifacts else str(runs / unique))


def kept(database: "Database", address: str) -> str:
    """The address of a folder or a store as the database keeps it: relative to the database's own folder if it lies
    below that.
    """
    if "://" in address:
        return address
    folder, home = Path(address).resolve(), _home(database)
    return str(folder.relative_to(home) if home is not None and folder.is_relative_to(home) else folder)


def named(database: "Database", address: str) -> str:
    """The address that a person names, as the database keeps it: no folder of its name beside the database is taken for it."""
    place = kept(database, address)
    return f"{EXACT}{place}" if Path(place).is_absolute() else place


def found(database: "Database", place: str) -> str:
    """The address of what was kept. Where a whole path was, a folder of its name beside the database comes first."""
    if place.startswith(f"{EXACT}/"):
        return place.removeprefix(EXACT)
    home, folder = _home(database), Path(place)
    if "://" in place or home is None:
        return place
    if not folder.is_absolute():
        return str(home / folder)
    beside = [home.joinpath(*folder.parts[-count:]) for count in (2, 1)]
    return str(next((each for each in beside if each.is_dir()), folder))


def _home(database: "Database") -> Path | None:
    """The folder of SQLite's file; none of a server."""
    file = database.address.file
    return None if file is None else Path(file).resolve().parent
