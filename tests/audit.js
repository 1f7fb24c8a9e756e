/** What a screen reader and poor eyes would miss on a page: names, headings, heads of tables, contrast. */
(leastContrast) => {
  const faults = [];
  const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getBoundingClientRect().width > 1;
  const texts = (elements) => [...elements].map((element) => element?.innerText ?? "").join(" ");
  const nameOf = (element) =>
    [element.getAttribute("aria-label"), texts((element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id))),
      texts(element.labels ?? []), element.innerText, element.title].find((name) => name?.trim());

  const named = "a, button, input, select, textarea, summary, nav, dialog[open], [role=img], [role=progressbar], [role=region]";
  for (const element of document.querySelectorAll(named))
    if (visible(element) && !nameOf(element)) faults.push(`no name: ${element.outerHTML.slice(0, 120)}`);
  if (!document.documentElement.lang) faults.push("no language");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  let level = 0;
  for (const heading of [...document.querySelectorAll("h1, h2, h3, h4")].filter(visible)) {
    if (Number(heading.tagName[1]) > level + 1) faults.push(`a level is skipped before the heading ${heading.innerText}`);
    level = Number(heading.tagName[1]);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids.filter((one, place) => ids.indexOf(one) !== place)) faults.push(`id ${id} twice`);
  for (const table of document.querySelectorAll("main table")) if (!table.querySelector("th[scope=col]")) faults.push("a table without heads");

  const parts = (colour) => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.a === 1) return found;
    }
    throw new Error("nothing is behind the page");
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !visible(element) || element.closest(":disabled, svg, script, noscript, option")) continue;
    const [low, high] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))].sort((one, other) => one - other);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < leastContrast) faults.push(`contrast ${contrast.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
  }
  return faults;
}
