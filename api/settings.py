"""Settings of a server, read when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from tuner.defaults import RUNS
from tuner.studies.corpora import Source, embedded
from tuner.workers.uploads import Limits

LOOPBACK = ("127.0.0.1", "::1", "localhost")
OWN_PROXIES = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""Addresses of this machine, whose proxies are believed for whom they speak."""


@dataclass(frozen=True)
class Settings:
    """Settings of one server process."""

    database: str
    """URL of the study database."""
    runs: Path = RUNS
    """Folder for the files of studies that are made here."""
    artifacts: str | None = None
    """Address, reached by all workers, for the files of studies that are made here."""
    corpora: Mapping[str, str] = field(default_factory=dict)
    """Folders by the names under which requests may ask for them, beside the embedded ones and those that the database
    has.
    """
    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    """Names beside `host` and this machine's own under which requests may come."""
    workers: int = 0
    """Number of workers that are started beside the server."""
    threads: int | None = None
    """Threads of their trainers; None: as the environment says, else 1."""
    rate: float = 100.0
    """Requests a second that one key, or one address without a key, may make in the long run; 0: any."""
    freshness: float = 0.1
    """Seconds for which others' changes in the database may be missing from answers."""
    body_bytes: int = 2**20
    uploads: Limits = field(default_factory=Limits)
    """Limits of the files that workers over HTTP send."""
    streams: int = 512
    """Largest number of streams open at a time in this process."""
    streams_each: int = 64
    """Largest number of streams of one key, or of one address without a key."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = OWN_PROXIES
    """Addresses of proxies that are believed for whom they speak (X-Forwarded-For)."""
    work_seconds: float = 120.0
    """Seconds that heavy work which a request orders may take."""
    work_memory: int = 4 * 2**30
    """Bytes of data that each process of such work may have."""

    @property
    def open_by(self) -> str | None:
        """The option that lets other machines in, as it was given; none if requests come from this machine alone."""
        if self.host.lower() not in LOOPBACK:
            return f"--host {self.host}"
        return next((f"--allowed-host {name}" for name in self.hosts if name.lower() not in LOOPBACK), None)

    @property
    def is_local(self) -> bool:
        return self.open_by is None

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Names that a request's Host may have, ports left out."""
        return frozenset(name.lower() for name in (*LOOPBACK, self.host, *self.hosts))

    @cached_property
    def offered(self) -> dict[str, Source]:
        """The corpora that requests may name whatever the database says: the embedded ones and those of the command line."""
        own = {name: Source(name, str(Path(place).resolve())) for name, place in self.corpora.items()}
        return {**embedded(), **own}
