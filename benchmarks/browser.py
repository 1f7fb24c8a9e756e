"""A real Chromium and a real server process, for the dashboard's tests and its benchmark."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
import weakref
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright

from benchmarks.alone import alone
from benchmarks.ports import port_of, reserved

ROOT = Path(__file__).parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox"]  # containers run as root


def launch(playwright: Playwright) -> Browser:
    """The machine's Chromium, else Playwright's own, else one that is installed now."""
    if (found := _there(playwright)) is not None:
        return found
    with alone("chromium"):  # two test processes would install it at once, and one fail
        if (found := _there(playwright)) is not None:
            return found
        if subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]).returncode == 0:
            return playwright.chromium.launch(args=ARGUMENTS)
        subprocess.run(["apt-get", "update"], check=True)
        subprocess.run(["apt-get", "install", "-y", "chromium"], check=True)
        return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)


def _there(playwright: Playwright) -> Browser | None:
    for path in filter(None, map(shutil.which, NAMES)):
        return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
    with suppress(Error):
        return playwright.chromium.launch(args=ARGUMENTS)
    return None


class Server:
    """`python -m api` on a database; it can be killed and started again at the same address."""

    def __init__(self, url: str, folder: Path) -> None:
        held = reserved()
        weakref.finalize(self, held.close)
        self.url, self.folder, self.port = url, folder, port_of(held)
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "api", "--database", self.url, "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=log, stderr=log)
        until = time.monotonic() + 240
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/healthz", timeout=5):
                return
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError((self.folder / "server.log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
