"""The dashboard in a real browser when something comes late: an answer, the plotting script, an event that tells of the past."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from seeded import figures, look_away, made, settled, trial_row
from sqlalchemy import insert

from benchmarks.browser import Server
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow, revise
from tuner.studies import study as studies

COUNT = 20


class World:
    """A server with the studies `mine` of `COUNT` complete trials and `other`."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/t.db", create=True)
        made(self.database, folder, "mine", "sfb", COUNT, budget=2 * COUNT)
        made(self.database, folder, "other", "beta", 3)
        self.server = Server(self.database.secret_url, folder)

    def open(self, page: Page, query: str) -> None:
        page.goto(f"{self.server.address}/?{query}", wait_until="domcontentloaded")  # the plotting script may be held
        page.wait_for_selector(".view:not([aria-busy])")

    def close(self) -> None:
        self.server.kill()
        self.database.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = World(tmp_path_factory.mktemp("late"))
    yield opened
    opened.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """One that a test may change."""
    opened = World(tmp_path)
    yield opened
    opened.close()


@contextmanager
def held(page: Page, address: str) -> Iterator[None]:
    """Requests of this pattern wait until the block ends."""
    waiting: list[Route] = []
    page.route(re.compile(address), lambda route: waiting.append(route))
    yield
    for route in waiting:
        route.continue_()
    page.unroute(re.compile(address))


def handled(page: Page) -> None:
    """Waits until the page has done what it does with what it has."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")


def still(page: Page) -> None:
    """Waits until every plot in sight is drawn and the page has kept its height for half a second, so that nothing moves."""
    page.wait_for_function(
        """() => {
          const plots = [...document.querySelectorAll("main .plot")].filter((plot) => plot.offsetParent);
          const now = [document.documentElement.scrollHeight, scrollY, plots.length].join();
          if (now !== window.stood || plots.some((plot) => !("drawn" in plot.dataset))) {
            [window.stood, window.since] = [now, performance.now()];
          }
          return performance.now() - window.since > 500;
        }"""
    )


def test_a_plot_that_is_wanted_twice_before_its_script_is_there_is_begun_once(page: Page, world: World) -> None:
    with held(page, "/assets/plotly.js"):
        world.open(page, "view=study&study=mine")
        section = page.locator("section", has=page.locator("#parallel-title"))
        expect(section).to_contain_text("Drag along an axis")  # the figures are there
        page.get_by_label("Metric", exact=True).select_option("rate")
        expect(section).to_contain_text("by the rank in R")
    settled(page)
    ticks = section.locator(".xtick text")
    expect(ticks).to_have_count(5)
    order = ticks.all_text_contents()
    section.scroll_into_view_if_needed()
    still(page)
    names = [tick.bounding_box() for tick in ticks.all()]
    centres = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in names if box is not None]
    page.mouse.move(*centres[0])
    page.mouse.down()
    page.mouse.move(*centres[1], steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("axis="))
    expect(ticks).to_have_text([order[1], order[0], *order[2:]])


def test_what_is_typed_while_a_change_is_sent_is_no_part_of_it(page: Page, own_world: World) -> None:
    own_world.open(page, "view=study&study=other")
    page.get_by_text("Change budget, rules, note or tags").click()
    page.get_by_label("Timeout").fill("90")
    change = page.get_by_role("button", name="Change", exact=True)
    with held(page, "/v1/studies/other$"):
        change.click()
        page.get_by_label("Tags").fill("night")
        change.click()  # the first is under way
    expect(page.get_by_text("Changed.", exact=True)).to_be_visible()
    spec = studies.open_study(own_world.database, "other").spec
    assert (spec.timeout, spec.tags) == (90.0, ())
    change.click()
    expect(page.locator("section[aria-label=Summary] .tags a")).to_have_text(["night"])
    expect(page.get_by_text("Changed.", exact=True)).to_be_visible()
    summary = page.get_by_text("Change budget, rules, note or tags")
    summary.click()
    expect(page.get_by_label("Timeout")).to_be_hidden()
    summary.click()
    expect(page.get_by_label("Timeout")).to_have_value("90")  # made anew


def tell(page: Page, *told: dict[str, Any]) -> None:
    """Has the list's stream tell of these studies alone."""
    streams: list[Route] = []

    def once(route: Route) -> None:
        streams.append(route)
        if len(streams) == 1:
            text = "".join(f"event: study\ndata: {json.dumps(study)}\n\n" for study in told)
            route.fulfill(content_type="text/event-stream", body=text)

    page.route(re.compile("/v1/events"), once)


def test_an_event_of_the_past_changes_nothing(page: Page, world: World) -> None:
    mine, other = (page.request.get(f"{world.server.address}/v1/studies/{name}").json() for name in ("mine", "other"))
    old = {**mine, "state": "stopped", "revision": mine["revision"] - 1}
    new = {**other, "tags": ["heard"], "revision": other["revision"] + 1}
    tell(page, old, new)
    world.open(page, "view=studies")
    expect(page.get_by_role("link", name="heard")).to_be_visible()
    expect(page.get_by_role("button", name="Stop mine")).to_be_visible()


@pytest.mark.parametrize("limit", [1, 100])
def test_studies_that_events_tell_of_are_listed_once_where_they_belong(page: Page, world: World, limit: int) -> None:
    page.route(
        re.compile("/v1/studies[?].*limit=100"),
        lambda route: route.continue_(url=route.request.url.replace("limit=100", f"limit={limit}")),
    )
    mine = page.request.get(f"{world.server.address}/v1/studies/mine").json()
    old, new = ({**mine, "name": name, "created_at": f"{name}-01-01T00:00:00.000Z"} for name in ("2001", "2999"))
    tell(page, mine, old, new)
    world.open(page, "view=studies")
    links = page.get_by_role("region", name="Studies").locator("tbody td:first-child > a")
    if limit == 1:
        expect(links).to_have_text(["2999", "other"])  # the older ones are on pages that nobody has asked for yet
        page.get_by_role("button", name="More studies").click()
        expect(links).to_have_text(["2999", "other", "mine"])
    else:
        expect(links).to_have_text(["2999", "other", "mine", "2001"])


def problem(status: int, detail: str, **headers: str) -> dict[str, Any]:
    body = json.dumps({"status": status, "title": "", "detail": detail})
    return {"status": status, "headers": headers, "content_type": "application/problem+json", "body": body}


def test_a_busy_server_is_asked_again_quietly(page: Page, world: World) -> None:
    asked, probes, is_busy = [], [], True

    def answer(route: Route) -> None:
        asked.append(route)
        if is_busy:
            route.fulfill(**problem(503, "too much waits: try again.", **{"Retry-After": "1"}))
        else:
            route.continue_()

    page.route(re.compile("/v1/studies[?]"), answer)
    page.on("request", lambda request: probes.append(request) if "healthz" in request.url else None)
    page.goto(f"{world.server.address}/?view=studies")
    trouble = page.locator("#trouble")
    expect(trouble).to_have_text("too much waits: try again.")
    with page.expect_request(re.compile("/v1/studies[?]")):
        expect(page.locator("#banner")).to_be_hidden()
    is_busy = False
    expect(page.get_by_role("link", name="mine")).to_be_visible()
    expect(trouble).to_be_hidden()
    assert len(asked) >= 2
    assert probes == []


def test_an_update_that_fails_is_not_the_last_one(page: Page, own_world: World) -> None:
    own_world.open(page, "view=study&study=other")
    settled(page)
    study = studies.open_study(own_world.database, "other")

    def enter(number: int) -> None:
        def change(session: Any) -> None:
            session.execute(
                insert(TrialRow), [trial_row(study, number, revision=revise(session, "other", results=True))]
            )

        own_world.database.run(change)

    page.route(re.compile("/table|/history"), lambda route: route.fulfill(**problem(500, "it has failed.")))
    enter(3)
    expect(page.locator("#trouble")).to_have_text("it has failed.")
    history = page.locator("section", has=page.locator("#history-title"))
    expect(history.get_by_role("alert")).to_have_text("it has failed.")
    page.unroute(re.compile("/table|/history"))
    enter(4)
    expect(page.get_by_text("5 trials", exact=True).first).to_be_visible()
    expect(history.locator(".plot")).to_have_attribute("data-drawn", "5")
    expect(history.get_by_role("alert")).to_have_count(0)


def test_a_trial_is_shown_without_its_samples_and_an_epoch_without_its_bound(page: Page, world: World) -> None:
    page.route(re.compile("/samples"), lambda route: route.fulfill(**problem(507, "the files cannot be read.")))
    epoch = {"epoch": 1, "distortion": 10.0, "rate": 2.0, "neg_elbo": 14.0, "seconds": 1.0, "objective": {}}
    page.route(
        re.compile("/epochs"),
        lambda route: route.fulfill(json={"items": [epoch, {**epoch, "epoch": 2, "neg_elbo": None}], "next": None}),
    )
    trial = page.request.get(f"{world.server.address}/v1/studies/mine/trials/1").json()
    evaluated = {**trial, "metrics": {**trial["metrics"], "neg_elbo": 14.0, "ppl_elbo": 7.0}}
    page.route(re.compile("/trials/1$"), lambda route: route.fulfill(json=evaluated))
    world.open(page, "view=trial&study=mine&trial=1")
    expect(page.get_by_label("Its writing").get_by_role("alert")).to_have_text("the files cannot be read.")
    course = page.locator("section", has=page.locator("#course-title"))
    course.get_by_text("As a table").click()
    cells = course.locator("tbody tr").nth(1).locator("td")
    columns = course.locator("thead th")
    expect(columns.nth(3)).to_have_text("−ELBO, nats")
    expect(columns.nth(4)).to_have_text("PPL by the ELBO")
    expect(cells.nth(3)).to_have_text("–")
    expect(cells.nth(4)).to_have_text("–")


def test_a_tab_that_is_hidden_before_its_stream_is_there_comes_back(page: Page, world: World) -> None:
    stream = re.compile("/events")
    with held(page, "/events"):
        with page.expect_request(stream):
            world.open(page, "view=study&study=mine")
        with page.expect_event("requestfailed", lambda request: stream.search(request.url) is not None):
            look_away(page, True)
    with page.expect_response(stream):
        look_away(page, False)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_comparison_is_unfolded_before_its_curves_are_there(page: Page, world: World) -> None:
    with held(page, "/epochs"):
        page.goto(f"{world.server.address}/?view=compare&run=mine/1&run=other/2")
        page.get_by_text("As a table").click()
        region = page.get_by_role("region", name="Validation figures by epoch")
        expect(region).to_be_visible()
    expect(region.locator("tbody tr")).to_have_count(6)


def test_the_points_are_drawn_while_the_server_looks_which_fit(page: Page, world: World) -> None:
    world.open(page, "view=pareto&study=other&where=rate+%3E+5")
    heading = page.locator("#chosen-title")
    expect(heading).to_contain_text("selected")
    with held(page, "/table"):
        with page.expect_request(re.compile("/table")):
            page.get_by_label("mine").check()
        page.get_by_label("Theme").select_option("dark")
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", str(COUNT + 3))
    fast = [
        n
        for technique, count in (("sfb", COUNT), ("beta", 3))
        for n in range(count)
        if figures(technique, n)[1]["rate"] > 5
    ]
    expect(heading).to_have_text(f"{len(fast)} trials selected")


def test_the_newest_choice_is_shown_whichever_answer_comes_last(page: Page, world: World) -> None:
    world.open(page, "view=study&study=mine")
    settled(page)
    slices = page.locator("figure", has_text="Slices")
    slices.get_by_text("As a table").click()
    with page.expect_response(re.compile("/v1/pareto.*x=rate")), held(page, "/v1/pareto.*x=rate"):
        page.get_by_label("Metric", exact=True).select_option("rate")
        page.get_by_label("Metric", exact=True).select_option("ppl")
        expect(slices.locator("thead th").last).to_have_text("PPL")
        own = slices.locator("tbody tr").first.locator("td").last
        shown = own.inner_text()
    handled(page)
    expect(own).to_have_text(shown)

    surface = page.locator("section", has=page.locator("#surface-title"))
    with page.expect_response(re.compile("/surface.*y=epsilon")), held(page, "/surface.*y=epsilon"):
        surface.get_by_label("Up").select_option("epsilon")
        surface.get_by_label("Up").select_option("gamma")
        expect(surface.locator(".ytitle")).to_have_text("gamma")
    handled(page)
    expect(surface.locator(".ytitle")).to_have_text("gamma")


def test_a_live_update_takes_nothing_away_that_is_being_typed(page: Page, own_world: World) -> None:
    own_world.open(page, "view=pareto&study=mine")
    plot = page.locator(".plot.large")
    expect(plot).to_have_attribute("data-drawn", str(COUNT))
    page.get_by_text("Select by figures").click()
    page.get_by_label("Condition").press_sequentially("rate >")
    study = studies.open_study(own_world.database, "mine")

    def enter(session: Any) -> None:
        session.execute(insert(TrialRow), [trial_row(study, COUNT, revision=revise(session, "mine", results=True))])

    own_world.database.run(enter)
    expect(plot).to_have_attribute("data-drawn", str(COUNT + 1))
    expect(page.get_by_label("Condition")).to_have_value("rate >")
