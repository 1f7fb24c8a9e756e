"""The surface of a process over two hyperparameters: it goes through what is known, knows what it does not, and is drawn."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import application
from axe import violations
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from seeded import made, settled, trial_row
from sqlalchemy import insert
from stub_study import SQLITE, Make

from benchmarks.browser import Server
from tuner.analysis import surface
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies.study import Study

COUNT = 40


def bowl(study: Study, count: int) -> None:
    """Complete trials in the left half of r, whose values are lowest at r = 8 and do not depend on alpha."""
    rows = []
    for number in range(count):
        share = (number * 0.618034) % 1
        params = {"r": 1 + 14 * share, "alpha": 10 ** (-3 + 2 * ((number * 0.7548) % 1)), "gamma": 1.2, "epsilon": 0.75}
        value = 15 + 0.05 * (params["r"] - 8) ** 2
        rows.append(trial_row(study, number, params=params, value=value, values=[value]))
    study.database.run(lambda session: session.execute(insert(TrialRow), rows))


@SQLITE
def test_it_is_low_where_values_are_and_unsure_where_none_are(make: Make, database: Database) -> None:
    bowl(make(COUNT), COUNT)
    found = surface.of(database.secret_url, "s", "r", "alpha")
    assert (len(found["mean"]), len(found["mean"][0])) == (len(found["ys"]), len(found["xs"])) == (24, 24)
    assert (found["xs"][0], found["xs"][-1]) == (1.0, 30.0)
    assert found["ys"][1] / found["ys"][0] == pytest.approx(found["ys"][-1] / found["ys"][-2])  # alpha is logarithmic
    row = found["mean"][12]
    lowest = found["xs"][min(range(24), key=row.__getitem__)]
    assert lowest == pytest.approx(8, abs=1.5)
    for at in range(0, 11, 2):
        assert row[at] == pytest.approx(15 + 0.05 * (found["xs"][at] - 8) ** 2, abs=0.3)
    assert found["sd"][12][22] > 3 * found["sd"][12][5]
    assert set(found["at"]) == {"gamma", "epsilon"}
    assert all(math.isfinite(value) for line in found["sd"] for value in line)


@SQLITE
def test_slices_lie_on_the_surface(make: Make, database: Database) -> None:
    """Tests the process that the surface is of: along r its mean is the bowl's, and it knows nothing where no trial is."""
    bowl(make(COUNT), COUNT)
    found = surface.slices(database.secret_url, "s")
    assert found["figures"] == ["value", "nll"]
    along = {item["name"]: item for item in found["items"]}
    assert set(along) == {"alpha", "epsilon", "gamma", "r"}
    own = along["r"]
    known = [at for at, value in enumerate(own["values"]) if value < 14]
    for at in known:
        assert own["mean"][at] == pytest.approx(15 + 0.05 * (own["values"][at] - 8) ** 2, abs=0.3)
    assert own["sd"][-1] > 3 * max(own["sd"][at] for at in known)
    assert max(along["alpha"]["mean"]) - min(along["alpha"]["mean"]) < 0.3
    whole = surface.of(database.secret_url, "s", "r", "alpha")
    assert (whole["best"], whole["noise"]) == (found["best"], pytest.approx(found["noise"]))


@SQLITE
def test_what_has_no_surface(make: Make, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(COUNT)
    bowl(study, 4)
    with pytest.raises(Usage, match="has 4 complete trials: a surface takes 10"):
        surface.of(database.secret_url, "s", "r", "alpha")
    with pytest.raises(Usage, match="has 4 complete trials: slices take 10"):
        surface.slices(database.secret_url, "s")
    for x, y in (("r", "r"), ("r", "nix"), ("nix", "r")):
        with pytest.raises(Usage, match="choose two of alpha, epsilon, gamma, r"):
            surface.of(database.secret_url, "s", x, y)
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        refused = client.get("/v1/studies/s/surface?x=r&y=alpha")
        assert (refused.status_code, "takes 10" in refused.json()["detail"]) == (422, True)
        assert client.get("/v1/studies/s/surface?x=r").status_code == 422


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    made(database, tmp_path, "mine", "sfb", COUNT)
    made(database, tmp_path, "few", "sfb", 3)
    server = Server(database.secret_url, tmp_path)
    yield server.address
    server.kill()
    database.close()


def test_the_surface_in_a_browser(page: Page, address: str) -> None:
    page.goto(f"{address}/?view=study&study=mine")
    section = page.locator("section", has=page.locator("#surface-title"))
    expect(section.locator(".plot")).to_have_attribute("data-drawn", str(2 * COUNT))
    expect(section).to_contain_text("another seed is expected to move a value by")
    section.get_by_label("Up").select_option("gamma")
    expect(section.locator(".ytitle")).to_have_text("gamma")
    page.reload()
    expect(section.locator(".ytitle")).to_have_text("gamma")
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr")).to_have_count(24 * 24)
    section.get_by_label("Up").select_option("r")
    expect(section).to_contain_text("choose two of")
    settled(page)
    assert violations(page) == []
    page.goto(f"{address}/?view=study&study=few")
    expect(section).to_contain_text("has 3 complete trials: a surface takes 10")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{address}/?view=study&study=mine")
    expect(section.locator(".plot")).to_have_attribute("data-drawn", str(2 * COUNT))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(section.locator(".plot")).to_have_attribute("data-drawn", str(2 * COUNT))
