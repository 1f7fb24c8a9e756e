"""The dashboard in a real browser, on a real server process and a real database."""

import cmath
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect
from seeded import figures, look_away, made, settled, stub_worker
from sqlalchemy import update

from benchmarks.browser import Server
from tuner import space
from tuner.storage import keys
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import queries, strikes
from tuner.studies import study as studies

HOSTILE = '<img src=x onerror="owned=1"><script>owned=1</script><a href="javascript:owned=1">%{x}'


class World:
    """A server and what its database holds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/t.db"
        self.database = Database(self.url, create=True)
        made(self.database, folder, "steered", "sfb", 40)
        made(self.database, folder, "weighted", "beta", 30, budget=60)
        self.server = Server(self.url, folder)

    def open(self, page: Page, query: str = "") -> None:
        page.goto(f"{self.server.address}/{query and '?' + query}")
        page.wait_for_selector(".view:not([aria-busy])")

    def close(self) -> None:
        self.server.kill()
        self.database.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made_ = World(tmp_path_factory.mktemp("world"))
    yield made_
    made_.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """One that a test may break."""
    made_ = World(tmp_path)
    yield made_
    made_.close()


def in_box(x0: float, x1: float, y0: float, y1: float) -> set[str]:
    """By hand: which of the world's trials lie in a box of rate and PPL."""
    return {
        f"{name}/{number}"
        for name, technique, count in (("steered", "sfb", 40), ("weighted", "beta", 30))
        for number in range(count)
        if x0 <= figures(technique, number)[1]["rate"] <= x1 and y0 <= figures(technique, number)[1]["ppl"] <= y1
    }


def in_lasso(flat: list[float]) -> set[str]:
    """By hand: the trials around which a lasso on a logarithmic PPL winds."""
    corners = [complex(x, math.log(y)) for x, y in zip(flat[::2], flat[1::2], strict=True)]
    found = set()
    for name, metrics in _points():
        seen = [corner - complex(metrics["rate"], math.log(metrics["ppl"])) for corner in corners]
        turns = sum(cmath.phase(after / before) for before, after in zip(seen, seen[1:] + seen[:1], strict=True))
        if abs(turns) > math.pi:
            found.add(name)
    return found


def front() -> set[str]:
    """By hand: the trials of both studies that none beats in both rate and PPL."""
    found = {name: (m["rate"], m["ppl"]) for name, m in _points()}
    return {
        name for name, (rate, ppl) in found.items()
        if not any(r >= rate and p <= ppl and (r, p) != (rate, ppl) for r, p in found.values())
    }  # fmt: skip


def _points() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{s}/{n}", figures(t, n)[1])
        for s, t, k in (("steered", "sfb", 40), ("weighted", "beta", 30))
        for n in range(k)
    ]


def shown_trials(page: Page) -> set[str]:
    """Trials in the Pareto page's table."""
    return set(page.locator("section[aria-labelledby=chosen-title] tbody a").all_inner_texts())


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draws with the mouse over the plot; points in shares of its width and height."""
    box = page.locator(".plot.large").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def state_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def give_line(study: studies.Study, nll: float, divided_into: str) -> None:
    """An n-gram model's figures, as if the study had been made with them, of a text that is divided so."""
    figures_ = {"nll": nll, "ppl": 9.0, "sentences": 500, "of": 1000}
    kept = {"order": 3, "counted": 1, "train": 1, "valid": figures_, "test": figures_}
    stored = study.definition.stored()
    corpus = {**stored["corpus"], "divided_into": divided_into}
    changed = update(StudyRow).values(specification={**stored, "ngram": kept, "corpus": corpus})
    study.database.run(lambda session: session.execute(changed.where(StudyRow.name == study.name)))


def test_a_study_says_whether_its_best_trial_is_better_than_counting_words(page: Page, own_world: World) -> None:
    for name, above, divided_into, ppl in (
        ("steered", 1.5, "words", "PPL"),
        ("weighted", -2.25, "sentencepiece:9", "PPL per piece"),
    ):
        study = studies.open_study(own_world.database, name)
        winner = study.winner()
        assert winner is not None
        assert winner.trial.metrics is not None
        give_line(study, winner.trial.metrics["nll"] + above, divided_into)
        own_world.open(page, f"view=study&study={name}")
        section = page.get_by_label("Summary")
        expect(section).to_contain_text("n-gram model of the same text (order 3, interpolated Kneser–Ney) has NLL")
        expect(section).to_contain_text(f"the best trial is {abs(above):.2f} nats {'better' if above > 0 else 'worse'}")
        expect(section).to_contain_text(f", {ppl} 9")
        expect(section.get_by_text(ppl, exact=True)).to_have_count(1)
        expect(section.get_by_text("Worse than counting pieces")).to_have_count(int(above < 0))


def test_from_the_form_to_a_stopped_study(page: Page, own_world: World) -> None:
    studies.open_study(own_world.database, "weighted").end("stopped", "so that the worker has one study to work on")
    own_world.open(page, "view=new")
    page.get_by_label("Technique").select_option("sfb")
    page.get_by_label("Name").fill("mine")
    page.get_by_label("Trials").fill("0")
    page.get_by_role("button", name="Create the study").click()
    wrong = page.locator("[data-key=trials] .wrong")
    expect(wrong).not_to_be_empty()
    expect(page.get_by_label("Trials")).to_be_focused()
    expect(page.get_by_label("Trials")).to_have_attribute("aria-invalid", "true")

    expect(page.get_by_label("First default")).to_be_checked()
    page.get_by_label("Trials").fill("200")
    page.get_by_label("Sampler", exact=True).select_option("random")
    page.locator("[data-key='fixed.gamma']").get_by_label("fix", exact=True).check()
    page.get_by_label("gamma's fixed value").fill("7")
    page.get_by_role("button", name="Create the study").click()
    expect(page.locator("[data-key='fixed.gamma'] .wrong")).to_contain_text("gamma")
    page.get_by_label("gamma's fixed value").fill("1.2")
    page.get_by_role("button", name="Create the study").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mine")
    expect(page.locator(".notice")).to_contain_text("tuner worker --database")

    page.evaluate("window.notReloaded = true")
    pareto = page.context.new_page()
    own_world.open(pareto, "view=pareto&study=mine&x=seconds&y=nll")
    with stub_worker(own_world.url, own_world.folder, "sleep 1"):
        rows = page.locator("section[aria-labelledby=trials-title] tbody tr")
        expect(rows.filter(has_text="complete").nth(2)).to_be_visible()
        expect(page.locator(".notice")).to_have_count(0)
        page.get_by_role("button", name="Stop mine").click()  # before there are more rows than are elements
        expect(page.locator(".lead .state")).to_have_text("stopped")
        expect(page.get_by_role("button", name="Start mine")).to_be_visible()
        expect(page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")
        expect(pareto.locator(".plot.large")).to_have_attribute("data-drawn", re.compile("^([2-9]|[1-9][0-9])$"))
        expect(rows.last).to_contain_text("published values")
    pareto.close()
    assert page.evaluate("window.notReloaded")

    page.locator("section[aria-labelledby=trials-title] tbody a", has_text=re.compile("^0$")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trial 0 of mine")
    expect(page.locator(".lead")).to_contain_text("published values")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("region", name="Validation figures by epoch").locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("region", name="Attempts").locator("tbody tr")).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("mine")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
    expect(page.get_by_role("link", name="steered")).to_be_visible()
    expect(page.get_by_role("link", name="mine")).to_have_count(0)


def test_a_study_that_cannot_be_read_is_shown_and_can_be_deleted(page: Page, own_world: World) -> None:
    rotten = update(StudyRow).where(StudyRow.name == "weighted").values(rules={"x": 1})
    own_world.database.run(lambda session: session.execute(rotten))
    own_world.open(page)
    row = page.locator("tr", has_text="weighted")
    expect(row).to_contain_text("unreadable study 'weighted' is none that this program has written")
    expect(row.get_by_role("link")).to_have_count(0)
    expect(page.get_by_role("link", name="steered")).to_be_visible()
    row.get_by_role("button", name="Delete weighted").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("tr", has_text="weighted")).to_have_count(0)
    assert [study.name for study in queries.all_studies(own_world.database)] == ["steered"]


def test_pareto(page: Page, world: World) -> None:
    world.open(page, "view=pareto&study=steered&study=weighted")
    plot = page.locator(".plot.large")
    expect(plot).to_have_attribute("data-drawn", "70")
    assert shown_trials(page) == front()

    drag(page, (0.3, 0.3), (0.5, 0.5), (0.7, 0.8))
    heading = page.locator("#chosen-title")
    expect(heading).to_contain_text("selected")
    chosen = shown_trials(page)
    box = [float(value) for value in state_of(page)["box"][0].split(",")]
    assert chosen == in_box(*box)
    assert 3 < len(chosen) < 70
    columns = page.locator("section[aria-labelledby=chosen-title] th").all_inner_texts()
    assert columns[0] == "Trial"
    assert {"alpha", "beta", "r"} <= set(columns[3:])

    shared = page.url
    page.reload()
    expect(heading).to_have_text(f"{len(chosen)} trials selected")
    assert page.url == shared
    assert shown_trials(page) == chosen
    page.go_back()
    expect(heading).to_contain_text("The front")
    page.go_forward()
    expect(heading).to_have_text(f"{len(chosen)} trials selected")

    page.get_by_label("log y").check()  # the box holds for the same figures
    expect(page).to_have_url(re.compile("log=y"))
    expect(heading).to_have_text(f"{len(chosen)} trials selected")
    assert shown_trials(page) == chosen
    page.keyboard.press("Escape")
    expect(heading).to_contain_text("The front")
    page.get_by_text("Lasso").click()
    drag(page, (0.2, 0.1), (0.95, 0.15), (0.9, 0.85), (0.2, 0.1))
    expect(heading).to_contain_text("selected")
    lasso = shown_trials(page)
    assert 0 < len(lasso) < 70
    page.reload()
    expect(heading).to_have_text(f"{len(lasso)} trials selected")
    assert shown_trials(page) == lasso == in_lasso([float(value) for value in state_of(page)["lasso"][0].split(",")])
    page.get_by_role("button", name="Clear selection").click()

    page.get_by_text("Select by figures").click()
    page.get_by_label("x from").fill("5")
    page.get_by_label("y to").fill("9")
    page.get_by_label("y to").press("Enter")
    expect(heading).to_have_text(f"{len(in_box(5, 99, 0, 9))} trials selected")
    assert shown_trials(page) == in_box(5, 99, 0, 9)

    page.get_by_label("y", exact=True).select_option("nll")
    expect(heading).to_contain_text("The front")
    assert state_of(page)["y"] == ["nll"]
    page.get_by_label("weighted").uncheck()
    expect(plot).to_have_attribute("data-drawn", "40")
    assert state_of(page)["study"] == ["steered"]
    page.get_by_label("Split").select_option("test")
    expect(page.get_by_text("No confirmation of these studies has both figures on the test split")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Split")).to_have_value("valid")
    expect(plot).to_have_attribute("data-drawn", "40")


def test_pareto_hover_click_zoom_and_files(page: Page, world: World, tmp_path: Path) -> None:
    # One trial alone in the plot's middle, so that the mouse can find it.
    rate, ppl = (figures("beta", 7)[1][key] for key in ("rate", "ppl"))
    zoom = f"{rate - 1e-3},{rate + 1e-3},{ppl - 1e-3},{ppl + 1e-3}"
    world.open(page, f"view=pareto&study=weighted&study=steered&zoom={zoom}")
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", "70")
    area = page.locator(".plot.large .nsewdrag").bounding_box()
    assert area is not None
    middle = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(middle[0] - 40, middle[1])
    page.mouse.move(*middle, steps=4)
    tip = page.locator(".tip")
    expect(tip).to_contain_text("weighted/7")
    expect(tip).to_contain_text("beta")

    for form in ("PNG", "SVG", "CSV"):
        with page.expect_download() as download:
            page.get_by_role("button", name=form).click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        content = file.read_bytes()
        if form == "PNG":
            assert content.startswith(b"\x89PNG")
            assert len(content) > 20_000
        elif form == "SVG":
            assert content.count(b'class="point"') >= 70
        else:
            rows = list(csv.DictReader(content.decode().splitlines()))
            assert {(f"{r['study']}/{r['trial']}", float(r["rate"])) for r in rows} == {
                (n, m["rate"]) for n, m in _points()
            }

    page.mouse.move(*middle)
    expect(tip).to_be_visible()
    page.mouse.click(*middle)
    expect(page.get_by_role("heading", level=1)).to_have_text("Trial 7 of weighted")
    page.go_back()
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", "70")
    page.get_by_role("button", name="Whole plot").click()
    page.get_by_text("Zoom", exact=True).click()
    drag(page, (0.4, 0.4), (0.6, 0.7))
    expect(page.get_by_role("button", name="Whole plot")).to_be_enabled()
    assert "zoom" in state_of(page)


def test_studies_are_filtered_by_their_address(page: Page, world: World) -> None:
    world.open(page)
    table = page.get_by_role("region", name="Studies")
    expect(table.get_by_role("link", name="steered")).to_be_visible()
    expect(table.get_by_role("progressbar", name="30 of 60 trials done")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("1 study waiting for a worker: none that is there takes it")
    page.get_by_label("Technique").select_option("beta")
    expect(table.get_by_role("link", name="weighted")).to_be_visible()
    expect(table.get_by_role("link", name="steered")).to_have_count(0)
    assert state_of(page)["technique"] == ["beta"]
    page.get_by_label("State").select_option("stopped")
    expect(page.get_by_text("No study matches this filter.")).to_be_visible()
    page.go_back()
    expect(table.get_by_role("link", name="weighted")).to_be_visible()
    table.get_by_role("button", name="Stop weighted").click()
    expect(table.get_by_role("button", name="Start weighted")).to_be_focused()
    table.get_by_role("button", name="Start weighted").click()
    expect(table.get_by_role("button", name="Stop weighted")).to_be_visible()


def test_study_page_plots(page: Page, world: World) -> None:
    big = made(world.database, world.folder, "big", "fb", 120)
    world.open(page, f"view=study&study={big.name}")
    drawn = page.locator(".effects .plot[data-drawn]")
    expect(drawn).to_have_count(2)
    page.get_by_label("Metric", exact=True).select_option("rate")
    page.locator("figure", has_text="Slices").get_by_text("As a table").click()
    slices = page.get_by_role("region", name="Slices")
    expect(slices.locator("tbody tr")).to_have_count(120)
    assert state_of(page)["metric"] == ["rate"]
    rate = figures("fb", 119)[1]["rate"]
    row = slices.locator("tbody tr", has=page.get_by_role("cell", name="119", exact=True))
    expect(row).to_contain_text(f"{rate:.4g}" if rate < 10 else f"{rate:.2f}")


def test_keys(page: Page, own_world: World) -> None:
    write, read = (keys.create(own_world.database, name, write=name == "writer") for name in ("writer", "reader"))
    page.goto(own_world.server.address)
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Key")).to_be_focused()
    dialog.get_by_label("Key").fill("not-a-key")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The server refused that key.")
    dialog.get_by_label("Key").fill("tuner-…")  # as the pages have it
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("This is no key")
    dialog.get_by_label("Key").fill(write)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop weighted")).to_be_visible()
    page.reload()  # the key is kept for the tab
    expect(page.get_by_role("button", name="Stop weighted")).to_be_visible()
    assert write not in page.content()

    change = page.get_by_role("button", name="Key", exact=True)
    for leave in (lambda: page.keyboard.press("Escape"), dialog.get_by_role("button", name="Cancel").click):
        change.click()
        dialog.get_by_label("Key").fill("half a k")
        leave()
        expect(dialog).to_be_hidden()
        assert page.evaluate("sessionStorage.getItem('key')") == write
    change.click()
    dialog.get_by_label("Key").fill(read)
    page.keyboard.press("Enter")
    page.wait_for_function("(key) => sessionStorage.getItem('key') === key", arg=read)
    expect(page.get_by_role("button", name="Stop weighted")).to_have_count(0)  # at once
    expect(page.get_by_role("link", name="weighted")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="New study").click()
    expect(page.get_by_text("This key may only read.")).to_be_visible()


def test_the_form_has_the_objective_of_the_technique(page: Page, world: World) -> None:
    world.open(page, "view=new&technique=mim")
    objective = page.locator("[data-key=objective] select")
    expect(objective).to_have_value("melbo")
    page.get_by_label("Technique", exact=True).select_option("sfb")
    expect(objective).to_have_value("nll")
    page.get_by_text("As a command and as a file").click()
    written = page.locator("details", has_text="As a command and as a file")
    expect(written).to_contain_text("tuner launch")
    page.get_by_label("Technique", exact=True).select_option("ae")
    expect(written).to_contain_text("--technique ae")
    expect(written).not_to_contain_text("--objectives nll")


def test_server_gone_and_back(page: Page, own_world: World) -> None:
    own_world.open(page, "view=study&study=weighted")
    page.evaluate("window.notReloaded = true")
    own_world.server.kill()
    banner = page.locator("#banner")
    expect(banner).to_contain_text("does not answer")
    page.get_by_role("button", name="Stop weighted").click()
    expect(page.get_by_role("alert").filter(has_text="may or may not have been done")).to_be_visible()
    own_world.server.start()
    expect(banner).to_be_hidden()
    with stub_worker(own_world.url, own_world.folder, "train"):
        more = re.compile("^(3[1-9]|[4-6][0-9])$")
        expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", more)
    assert page.evaluate("window.notReloaded")


def test_a_hidden_tab_holds_no_connection(page: Page, world: World) -> None:
    def is_stream(request: Request) -> bool:
        return "/events" in request.url

    with page.expect_request(is_stream):
        world.open(page, "view=study&study=steered")
    with page.expect_event("requestfailed", is_stream):
        look_away(page, True)
    with page.expect_request(is_stream):
        look_away(page, False)


def test_hostile_text_stays_text(page: Page, world: World) -> None:
    parameter = replace(space.load("fb").parameters[0], name=HOSTILE, meaning=HOSTILE, unit=HOSTILE)
    choice = replace(
        parameter, name="kind", type="categorical", choices=(HOSTILE, "b"), low=None, high=None, default="b"
    )
    hostile = replace(space.load("fb"), parameters=(parameter, choice))
    params = {HOSTILE: 3.0, "kind": HOSTILE}
    failed: dict[str, Any] = {"state": "failed", "value": None, "values": None, "metrics": None}
    texts: dict[str, Any] = {"reason": "error", "message": HOSTILE, "worker": HOSTILE}
    made(world.database, world.folder, "bad", hostile, 2, params=params, **failed, **texts)
    made(world.database, world.folder, "good", hostile, 3, params=params)
    for query in (
        "view=study&study=bad",
        "view=trial&study=bad&trial=1",
        "view=trial&study=good&trial=1",
        "view=pareto&study=good",
    ):
        world.open(page, query)
        expect(page.get_by_text("<script>").filter(visible=True).first).to_be_visible()
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", "3")
    world.open(page, "view=study&study=good&metric=rate")
    expect(page.locator(".effects .plot[data-drawn]").first).to_be_visible()
    expect(page.locator("section:has(#parallel-title) svg text", has_text="<script>").first).to_be_attached()
    expect(page.locator(".effects svg text", has_text="<script>").first).to_be_attached()
    world.open(page, urlencode({"view": "study", "study": HOSTILE}))
    expect(page.get_by_role("alert").filter(has_text="<script>")).to_be_visible()
    assert page.evaluate("typeof owned") == "undefined"
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0


def test_keyboard_alone(page: Page, world: World) -> None:
    world.open(page)

    def tab_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "() => { const e = document.activeElement; const s = getComputedStyle(e);"
                " const name = (e.getAttribute('aria-label') || e.innerText || '').trim();"
                " return [name, s.outlineStyle, parseFloat(s.outlineWidth)]; }"
            )
            if focused[0] == name:
                assert focused[1] != "none"
                assert focused[2] >= 2
                return
        raise AssertionError(f"Tab does not reach {name}")

    tab_to("Skip to the content")
    page.evaluate("document.querySelector('.view').dataset.kept = 'true'")
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#main'")
    expect(page.locator(".view[data-kept]")).to_be_visible()  # a link within the page makes no view anew
    tab_to("steered")
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("steered")
    expect(heading).to_be_focused()
    settled(page)  # else Tab finds nothing between the heading and the address bar
    tab_to("Pareto front")
    page.keyboard.press("Enter")
    expect(page.locator(".plot.large")).to_have_attribute("data-drawn", "40")
    tab_to("Select by figures")
    page.keyboard.press("Enter")
    tab_to("x from")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen-title")).to_contain_text("selected")
    first = page.locator("section[aria-labelledby=chosen-title] tbody a").first.inner_text()
    tab_to(first)
    page.keyboard.press("Enter")
    expect(heading).to_have_text(f"Trial {first.split('/')[1]} of steered")


def test_theme_is_kept_and_plots_follow(page: Page, world: World) -> None:
    page.emulate_media(color_scheme="light")
    world.open(page, "view=pareto&study=steered")
    tick = page.locator(".plot.large .xtick text").first
    expect(tick).to_be_attached()

    def brightness() -> list[float]:
        return [
            sum(map(float, re.findall(r"[\d.]+", text)[:3]))
            for text in (
                page.evaluate("getComputedStyle(document.querySelector('.plot.large .xtick text')).fill"),
                page.evaluate("getComputedStyle(document.documentElement).backgroundColor"),
            )
        ]

    ink, paper = brightness()
    assert ink < paper
    page.get_by_label("Theme").select_option("dark")
    expect(tick).to_have_css("fill", re.compile(r"rgb\((1[5-9]|2)\d"))
    ink, paper = brightness()
    assert ink > paper
    page.reload()
    expect(tick).to_have_css("fill", re.compile(r"rgb\((1[5-9]|2)\d"))
    ink, paper = brightness()
    assert ink > paper


def test_the_policy_allows_no_code_from_text(page: Page, world: World) -> None:
    """Plotly is not fetched where nothing is plotted, and what is served needs no exception."""
    wanted: list[str] = []
    page.on("request", lambda request: wanted.append(urlsplit(request.url).path))
    response = page.goto(world.server.address)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    expect(page.get_by_role("link", name="steered")).to_be_visible()
    assert "/assets/plotly.js" not in wanted


def test_a_trial_is_struck_out(own_world: World, page: Page) -> None:
    study = studies.open_study(own_world.database, "steered")
    number = next(trial.number for trial in study.trials.all() if trial.state == "complete")
    own_world.open(page, f"view=trial&study=steered&trial={number}")
    page.get_by_text("Strike this trial out").click()
    page.get_by_label("Because").fill("the corpus was cut off")
    page.get_by_role("button", name="Strike out").click()
    expect(page.locator("section[aria-label=Summary] .state").first).to_have_text("failed")
    expect(page.get_by_text("Strike this trial out")).to_be_hidden()
    struck = study.trials.get(number)
    assert (struck.reason, struck.message) == ("struck", "struck out, it was complete: the corpus was cut off")


def test_a_study_page_follows_what_is_no_completion(own_world: World, page: Page) -> None:
    study = studies.open_study(own_world.database, "steered")
    own_world.open(page, "view=study&study=steered")
    settled(page)
    best = page.locator(".best h2 a")
    first = best.inner_text()
    with page.expect_response(re.compile("/v1/studies/steered/history")):
        strikes.strike(study, int(first.split()[1]), "it was odd")
    expect(best).not_to_have_text(first)


def test_a_study_that_was_deleted_while_nobody_heard_is_left(own_world: World, page: Page) -> None:
    own_world.open(page, "view=study&study=steered")
    settled(page)
    own_world.server.kill()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    studies.open_study(own_world.database, "steered").delete()
    own_world.server.start()
    expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
