/** A table of very many rows: only those in sight are elements, so that 10,000 scroll as ten do. */

import { h, renew } from "./dom.js";
import { tableRow } from "./table.js";

const ROW = 31; // pixels, as in page.css
const SPARE = 8; // rows above and below what is in sight
const SHORT = 40; // rows that are all drawn
const LOW = 15; // rows for which the box is as high as they are

/**
 * @param {string} caption for screen readers
 * @returns {{element: HTMLElement, show: (columns: object[], count: number, rowAt: (place: number) => any, classOf: (row: any) => string|null, heads: Node[]) => void}}
 */
export function longTable(caption) {
  const head = h("thead");
  const body = h("tbody");
  const table = h("table", {}, h("caption", { class: "unseen" }, caption), head, body);
  const element = h("div", { class: "scroll long", role: "region", "aria-label": caption, tabindex: 0 }, table);
  let shown = { columns: [], count: 0, rowAt: () => null, classOf: () => null };
  let drawn = "";
  const gap = (rows) => rows > 0 && h("tr", { class: "gap", "aria-hidden": "true" }, h("td", { colspan: shown.columns.length, style: `height: ${rows * ROW}px` }));

  function draw(always) {
    const { columns, count, rowAt, classOf } = shown;
    const isShort = count <= SHORT;
    const first = Math.min(Math.floor(element.scrollTop / ROW), count - Math.ceil(element.clientHeight / ROW)); // of fewer rows than were scrolled past
    const from = isShort ? 0 : Math.max(0, first - SPARE);
    const to = isShort ? count : Math.min(count, Math.ceil((element.scrollTop + element.clientHeight) / ROW) + SPARE);
    const place = `${from} ${to}`;
    if (!always && place === drawn) return;
    drawn = place;
    renew(body, gap(from), Array.from({ length: Math.max(0, to - from) }, (_, at) => {
      const row = rowAt(from + at);
      const made = tableRow(columns, row, classOf(row));
      made.setAttribute("aria-rowindex", from + at + 2);
      return made;
    }), gap(count - to));
    if (!isShort) for (const cell of head.firstChild.children) cell.style.minWidth = `${Math.max(cell.offsetWidth, parseFloat(cell.style.minWidth) || 0)}px`; // so that columns do not jump
  }
  element.addEventListener("scroll", () => draw(false), { passive: true });
  new ResizeObserver(() => draw(false)).observe(element);

  return { element, show: (columns, count, rowAt, classOf, heads) => {
    shown = { columns, count, rowAt, classOf };
    element.classList.toggle("short", count <= LOW);
    table.setAttribute("aria-rowcount", count + 1);
    renew(head, h("tr", {}, heads));
    draw(true);
  } };
}
