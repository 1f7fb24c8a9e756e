/** Tables. */

import { h } from "./dom.js";
import { number } from "./format.js";

/**
 * @typedef {object} Column
 * @property {string} label
 * @property {(row: any) => any} value a text, a figure or an element
 * @property {boolean} [figure] aligned as a figure
 * @property {string} [title] what the label means
 * @property {any} [head] what heads it, where that is no text
 */

/**
 * A table in a box of its own that scrolls sideways and that the keyboard reaches.
 * @param {string} caption for screen readers
 * @param {Column[]} columns
 * @param {any[]} rows
 * @param {(row: any) => string|null} [classOf]
 */
export function table(caption, columns, rows, classOf = () => null) {
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.figure && "figure", title: column.title }, column.head ?? column.label)))),
      h("tbody", {}, rows.map((row) => tableRow(columns, row, classOf(row))))));
}

/** One of its rows. */
export function tableRow(columns, row, className) {
  return h("tr", { class: className }, columns.map((column) => {
    const value = column.value(row);
    return h("td", { class: column.figure && "figure", "data-label": column.label }, typeof value === "number" || value == null ? number(value) : value);
  }));
}

/** Two columns of names and values. */
export function facts(entries) {
  return h("dl", { class: "facts" }, entries.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"))));
}
