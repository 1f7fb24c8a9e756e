"""Faults that axe-core finds in a page: names, roles, contrast, structure. Its script is from `axe-playwright-python`."""

from importlib import resources

from playwright.sync_api import Page

SCRIPT = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """
async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id} (${help}) at ${target.join(" ")}: ${failureSummary}`));
}
"""


def violations(page: Page) -> list[str]:
    """All violations of its rules on what the page shows now, each with its place."""
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(SCRIPT)  # by the debugger's protocol, which the page's policy does not bind
    found: list[str] = page.evaluate(RUN)
    return found
