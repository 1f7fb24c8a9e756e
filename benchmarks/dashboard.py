"""The Pareto page with 10,000 trials: a real server process on SQLite, a real Chromium, a cold cache each time.

    python -m benchmarks.dashboard --repeats 5

Prints one JSON object: seconds from the start of the navigation until the first paint and until all points are drawn; seconds
from the choice of another axis, a zoom and a brush until what follows from them is drawn; and the longest task that blocked the
page meanwhile. Medians of the repeats.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import Server, launch
from benchmarks.large import fill
from tuner.database import Database

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder}/t.db"
    database = Database(url, create=True)
    fill(database, arguments.trials, arguments.epochs, folder)
    database.close()
    server = Server(url, folder)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            visits: list[dict[str, Any]] = [look(browser, server.address) for _ in range(arguments.repeats)]
            facts = {"chromium": browser.version, "cores": os.cpu_count(), "machine": platform.machine()}
            browser.close()
        seconds = {name: round(float(np.median([visit[name] for visit in visits])), 3) for name in visits[0]}
        print(json.dumps({**vars(arguments), **facts, "first visit": visits[0]["points drawn"], "seconds": seconds}))
    finally:
        server.kill()


if __name__ == "__main__":
    main()
