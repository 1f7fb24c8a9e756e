/** The course of a search: each trial's value by its number, the best so far, and what both are to be held against. */

import { get, Problem, studyPath } from "./api.js";
import { empty, fill, h } from "./dom.js";
import { figure } from "./figure.js";
import { number } from "./format.js";
import { around, axis, counted, farFrom, levelLines, look, plain, plot, reaching, scaled } from "./plot.js";
import { address, go } from "./route.js";
import { colour } from "./theme.js";

const ENDED = { pruned: ["▼", "--pruned"], failed: ["✕", "--failed"] }; // states without a value, and their marks

/** The section of the study's page. */
export function historyOf(study, signal) {
  /** @type {any} the server's answer */
  let found = { number: [], state: [], value: [], note: [], best: [], judged: "NLL", entropy: null, ngram: null };
  let means = { number: [], mean: [], best: [], noise: null };
  const levels = () => [[found.entropy, "exact entropy"], [found.ngram, "n-gram model"]].filter(([value]) => value !== null).map(([value, label]) => ({ value, label }));
  const rows = () => found.number.map((at, place) => ({ at, state: found.state[place], value: found.value[place], best: found.best[place], mean: means.mean[means.number.indexOf(at)] ?? null, note: found.note[place] }));
  const shown = figure("Value by trial, and the best so far", "Each trial's value by its number, with the best so far; the table beneath holds the same", () => [[
    { label: "#", figure: true, value: (row) => h("a", { href: address({ view: "trial", study: study.name, trial: row.at }) }, row.at) },
    { label: "State", value: (row) => row.state },
    { label: found.judged, figure: true, value: (row) => row.value },
    { label: "Best so far", figure: true, value: (row) => row.best },
    ...(means.noise === null ? [] : [{ label: "Mean", figure: true, value: (row) => row.mean }]),
    { label: "Note", value: (row) => row.note },
  ], rows()]);
  const said = h("p", { class: "note" });
  const nothing = h("div");
  const element = h("section", { "aria-labelledby": "history-title" }, h("h2", { id: "history-title" }, "History"), nothing, shown.element, said);

  const rangeOf = () => {
    const isFar = farFrom(found.value, false);
    return reaching(around(found.value.filter((value) => !isFar(value)), false), levels().map(({ value }) => value), false);
  };
  const build = () => {
    const range = rangeOf();
    const style = look(0, 0);
    const line = (name, x, y, more) => ({ type: "scatter", mode: "lines", name, x, y, line: { shape: "hv", width: 2, color: colour("--ink"), ...more }, hovertemplate: `${name} %{y:.4g}<extra></extra>` });
    const points = { type: "scatter", mode: "markers", x: found.number, y: found.value, edge: true, customdata: found.note.map(plain), look: style, marker: { size: found.number.length > 500 ? 5 : 9, opacity: 0.7 }, hovertemplate: "trial %{x}: %{y:.4g} %{customdata}<extra></extra>" };
    const { shapes, annotations } = levelLines(levels(), range, false);
    for (const [state, [mark, tint]] of Object.entries(ENDED)) {
      found.state.forEach((one, place) => { if (one === state) annotations.push({ xref: "x", yref: "paper", x: found.number[place], y: 0, yanchor: "bottom", showarrow: false, text: mark, font: { size: 10, color: colour(tint) } }); });
    }
    const data = [points, line("best so far", found.number, found.best)];
    if (means.noise !== null) data.push(line("lowest mean so far", means.number, means.best, { color: colour("--data-1"), dash: "dash" }));
    return { data, layout: { height: 300, margin: { l: 56, r: 12, t: 12, b: 44 }, shapes, annotations, xaxis: axis("trial", { range: around(found.number.length ? [0, found.number.length - 1] : [], false), ...counted(found.number.length - 1) }), yaxis: axis(`${found.judged} (nats per sentence)`, scaled(range, false)) } };
  };
  function tell() {
    const amounts = Object.entries(ENDED).map(([state, [mark]]) => [found.state.filter((one) => one === state).length, state, mark]).filter(([amount]) => amount);
    const far = found.value.filter(farFrom(found.value, false)).length;
    fill(said, ["The line is the best so far. ", means.noise !== null && `The values are noisy, with a standard deviation inferred as ${means.noise.toPrecision(2)} nats: the dashed line is the lowest mean so far of a process through all of them. `,
      levelLines(levels(), rangeOf(), false).beyond, amounts.map(([amount, state, mark]) => `${mark} ${amount} ${state}. `), far > 0 && `${far} beyond the scale, marked △ at its edge.`]);
  }

  const drawn = plot(shown.canvas, build, signal, (graph) =>
    graph.on("plotly_click", ({ points: [point] }) => { if (point.curveNumber === 0) go({ view: "trial", study: study.name, trial: point.x }); }));
  async function draw() {
    const any = found.value.some((value) => value !== null);
    shown.element.hidden = said.hidden = !any;
    fill(nothing, any ? null : empty("It begins when a trial is complete."));
    shown.refresh();
    tell();
    if (any) await drawn();
  }
  async function load() {
    found = await get(`${studyPath(study.name)}/history`, signal);
    await draw();
    try {
      means = await get(`${studyPath(study.name)}/means`, signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return; // of two objectives there is no mean
    }
    if (means.noise !== null) await draw();
  }
  return { element, load };
}
