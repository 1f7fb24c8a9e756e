"""The Pareto page with 10,000 trials: a real server process on SQLite, a real Chromium, a cold cache each time.

    python -m benchmarks.dashboard --repeats 5

Prints one JSON object: seconds from the start of the navigation until the first paint and until all points are drawn; seconds
from the choice of another axis, a zoom and a brush until what follows from them is drawn; and the longest task that blocked the
page meanwhile. Then seconds until the study page's table of all trials is there, is sorted and is filtered, and the page's
memory. Medians of the repeats. With `--optuna` also Optuna's dashboard on the same trials, of two objectives (its own tables,
filled from ours): seconds and bytes of what each page loads the trials by, the same seconds of its history and its list of
trials, memory. Its list has no order to choose.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import update

from benchmarks.browser import Server, environment, launch
from benchmarks.large import fill
from benchmarks.ports import port_of, reserved
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import study as studies
from tuner.studies.optuna_bridge import as_optuna

WATCH = """
globalThis.longest = 0;
new PerformanceObserver((list) => { for (const task of list.getEntries()) longest = Math.max(longest, task.duration); })
  .observe({ type: "longtask", buffered: true });
"""
AWAIT = """([name, before]) => new Promise((done) => {
  const look = () => {
    const mark = performance.getEntriesByName(name)[before];
    if (mark) done(mark.startTime);
    else requestAnimationFrame(look);
  };
  look();
})"""


def drawn_after(page: Page, before: int, mark: str = "drawn") -> float:
    """The time in milliseconds of the first drawing, or other mark of the page's, after so many."""
    found: float = page.evaluate(AWAIT, [mark, before])
    return found


def acted(page: Page, act: str, mark: str = "drawn") -> tuple[float, float]:
    """Seconds from an act until it is drawn, and of the longest task meanwhile."""
    before: int = page.evaluate(f"performance.getEntriesByName('{mark}').length")
    page.evaluate("longest = 0")
    started: float = page.evaluate(f"() => {{ const started = performance.now(); {act}; return started; }}")
    seconds = (drawn_after(page, before, mark) - started) / 1000
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return seconds, page.evaluate("longest") / 1000


def look(browser: Browser, address: str, points: int) -> dict[str, float]:
    """One visit with nothing cached, of so many points."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{address}/?view=pareto&study=s&x=rate&y=nll")
    drawn = drawn_after(page, 0) / 1000
    assert page.locator(".plot.large").get_attribute("data-drawn") == str(points)
    found = {
        "first paint": page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000,
        "points drawn": drawn,
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
    return {**found, **table(browser, address)}


def table(browser: Browser, address: str) -> dict[str, float]:
    """One visit of the study's page with nothing cached: its table of all trials, sorted and filtered."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?view=study&study=s")
    found = {"table": drawn_after(page, 0, "listed") / 1000}
    page.wait_for_selector("#surface-title")
    state = "const s = [...document.querySelectorAll('section[aria-labelledby=trials-title] select')].at(-1);"
    acts = {
        "sort": "[...document.querySelectorAll('button.sort')].find((one) => one.innerText.startsWith('NLL')).click()",
        "filter": f"{state} s.value = 'failed'; s.dispatchEvent(new Event('change'))",
    }
    for name, act in acts.items():
        found[name], _ = acted(page, act, "listed")
    found["page's megabytes"] = heap(page)
    context.close()
    return found


def heap(page: Page) -> float:
    """The page's JavaScript in use, in megabytes, after what is not needed is collected."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(told["JSHeapUsedSize"]) / 2**20


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
    """Memory that a process holds at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def optunas(browser: Browser, url: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Measures Optuna's dashboard in the way of ours."""
    held = reserved()
    port = port_of(held)
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
        visits = [visited(browser, f"{address}/dashboard/studies/{number}") for _ in range(repeats)]
        facts = {"start": round(start, 2), "trials": trials, "seconds": medians(visits)}
        return {**facts, "megabytes": megabytes(process.pid)}
    finally:
        process.terminate()
        process.wait()
        held.close()


def visited(browser: Browser, address: str) -> dict[str, float]:
    """One visit of Optuna's dashboard with nothing cached: its history, then its list of trials, which has no order to choose."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address, wait_until="commit")
    page.wait_for_selector(".js-plotly-plot .scatterlayer path.point", state="attached")
    painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    found = {"first paint": page.evaluate(painted) / 1000, "points drawn": page.evaluate("performance.now()") / 1000}
    page.goto(f"{address}/trials", wait_until="commit")
    page.wait_for_selector("[aria-label=Filter]")
    page.wait_for_function("() => /^[1-9]\\d+ Trials$/m.test(document.body.innerText)")
    found["table"] = page.evaluate("performance.now()") / 1000
    page.locator("[aria-label=Filter]").click()
    page.locator("[role=menuitem]", has_text="Complete").wait_for()
    found["filter"] = page.evaluate(FILTER) / 1000
    found["page's megabytes"] = heap(page)
    context.close()
    return found


FILTER = """() => new Promise((done) => {
  const started = performance.now();
  [...document.querySelectorAll("[role=menuitem]")].find((one) => one.innerText.includes("Complete")).click();
  const look = () => {
    if (/^1 Trials$/m.test(document.body.innerText)) done(performance.now() - started);
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Leaves out the complete trials, and tells the time until the one that failed is listed alone."""


def medians(visits: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.median([visit[name] for visit in visits])), 3) for name in visits[0]}


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
    failed = update(TrialRow).where(TrialRow.study == "s", TrialRow.number == 5).values(state="failed", reason="error")
    database.run(lambda session: session.execute(failed))
    if arguments.optuna:
        as_optuna(studies.open_study(database, "s"))
    database.close()
    server = Server(url, folder)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            visits: list[dict[str, Any]] = [
                look(browser, server.address, arguments.trials - 1) for _ in range(arguments.repeats)
            ]
            beside: dict[str, Any] = {}
            if arguments.optuna:
                query = "v1/pareto?study=s&x=rate&y=nll"
                own: dict[str, Any] = {"trials": fetched(f"{server.address}/{query}", arguments.repeats)}
                own["megabytes"] = megabytes(server.process.pid)
                beside = {"own": own, "optuna": optunas(browser, url, folder, arguments.repeats)}
            facts = {"chromium": browser.version, "cores": os.cpu_count(), "machine": platform.machine()}
            browser.close()
        seconds = medians(visits)
        print(
            json.dumps(
                {**vars(arguments), **facts, "first visit": visits[0]["points drawn"], "seconds": seconds, **beside}
            )
        )
    finally:
        server.kill()


if __name__ == "__main__":
    main()
