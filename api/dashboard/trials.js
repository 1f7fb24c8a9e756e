/** A study's trials as a table: sorted, filtered, searched; any columns in any order; saved as it is shown; some compared. */

import { get, Problem, studyPath } from "./api.js";
import { columnPicker } from "./columns.js";
import { csv } from "./csv.js";
import { announce, empty, fill, h, labelled, select, stateOf } from "./dom.js";
import { count, duration, number, withError } from "./format.js";
import { longTable } from "./long.js";
import { save } from "./plot.js";
import { address, go, pathOf } from "./route.js";

const STATES = ["complete", "running", "waiting", "pruned", "failed"];
const COMPARED = 6; // trials side by side at most
const NEWEST = "-number";

/** The server's columns of a study's trials. */
const wanted = (study, columns, where) =>
  pathOf(`${studyPath(study)}/table`, { column: columns.length ? [...new Set(["state", "note", "nll_se", ...columns])] : [], where });

/**
 * The section of the study's page.
 * @param {any} study
 * @param {any[]} metrics
 * @param {ReturnType<import("./route.js").kept>} view
 * @param {{filtered: () => void, again: false | ((number: number) => void)}} hear called when another filter holds; with a trial whose
 *   values are to be tried again, if they may be
 * @param {AbortSignal} signal
 */
export function trialList(study, metrics, view, { filtered, again }, signal) {
  /** @type {any} the server's answer */
  let found = { heads: [], number: [], columns: {}, of: 0, best: null, front: [] };
  let picked = null; // numbers of the trials that another section has chosen
  let rows = []; // places in `found`, as shown
  let texts = null; // what is searched, row by row
  const ticked = new Set();
  const goals = Object.fromEntries(metrics.map((metric) => [metric.key, metric.goal]));
  const heads = () => Object.fromEntries(found.heads.map((head) => [head.key, head]));
  const keys = () => (view.all("column").length ? ["number", ...view.all("column").filter((key) => key !== "number")] : found.heads.filter((head) => head.shown).map((head) => head.key));
  const order = () => view.one("order") || NEWEST;
  const cell = (key, row) => (key === "number" ? found.number[row] : found.columns[key]?.[row] ?? null);
  const front = () => new Set(found.front);

  const shown = (key, row) => {
    const value = cell(key, row);
    if (key === "seconds") return duration(value);
    if (key === "nll") return withError({ nll: value, nll_se: cell("nll_se", row) });
    return typeof value === "number" || value === null ? number(value) : String(value);
  };
  function content(key, row, marks) {
    if (key === "state") return stateOf(cell(key, row));
    if (key === "note" || heads()[key]?.is_text) return cell(key, row);
    if (key !== "number") return shown(key, row);
    const at = found.number[row];
    const mark = at === found.best ? ["★", "the best trial"] : marks.has(at) && ["◆", "on the front"];
    return [mark && h("span", { class: "mark", title: mark[1] }, mark[0], h("span", { class: "unseen" }, ` ${mark[1]} `)), " ",
      h("a", { href: address({ view: "trial", study: study.name, trial: at }) }, at)];
  }

  const list = longTable("Table of trials");
  const nothing = h("div");
  const said = h("p", { class: "note", role: "status" });
  const chip = h("div");
  const wrong = h("p", { class: "wrong", role: "alert" });

  /** The rows that are to be seen, in their order. */
  function arrange() {
    const state = view.one("state");
    const words = view.one("find").toLowerCase();
    texts ??= found.number.map(() => null);
    const shownKeys = keys();
    const text = (row) => { texts[row] ??= shownKeys.map((key) => shown(key, row)).join("\n").toLowerCase(); return texts[row]; };
    rows = [...found.number.keys()].filter((row) => (!state || cell("state", row) === state) && (!picked || picked.has(found.number[row])) && (!words || text(row).includes(words)));
    const key = order().replace(/^-/, "");
    const sign = order().startsWith("-") ? -1 : 1;
    const values = key === "number" ? found.number : found.columns[key];
    if (!values) return;
    const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : Number(a > b)) : typeof a < typeof b ? -1 : 1);
    rows.sort((a, b) => (values[a] === null) - (values[b] === null) || (values[a] === null ? 0 : sign * compare(values[a], values[b])) || found.number[a] - found.number[b]);
  }

  function draw() {
    arrange();
    const marks = front();
    const known = heads();
    const columns = [
      { label: "Compare", value: (row) => h("input", { type: "checkbox", checked: ticked.has(found.number[row]), "aria-label": `Compare trial ${found.number[row]}`, onchange: ({ target }) => tick(found.number[row], target) }) },
      ...keys().map((key) => ({ label: known[key]?.label ?? key, figure: !known[key]?.is_text, value: (row) => content(key, row, marks) })),
    ];
    const classOf = (row) => (found.number[row] === found.best ? "best-trial" : marks.has(found.number[row]) ? "front-trial" : null);
    list.show(columns, rows.length, (place) => rows[place], classOf, [h("th", { scope: "col" }, h("span", { class: "unseen" }, "Compare")), ...keys().map((key) => head(key, known[key]))]);
    list.element.hidden = rows.length === 0;
    fill(nothing, rows.length ? null : empty(found.of ? "No trial fits." : "No trial yet."));
    said.textContent = rows.length === found.of ? count(found.of, "trial") : `${number(rows.length)} of ${count(found.of, "trial")}`;
    fill(chip, picked && h("p", { class: "notice" }, `Only the ${count(picked.size, "trial")} brushed in a plot are shown. `, h("button", { type: "button", onclick: () => pick(null) }, "Show all")));
    performance.mark("listed");
  }
  function head(key, known) {
    const isIt = order().replace(/^-/, "") === key;
    const isDown = order().startsWith("-");
    const first = key === "number" || goals[key] === "max" ? `-${key}` : key;
    const next = !isIt ? first : order() === first ? (isDown ? key : `-${key}`) : NEWEST;
    return h("th", { scope: "col", class: known?.is_text ? null : "figure", "aria-sort": isIt ? (isDown ? "descending" : "ascending") : null },
      h("button", { type: "button", class: "sort", title: known?.meaning, "data-order": next, onclick: () => { view.put({ order: next === NEWEST ? "" : next }, true); draw(); } }, known?.label ?? key, h("span", { "aria-hidden": "true" }, isIt ? (isDown ? " ↓" : " ↑") : "")));
  }

  // What is done with some.
  const compare = h("button", { type: "button", onclick: () => go({ view: "compare", run: [...ticked].map((one) => `${study.name}/${one}`) }) });
  const retry = h("button", { type: "button", onclick: () => again([...ticked][0]) }, "Try its values");
  function tick(at, box) {
    if (box.checked && ticked.size === COMPARED) {
      box.checked = false;
      return announce(`${COMPARED} trials can be compared at most.`);
    }
    ticked[box.checked ? "add" : "delete"](at);
    return offer();
  }
  const offer = () => {
    compare.disabled = ticked.size < 2;
    compare.textContent = ticked.size ? `Compare ${ticked.size}` : "Compare";
    retry.hidden = !again || ticked.size !== 1;
    compare.title = `Tick 2 to ${COMPARED} trials`;
  };
  const asCsv = h("button", { type: "button", onclick: () => {
    const names = keys().flatMap((key) => (key === "nll" ? ["nll", "nll_se"] : [key]));
    save(`${study.name}.csv`, csv([names, ...rows.map((row) => names.map((key) => cell(key, row)))]), "text/csv");
    announce(`${study.name}.csv saved`);
  } }, "CSV");

  // Controls.
  const condition = h("input", { type: "text", size: 26, spellcheck: false, autocomplete: "off", placeholder: "r > 5 and rate > 3", value: view.one("where"), onchange: ({ target }) => filter(target.value.trim()) });
  const find = h("input", { type: "search", size: 14, value: view.one("find"), oninput: ({ target }) => { view.put({ find: target.value }, false); draw(); } });
  const state = select({ onchange: ({ target }) => { view.put({ state: target.value }, true); draw(); } }, [["", "all"], ...STATES], view.one("state"));
  const columns = columnPicker({ fixed: "number", heads: () => found.heads, chosen: keys, choose: (chosen) => { view.put({ column: chosen }, true); return load(); } });
  const element = h("section", { "aria-labelledby": "trials-title" }, h("h2", { id: "trials-title" }, "Trials"),
    h("div", { class: "row controls" }, labelled("Filter", condition), labelled("Search", find), labelled("State", state), columns.element, h("span", { class: "row push" }, retry, compare, asCsv)),
    wrong, chip, said, nothing, list.element);
  offer();

  async function load() {
    const asked = wanted(study.name, view.all("column"), view.one("where"));
    try {
      const answer = await get(asked, signal);
      if (asked !== wanted(study.name, view.all("column"), view.one("where"))) return; // a later one is under way
      found = answer;
      texts = null;
      wrong.textContent = "";
      condition.removeAttribute("aria-invalid");
      columns.refresh();
      draw();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 422) throw error;
      wrong.textContent = error.message;
      condition.setAttribute("aria-invalid", "true");
    }
  }
  /** Shows the trials that fit a condition. */
  async function filter(wanted_) {
    condition.value = wanted_;
    view.put({ where: wanted_ }, true);
    await load();
    if (!condition.hasAttribute("aria-invalid")) filtered();
  }
  /** Shows these trials alone, or all. */
  function pick(numbers) {
    picked = numbers;
    draw();
  }
  return { element, load, pick, filter };
}
