/** What the hyperparameters do: slices of a study's complete trials, with the process through them, and importance. */

import { get, Problem, studyPath } from "./api.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure } from "./figure.js";
import { count, number } from "./format.js";
import { around, axis, farFrom, look, plain, plot, scaled } from "./plot.js";
import { colour } from "./theme.js";

const CELL = 250; // width of a small plot
const SURE = 1.96; // standard deviations on either side that hold 95 %

/**
 * The section of the study's page.
 * @param {any} study
 * @param {any[]} metrics
 * @param {ReturnType<import("./route.js").kept>} view
 * @param {() => void} changed is called when another metric is chosen
 * @param {AbortSignal} signal
 */
export function effectsOf(study, metrics, view, changed, signal) {
  let metric = metrics.find((one) => one.key === (view.one("metric") || "nll")) ?? metrics[0];
  let importance = { trials: 0, least: 0, items: [] };
  let process = null; // the server's answer: mean and deviation along each hyperparameter
  let trials = { numbers: [], params: {}, values: [] };
  const names = () => Object.keys(trials.params);
  const spaceOf = Object.fromEntries((study.space ?? []).map((parameter) => [parameter.name, parameter]));
  const rows = () => trials.numbers.map((number_, place) => ({ number: number_, value: trials.values[place], params: Object.fromEntries(names().map((key) => [key, trials.params[key][place]])) }));
  const columns = () => [
    { label: "#", figure: true, value: (row) => row.number },
    ...names().map((key) => ({ label: key, figure: true, value: (row) => row.params[key] })),
    { label: metric.label, figure: true, value: (row) => row.value },
  ];
  const bars = figure("Importance", "How much each hyperparameter tells the best tenth of the trials from all of them, as bars",
    () => [[{ label: "Hyperparameter", value: (row) => row.name }, { label: "Importance", figure: true, value: (row) => row.importance },
      { label: "Error (sd over resamples)", figure: true, value: (row) => row.error }], importance.items]);
  const slices = figure("Slices", "Each hyperparameter against the metric, a point a trial", () => [columns(), rows()]);
  bars.element.hidden = true;
  const model = h("p", { class: "note" });
  const why = h("p", { class: "note" });
  const nothing = h("div");
  const plots = h("div", { class: "effects", hidden: true }, slices.element, model, bars.element, why);
  const choose = ({ target }) => {
    metric = metrics.find((one) => one.key === target.value);
    view.put({ metric: metric.key }, true);
    changed();
    return load();
  };
  const element = h("section", { "aria-labelledby": "effects-title" }, h("h2", { id: "effects-title" }, "What the hyperparameters do"),
    h("div", { class: "row controls" }, labelled("Metric", select({ onchange: choose }, metrics.map((one) => [one.key, one.label]), metric.key))), nothing, plots);

  const buildBars = () => {
    const sorted = [...importance.items].sort((a, b) => a.importance - b.importance);
    return {
      data: [{ type: "bar", orientation: "h", x: sorted.map((one) => one.importance), y: sorted.map((one) => plain(one.name)), marker: { color: colour("--data-0") }, customdata: sorted.map((one) => number(one.error)),
        error_x: { type: "data", symmetric: false, array: sorted.map((one) => one.error ?? NaN), arrayminus: sorted.map((one) => Math.min(one.error ?? NaN, one.importance)), color: colour("--ink"), thickness: 1.5, width: 4 }, hovertemplate: "%{y}: %{x:.3f} ± %{customdata}<extra></extra>" }],
      layout: { height: 60 + 28 * sorted.length, xaxis: axis("share", { rangemode: "tozero" }), yaxis: axis("", { ticks: "", showgrid: false, type: "category" }), bargap: 0.35 },
    };
  };
  const buildSlices = (width) => {
    const across = Math.max(1, Math.min(names().length, Math.floor(width / CELL)));
    const down = Math.ceil(names().length / across);
    const style = look(0, 0);
    const size = trials.numbers.length > 500 ? 5 : 9;
    const isFar = farFrom(trials.values, false);
    const layout = { height: 40 + 230 * down, grid: { rows: down, columns: across, pattern: "independent", xgap: 0.22, ygap: 0.3 } };
    const data = names().flatMap((key, place) => {
      const at = place ? place + 1 : "";
      const kinds = spaceOf[key]?.kind === "categorical" ? spaceOf[key].choices.map((choice) => plain(choice)) : null;
      const isLog = spaceOf[key]?.log ?? false;
      layout[`xaxis${at}`] = kinds ? axis(key, { type: "category", categoryarray: kinds, range: [-0.5, kinds.length - 0.5] })
        : axis(key, { nticks: 5, ...scaled(around(trials.params[key], isLog), isLog) });
      layout[`yaxis${at}`] = axis(place % across ? "" : metric.label, { range: around(trials.values.filter((value) => !isFar(value)), false) });
      return [...along(key, at, kinds !== null), {
        type: "scatter", mode: "markers", x: kinds ? trials.params[key].map((value) => plain(value)) : trials.params[key], y: trials.values, edge: true, customdata: trials.numbers,
        xaxis: `x${at}`, yaxis: `y${at}`, look: style, marker: { size, opacity: 0.7 }, hovertemplate: "trial %{customdata}: %{x}, %{y:.4g}<extra></extra>",
      }];
    });
    return { data, layout };
  };
  /** The process along a hyperparameter: its mean, and where 95 % of what lies under the noise are. */
  function along(key, at, isKind) {
    const one = told()?.items.find((item) => item.name === key);
    if (!one) return [];
    const place = { type: "scatter", xaxis: `x${at}`, yaxis: `y${at}`, hoverinfo: "skip" };
    const tint = colour("--data-1");
    if (isKind) return [{ ...place, mode: "lines+markers", x: one.values.map(plain), y: one.mean, line: { width: 0 }, marker: { symbol: "line-ew-open", size: 16, color: tint }, error_y: { type: "data", array: one.sd.map((sd) => SURE * sd), color: tint, thickness: 1.5, width: 6 } }];
    const edges = [1, -1].map((side) => one.mean.map((mean, index) => mean + side * SURE * one.sd[index]));
    return [{ ...place, mode: "lines", x: [...one.values, ...one.values.toReversed()], y: [...edges[0], ...edges[1].toReversed()], fill: "toself", line: { width: 0 }, fillcolor: tint.replace(/rgb\(([^)]*)\)/, "rgba($1, 0.16)") },
      { ...place, mode: "lines", x: one.values, y: one.mean, line: { width: 2, color: tint } }];
  }
  /** The process, if it is of the chosen metric. */
  const told = () => (process?.figures.includes(metric.key) ? process : null);
  function tell() {
    const [first] = process?.figures.slice(1) ?? [];
    const name = metrics.find((one) => one.key === first)?.label;
    fill(model, told() ? ["The line is the mean of a process through all values, of the kind by which gp-map and gp-mcmc choose, along one hyperparameter while the others are held at trial ", process.best, "'s; in the band lie 95 % of what it holds possible. Trials whose others differ may lie far from it."]
      : process && `The process by which the samplers choose is of ${name}: choose that metric to see it here.`);
  }
  const [drawSlices, drawBars] = [[slices, buildSlices], [bars, buildBars]].map(([shown, build]) => {
    const draw = plot(shown.canvas, build, signal);
    return () => { shown.refresh(); return draw(); };
  });
  /** The importances of thousands of trials take seconds, so the plots of the trials themselves do not wait for them. */
  async function load() {
    const chosen = metric;
    const isLate = () => chosen !== metric; // another is under way
    const wanted = new URLSearchParams({ study: study.name, x: metric.key, y: metric.key, split: "valid" });
    const weights = get(`${studyPath(study.name)}/importance?metric=${encodeURIComponent(metric.key)}`, signal);
    weights.catch(() => {}); // awaited below
    const [mine] = (await get(`/v1/pareto?${wanted}`, signal)).studies;
    if (isLate()) return;
    const searched = Object.entries(mine.params).filter(([key]) => !(key in (study.spec?.fixed ?? {})));
    trials = { numbers: mine.number, values: mine.y, params: Object.fromEntries(searched) };
    const enough = trials.numbers.length >= 2 && names().length > 0;
    plots.hidden = !enough;
    fill(nothing, enough ? null : empty(names().length || !trials.numbers.length ? "Plots appear when two trials are complete." : "Nothing is tuned in this study."));
    if (!enough) return;
    await drawSlices();
    let trouble = null;
    const weighed = await weights.catch((error) => {
      if (!(error instanceof Problem)) throw error;
      trouble = error.message;
      return { ...importance, items: [] };
    });
    if (isLate()) return;
    importance = weighed;
    fill(why, trouble);
    bars.element.hidden = importance.items.length === 0;
    const { trials: seen, least, items } = importance;
    if (items.length) fill(why, `Shares in what tells the best tenth of the trials from all of them (PED-ANOVA); the bars' lines are their standard deviations over resamples of the ${count(seen, "trial")}. Shares that their errors join are not told apart.`);
    else if (seen < least) fill(why, `Too few trials for importance: ${number(seen)} of the ${least} that it takes.`);
    if (items.length) await drawBars();
    const fitted = await get(`${studyPath(study.name)}/slices`, signal).catch((error) => {
      if (!(error instanceof Problem)) throw error;
      return null; // too few trials, or two objectives
    });
    if (isLate()) return;
    process = fitted;
    tell();
    if (told()) await drawSlices();
  }
  return { element, load };
}
