"""Parallel coordinates in a real browser: axes are brushed, moved and chosen, and what is brushed goes elsewhere. Beside them the
slices with the process through all values, and the importances with their errors."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from seeded import figures, made, settled, trial_row
from sqlalchemy import insert

from benchmarks.browser import Server
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow

COUNT = 60
TRIALS = {n: {**figures("sfb", n)[0], **figures("sfb", n)[1]} for n in range(COUNT)}
AXES = ["alpha", "gamma", "epsilon", "r"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's, with `mine` of 60 complete trials and one that failed, `few` of six, and `other` of another technique."""
    folder = tmp_path_factory.mktemp("parallel")
    database = Database(f"sqlite:///{folder}/t.db", create=True)
    mine = made(database, folder, "mine", "sfb", COUNT, budget=COUNT + 1)
    lacking: dict[str, Any] = {"value": None, "values": None, "metrics": None}
    failed = trial_row(mine, COUNT, state="failed", reason="error", message="out of luck", **lacking)
    database.run(lambda session: session.execute(insert(TrialRow), [failed]))
    made(database, folder, "few", "sfb", 6)
    made(database, folder, "other", "beta", 20)
    server = Server(database.secret_url, folder)
    yield server.address
    server.kill()
    database.close()


def state_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def shown(page: Page, address: str, query: str) -> Locator:
    """The section with the parallel coordinates, drawn."""
    page.goto(f"{address}/?{query}")
    settled(page)
    section = page.locator("section", has=page.locator("#parallel-title"))
    expect(section.locator(".plot[data-drawn]")).to_be_visible()
    return section


def place(section: Locator, at: int, share: float) -> tuple[float, float]:
    """The place on the screen of a share of an axis's length; a share below 0 is at its name."""
    section.scroll_into_view_if_needed()
    found: list[float] = section.locator(".plot > div").first.evaluate(
        """(graph, [at, share]) => {
          const { xaxis, yaxis } = graph._fullLayout;
          const box = graph.getBoundingClientRect();
          return [box.x + xaxis._offset + xaxis.d2p(at), box.y + yaxis._offset + yaxis.d2p(share)];
        }""",
        [at, share],
    )
    return found[0], found[1]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def axes(section: Locator) -> list[str]:
    return section.locator(".xtick text").all_text_contents()


def within(key: str, text: str) -> set[int]:
    """By hand: the trials that a stretch of the address holds."""
    low, high, name = text.split(",", 2)
    assert name == key
    return {n for n, own in TRIALS.items() if float(low or "-inf") <= own[key] <= float(high or "inf")}


def test_a_brush_goes_to_the_table_and_to_the_pareto_page(page: Page, address: str) -> None:
    section = shown(page, address, "view=study&study=mine")
    order = axes(section)
    assert sorted(order[:-1]) == sorted(AXES)
    at = order.index("r")
    drag(page, place(section, at, 0.2), place(section, at, 0.75))
    expect(section).to_contain_text("brushed")
    (span,) = state_of(page)["span"]
    chosen = within("r", span)
    assert 10 < len(chosen) < 55
    expect(section).to_contain_text(f"{len(chosen)} of {COUNT} trials brushed")
    last = len(order) - 1
    drag(page, place(section, last, 0.5), place(section, last, -0.03))  # to the end of the axis: open below
    expect(page).to_have_url(re.compile("nll"))
    nll = next(one for one in state_of(page)["span"] if one.endswith(",nll"))
    assert nll.startswith(",")
    chosen &= within("nll", nll)
    expect(section).to_contain_text(f"{len(chosen)} of {COUNT} trials brushed")
    assert 2 < len(chosen) < 50

    page.reload()  # the address holds it
    settled(page)
    expect(section).to_contain_text(f"{len(chosen)} of {COUNT} trials brushed")
    section.get_by_role("button", name="Show in the table").click()
    expect(page.get_by_text(f"{len(chosen)} of {COUNT + 1} trials", exact=True)).to_be_visible()
    expect(page.get_by_label("Filter")).to_have_value(re.compile("^state = complete and r >= .* and nll <= "))
    listed = {int(text) for text in page.locator(".long tbody a").all_inner_texts()}
    assert listed == chosen

    section.get_by_role("link", name="Show on the Pareto page").click()
    expect(page.locator("#chosen-title")).to_have_text(f"{len(chosen)} trials selected")
    rows = page.locator("section[aria-labelledby=chosen-title] tbody a").all_inner_texts()
    assert set(rows) == {f"mine/{n}" for n in chosen}
    page.get_by_label("other").check()  # has no column r: none of its trials is within
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", str(COUNT + 20))
    expect(page.locator("#chosen-title")).to_have_text(f"{len(chosen)} trials selected")
    condition = page.get_by_label("Condition")
    condition.fill("rate > 5 and nix = 3")
    condition.press("Enter")
    expect(page.locator(".by-figures .wrong")).to_contain_text("names 'nix', which is no column")
    condition.fill("rate > 5")
    condition.press("Enter")
    fast = sum(own["rate"] > 5 for own in TRIALS.values()) + sum(figures("beta", n)[1]["rate"] > 5 for n in range(20))
    expect(page.locator("#chosen-title")).to_have_text(f"{fast} trials selected")
    page.get_by_role("button", name="Clear selection").click()
    expect(page.locator("#chosen-title")).to_contain_text("The front")
    assert "where" not in state_of(page)


def test_a_brush_is_cleared_by_a_click_and_set_by_keyboard(page: Page, address: str) -> None:
    section = shown(page, address, "view=study&study=mine&span=0.5,,gamma&span=5,,r")
    expect(section).to_contain_text("brushed")
    page.mouse.click(*place(section, axes(section).index("gamma"), 0.4))
    expect(section).to_contain_text(f"{len(within('r', '5,,r'))} of {COUNT} trials brushed")
    assert state_of(page)["span"] == ["5,,r"]
    section.get_by_text("Brush by figures").click()
    section.get_by_label("Axis", exact=True).select_option("r")
    expect(section.get_by_label("Brush from")).to_have_value("5")
    section.get_by_label("Brush to").fill("9")
    section.get_by_label("Brush to").press("Enter")
    expect(section).to_contain_text(f"{len(within('r', '5,9,r'))} of {COUNT} trials brushed")
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr")).to_have_count(len(within("r", "5,9,r")))
    section.get_by_role("button", name="Clear").click()
    expect(section.locator("tbody tr")).to_have_count(COUNT)


def test_kinds_are_brushed_by_keyboard_and_an_axis_without_values_has_no_ends(page: Page, address: str) -> None:
    section = shown(page, address, "view=study&study=few&axis=step&axis=worker&axis=r")
    texts = "(graph) => graph.layout.annotations.map(({ text }) => text)"
    ends = section.locator(".plot > div").first.evaluate(texts)
    assert ends[:4] == ["multiplicative", "additive", "–", "–"]
    section.get_by_text("Brush by figures").click()
    section.get_by_label("First kind").select_option("additive")
    expect(section).to_contain_text("0 of 6 trials brushed")
    assert state_of(page)["span"] == ["1,,step"]
    section.get_by_label("First kind").select_option("any")
    expect(section).to_contain_text("Drag along an axis")
    section.get_by_label("Axis", exact=True).select_option("r")
    expect(section.get_by_label("First kind")).to_be_hidden()
    expect(section.get_by_label("Brush from")).to_be_visible()


def test_axes_are_moved_chosen_and_coloured(page: Page, address: str) -> None:
    section = shown(page, address, "view=study&study=mine")
    order = axes(section)
    drag(page, place(section, 0, -0.15), place(section, 2, -0.15))
    expect(section.locator(".xtick text").nth(2)).to_have_text(order[0])
    moved = [order[1], order[2], order[0], *order[3:]]
    assert axes(section) == moved
    section.locator("summary", has_text="Axes").click()
    section.get_by_role("button", name=f"Move {moved[1]} left").click()
    expect(section.locator(".xtick text").first).to_have_text(moved[1])
    section.locator(".column-list input[value=rate]").check()
    expect(section.locator(".xtick text")).to_have_count(len(order) + 1)
    section.get_by_label("Colour by").select_option("rate")
    expect(section).to_contain_text("worst, by the rank in R")
    ask = """(graph) => {
      const canvas = graph.parentElement.querySelector("canvas");
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
      let [blue, orange] = [0, 0];
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 90) continue;
        if (data[at + 2] > data[at] + 60) blue++;
        else if (data[at] > data[at + 2] + 60) orange++;
      }
      return Math.min(blue, orange) > 500;
    }"""
    page.wait_for_function(ask, arg=section.locator(".plot > div").first.element_handle())  # lines of both ends
    page.reload()
    expect(section.locator(".xtick text")).to_have_count(len(order) + 1)
    expect(section.get_by_label("Colour by")).to_have_value("rate")


def test_slices_have_the_process_and_importance_its_error(page: Page, address: str) -> None:
    page.goto(f"{address}/?view=study&study=mine")
    settled(page)
    section = page.locator("section", has=page.locator("#effects-title"))
    best = page.request.get(f"{address}/v1/studies/mine").json()["best"]["number"]
    expect(section).to_contain_text(f"while the others are held at trial {best}'s")
    found = page.request.get(f"{address}/v1/studies/mine/slices").json()
    own = next(item for item in found["items"] if item["name"] == "r")
    drawn = section.locator(".plot > div").first.evaluate(
        "(graph) => graph.data.filter((one) => one.mode === 'lines' && !one.fill).map((one) => one.y)"
    )
    assert len(drawn) == len(AXES)
    assert own["mean"] in [pytest.approx(line) for line in drawn]
    bars = section.locator("figure", has_text="Importance")
    bars.get_by_text("As a table").click()
    shares = page.request.get(f"{address}/v1/studies/mine/importance?metric=nll").json()
    expect(bars.locator("tbody td:first-child")).to_have_text([item["name"] for item in shares["items"]])
    assert all(0 < item["error"] < 0.5 for item in shares["items"])
    expect(bars.locator(".errorbar").first).to_be_attached()
    section.get_by_label("Metric", exact=True).select_option("rate")
    expect(section).to_contain_text("The process by which the samplers choose is of NLL")
    page.goto(f"{address}/?view=study&study=few")
    expect(section).to_contain_text("Too few trials for importance: 6 of the 10 that it takes.")


def test_it_fits_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    section = shown(page, address, "view=study&study=mine")
    section.locator("summary", has_text="Axes").click()
    section.get_by_text("Brush by figures").click()
    expect(section.locator(".column-list li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
