/** Parallel coordinates: a line for each complete trial across axes that are chosen, moved and brushed. */

import { get, studyPath } from "./api.js";
import { columnPicker } from "./columns.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure } from "./figure.js";
import { count, loss, number } from "./format.js";
import { axis, farFrom, plain, plot } from "./plot.js";
import { address, pathOf } from "./route.js";
import { colour } from "./theme.js";

const REACH = 26; // pixels from an axis within which it is taken hold of
const STILL = 4; // pixels: a press that moves no further is a click
const SHADES = 9; // from the best to the worst
const TABLE = 500; // rows of the table beneath
const MANY = 300; // lines from which on they are fainter

/** A brushed stretch of an axis in an address: `low,high,key`, an open end empty. */
const written = (key, [low, high]) => `${low ?? ""},${high ?? ""},${key}`;
const read = (text) => {
  const [, low, high, key] = /^([^,]*),([^,]*),(.*)$/.exec(text) ?? [];
  const ends = [low, high].map((end) => (end === "" ? null : Number(end)));
  return key === undefined || ends.some(Number.isNaN) ? [] : [[key, ends]];
};
const rounded = (value) => Number(value.toPrecision(5));
const quoted = (text) => (text.includes("'") ? `"${text}"` : `'${text}'`);

/**
 * The section of the study's page.
 * @param {any} study
 * @param {any[]} metrics
 * @param {ReturnType<import("./route.js").kept>} view
 * @param {(condition: string) => void} filter shows the trials that fit in the table
 * @param {AbortSignal} signal
 */
export function parallelOf(study, metrics, view, filter, signal) {
  const spaceOf = Object.fromEntries((study.space ?? []).map((parameter) => [parameter.column, parameter]));
  const searched = Object.values(spaceOf).filter((parameter) => parameter.tuned && !(parameter.name in (study.spec?.fixed ?? {}))).map((parameter) => parameter.column);
  const metric = () => view.one("metric") || "nll";
  const keys = () => (view.all("axis").length ? view.all("axis") : [...searched, metric()]);
  const shade = () => view.one("colour") || metric();
  const metricOf = (key) => metrics.find((one) => one.key === key);
  /** @type {any} the server's answer */
  let found = { heads: [], number: [], columns: {} };
  const nameOf = (key) => found.heads.find((head) => head.key === key)?.label ?? key;
  const values = (key) => (key === "number" ? found.number : found.columns[key] ?? []);
  const spans = () => new Map(view.all("span").flatMap(read));

  /** An axis's values as shares of its length; those of the few that lie far from all others are at its ends. */
  function scaleOf(key) {
    const all = values(key);
    const { kind, log: isLog = false, choices } = spaceOf[key] ?? {};
    const kinds = kind === "categorical" ? choices.map(String) : all.some((value) => typeof value === "string" || typeof value === "boolean") ? [...new Set(all.filter((value) => value !== null).map(String))].sort() : null;
    const at = (value) => (value === null ? null : kinds ? kinds.indexOf(String(value)) : value);
    const on = (place) => (isLog ? Math.log10(place) : place);
    const isFar = kinds ? () => false : farFrom(all, isLog);
    const near = all.filter((value) => value !== null && !isFar(value)).map((value) => on(at(value)));
    let [low, high] = kinds ? [-0.5, kinds.length - 0.5] : [near.reduce((a, b) => Math.min(a, b), Infinity), near.reduce((a, b) => Math.max(a, b), -Infinity)];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const share = (place) => Math.min(1, Math.max(0, (on(place) - low) / (high - low)));
    const back = (part) => { const place = low + part * (high - low); return isLog ? 10 ** place : place; };
    const end = (which) => (kinds ? plain(kinds.at(which ? -1 : 0)) : near.length ? number(rounded(back(which))) : "–");
    return { key, kinds, at, share, back, end };
  }
  /** Whether a trial is within all brushed stretches; null without one. */
  function brushed() {
    const own = [...spans()].filter(([key]) => values(key).length);
    if (!own.length) return null;
    const tests = own.map(([key, [low, high]]) => [values(key), scaleOf(key).at, low ?? -Infinity, high ?? Infinity]);
    return (row) => tests.every(([all, at, low, high]) => { const place = at(all[row]); return place !== null && place >= low && place <= high; });
  }
  /** The brushed trials as a condition of the table's filter. */
  function condition() {
    const parts = [...spans()].filter(([key]) => values(key).length).map(([key, [low, high]]) => {
      const { kinds } = scaleOf(key);
      if (!kinds) return [low !== null && `${key} >= ${low}`, high !== null && `${key} <= ${high}`].filter(Boolean).join(" and ");
      const isText = found.heads.find((head) => head.key === key)?.is_text;
      const chosen = kinds.filter((_, place) => place >= (low ?? -Infinity) && place <= (high ?? Infinity)).map((kind) => `${key} = ${isText ? quoted(kind) : kind}`);
      return chosen.length > 1 ? `(${chosen.join(" or ")})` : chosen.join();
    });
    return ["state = complete", ...parts].filter(Boolean).join(" and ");
  }

  const shown = figure("Complete trials across the axes", "A line for each complete trial through its hyperparameters and figures; the table beneath holds the same", () => {
    const isIn = brushed();
    const rows = [...found.number.keys()].filter((row) => !isIn || isIn(row)).slice(0, TABLE);
    return [[{ label: "#", figure: true, value: (row) => h("a", { href: address({ view: "trial", study: study.name, trial: found.number[row] }) }, found.number[row]) },
      ...keys().map((key) => ({ label: nameOf(key), figure: true, value: (row) => { const value = values(key)[row]; return typeof value === "number" || value == null ? value : String(value); } }))], rows];
  });
  const band = h("div", { class: "band", hidden: true });
  const nothing = h("div");
  const said = h("p", { class: "note", role: "status" });

  /** Of each trial, from 0, the best, to 1: its rank by the figure that colours. */
  function ranks() {
    const all = values(shade());
    const goal = metricOf(shade())?.goal;
    const order = [...all.keys()].filter((row) => typeof all[row] === "number").sort((a, b) => loss(all[a], goal) - loss(all[b], goal));
    const found_ = new Map();
    order.forEach((row, place) => found_.set(row, order.length > 1 ? place / (order.length - 1) : 0));
    return found_;
  }
  function tints() {
    const [best, worst] = ["--data-0", "--data-1"].map((name) => colour(name).match(/[\d.]+/g).map(Number));
    return Array.from({ length: SHADES }, (_, at) => `rgb(${best.slice(0, 3).map((part, channel) => Math.round(part + (worst[channel] - part) * at / (SHADES - 1))).join()})`);
  }

  const build = (width) => {
    const scales = keys().map(scaleOf);
    const isIn = brushed();
    const rank = ranks();
    const ramp = tints();
    const faint = found.number.length > MANY ? 0.25 : 0.6;
    const strokes = [...found.number.keys()].map((row) => {
      const isOut = isIn && !isIn(row);
      const share = rank.get(row);
      return { row, rank: share ?? 1, isOut, x: [...scales.keys()], y: scales.map(({ key, at, share: on }) => { const place = at(values(key)[row]); return place === null ? null : on(place); }),
        colour: isOut || share === undefined ? colour("--muted") : ramp[Math.round(share * (SHADES - 1))], width: isIn && !isOut ? 1.75 : 1, opacity: isOut ? 0.1 : isIn ? 0.9 : faint };
    }).sort((a, b) => Number(b.isOut) - Number(a.isOut) || b.rank - a.rank); // the best last, above the others
    const end = (at, y, text) => ({ x: at, y, text, showarrow: false, yshift: y ? 12 : -12, bgcolor: colour("--paper"), font: { size: 11, color: colour("--muted") } });
    const own = spans();
    const shapes = scales.flatMap(({ key, share }, at) => {
      const span = own.get(key);
      if (!span) return [];
      const [low, high] = span.map((place, which) => (place === null ? which : share(place)));
      return [{ type: "rect", xref: "x", yref: "y", xsizemode: "pixel", xanchor: at, x0: -8, x1: 8, y0: low, y1: high, line: { width: 1.5, color: colour("--ink") }, fillcolor: "rgba(128, 128, 128, 0.25)" }];
    });
    return { strokes, data: [{ type: "scatter", mode: "none", hoverinfo: "skip", x: [0, scales.length - 1], y: [0, 1] }], layout: {
      height: 320, margin: { l: 30, r: 30, t: 24, b: 40 }, hovermode: false, dragmode: false, shapes,
      xaxis: axis("", { tickvals: [...scales.keys()], ticktext: scales.map(({ key }) => plain(nameOf(key))), ticks: "", showline: false, gridcolor: colour("--edge"), range: [-0.4, scales.length - 0.6], tickangle: width < 500 ? -40 : 0, ticklabelstandoff: 18, fixedrange: true }),
      yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true }, annotations: scales.flatMap((one, at) => [end(at, 0, one.end(0)), end(at, 1, one.end(1))]),
    } };
  };

  /** A press on an axis brushes it, a press on a name moves it; `step` hears the pointer until it is let go. */
  function listen(graph) {
    const place = (event) => {
      const { xaxis, yaxis } = graph._fullLayout;
      const frame = graph.getBoundingClientRect();
      return { xaxis, yaxis, left: event.clientX - frame.left - xaxis._offset, top: event.clientY - frame.top - yaxis._offset };
    };
    const near = ({ xaxis, left }) => Math.min(keys().length - 1, Math.max(0, Math.round(xaxis.p2d(left))));
    const put = (changes) => { for (const [side, value] of Object.entries(changes)) band.style[side] = `${value}px`; band.hidden = false; };
    shown.canvas.style.touchAction = "none"; // a finger brushes as a mouse does
    shown.canvas.addEventListener("pointerdown", (event) => {
      const from = place(event);
      const at = near(from);
      if (event.button || Math.abs(from.xaxis.d2p(at) - from.left) > REACH) return;
      const isName = from.top > from.yaxis._length + 4;
      const middle = (index) => from.xaxis._offset + from.xaxis.d2p(index);
      const step = (now) => {
        const to = place(now);
        if (isName) put({ left: middle(near(to)) - 2, top: from.yaxis._offset, width: 4, height: from.yaxis._length });
        else put({ left: middle(at) - 8, top: from.yaxis._offset + Math.min(from.top, to.top), width: 16, height: Math.abs(to.top - from.top) });
      };
      const over = (now) => {
        for (const [name, heard] of [["pointermove", step], ["pointerup", over], ["pointercancel", over]]) removeEventListener(name, heard);
        band.hidden = true;
        const to = place(now);
        if (now.type === "pointercancel") return;
        if (isName) move(at, near(to));
        else brush(keys()[at], Math.abs(to.top - from.top) <= STILL ? null : [from.top, to.top].map((top) => from.yaxis.p2d(top)).sort((a, b) => a - b));
      };
      for (const [name, heard] of [["pointermove", step], ["pointerup", over], ["pointercancel", over]]) addEventListener(name, heard, { signal });
      event.preventDefault();
    });
    shown.canvas.addEventListener("pointermove", (event) => {
      const at = place(event);
      shown.canvas.style.cursor = Math.abs(at.xaxis.d2p(near(at)) - at.left) > REACH ? "" : at.top > at.yaxis._length + 4 ? "ew-resize" : "ns-resize";
    });
  }
  /** Brushes an axis from one share of its length to another; without any clears it. */
  function brush(key, shares) {
    const own = spans();
    const { back, kinds } = scaleOf(key);
    // An end beyond the axis is open, so that those that lie far are within.
    const ends = shares?.map((part, which) => (which ? part >= 1 : part <= 0) ? null : kinds ? Math.round(back(part) + (which ? -0.5 : 0.5)) : rounded(back(part)));
    if (ends && ends.some((value) => value !== null)) own.set(key, ends); else own.delete(key);
    return keep(own);
  }
  const keep = (own) => { view.put({ span: [...own].map(([key, ends]) => written(key, ends)) }, true); return draw(); };
  function move(from, to) {
    if (from === to) return;
    const moved = keys();
    moved.splice(to, 0, ...moved.splice(from, 1));
    view.put({ axis: moved }, true);
    axes.refresh();
    draw();
  }

  const drawn = plot(shown.canvas, build, signal, (graph) => { shown.canvas.append(band); listen(graph); });
  async function draw() {
    const any = found.number.length > 1 && keys().length > 1;
    shown.element.hidden = said.hidden = !any;
    fill(nothing, any ? null : empty("They appear when two trials are complete."));
    shown.refresh();
    const isIn = brushed();
    const amount = isIn && [...found.number.keys()].filter(isIn).length;
    fill(said, !any ? null : isIn ? [`${number(amount)} of ${count(found.number.length, "trial")} brushed. `, h("button", { type: "button", disabled: !amount, onclick: () => filter(condition()) }, "Show in the table"), " ",
      h("a", { class: "button", href: address({ view: "pareto", study: study.name, where: condition() }) }, "Show on the Pareto page"), " ", h("button", { type: "button", onclick: () => keep(new Map()) }, "Clear")]
      : ["Drag along an axis to brush it, and click it to clear it; drag a name to move its axis."],
    any && [" ", h("span", { class: "check" }, "Best ", h("span", { class: "ramp", "aria-hidden": "true" }), " worst"), `, by the rank in ${nameOf(shade())}.`]);
    boxes();
    if (any) await drawn();
  }

  // The same by keyboard.
  const which = select({ onchange: () => boxes() }, []);
  const inputs = ["from", "to"].map((word) => h("input", { type: "number", step: "any", "aria-label": `Brush ${word}`, onchange: () => type(inputs) }));
  const choices = ["First", "Last"].map((word) => select({ "aria-label": `${word} kind`, onchange: () => type(choices) }, [])); // of an axis that has kinds
  function type(controls) {
    const ends = controls.map(({ value }) => (value === "" ? null : Number(value)));
    const own = spans();
    if (ends.some((end) => end !== null)) own.set(which.value, ends); else own.delete(which.value);
    return keep(own);
  }
  let boxed = ""; // what they show: a live update takes nothing away that is being typed
  function boxes() {
    const own = keys();
    const chosen = own.includes(which.value) ? which.value : own[0];
    const span = spans().get(chosen);
    const { kinds } = scaleOf(chosen);
    const wanted = JSON.stringify([own.map((key) => [key, nameOf(key)]), chosen, kinds, span]);
    if (wanted === boxed) return;
    boxed = wanted;
    fill(which, own.map((key) => h("option", { value: key }, nameOf(key))));
    which.value = chosen;
    for (const one of choices) fill(one, h("option", { value: "" }, "any"), kinds?.map((kind, at) => h("option", { value: at }, kind)));
    for (const controls of [inputs, choices]) {
      controls.forEach((one, at) => { [one.value, one.hidden] = [span?.[at] ?? "", (controls === choices) !== Boolean(kinds)]; });
    }
  }
  const shades = select({ onchange: ({ target }) => { view.put({ colour: target.value }, true); return load(); } }, metrics.map((one) => [one.key, one.label]), shade());
  const axes = columnPicker({ word: "Axes", heads: () => found.heads, chosen: keys, choose: (chosen) => { view.put({ axis: chosen }, true); return load(); } });
  const element = h("section", { "aria-labelledby": "parallel-title" }, h("h2", { id: "parallel-title" }, "Parallel coordinates"),
    h("div", { class: "row controls" }, labelled("Colour by", shades), axes.element), nothing, shown.element, said,
    h("details", { class: "by-figures" }, h("summary", {}, "Brush by figures"), h("div", { class: "row controls" }, labelled("Axis", which), inputs[0], choices[0], "–", inputs[1], choices[1])));

  async function load() {
    const wanted = () => pathOf(`${studyPath(study.name)}/table`, { column: [...new Set([...keys(), shade()])], where: "state = complete" });
    const asked = wanted();
    const answer = await get(asked, signal);
    if (asked !== wanted()) return; // a later one is under way
    found = answer;
    shades.value = shade();
    axes.refresh();
    await draw();
  }
  return { element, load };
}
