/** Which columns a table has, or which axes a plot, and in what order. */

import { fill, h } from "./dom.js";

/**
 * @param {object} wanted
 * @param {() => {key: string, label: string, meaning: string}[]} wanted.heads all that there are
 * @param {() => string[]} wanted.chosen keys of the shown ones, in their order
 * @param {(keys: string[]) => void} wanted.choose is given other ones; none for those that are usual
 * @param {string} [wanted.word] what they are called
 * @param {string|null} [wanted.fixed] the one that is always the first
 */
export function columnPicker({ heads, chosen, choose, word = "Columns", fixed = null }) {
  const items = h("ul", { class: "column-list" });
  const element = h("details", { class: "columns", ontoggle: () => refresh() }, h("summary", {}, word), h("div", { class: "sheet" }, items,
    h("button", { type: "button", onclick: () => choose([]) }, "The usual ones")));
  function refresh() {
    if (!element.open) return;
    const focused = items.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") ?? document.activeElement.value : null;
    const shown = chosen();
    const known = Object.fromEntries(heads().map((head) => [head.key, head]));
    // What is shown is asked for anew at each press: the list may not have been drawn again since the one before.
    const move = (key, by) => {
      const now = chosen();
      const moved = now.filter((one) => one !== key);
      moved.splice(now.indexOf(key) + by, 0, key);
      return choose(moved);
    };
    fill(items, [...shown.filter((key) => key in known), ...Object.keys(known).filter((key) => !shown.includes(key))].map((key) => {
      const place = shown.indexOf(key);
      const { label, meaning } = known[key];
      return h("li", {}, h("label", { class: "check", title: meaning }, h("input", { type: "checkbox", value: key, checked: place >= 0, disabled: key === fixed, onchange: ({ target }) =>
        choose(target.checked ? [...chosen(), key] : chosen().filter((one) => one !== key)) }), label === key ? key : `${label} · ${key}`),
      place >= (fixed ? 1 : 0) && h("span", {}, h("button", { type: "button", "aria-label": `Move ${label} left`, disabled: place === (fixed ? 1 : 0), onclick: () => move(key, -1) }, "↑"),
        h("button", { type: "button", "aria-label": `Move ${label} right`, disabled: place === shown.length - 1, onclick: () => move(key, 1) }, "↓")));
    }));
    if (focused !== null) [...items.querySelectorAll("input, button")].find((one) => focused === (one.getAttribute("aria-label") ?? one.value))?.focus();
  }
  return { element, refresh };
}
