"""What a server is told when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from tuner.studies.corpora import Source, embedded
from tuner.workers.uploads import Limits

LOOPBACK = ("127.0.0.1", "::1", "localhost")
OWN_PROXIES = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""a proxy on this machine is believed whom it speaks for"""


@dataclass(frozen=True)
class Settings:
    """How one server process behaves."""

    database: str
    """the study database's URL"""
    runs: Path = Path("runs")
    """folder for the files of studies that are made here"""
    artifacts: str | None = None
    """address that all workers reach, for the same"""
    corpora: Mapping[str, str] = field(default_factory=dict)
    """folders by the names under which requests may ask for them, beside the embedded ones and those that the database has"""
    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    """names beside `host` and this machine's own under which requests may come"""
    workers: int = 0
    """that are started beside the server"""
    threads: int | None = None
    """of their trainers; None: as the environment says, else 1"""
    rate: float = 100.0
    """requests a second that one key, or one address without a key, may make in the long run; 0: any"""
    freshness: float = 0.1
    """seconds for which what others have changed in the database may be answered from memory"""
    body_bytes: int = 2**20
    uploads: Limits = field(default_factory=Limits)
    """of the files that workers over HTTP send"""
    streams: int = 512
    """open at a time in this process"""
    streams_each: int = 64
    """of these, those of one key, or of one address without a key"""
    proxies: tuple[IPv4Network | IPv6Network, ...] = OWN_PROXIES
    """addresses that are believed whom they speak for (X-Forwarded-For)"""
    work_seconds: float = 120.0
    """that heavy work which a request orders may take"""
    work_memory: int = 4 * 2**30
    """bytes of data that each process of such work may have"""

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
        """What a request's Host may name, ports left out."""
        return frozenset(name.lower() for name in (*LOOPBACK, self.host, *self.hosts))

    @cached_property
    def offered(self) -> dict[str, Source]:
        """The corpora that requests may name whatever the database says: the embedded ones and those of the command line."""
        own = {name: Source(name, str(Path(place).resolve())) for name, place in self.corpora.items()}
        return {**embedded(), **own}
