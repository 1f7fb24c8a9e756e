"""The Pareto page with 10,000 trials: a real server process on SQLite, a real Chromium, a cold cache each time.

    python -m benchmarks.dashboard --repeats 5

Prints one JSON object: seconds from the start of the navigation until the first paint and until all points are drawn; seconds
from the choice of another axis, a zoom and a brush until what follows from them is drawn; and the longest task that blocked the
page meanwhile. Medians of the repeats. With `--optuna` also Optuna's dashboard on the same trials, of two objectives (its own
tables, filled from ours): seconds and bytes of what each page loads the trials by, seconds until its points are drawn, memory.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import Server, environment, free_port, launch
from benchmarks.large import fill
from tuner.storage.database import Database
from tuner.studies import study as studies
from tuner.studies.optuna_bridge import as_optuna

WATCH = """
globalThis.longest = 0;
new PerformanceObserver((list) => { for (const task of list.getEntries()) longest = Math.max(longest, task.duration); })
  .observe({ type: "longtask", buffered: true });
"""
AWAIT = """(before) => new Promise((done) => {
  const look = () => {
    const mark = performance.getEntriesByName("drawn")[before];
    if (mark) done(mark.startTime);
    else requestAnimationFrame(look);
  };
  look();
})"""
DRAWN = "performance.getEntriesByName('drawn').length"


def drawn_after(page: Page, before: int) -> float:
    """The time in milliseconds of the first drawing after so many."""
    found: float = page.evaluate(AWAIT, before)
    return found


def acted(page: Page, act: str) -> tuple[float, float]:
    """Seconds from an act until it is drawn, and of the longest task meanwhile."""
    before: int = page.evaluate(DRAWN)
    page.evaluate("longest = 0")
    started: float = page.evaluate(f"() => {{ const started = performance.now(); {act}; return started; }}")
    seconds = (drawn_after(page, before) - started) / 1000
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return seconds, page.evaluate("longest") / 1000


def look(browser: Browser, address: str) -> dict[str, float]:
    """One visit with nothing cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{address}/?view=pareto&study=s&x=rate&y=nll")
    points = drawn_after(page, 0) / 1000
    assert page.locator(".plot.large").get_attribute("data-drawn") == "10000"
    found = {
        "first paint": page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000,
        "points drawn": points,
        "longest task while loading": page.evaluate("longest") / 1000,
    }
    choose = (
        "const s = document.querySelector('.stage select'); s.value = 'seconds'; s.dispatchEvent(new Event('change'))"
    )
    acts = {
        "axis switch": choose,
        "log axis": "document.querySelector('.check input').click()",
        "zoom": "Plotly.relayout(document.querySelector('.js-plotly-plot'), { 'yaxis.range': [14, 16] })",
        "brush": "const i = document.querySelector('[aria-label=\"y to\"]'); i.value = 15; i.dispatchEvent(new Event('change'))",
    }
    for name, act in acts.items():
        found[name], found[f"longest task, {name}"] = acted(page, act)
    context.close()
    return found


def fetched(address: str, repeats: int) -> dict[str, Any]:
    """Seconds of the first answer, of the median of more, and its bytes as sent."""
    seconds, size = [], 0
    for _ in range(repeats + 1):
        started = time.perf_counter()
        ask = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(ask, timeout=120) as answer:
            size = len(answer.read())
        seconds.append(time.perf_counter() - started)
    return {"cold": round(seconds[0], 3), "warm": round(float(np.median(seconds[1:])), 3), "bytes": size}


def megabytes(process: int) -> int:
    """That a process holds at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def optunas(browser: Browser, url: str, folder: Path, repeats: int) -> dict[str, Any]:
    """The same of Optuna's dashboard."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "api.optuna", "--database", url, "--port", str(port), "--rate", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment())
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{address}/api/studies", timeout=60) as answer:
                    listed = json.load(answer)["study_summaries"]
                    break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        start = time.perf_counter() - started
        number = next(study["study_id"] for study in listed if study["study_name"] == "s")
        trials = fetched(f"{address}/api/studies/{number}?after=0", repeats)
        drawn = []
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            began = time.perf_counter()
            page.goto(f"{address}/dashboard/studies/{number}")
            page.wait_for_selector(".js-plotly-plot .scatterlayer path.point", state="attached", timeout=120_000)
            drawn.append(time.perf_counter() - began)
            context.close()
        facts = {"start": round(start, 2), "trials": trials, "points drawn": round(float(np.median(drawn)), 2)}
        return {**facts, "megabytes": megabytes(process.pid)}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--optuna", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder}/t.db"
    database = Database(url, create=True)
    fill(database, arguments.trials, arguments.epochs, folder, "nll,rate" if arguments.optuna else "nll")
    if arguments.optuna:
        as_optuna(studies.open_study(database, "s"))
    database.close()
    server = Server(url, folder)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            visits: list[dict[str, Any]] = [look(browser, server.address) for _ in range(arguments.repeats)]
            beside: dict[str, Any] = {}
            if arguments.optuna:
                query = "v1/pareto?study=s&x=rate&y=nll"
                own: dict[str, Any] = {"trials": fetched(f"{server.address}/{query}", arguments.repeats)}
                own["megabytes"] = megabytes(server.process.pid)
                beside = {"own": own, "optuna": optunas(browser, url, folder, arguments.repeats)}
            facts = {"chromium": browser.version, "cores": os.cpu_count(), "machine": platform.machine()}
            browser.close()
        seconds = {name: round(float(np.median([visit[name] for visit in visits])), 3) for name in visits[0]}
        print(
            json.dumps(
                {**vars(arguments), **facts, "first visit": visits[0]["points drawn"], "seconds": seconds, **beside}
            )
        )
    finally:
        server.kill()


if __name__ == "__main__":
    main()
