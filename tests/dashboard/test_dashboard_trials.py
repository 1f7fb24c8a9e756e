"""The dashboard's table of trials, their comparison, the search's history and the learning curves, in a real browser."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect
from seeded import figures, made, settled, trial_row
from sqlalchemy import insert

from benchmarks.browser import Server
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow

MANY = 300
RATES = {n: figures("sfb", n)[1]["rate"] for n in range(MANY)}
NLL = {n: figures("sfb", n)[1]["nll"] for n in range(MANY)}
BEST = min(NLL, key=NLL.__getitem__)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's, with `many` of 300 complete trials, one that failed and one that was pruned, and `few` of another technique."""
    folder = tmp_path_factory.mktemp("trials")
    database = Database(f"sqlite:///{folder}/t.db", create=True)
    many = made(database, folder, "many", "sfb", MANY, budget=400)
    lacking: dict[str, Any] = {"value": None, "values": None, "metrics": None}
    rows = [
        trial_row(many, MANY, state="failed", reason="error", message="out of luck", **lacking),
        trial_row(many, MANY + 1, state="pruned", reason="pruned", message="below the median", **lacking),
    ]
    database.run(lambda session: session.execute(insert(TrialRow), rows))
    made(database, folder, "few", "beta", 3)
    server = Server(database.secret_url, folder)
    yield server.address
    server.kill()
    database.close()


def shown(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}/?{query}")
    page.wait_for_selector(".view:not([aria-busy])")


def numbers(page: Page) -> list[int]:
    """Numbers of the trials whose rows are elements, in their order."""
    return [int(text) for text in page.locator(".long tbody a").all_inner_texts()]


def test_trials_are_sorted_filtered_searched_and_saved(page: Page, address: str, tmp_path: Path) -> None:
    shown(page, address, "view=study&study=many")
    table = page.locator(".scroll.long")
    expect(page.get_by_text(f"{MANY + 2} trials", exact=True)).to_be_visible()
    assert numbers(page)[:2] == [MANY + 1, MANY]
    assert table.locator("tbody tr").count() < 80  # only what is in sight
    assert page.locator(".long table").get_attribute("aria-rowcount") == str(MANY + 3)

    table.get_by_role("button", name="NLL").click()
    expect(table.locator("[aria-sort]")).to_have_text("NLL ↑")
    expect(table.get_by_role("button", name="NLL")).to_be_focused()
    assert numbers(page)[:3] == sorted(NLL, key=NLL.__getitem__)[:3]
    best = page.request.get(f"{address}/v1/studies/many").json()["best"][
        "number"
    ]  # by the lowest mean: these are noisy
    expect(table.locator("tr.best-trial a")).to_have_text(str(best))
    table.get_by_role("button", name="NLL").click()
    expect(table.locator("[aria-sort]")).to_have_text("NLL ↓")
    assert numbers(page)[:3] == sorted(NLL, key=NLL.__getitem__, reverse=True)[:3]
    assert parse_qs(urlsplit(page.url).query)["order"] == ["-nll"]
    table.evaluate("box => { box.scrollTop = box.scrollHeight; }")
    expect(table.get_by_text("out of luck")).to_be_visible()  # without a figure: last

    page.get_by_label("Filter").fill("r > 10 and rate >")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="lacks a name or a number at its end")).to_be_visible()
    page.get_by_label("Filter").fill("r > 10 and rate > 15")
    page.keyboard.press("Enter")
    wanted = {n for n in RATES if figures("sfb", n)[0]["r"] > 10 and RATES[n] > 15}
    expect(page.get_by_text(f"{len(wanted)} of {MANY + 2} trials")).to_be_visible()
    page.get_by_text("Columns").click()
    page.locator(".column-list input[value=worker]").check()
    page.get_by_role("button", name="Move worker left").click()
    page.locator(".column-list input[value=gamma]").uncheck()
    expect(table.get_by_role("button", name="worker")).to_be_visible()
    page.get_by_text("Columns").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").first.click()
    download.value.save_as(tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert {int(row["number"]) for row in rows} == wanted
    assert [float(row["nll"]) for row in rows] == sorted((NLL[n] for n in wanted), reverse=True)
    assert list(rows[0])[-2:] == ["worker", "note"]
    assert "gamma" not in rows[0]
    page.reload()  # the address holds all of it
    expect(page.get_by_text(f"{len(wanted)} of {MANY + 2} trials")).to_be_visible()
    expect(table.get_by_role("button", name="worker")).to_be_visible()

    page.get_by_label("Filter").fill("")
    page.keyboard.press("Enter")
    page.get_by_label("Search").fill("luck")
    expect(page.get_by_text(f"1 of {MANY + 2} trials")).to_be_visible()
    assert numbers(page) == [MANY]


def test_trials_are_compared_side_by_side(page: Page, address: str) -> None:
    shown(page, address, "view=study&study=few")
    compare = page.get_by_role("button", name="Compare", exact=True)
    expect(compare).to_be_disabled()
    for number in (0, 2):
        page.get_by_label(f"Compare trial {number}", exact=True).check()
    page.get_by_role("button", name="Compare 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trials side by side")
    expect(page.locator("figure .plot")).to_have_attribute("data-drawn", "0")
    differ = page.get_by_role("region", name="Settings that differ").locator("tbody tr")
    assert [text.split()[0] for text in differ.all_inner_texts()] == ["beta"]
    shown(page, address, f"view=compare&run=few/1&run=many/{BEST}")
    differ = page.get_by_role("region", name="Settings that differ").locator("tbody tr")
    assert {"technique", "beta", "r"} <= {text.split()[0] for text in differ.all_inner_texts()}
    row = page.get_by_role("region", name="Figures").locator("tbody tr", has_text="NLL (")
    expect(row.locator("strong")).to_have_text(f"{NLL[BEST]:.2f}")


def test_history_has_the_best_so_far(page: Page, address: str) -> None:
    shown(page, address, "view=study&study=many")
    section = page.locator("section", has=page.locator("#history-title"))
    expect(section.locator(".plot")).to_have_attribute("data-drawn", str(MANY + 2))
    drawn = page.evaluate(
        "() => document.querySelector('#history-title').parentElement.querySelector('.plot > div').data"
        ".find((trace) => trace.name === 'best so far').y"
    )
    assert drawn[:MANY] == pytest.approx([min(NLL[m] for m in range(n + 1)) for n in range(MANY)])
    expect(section).to_contain_text("▼ 1 pruned. ✕ 1 failed.")
    expect(section.get_by_text("exact entropy 15")).to_be_visible()
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr")).to_have_count(MANY + 2)


def test_curves_say_what_is_wrong_with_a_filter_until_it_is_mended(page: Page, address: str) -> None:
    shown(page, address, "view=study&study=few&where=nix+%3E+3")
    settled(page)
    section = page.locator("section", has=page.locator("#curves-title"))
    expect(section.get_by_role("alert")).to_contain_text("'nix'")
    page.get_by_label("Filter").fill("")
    page.keyboard.press("Enter")
    expect(section.locator(".plot[data-drawn]")).to_be_visible()
    expect(section.get_by_role("alert")).to_have_count(0)


def test_curves_are_brushed_into_the_table_and_named(page: Page, address: str) -> None:
    shown(page, address, "view=study&study=few&curve=distortion")
    settled(page)
    section = page.locator("section", has=page.locator("#curves-title"))
    expect(section.locator(".plot[data-drawn]")).to_be_visible()
    expect(section).to_contain_text("3 trials")
    section.scroll_into_view_if_needed()
    area = section.locator(".nsewdrag").bounding_box()
    assert area is not None
    left, top = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(left - 30, top)
    page.mouse.move(left, top, steps=3)  # all curves cross the middle: at epoch 2 D is 10
    expect(section.locator(".tip")).to_contain_text(re.compile(r"trial [012].*D, nats"))
    page.mouse.move(left - 40, top - 40)
    page.mouse.down()
    page.mouse.move(left, top, steps=4)
    page.mouse.move(left + 40, top + 40, steps=4)
    page.mouse.up()
    expect(section).to_contain_text("3 trials brushed.")
    section.get_by_role("button", name="Show in the table").click()
    expect(page.locator(".notice", has_text="brushed in a plot")).to_be_visible()
    section.get_by_label("Figure").select_option("beta")
    section.get_by_label("By").select_option("seconds")
    section.get_by_label("log y").check()
    expect(page).to_have_url(re.compile("curvelog=y"))
    assert {"curve": ["beta"], "by": ["seconds"]}.items() <= parse_qs(urlsplit(page.url).query).items()
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr").first.locator("td").nth(2)).to_have_text("0.3")
