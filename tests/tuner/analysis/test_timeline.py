"""Timeline of workers: the attempts as the database has them, and the page that draws them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import violations
from playwright.sync_api import Page, expect
from seeded import fits, made, settled
from sqlalchemy import insert, update
from stub_study import Make, run

from benchmarks.browser import Server
from tuner.analysis import timeline
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, TrialRow, WorkerRow
from tuner.studies import queries
from tuner.workers.leases import Attempts

START = 1.7e9


def test_every_attempt_is_told_the_lost_ones_too(make: Make, stub: None, database: Database) -> None:
    del stub
    study = make(2)
    assert Attempts(study, "first").claim() is not None
    found = timeline.of(study)
    assert (found["trial"], found["worker"], found["state"], found["ended"]) == ([0], ["first"], ["running"], [None])
    database.run(lambda session: session.execute(update(TrialRow).values(lease_until=0.0)))
    assert timeline.of(study)["state"] == ["lost"]  # before anyone has taken the trial over
    run(study, name="second")
    found = timeline.of(study)
    assert [*zip(found["trial"], found["attempt"], found["worker"], found["state"], strict=True)] == [
        (0, 0, "first", "lost"), (0, 1, "second", "finished"), (1, 0, "second", "finished"),
    ]  # fmt: skip
    assert found["of"] == 3
    assert all(
        begin <= end <= found["now"] for begin, end in zip(found["started"][1:], found["ended"][1:], strict=True)
    )
    speeds = {worker["name"]: worker["tokens_per_second"] for worker in queries.workers(database)}
    assert speeds.get("first") is None


def attempt(at: int, trial: int, worker: str, begin: int, end: int, state: str = "finished") -> dict[str, Any]:
    return {
        "study": "mine", "trial": trial, "token": f"t{at}", "seed": 1, "state": state, "worker": worker, "host": "box", "pid": 7,
        "started_at": START + begin, "ended_at": START + end, "reason": None, "message": None,
    }  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Server, Database]]:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    made(database, tmp_path, "mine", "sfb", 4, worker="box1-7")
    attempts: list[dict[str, Any]] = [attempt(n, n, f"box{n % 2}-7", 60 * n, 60 * n + 50) for n in range(3)]
    attempts += [attempt(3, 3, "box0-7", 200, 220, "lost"), attempt(4, 3, "box1-7", 300, 360)]
    attempts[3] |= {"reason": "lost", "message": "<b>its machine went"}
    workers = [
        {"name": f"box{n}-7", "host": f"box{n}", "process": "elsewhere", "device": "cuda:0", "state": state, "version": "1",
         "trials": 3, "started_at": START, "seen_at": 4e9, "takes": None, "gpu": None}
        for n, state in enumerate(("gone", "training", "gone"))
    ]  # fmt: skip
    workers[1] |= {
        "takes": ["mine", "other"],
        "gpu": {"use": 87.4, "memory_used": 11 * 2**30, "memory_total": 80 * 2**30},
    }
    for table, content in ((AttemptRow, attempts), (WorkerRow, workers)):
        database.run(lambda session, table=table, content=content: session.execute(insert(table), content))
    server = Server(database.secret_url, tmp_path)
    yield server, database
    server.kill()
    database.close()


def test_the_timeline_and_the_workers_in_a_browser(page: Page, world: tuple[Server, Database]) -> None:
    server, _ = world
    page.goto(f"{server.address}/?view=study&study=mine")
    settled(page)
    section = page.locator("section", has=page.locator("#timeline-title"))
    expect(section.locator(".plot[data-drawn]")).to_be_visible()
    expect(section).to_contain_text("5 attempts, of which 1 lost; 1 repeat a trial or go on with it, drawn thinner.")
    section.scroll_into_view_if_needed()
    area = section.locator(".nsewdrag").bounding_box()
    assert area is not None
    begin, end = START, START + 360
    air = 0.04 * (end - begin)
    at = (START + 210 - begin + air) / (end - begin + 2 * air)  # in the lost one, by the worker of the upper row
    place = area["x"] + at * area["width"], area["y"] + area["height"] * 0.6 / 2
    page.mouse.move(place[0] - 60, place[1])
    page.mouse.move(*place, steps=3)
    expect(section.locator(".tip")).to_contain_text("trial 3")
    expect(section.locator(".tip")).to_contain_text("lost: <b>its machine went")
    page.mouse.click(*place)
    expect(page.get_by_role("heading", level=1)).to_have_text("Trial 3 of mine")
    page.go_back()
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr")).to_have_count(5)
    expect(section.locator("tbody tr").first).to_contain_text("1:00 min")
    settled(page)
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    expect(section.locator(".plot[data-drawn]")).to_be_visible()
    fits(page, 390)

    page.goto(f"{server.address}/?view=workers")
    here = page.get_by_role("region", name="Workers", exact=True).locator("tbody tr")
    expect(here).to_have_count(1)
    expect(here).to_contain_text("box1-7")
    for told in ("10,000", "mine, other", "87 %", "11.0 of 80 GiB"):
        expect(here).to_contain_text(told)
    expect(page.get_by_role("region", name="Workers that are gone")).to_be_hidden()
    page.get_by_text("2 workers that are gone").click()
    expect(page.get_by_role("region", name="Workers that are gone").locator("tbody tr")).to_have_count(2)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
