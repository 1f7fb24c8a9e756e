/** A plot with its caption and, for those who cannot see it, its figures as a table. */

import { fill, h } from "./dom.js";
import { table } from "./table.js";

/**
 * @param {string} caption
 * @param {string} label what the plot shows, for screen readers
 * @param {() => [import("./table.js").Column[], any[]]} figures made when the table is opened
 * @returns {{element: HTMLElement, canvas: HTMLElement, refresh: () => void}}
 */
export function figure(caption, label, figures) {
  const canvas = h("div", { class: "plot", role: "img", "aria-label": label });
  const held = h("div");
  const details = h("details", { class: "as-table", ontoggle: () => refresh() }, h("summary", {}, "As a table"), held);
  const refresh = () => { if (details.open) fill(held, table(caption, ...figures())); };
  return { element: h("figure", {}, h("figcaption", {}, caption), canvas, details), canvas, refresh };
}
