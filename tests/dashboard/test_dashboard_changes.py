"""Changes made from the dashboard, in a real browser: clone, change, try, remark, delete several, and copy the command."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import pytest
from axe import violations
from playwright.sync_api import Page, expect
from seeded import figures, fits, made, settled
from shell import run as shell

from benchmarks.browser import Server
from tuner.storage.database import Database
from tuner.studies import study as studies
from tuner.studies.amendment import amend

HOSTILE = """<img src=x onerror=owned=1> [a](javascript:owned=1) [good](https://example.org/x) **bold** *it* `co<b>de`

- one
- two"""


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(f"sqlite:///{folder}/t.db", create=True)
        made(self.database, folder, "mine", "sfb", 6)
        self.server = Server(self.database.secret_url, folder)

    def open(self, page: Page, query: str = "") -> None:
        page.goto(f"{self.server.address}/?{query}")
        page.wait_for_selector(".view:not([aria-busy])")

    def study(self, name: str = "mine") -> studies.Study:
        return studies.open_study(self.database, name)

    def close(self) -> None:
        self.server.kill()
        self.database.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path)
    yield opened
    opened.close()


def test_budget_and_remarks_change_and_the_note_is_no_markup(page: Page, world: World) -> None:
    world.open(page, "view=study&study=mine")
    expect(page.locator(".lead .state")).to_have_text("finished")
    page.get_by_text("Change budget, rules, note or tags").click()
    expect(page.locator("[data-key=trials] input")).to_have_value("6")
    page.locator("[data-key=trials] input").fill("3")
    change = page.get_by_role("button", name="Change", exact=True)
    change.click()
    expect(page.locator("[data-key=trials] .wrong")).to_have_text(
        "trials = 3 is too few: the study has 6 trials already."
    )
    page.locator("[data-key=trials] input").fill("")
    page.locator("[data-key=trials] input").press_sequentially("4-")  # which the browser has as empty
    change.click()
    expect(page.locator("[data-key=trials] .wrong")).to_have_text("This is no number.")
    assert world.study().spec.trials == 6
    page.locator("[data-key=trials] input").fill("20")
    page.get_by_label("Timeout").fill("90")
    page.get_by_label("Note").fill(HOSTILE)
    page.get_by_label("Tags").fill('night, with rain\n β \n\n"two\\nlines"')
    change.click()
    expect(page.locator(".lead .state")).to_have_text("active")
    remark = page.locator(".remark")
    expect(remark.locator("strong")).to_have_text("bold")
    expect(remark.locator("em")).to_have_text("it")
    expect(remark.locator("code")).to_have_text("co<b>de")
    expect(remark.locator("li")).to_have_text(["one", "two"])
    assert remark.locator("a").evaluate_all("all => all.map((a) => a.href)") == ["https://example.org/x"]
    assert remark.locator("img").count() == 0
    assert page.evaluate("typeof owned") == "undefined"
    spec = world.study().spec
    assert (spec.trials, spec.timeout, spec.note, spec.tags, spec.max_failures) == (
        20,
        90.0,
        HOSTILE,
        ("night, with rain", "β", "two\nlines"),
        3,
    )
    expect(page.locator("section[aria-label=Summary] .tags a").first).to_have_text("night, with rain")
    changed = page.get_by_text("Changed.", exact=True)
    expect(changed).to_be_visible()  # the answer has come, and not the event alone

    page.get_by_label("Timeout").fill("")
    page.get_by_label("Tags").fill("night")
    change.click()
    expect(page.locator("section[aria-label=Summary] .tags a")).to_have_text(["night"])
    expect(changed).to_be_visible()
    assert (world.study().spec.timeout, world.study().spec.tags) == (None, ("night",))
    change.click()
    expect(page.get_by_text("Nothing is changed.")).to_be_visible()
    settled(page)
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    fits(page, 390)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator("section[aria-label=Summary] .tags a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
    expect(page.get_by_label("Tag", exact=True)).to_have_value("night")


def test_a_study_is_cloned_with_all_its_settings(page: Page, world: World) -> None:
    study = world.study()
    tags = ["a, b", " c", "d\ne", '"f"', "12"]
    amend(study, {"note": "the *first*\n\none", "tags": tags, "timeout": 90.0, "max_losses": 7})
    world.open(page, "view=study&study=mine")
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("Name")).to_have_value("mine-copy")
    page.get_by_text("As a command and as a file").click()
    file = page.get_by_label("study.toml", exact=True)
    expect(file).to_contain_text('name = "mine-copy"')
    page.locator("[data-key='fixed.gamma']").get_by_label("fix", exact=True).check()
    page.get_by_label("gamma's fixed value").fill("1.25")
    expect(file).to_contain_text("gamma = 1.25")
    found = tomllib.loads(file.inner_text())
    assert (found["note"], found["tags"], found["timeout"]) == ("the *first*\n\none", tags, 90.0)
    words = shlex.split(page.get_by_label("Command", exact=True).inner_text())
    assert words[:2] == ["tuner", "launch"]
    assert words[-2:] == ["--api", world.server.address]
    page.get_by_role("button", name="Create the study").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mine-copy")
    mine, copy = study.spec.plain(), world.study("mine-copy").spec.plain()
    # The space that a row keeps is not asked for again where it is the technique's.
    assert copy.pop("fixed") == {**mine.pop("fixed"), "gamma": 1.25}
    assert copy == mine


def test_a_configuration_is_tried_from_the_study_from_a_row_and_from_a_trial(page: Page, world: World) -> None:
    world.open(page, "view=study&study=mine")
    page.get_by_text("Try a configuration").click()
    page.locator("[data-key='params.r'] input").fill("99")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.locator("[data-key='params.r'] .wrong")).to_contain_text("1 to 30")
    page.locator("[data-key='params.r'] input").fill("7.5")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_text("Trial 6 waits for a worker.")).to_be_visible()
    page.get_by_label("Compare trial 2", exact=True).check()
    page.get_by_role("button", name="Try its values").click()
    wanted = figures("sfb", 2)[0]
    for key, value in wanted.items():
        field = page.locator(f"[data-key='params.{key}']").locator("input, select")
        expect(field).to_have_value(repr(value))
    page.locator("[data-key='params.r'] input").fill("8")
    page.get_by_role("button", name="Enqueue").click()
    page.get_by_role("link", name="Trial 7").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trial 7 of mine")
    page.get_by_text("Try values near these").click()
    expect(page.locator("[data-key='params.r'] input")).to_have_value("8")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_text("Trial 8 waits for a worker.")).to_be_visible()
    assert violations(page) == []
    asked = [trial.params for trial in world.study().trials.all()[6:]]
    assert [params["r"] for params in asked] == [7.5, 8.0, 8.0]
    assert asked[1] == asked[2] == {**wanted, "r": 8.0}
    assert world.study().spec.trials == 9


def test_several_studies_are_found_by_tag_and_deleted(page: Page, world: World) -> None:
    for name in ("one", "two", "three"):
        study = made(world.database, world.folder, name, "beta", 2)
        amend(study, {"tags": ["old"] if name != "three" else ["new"]})
    world.open(page)
    page.get_by_label("Tag", exact=True).fill("old")
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Studies")
    expect(table.locator("tbody tr")).to_have_count(2)
    page.get_by_label("State").select_option("finished")
    expect(table.locator("tbody tr")).to_have_count(2)
    assert violations(page) == []
    for name in ("one", "two"):
        page.get_by_label(f"Choose {name}", exact=True).check()
    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_role("dialog")).to_contain_text("one, two")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No study matches this filter.")).to_be_visible()
    world.open(page, urlencode({"view": "studies"}))
    assert sorted(table.locator("tbody tr td:first-child > a").all_inner_texts()) == ["mine", "three"]


def test_a_trial_fits_a_phone_in_three_screens_and_names_its_collapse(page: Page, world: World) -> None:
    params, metrics = figures("sfb", 0)
    made(world.database, world.folder, "flat", "sfb", 2, metrics={**metrics, "collapsed": True}, params=params)
    page.set_viewport_size({"width": 390, "height": 800})
    world.open(page, "view=trial&study=flat&trial=0")
    page.wait_for_selector("[data-drawn]")
    assert page.evaluate("document.documentElement.scrollHeight") <= 3 * 800
    expect(page.locator(".lead")).to_contain_text("collapsed")
    for heading in ("Hyperparameters", "Figures", "What it writes", "Attempts"):
        section = page.locator("details.fold", has=page.get_by_role("heading", name=heading, exact=True))
        expect(section).not_to_have_attribute("open", "")
        section.locator("summary").first.click()
        expect(section).to_have_attribute("open", "")
    expect(page.get_by_role("region", name="Figures", exact=True)).to_be_visible()
    inks: tuple[tuple[Literal["light", "dark"], str], ...] = (
        ("light", r"\((\d|1[0-4])?\d,"),
        ("dark", r"\((1[5-9]|2\d)\d,"),
    )
    for scheme, ink in inks:
        page.emulate_media(color_scheme=scheme)
        # Plots follow a moment later.
        expect(page.locator(".plot .xtick text").first).to_have_css("fill", re.compile(ink))
        assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    world.open(page, "view=trial&study=flat&trial=0")
    expect(page.get_by_role("region", name="Figures", exact=True)).to_be_visible()
    world.open(page)
    row = page.get_by_role("region", name="Studies").locator("tbody tr", has_text="flat")
    expect(row).to_contain_text("collapsed")
    for command in (["studies"], ["studies", "--api", world.server.address]):
        where = [] if "--api" in command else ["--database", world.database.secret_url]
        assert "best trial collapsed" in shell(*command, *where, cwd=world.folder).stdout
