"""The dashboard's page of figures by target rate, and what it says of different estimators, in a real browser."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from filled import confirmed, fill, held
from playwright.sync_api import Page, expect
from stub_study import make

from benchmarks.browser import Server
from tuner.analysis import figures
from tuner.commands.render import duration
from tuner.storage.database import Database

PANELS = {"xy": "ppl", "x2y2": "acc_gap", "x3y3": "rate_error"}
DRAWN = """
() => {
  const graph = document.querySelector("figure .plot > div");
  const axes = (id) => /^(x\\d*)(y\\d*)$/.exec(id).slice(1).map((name) => graph._fullLayout[`${name[0]}axis${name.slice(1)}`]);
  return Object.fromEntries(["xy", "x2y2", "x3y3"].map((id) => {
    const [x, y] = axes(id);
    const placed = (point) => /translate\\(([^,]+),([^)]+)\\)/.exec(point.getAttribute("transform")).slice(1).map(Number);
    return [id, [...graph.querySelectorAll(`g.${id} .scatterlayer g.trace`)].map((trace) =>
      [...trace.querySelectorAll("path.point")].map(placed).map(([across, up]) => [x.p2d(across), y.p2d(up)]))];
  }));
}
"""
"""Points of each panel line by line, read from where they are on the screen."""
Q = {"proposal": "q", "samples": 100, "sentences": 40, "of": 40, "seed": 0, "split": "valid"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's, with three studies: mdr and fb of one estimator, of which mdr has a confirmation, and other of another."""
    folder = tmp_path_factory.mktemp("rates")
    database = Database(f"sqlite:///{folder}/t.db", create=True)
    mdr = make(database, folder, 4, name="mdr", fixed={"prior": "mog"})
    fill(mdr, held(1.0, 1.1, 95.0), held(5.0, 4.5, 90.0), held(5.0, 4.7, 92.0), held(20.0, 18.0, 97.0, None))
    fill(make(database, folder, 2, name="fb"), held(1.0, 1.3, 94.0, 2.0), held(5.0, 5.2, 91.0, 4.0))
    fill(make(database, folder, 1, name="other", fixed={"posterior": "iaf"}), held(5.0, 5.2, 85.0, estimator=Q))
    fill(confirmed(database, mdr, folder), held(5.0, 4.0, 90.0, test=held(5.0, 4.5, 91.0)))
    server = Server(database.secret_url, folder)
    yield server.address
    server.kill()
    database.close()


def test_a_trial_has_all_its_hyperparameters_and_what_qualifies_its_figures(page: Page, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    unsure = {
        **Q,
        "proposal": "tempered q",
        "temper": 0.25,
        "levels": {"16": 40},
        "error": 0.5,
        "bias": 0.75,
        "resolved": False,
    }
    fill(make(database, tmp_path, 1, name="s", fixed={"gamma": 1.25}), held(5.0, 4.5, 90.0, estimator=unsure))
    server = Server(database.secret_url, tmp_path)
    shown(page, server.address, "view=study&study=s")
    trials = page.get_by_role("region", name="Trials").first
    expect(trials.get_by_role("columnheader", name="gamma")).to_be_visible()
    expect(trials.locator("tbody tr").first).to_contain_text("not resolved")
    expect(page.get_by_text("The best trial is not resolved.")).to_be_visible()
    shown(page, server.address, "view=trial&study=s&trial=0")
    rows = page.get_by_role("region", name="Hyperparameters").locator("tbody tr")
    said = {row.split("\t")[0]: row.split("\t")[1:3] for row in rows.all_inner_texts()}
    assert (
        said.items()
        >= {"r": ["5", "this trial"], "gamma": ["1.25", "set by hand"], "epsilon": ["1", "default"]}.items()
    )
    expect(
        page.get_by_text("the estimate's own standard error 0.5, its bias at most 0.75: not resolved")
    ).to_be_visible()
    server.kill()
    database.close()


def shown(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}/?{query}")
    page.wait_for_selector(".view:not([aria-busy])")


def test_the_points_are_the_routes(page: Page, address: str) -> None:
    query = "study=mdr&study=fb"
    shown(page, address, f"view=rates&{query}")
    expect(page.locator("figure .plot")).to_have_attribute("data-drawn", "0")
    lines = httpx.get(f"{address}/v1/rates?{query}").json()["series"]
    links = page.get_by_role("list", name="Lines").get_by_role("link")
    expect(links).to_have_text([line["label"] for line in lines])
    drawn: dict[str, Any] = page.evaluate(DRAWN)
    for panel, key in PANELS.items():
        wanted = [[(x, y) for x, y in zip(line["target"], line[key], strict=True) if y is not None] for line in lines]
        assert [len(one) for one in drawn[panel]] == [len(one) for one in wanted]
        for found, points in zip(drawn[panel], wanted, strict=True):
            for place, point in zip(found, points, strict=True):
                assert place == pytest.approx(point, abs=0.2)  # about a pixel
    expect(page.locator("figure .errorbars path.yerror")).to_have_count(3)  # the one target of two runs, in each panel
    page.get_by_text("As a table").click()
    row = page.get_by_role("region").locator("tbody tr", has_text="91 ± 1.414")
    expect(row.locator("td").nth(2)).to_have_text("2")


def test_lines_are_chosen_kept_in_the_address_and_saved(page: Page, address: str, tmp_path: Path) -> None:
    shown(page, address, "view=rates")
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Rates")).to_have_attribute(
        "aria-current", "page"
    )
    assert set(parse_qs(urlsplit(page.url).query)["study"]) == {
        "mdr-confirmed-0",
        "fb",
        "mdr",
    }  # the commonest estimator's
    lines = page.get_by_role("list", name="Lines").locator("li")
    page.locator("input[value=fb]").uncheck()
    expect(lines).to_have_count(2)
    page.reload()
    expect(lines).to_have_count(2)
    page.get_by_label("Split").select_option("test")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("region").locator("tbody tr")).to_have_count(1)  # of mdr and its confirmation
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "rates.csv")
    rows = list(csv.DictReader((tmp_path / "rates.csv").read_text().splitlines()))
    assert {(row["target"], row["ppl"], row["rate_error"]) for row in rows} == {("5", "91", "-0.5")}
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    download.value.save_as(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="None").click()
    expect(page.get_by_text("Choose a study.")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Split")).to_have_value("valid")


@pytest.mark.parametrize("view", ["rates", "pareto"])
def test_different_estimators_are_named(page: Page, address: str, view: str) -> None:
    shown(page, address, f"view={view}&study=fb&study=other")
    note = page.locator(".notice")
    made = "from q, 40 valid sentences of grammar, 5 words, uncut, text f: "
    expect(note).to_contain_text(f"not to be ranked together (S = 1000 {made}")
    expect(note).to_contain_text(f"S = 100 {made}")
    heading = page.locator("#chosen-title")
    if view == "pareto":
        expect(heading).to_have_text("Each study's own front: 2 trials")
        expect(page.locator(".plot.large .scatterlayer .js-line")).to_have_count(2)  # of each study, and none of all
    page.locator("input[value=other]").uncheck()
    expect(note).to_be_hidden()
    if view == "pareto":
        page.locator("input[value=mdr]").check()
        expect(heading).to_contain_text("The front: ")


def test_the_front_names_its_good_corner_and_what_lies_beyond(page: Page, address: str) -> None:
    shown(page, address, "view=pareto&study=mdr&study=fb")
    texts = page.locator(".plot.large .annotation text")
    expect(texts.filter(has_text="better ↘")).to_be_attached()
    expect(page.get_by_text("Exact entropy")).to_contain_text("below the plot")
    page.get_by_label("x", exact=True).select_option("distortion")
    expect(texts.filter(has_text="better ↙")).to_be_attached()
    page.get_by_label("x", exact=True).select_option("rate")
    page.get_by_label("Split").select_option("test")  # whose figures the confirmation of a ticked study has
    expect(page.locator("section[aria-labelledby=chosen-title] tbody a")).to_have_text(["mdr-confirmed-0/0"])


@pytest.mark.parametrize(
    ("values", "far"),
    [([1, 2, 3, 4, 5, 99], [99]), ([0.06, 4.88, 4.99, 5.68, 6.54], []), ([1, 2, 98, 99], []), ([], [])],
)
def test_few_values_are_left_out_if_they_take_the_scale(
    page: Page, address: str, values: list[float], far: list[float]
) -> None:
    page.goto(f"{address}/")
    found = page.evaluate(
        "async (values) => values.filter((await import('/assets/plot.js')).farFrom(values, false))", values
    )
    assert found == far
    if values:
        low, high = figures.near(values)  # a drawn file has the scale of the page
        assert [value for value in values if not low <= value <= high] == far


def test_times_are_written_as_by_the_commands(page: Page, address: str) -> None:
    page.goto(f"{address}/")
    seconds = [0, 0.25, 0.4, 4.1, 9.9, 9.96, 42, 187, 7500]
    found = page.evaluate("async (seconds) => seconds.map((await import('/assets/format.js')).duration)", seconds)
    assert found == [duration(each) for each in seconds]


def test_without_a_target_rate_it_says_how_to_make_one(page: Page, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    make(database, tmp_path, 1)
    server = Server(database.secret_url, tmp_path)
    shown(page, server.address, "view=rates")
    expect(page.get_by_text("tuner sweep --technique mdr --over r=1,2,5,10,20")).to_be_visible()
    server.kill()
    database.close()
