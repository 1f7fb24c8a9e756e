"""Takes the screenshots in docs/images: `python docs/images.py sqlite:///tuner.db`, after (some minutes, two cores, no GPU)

for technique in mdr fb sfb; do tuner sweep -t $technique --over r=1,2,4,6,9 --set max_epochs=8; done
tuner launch -t sfb -n 16 --set max_epochs=12
tuner launch -t beta -n 6 --set max_epochs=8
tuner confirm mdr-grammar-tiny-over-r --seeds 2 --set nll_samples=200
"""

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import Server, launch
from tuner.storage.database import Database
from tuner.workers.broker import DatabaseBroker

FOLDER = Path(__file__).parent / "images"
WIDTH, PHONE = 1280, 390
PHONE_HEIGHT = 1180
TWO = "&".join(f"study={name}-grammar-tiny" for name in ("sfb", "beta"))
SWEPT = "&".join(f"study={name}-grammar-tiny-over-r" for name in ("sfb", "fb", "mdr"))
BEST = "view=study&study=sfb-grammar-tiny"
PLACE = """
([study, at]) => {
  const graph = document.querySelector(".plot.large > div");
  const { xaxis, yaxis } = graph._fullLayout;
  const box = graph.getBoundingClientRect();
  const trace = graph.data[study];
  return [box.x + xaxis._offset + xaxis.d2p(trace.x[at]), box.y + yaxis._offset + yaxis.d2p(trace.y[at])];
}
"""
"""Place of a trial on the screen."""


def nothing(page: Page) -> None:
    del page


def plotted(page: Page) -> None:
    page.wait_for_selector("[data-drawn]")


def all_plotted(page: Page) -> None:
    page.wait_for_function("() => !document.querySelector('main [aria-busy]')")


def parallel(page: Page) -> None:
    """The parallel coordinates alone."""
    all_plotted(page)
    page.locator("#parallel-title").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.getElementById('parallel-title').getBoundingClientRect().top + scrollY - 12)")


def pointed_at(page: Page) -> None:
    """A trial under the mouse."""
    plotted(page)
    if page.viewport_size and page.viewport_size["width"] == PHONE:
        return
    x, y = page.evaluate(PLACE, [0, 4])
    page.mouse.move(x - 30, y)
    page.mouse.move(x, y, steps=4)
    page.locator(".tip").get_by_text("sfb-grammar-tiny/").wait_for()


def fixed(page: Page) -> None:
    """A new study with one hyperparameter fixed."""
    page.get_by_label("Technique").select_option("sfb")
    page.locator("[data-key='fixed.gamma']").get_by_label("fix", exact=True).check()
    page.get_by_label("gamma's fixed value").focus()


IMAGES: dict[str, tuple[str, int | None, Callable[[Page], None]]] = {
    "studies": ("view=studies", 560, nothing),
    "study": (BEST, None, all_plotted),
    "parallel": (f"{BEST}&span=,16.2,nll&axis=r&axis=alpha&axis=gamma&axis=epsilon&axis=rate&axis=nll", 520, parallel),
    "trial": ("view=trial&study=sfb-grammar-tiny&trial=0", 1290, plotted),
    "compare": (
        "view=compare&run=sfb-grammar-tiny/0&run=beta-grammar-tiny/0&run=mdr-grammar-tiny-over-r/2",
        1290,
        plotted,
    ),
    "pareto": (f"view=pareto&{TWO}&box=2,14.2,6.5,7.5", 1060, pointed_at),
    "rates": (f"view=rates&{SWEPT}", 640, plotted),
    "workers": ("view=workers", 360, nothing),
    "new-study": ("view=new", 1140, fixed),
}
"""Pictures by file: the view, its height (none: the whole page), what is done before."""


def taken(page: Page, file: Path, whole: bool) -> None:
    """A picture of a page, of few colours so that it is small."""
    picture = Image.open(BytesIO(page.screenshot(full_page=whole)))
    picture.quantize(128).save(file, optimize=True)


def main(url: str) -> None:
    """Each page on a screen and on a phone, whose picture is cut where it is longer than `PHONE_HEIGHT`."""
    database = Database(url)
    worker = DatabaseBroker(database, "workstation")
    worker.enter("cpu", lambda _: None, print)
    worker.active([])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server, browser = Server(url, Path(folder)), launch(playwright)
        try:
            for name, (query, height, prepare) in IMAGES.items():
                for width, tall, suffix in ((WIDTH, height or 900, ""), (PHONE, PHONE_HEIGHT, "-phone")):
                    worker.active([])  # so that it is heard of
                    page = browser.new_page(viewport={"width": width, "height": tall}, color_scheme="light")
                    page.goto(f"{server.address}/?{query}")
                    page.wait_for_selector(".view:not([aria-busy])")
                    prepare(page)
                    taken(page, FOLDER / f"{name}{suffix}.png", height is None and not suffix)
                    page.close()
        finally:
            browser.close()
            server.kill()
            worker.leave()
            database.close()


if __name__ == "__main__":
    main(sys.argv[1])
