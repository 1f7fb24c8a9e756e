/** What the hyperparameters do: importance, slices and parallel coordinates of a study's complete trials. */

import { get, Problem, studyPath } from "./api.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure } from "./figure.js";
import { number } from "./format.js";
import { around, axis, farFrom, look, plain, plot, scaled } from "./plot.js";
import { colour } from "./theme.js";

const CELL = 250; // width of a small plot
const LINES = 500; // of parallel coordinates: the best trials
const SHADES = 8;

/** The section of the study's page. */
export function effectsOf(study, metrics, view, signal) {
  let metric = metrics.find((one) => one.key === (view.one("metric") || "nll")) ?? metrics[0];
  let importance = [];
  let trials = { numbers: [], params: {}, values: [] };
  const names = () => Object.keys(trials.params);
  const spaceOf = Object.fromEntries((study.space ?? []).map((parameter) => [parameter.name, parameter]));
  const rows = () => trials.numbers.map((number_, place) => ({ number: number_, value: trials.values[place], params: Object.fromEntries(names().map((key) => [key, trials.params[key][place]])) }));
  const columns = () => [
    { label: "#", figure: true, value: (row) => row.number },
    ...names().map((key) => ({ label: key, figure: true, value: (row) => row.params[key] })),
    { label: metric.label, figure: true, value: (row) => row.value },
  ];
  const bars = figure("Importance", "How much of the metric's variation each hyperparameter explains, as bars",
    () => [[{ label: "Hyperparameter", value: (row) => row.name }, { label: "Importance", figure: true, value: (row) => row.importance }], importance]);
  const slices = figure("Slices", "Each hyperparameter against the metric, a point a trial", () => [columns(), rows()]);
  const lines = figure("Parallel coordinates; better trials are stronger", "A line for each trial through its hyperparameters and its metric", () => [columns(), rows()]);
  bars.element.hidden = true;
  const why = h("p", { class: "note" });
  const nothing = h("div");
  const plots = h("div", { class: "effects", hidden: true }, slices.element, lines.element, bars.element, why);
  const choose = ({ target }) => {
    metric = metrics.find((one) => one.key === target.value);
    view.put({ metric: metric.key }, true);
    return load();
  };
  const element = h("section", { "aria-labelledby": "effects-title" }, h("h2", { id: "effects-title" }, "What the hyperparameters do"),
    h("div", { class: "row controls" }, labelled("Metric", select({ onchange: choose }, metrics.map((one) => [one.key, one.label]), metric.key))), nothing, plots);

  const buildBars = () => {
    const sorted = [...importance].sort((a, b) => a.importance - b.importance);
    return {
      data: [{ type: "bar", orientation: "h", x: sorted.map((one) => one.importance), y: sorted.map((one) => plain(one.name)), marker: { color: colour("--data-0") }, hovertemplate: "%{y}: %{x:.3f}<extra></extra>" }],
      layout: { height: 60 + 28 * sorted.length, xaxis: axis("share of the variation", { rangemode: "tozero" }), yaxis: axis("", { ticks: "", showgrid: false, type: "category" }), bargap: 0.35 },
    };
  };
  const buildSlices = (width) => {
    const across = Math.max(1, Math.min(names().length, Math.floor(width / CELL)));
    const down = Math.ceil(names().length / across);
    const style = look(0, 0);
    const size = trials.numbers.length > 500 ? 5 : 9;
    const isFar = farFrom(trials.values, false);
    const layout = { height: 40 + 230 * down, grid: { rows: down, columns: across, pattern: "independent", xgap: 0.22, ygap: 0.3 } };
    const data = names().map((key, place) => {
      const at = place ? place + 1 : "";
      const kinds = spaceOf[key]?.kind === "categorical" ? spaceOf[key].choices.map((choice) => plain(choice)) : null;
      const isLog = spaceOf[key]?.log ?? false;
      layout[`xaxis${at}`] = kinds ? axis(key, { type: "category", categoryarray: kinds, range: [-0.5, kinds.length - 0.5] })
        : axis(key, { nticks: 5, ...scaled(around(trials.params[key], isLog), isLog) });
      layout[`yaxis${at}`] = axis(place % across ? "" : metric.label, { range: around(trials.values.filter((value) => !isFar(value)), false) });
      return {
        type: "scatter", mode: "markers", x: kinds ? trials.params[key].map((value) => plain(value)) : trials.params[key], y: trials.values, edge: true, customdata: trials.numbers,
        xaxis: `x${at}`, yaxis: `y${at}`, look: style, marker: { size, opacity: 0.7 }, hovertemplate: "trial %{customdata}: %{x}, %{y:.4g}<extra></extra>",
      };
    });
    return { data, layout };
  };
  const buildLines = (width) => {
    const best = rows().sort((a, b) => (metric.goal === "max" ? b.value - a.value : a.value - b.value)).slice(0, LINES);
    const dimensions = [...names().map((key) => dimension(key, best.map((row) => row.params[key]), spaceOf[key])), dimension(metric.label, best.map((row) => row.value))];
    // As many traces as shades: a line of each trial in its own would be an element each.
    const shades = Math.min(SHADES, best.length);
    const data = Array.from({ length: shades }, (_, shade) => {
      const mine = best.map((_, at) => at).filter((at) => Math.floor((at * shades) / best.length) === shades - 1 - shade);
      return {
        type: "scatter", mode: "lines", hoverinfo: "skip", x: mine.flatMap(() => [...dimensions.keys(), null]), y: mine.flatMap((at) => [...dimensions.map((one) => one.shares[at]), null]),
        line: { color: colour("--data-0"), width: 1 + shade / shades }, opacity: 0.12 + (0.78 * (shade + 1)) / shades,
      };
    });
    const end = (at, y, text) => ({ x: at, y, text, showarrow: false, yshift: y ? 12 : -12, bgcolor: colour("--paper"), font: { size: 11, color: colour("--muted") } });
    return { data, layout: {
      height: 300, margin: { l: 40, r: 40, t: 24, b: 40 },
      xaxis: axis("", { tickvals: [...dimensions.keys()], ticktext: dimensions.map((one) => plain(one.label)), ticks: "", showline: false, gridcolor: colour("--edge"), range: [-0.15, dimensions.length - 0.85], tickangle: width < 500 ? -40 : 0, ticklabelstandoff: 18 }),
      yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true }, annotations: dimensions.flatMap((one, at) => [end(at, 0, one.low), end(at, 1, one.high)]),
    } };
  };
  const drawings = new Map();
  async function drawn(one, build) {
    one.refresh();
    if (drawings.has(one)) await drawings.get(one).draw();
    else drawings.set(one, await plot(one.canvas, build, signal));
  }
  /** The importances of thousands of trials take seconds, so the plots of the trials themselves do not wait for them. */
  async function load() {
    const wanted = new URLSearchParams({ study: study.name, x: metric.key, y: metric.key, split: "valid" });
    const weights = get(`${studyPath(study.name)}/importance?metric=${encodeURIComponent(metric.key)}`, signal);
    weights.catch(() => {}); // awaited below
    const [mine] = (await get(`/v1/pareto?${wanted}`, signal)).studies;
    const searched = Object.entries(mine.params).filter(([key]) => !(key in (study.spec?.fixed ?? {})));
    trials = { numbers: mine.number, values: mine.y, params: Object.fromEntries(searched) };
    const enough = trials.numbers.length >= 2 && names().length > 0;
    plots.hidden = !enough;
    fill(nothing, enough ? null : empty(names().length || !trials.numbers.length ? "Plots appear when two trials are complete." : "Nothing is tuned in this study."));
    if (!enough) return;
    await drawn(slices, buildSlices);
    await drawn(lines, buildLines);
    fill(why);
    importance = await weights.then(({ items }) => items, (error) => {
      if (!(error instanceof Problem)) throw error;
      fill(why, error.message); // there are too few trials, say
      return [];
    });
    bars.element.hidden = importance.length === 0;
    if (importance.length) await drawn(bars, buildBars);
  }
  return { element, load };
}

/** A hyperparameter or metric as shares of the way from its lowest to its highest value. */
function dimension(label, values, parameter) {
  const kinds = values.some((value) => typeof value !== "number") ? [...new Set(values.map(String))].sort() : null;
  const scaled = kinds ? values.map((value) => kinds.indexOf(String(value))) : parameter?.log ? values.map(Math.log10) : values;
  const low = Math.min(...scaled);
  const high = Math.max(...scaled);
  const name = (at) => (kinds ? plain(kinds[at]) : number(parameter?.log ? 10 ** at : at));
  return { label, low: name(low), high: name(high), shares: scaled.map((value) => (high > low ? (value - low) / (high - low) : 0.5)) };
}
