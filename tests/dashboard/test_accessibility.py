"""Every page and dialog of the dashboard by axe-core, in both themes, on a screen and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import violations
from playwright.sync_api import Page, expect
from seeded import made, settled, trial_row
from sqlalchemy import insert

from benchmarks.browser import Server
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, TrialRow, WorkerRow
from tuner.studies.amendment import amend

COUNT = 40
START = 1.7e9
PAGES = {
    "view=studies": "table",
    "view=studies&tag=nowhere": ".empty",
    "view=study&study=mine&span=5,20,r": "section:has(#surface-title) .plot[data-drawn]",
    "view=study&study=few": "text=a surface takes 10",
    "view=study&study=nowhere": "main .wrong",
    "view=trial&study=mine&trial=2": "[data-drawn]",
    "view=compare&run=mine/1&run=other/2": "[data-drawn]",
    "view=pareto&study=mine&study=other&box=2,12,0,20": "[data-drawn]",
    "view=rates&study=mine": "[data-drawn]",
    "view=workers": "table",
    "view=new": "form",
}
"""Addresses, and what each shows when it is ready."""
UNFOLDED = """
() => [...document.querySelectorAll(".as-table")].every((details) => details.querySelector("table"))
  && [...document.querySelectorAll(".change .fields, .column-list, .log > div")].every((list) => list.children.length)
  && (!document.querySelector(".new-study") || document.querySelector(".copied"))
  && ![...document.querySelectorAll("main .empty")].some((one) => one.textContent === "Loading …")
"""
"""True when all that unfolding fetches or makes is there."""
OPEN = "for (const details of document.querySelectorAll('details')) details.open = true"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Database]]:
    """A server's studies: `mine`, with failed and pruned trials, attempts, a note and tags; `other` and `few`; and workers."""
    folder = tmp_path_factory.mktemp("accessible")
    database = Database(f"sqlite:///{folder}/t.db", create=True)
    mine = made(database, folder, "mine", "sfb", COUNT, budget=60, worker="box")
    lacking: dict[str, Any] = {"value": None, "values": None, "metrics": None}
    ended = [
        trial_row(mine, COUNT, state="failed", reason="error", message="out of luck", **lacking),
        trial_row(mine, COUNT + 1, state="pruned", reason="pruned", message="below the median", **lacking),
    ]
    attempts = [
        {"study": "mine", "trial": n, "token": f"t{n}", "seed": 1, "state": state, "worker": "box", "host": "box", "pid": 7,
         "started_at": START + 60 * n, "ended_at": START + 60 * n + 50, "reason": None, "message": None}
        for n, state in enumerate(("finished", "failed", "lost"))
    ]  # fmt: skip
    load = {"use": 87.0, "memory_used": 11 * 2**30, "memory_total": 80 * 2**30}
    workers = [
        {"name": name, "host": "box", "process": "elsewhere", "device": "cuda:0", "state": state, "version": "1", "trials": 3,
         "started_at": START, "seen_at": 4e9, "takes": ["other"], "gpu": load}
        for name, state in (("box", "training"), ("left", "gone"))
    ]  # fmt: skip
    contents: tuple[Any, ...] = ((TrialRow, ended), (AttemptRow, attempts), (WorkerRow, workers))
    for table, rows in contents:
        database.run(lambda session, table=table, rows=rows: session.execute(insert(table), rows))
    amend(mine, {"note": "a **note** with `code` and a [link](https://example.org)", "tags": ["paper", "night, late"]})
    made(database, folder, "other", "beta", COUNT // 2)
    made(database, folder, "few", "sfb", 3)
    server = Server(database.secret_url, folder)
    yield server, database
    server.kill()
    database.close()


@pytest.mark.timeout(900)  # axe looks at 22 pages
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_violation(page: Page, world: tuple[Server, Database], scheme: Any, width: int) -> None:
    server, _ = world
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    found: dict[str, list[str]] = {}
    for query, ready in PAGES.items():
        page.goto(f"{server.address}/?{query}")
        settled(page)
        page.locator(ready).first.wait_for()
        found[query] = violations(page)
        page.evaluate(OPEN)  # what is folded, too
        page.wait_for_function(UNFOLDED)
        found[f"{query}, unfolded"] = violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, query
    assert {query: own for query, own in found.items() if own} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_dialog_has_a_violation(page: Page, world: tuple[Server, Database], tmp_path: Path, scheme: Any) -> None:
    server, _ = world
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{server.address}/?view=study&study=few")
    page.get_by_role("button", name="Delete few").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.goto(f"{server.address}/?view=new")
    page.get_by_label("Trials").fill("0")
    page.get_by_role("button", name="Create the study").click()
    expect(page.locator("[data-key=trials] .wrong")).not_to_be_empty()
    assert violations(page) == []

    database = Database(f"sqlite:///{tmp_path}/k.db", create=True)
    keys.create(database, "anna", write=True)
    locked = Server(database.secret_url, tmp_path)
    page.goto(locked.address)
    page.get_by_role("dialog").get_by_label("Key").fill("not-a-key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server refused that key.")
    assert violations(page) == []
    locked.kill()
    database.close()
