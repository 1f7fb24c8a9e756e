"""Addresses of databases as people write them. No part of a password is ever shown."""

from dataclasses import dataclass

import sqlalchemy
from sqlalchemy.exc import ArgumentError

from tuner.errors import Usage
from tuner.numbers import PORTS

SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
POSTGRESQL = ("postgresql://", "postgresql+psycopg://")
HIDDEN = "hidden"
"""Text shown in place of a password in an address's query."""


@dataclass(frozen=True)
class Address:
    """The address of a study database."""

    text: str
    """Address with its password, to be parsed again."""
    shown: str
    """Address as people see it, without its password."""
    url: sqlalchemy.URL
    file: str | None = None
    """SQLite's file; None for a server."""

    @property
    def rendered(self) -> str:
        """The address as SQLAlchemy reads it: a file's name stands there as it is, or encoded, as its versions differ."""
        return self.text if sqlalchemy.make_url(self.text) == self.url else self.url.render_as_string(False)


def parse(text: str) -> Address:
    """
    Raises:
        Usage: if it is no address of a database that can be used.
    """
    scheme, divided, rest = text.partition("://")
    start = f"{scheme}://"
    if any(text.startswith(prefix) for prefix in SQLITE):
        return _file(rest[1:])
    if start in POSTGRESQL:
        return _server(text, rest)
    form = "sqlite:///FILE or postgresql://USER@HOST/NAME"
    if scheme == "postgres":
        raise Usage("--database postgres://… is not read by SQLAlchemy: begin it with postgresql://.")
    if scheme == "sqlite":
        raise Usage(f"--database {text!r} has too few slashes: write sqlite:///FILE, or sqlite:////FOLDER/FILE.")
    if divided:
        raise Usage(f"--database {start}… is neither SQLite nor PostgreSQL: give {form}.")
    raise Usage(f"--database {text.rpartition('@')[2][:40]!r} is no database URL: give {form}.")


def _file(name: str) -> Address:
    """The address of an SQLite file, whose name is taken letter by letter: a % stands for itself."""
    shown = f"sqlite:///{name}"
    if name in ("", ":memory:"):
        raise Usage(f"--database {shown!r} names no file: workers share the database, so give e.g. sqlite:///tuner.db.")
    if "?" in name or name.startswith("file:"):
        raise Usage(f"--database {shown!r} has options, which tuner sets itself: give sqlite:///FILE alone.")
    return Address(shown, shown, sqlalchemy.URL.create("sqlite", database=name), name)


def _server(text: str, rest: str) -> Address:
    if rest.partition("?")[0].count("@") > 1:
        raise Usage("--database postgresql://… has several '@': write one in a name or a password as %40.")
    try:
        url = sqlalchemy.make_url(text).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:  # which may quote the password
        raise Usage(
            "--database postgresql://… is no address: write postgresql://USER:PASSWORD@HOST:PORT/NAME, and in a name or a "
            "password / as %2F, : as %3A, @ as %40."
        ) from error
    if url.port is not None and url.port not in PORTS:
        raise Usage(f"--database postgresql://… has port {url.port}: it must be {PORTS}.")
    secret = {key: HIDDEN for key in url.query if "pass" in key or "secret" in key}
    shown = url.set(drivername="postgresql").update_query_dict(secret)
    return Address(text, shown.render_as_string(hide_password=True), url)
