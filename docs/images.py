"""Takes the screenshots in docs/images: `python docs/images.py sqlite:///tuner.db`, after (some minutes, two cores, no GPU)

for technique in mdr fb sfb; do tuner sweep -t $technique --over r=1,2,4,6,9 --set max_epochs=8; done
tuner launch -t sfb -n 6 --set max_epochs=12
tuner launch -t beta -n 6 --set max_epochs=8
tuner confirm mdr-grammar-tiny-over-r --seeds 2 --set nll_samples=200
tuner launch -t mdr -n 6 --set max_epochs=8 --detach
"""

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import Server, launch

FOLDER = Path(__file__).parent / "images"
WIDTH = 1280
THREE = "&".join(f"study={name}-grammar-tiny" for name in ("sfb", "mdr", "beta"))
SWEPT = "&".join(f"study={name}-grammar-tiny-over-r" for name in ("sfb", "fb", "mdr"))
PLACE = """
([study, at]) => {
  const graph = document.querySelector(".plot.large > div");
  const { xaxis, yaxis } = graph._fullLayout;
  const box = graph.getBoundingClientRect();
  const trace = graph.data[study];
  return [box.x + xaxis._offset + xaxis.d2p(trace.x[at]), box.y + yaxis._offset + yaxis.d2p(trace.y[at])];
}
"""
"""where a trial is on the screen"""


def nothing(page: Page) -> None:
    del page


def plotted(page: Page) -> None:
    page.wait_for_selector("[data-drawn]")


def all_plotted(page: Page) -> None:
    page.locator(".effects .plot[data-drawn]").nth(2).wait_for()


def pointed_at(page: Page) -> None:
    """A trial under the mouse."""
    plotted(page)
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
    "studies": ("view=studies", 440, nothing),
    "study": ("view=study&study=sfb-grammar-tiny", None, all_plotted),
    "trial": ("view=trial&study=sfb-grammar-tiny&trial=0", 1290, plotted),
    "pareto": (f"view=pareto&{THREE}&log=y&zoom=-0.5,17,0.828,0.935&box=5,14.2,6.9,7.5", 1060, pointed_at),
    "rates": (f"view=rates&{SWEPT}", 640, plotted),
    "new-study": ("view=new", 1140, fixed),
}
"""by file: the view, its height (none: the whole page), what is done before"""


def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server, browser = Server(url, Path(folder)), launch(playwright)
        try:
            for name, (query, height, prepare) in IMAGES.items():
                page = browser.new_page(viewport={"width": WIDTH, "height": height or 900}, color_scheme="light")
                page.goto(f"{server.address}/?{query}")
                page.wait_for_selector(".view:not([aria-busy])")
                prepare(page)
                taken = page.screenshot(full_page=height is None)
                Image.open(BytesIO(taken)).quantize(256).save(FOLDER / f"{name}.png", optimize=True)
                page.close()
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    main(sys.argv[1])
