/** A plot with its caption and, for those who cannot see it, its figures as a table; and what saves it. */

import { csv } from "./csv.js";
import { announce, fill, h } from "./dom.js";
import { save } from "./plot.js";
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

/**
 * Buttons that save what is shown.
 * @param {() => string} name of the file, without its kind
 * @param {(format: string) => Promise<string>} image
 * @param {() => any[][]} rows its points
 */
export const saveAs = (name, image, rows) => h("span", { class: "row push", role: "group", "aria-label": "Save as" }, h("span", { class: "muted" }, "Save as"),
  ["png", "svg", "csv"].map((format) => h("button", { type: "button", onclick: async () => {
    const file = `${name()}.${format}`;
    save(file, format === "csv" ? csv(rows()) : await image(format), "text/csv");
    announce(`${file} saved`);
  } }, format.toUpperCase())));
