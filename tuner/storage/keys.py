"""Keys of the REST API: random, shown once, kept as a hash."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from tuner import names
from tuner.errors import Clash, Missing, Usage
from tuner.storage.database import Database
from tuner.storage.tables import KeyRow

PREFIX = "tuner"
USED_SECONDS = 60.0
"""Shortest time in seconds between two writings of a key's last use."""
NOBODY = hashlib.sha256(b"").hexdigest()
"""Digest that is compared with where there is no such key, so that the time tells nothing."""


@dataclass(frozen=True)
class Key:
    """A key of the REST API without its secret; times are Unix seconds."""

    id: str
    name: str
    can_write: bool
    created_at: float
    used_at: float | None
    revoked_at: float | None


def create(database: Database, name: str, write: bool) -> str:
    """A new key, which nobody can read again.

    Raises:
        Usage: if the name is not allowed.
        Clash: if there is a key of that name.
    """
    if not name.isprintable() or not 0 < len(name) <= names.BYTES or name.startswith("-"):
        raise Usage(
            f"key name {name[: names.BYTES]!r} is not allowed: give up to {names.BYTES} printable characters, no '-' first, e.g. "
            "whose it is.",
            "name",
        )
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = f"{PREFIX}-{identity}-{secret}"
    scopes = "read write" if write else "read"

    def insert(session: Any) -> None:
        now = database.clock(session)
        session.add(KeyRow(id=identity, name=name, digest=digest_of(key), scopes=scopes, created_at=now))

    try:
        database.run(insert)
    except IntegrityError as error:
        raise Clash(f"a key named {name!r} exists: take another name.", "name") from error
    return key


def check(database: Database, presented: str) -> Key | None:
    """The key, if it is one and not revoked."""
    identity = presented.partition("-")[2].partition("-")[0]
    if not identity.isalnum() or not identity.isascii():
        identity = ""
    row, now = database.read(lambda session: (session.get(KeyRow, identity), database.clock(session)))
    same = hmac.compare_digest(row.digest if row else NOBODY, digest_of(presented))
    if row is None or not same or row.revoked_at is not None:
        return None
    if row.used_at is None or now - row.used_at > USED_SECONDS:
        used = update(KeyRow).where(KeyRow.id == identity).values(used_at=now)
        database.run(lambda session: session.execute(used))
    return _key(row)


def is_guarded(database: Database) -> bool:
    """True if there has ever been a key: one that was revoked must not open the door to all."""
    return database.read(lambda session: session.execute(select(func.count()).select_from(KeyRow)).scalar_one()) > 0


def listed(database: Database) -> list[Key]:
    query = select(KeyRow).order_by(KeyRow.created_at, KeyRow.id)
    return [_key(row) for row in database.read(lambda session: session.scalars(query).all())]


def revoke(database: Database, name: str) -> None:
    """Ends a key at once, for every server.

    Raises:
        Missing: if there is none of that name.
    """

    def change(session: Any) -> None:
        row = session.scalars(select(KeyRow).where(KeyRow.name == name)).first()
        if row is None:
            raise Missing(f"there is no key named {name!r}: see `tuner key list`.")
        row.revoked_at = row.revoked_at or database.clock(session)

    database.run(change)


def digest_of(key: str) -> str:
    """Digest that is kept of a key."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _key(row: KeyRow) -> Key:
    return Key(row.id, row.name, "write" in row.scopes.split(), row.created_at, row.used_at, row.revoked_at)
