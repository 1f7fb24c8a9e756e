/** One study: its best trial, its trials, and what the hyperparameters do. */

import { follow, get, options, paced, Problem, send, studyPath } from "./api.js";
import { announce, confirmed, empty, fill, h, labelled, renew, select, stateOf } from "./dom.js";
import { figure } from "./figure.js";
import { count, domain, duration, moment, number, settings } from "./format.js";
import { around, axis, library, look, plain, plot, scaled } from "./plot.js";
import { colour } from "./theme.js";
import { address, go, note } from "./route.js";
import { progress, startStop } from "./studies.js";
import { facts, table, tableRow } from "./table.js";
import { howTo } from "./workers.js";

const PAGE = 50;
const TRIAL_STATES = ["complete", "running", "waiting", "pruned", "failed"];
const CELL = 250; // width of a small plot
const LINES = 500; // of parallel coordinates: the best trials
const SHADES = 8;

export const title = (query) => query.get("study") ?? "Study";

export async function show(main, query, signal) {
  const name = query.get("study") ?? "";
  const path = studyPath(name);
  library().catch(() => {}); // under way while the figures arrive
  const [{ metrics, can_write: canWrite }, first] = await Promise.all([options(), get(path, signal)]);
  let study = first;
  const head = h("section", { "aria-label": "Summary" });
  const summarise = (changes) => {
    study = { ...study, ...changes };
    renew(head, summary(study, canWrite, summarise));
  };
  summarise(study);

  const trials = trialList(study, metrics, query, signal);
  const effects = effectsOf(study, metrics, query, signal);
  fill(main, head, trials.element, effects.element);
  await trials.load();
  effects.load().catch((error) => { if (!signal.aborted) fill(effects.element, h("p", { class: "wrong", role: "alert" }, error.message)); });
  const redraw = paced(effects.load, signal);
  let connected = false;
  follow(`${path}/events?since=${study.revision}`, {
    open: () => {
      if (connected) get(path, signal).then(summarise).then(trials.load).then(redraw).catch(() => {});
      connected = true;
    },
    study: summarise,
    trial: (trial) => {
      trials.put(trial);
      if (trial.state === "complete") redraw();
    },
    deleted: () => { announce(`${name} was deleted`); go({ view: "studies" }); },
  }, signal).catch((error) => announce(error.message));
}

function summary(study, canWrite, put) {
  const { best } = study;
  const remove = async () => {
    if (!(await confirmed(`Delete ${study.name}?`, `Its ${count(sum(study.counts), "trial")} and their checkpoints go for good.`, "Delete"))) return;
    try {
      await send("DELETE", studyPath(study.name));
      go({ view: "studies" });
    } catch (error) {
      announce(error.message);
      trouble.textContent = error.message;
    }
  };
  const trouble = h("p", { class: "wrong", role: "alert" });
  return [
    h("p", { class: "lead" }, stateOf(study.state), study.why && ` (${study.why})`, " · ", study.technique, " on ", study.corpus, " · model ", study.model,
      " · sampler ", study.sampler, " · seed ", study.seed, " · objective ", study.objective),
    h("div", { class: "row controls" }, progress(study), canWrite && startStop(study, put),
      canWrite && h("button", { type: "button", class: "danger", onclick: remove }, "Delete"),
      h("a", { class: "button", href: address({ view: "pareto", study: study.name }) }, "Pareto front")),
    trouble,
    study.waiting_for_workers && h("div", { class: "notice" }, h("strong", {}, "Waiting for a worker. "), howTo()),
    best ? h("div", { class: "best" },
      h("h2", {}, "Best: ", h("a", { href: address({ view: "trial", study: study.name, trial: best.number }) }, `trial ${best.number}`)),
      facts([
        ["NLL, nats per sentence", withError(best.metrics)],
        ["PPL", number(best.metrics?.ppl)],
        ["Rate R", number(best.metrics?.rate)],
        ["Distortion D", number(best.metrics?.distortion)],
        study.entropy != null && ["Exact entropy of the corpus", number(study.entropy)],
        ...Object.entries(best.given).map(([key, value]) => [key, number(value)]),
      ]),
      best.notes.length > 0 && h("p", { class: "note" }, `The best trial is ${best.notes.join(" and ")}.`),
      study.ngram && againstNGrams(study)) : empty("No trial is complete yet."),
    h("details", {}, h("summary", {}, "How it was made"),
      facts([["Created", moment(study.created_at)], ...asked(study.spec ?? {}),
        ...(study.space ?? []).map((parameter) => [`${parameter.name}: ${parameter.meaning}`, domain(parameter)])])),
  ];
}

/** What a study was asked to be, but for what its head tells. */
const asked = ({ technique, corpus, model, sampler, seed, objective, space, trials, ...spec }) => Object.entries(spec)
  .map(([key, value]) => [key.replaceAll("_", " "), value !== null && typeof value === "object" ? settings(value) : value])
  .filter(([, value]) => value !== null && value !== "").map(([key, value]) => [key, number(value)]);

/** What an n-gram model makes of the sentences that the best trial is judged by, and which of the two is better. */
function againstNGrams({ ngram, best, objective }) {
  const said = `An n-gram model of the same text (order ${ngram.order}, interpolated Kneser–Ney) has NLL ${number(ngram.valid.nll)}, PPL ${number(ngram.valid.ppl)}`;
  const { nll, estimator } = best.metrics ?? {};
  // What MELBO judges has no NLL that anything keeps low.
  if (nll == null || estimator?.sentences !== ngram.valid.sentences || objective === "melbo") return h("p", { class: "note" }, `${said}.`);
  const apart = `${Math.abs(ngram.valid.nll - nll).toFixed(2)} nats`;
  if (nll <= ngram.valid.nll) return h("p", { class: "note" }, `${said}; the best trial is ${apart} better.`);
  return h("div", { class: "notice" }, h("strong", {}, "Worse than counting words. "), `${said}; the best trial is ${apart} worse: give it more epochs, more text or a larger model before techniques are compared.`);
}

const sum = (counts) => Object.values(counts).reduce((total, value) => total + value, 0);
/** An NLL with its standard error. */
export const withError = (metrics) => (metrics?.nll_se != null ? `${number(metrics.nll)} ± ${metrics.nll_se.toPrecision(2)}` : number(metrics?.nll));

/** What a trial's origin and end deserve to be said. */
export const remark = (trial) => [["published", "default"].includes(trial.source) && `${trial.source} values`,
  !trial.notes.length && trial.reason && `${trial.reason}: ${trial.message ?? ""}`, ...trial.notes].filter(Boolean).join("; ");

/** The trials, newest first, a page at a time; the first page is live. */
function trialList(study, metrics, query, signal) {
  const state = query.get("state") ?? "";
  const chosen = (trial) => ({ ...trial.fixed, ...trial.params });
  const columns = (found) => [
    { label: "#", figure: true, value: (t) => h("a", { href: address({ view: "trial", study: study.name, trial: t.number }) }, t.number) },
    { label: "State", value: (t) => stateOf(t.state) },
    ...found.map((key) => ({ label: key, figure: true, value: (t) => chosen(t)[key] })),
    ...metrics.filter(({ shown }) => shown).map(({ key, label, short, meaning }) => ({ label: short || label, title: meaning, figure: true, value: (t) => (key === "nll" ? withError(t.metrics) : t.metrics?.[key]) })),
    { label: "Time", figure: true, value: (t) => duration(t.seconds) },
    { label: "Note", value: (t) => remark(t) },
  ];
  const pages = [null]; // cursors of the pages up to this one
  let items = [];
  let next = null;
  const holder = h("div");
  const newer = h("button", { type: "button", onclick: () => { pages.pop(); load(); } }, "Newer");
  const older = h("button", { type: "button", onclick: () => { pages.push(next); load(); } }, "Older");
  const choose = ({ target }) => go({ view: "study", study: study.name, metric: query.get("metric"), state: target.value });

  const shownColumns = () => columns([...new Set(items.flatMap((trial) => Object.keys(trial.hyperparameters).filter((key) => key in chosen(trial))))]);
  let drawn = "";
  function draw() {
    const shape = shownColumns();
    drawn = shape.map((column) => column.label).join();
    fill(holder, items.length ? table("Trials", shape, items) : empty(state ? `No trial is ${state}.` : "No trial yet."));
    newer.hidden = pages.length === 1;
    older.hidden = next === null;
  }
  async function load() {
    const page = await get(address({ limit: PAGE, order: "-number", state, cursor: pages.at(-1) }).replace("/?", `${studyPath(study.name)}/trials?`), signal);
    ({ items, next } = page);
    draw();
  }
  /** Takes in what became of a trial. */
  function put(trial) {
    const place = items.findIndex((known) => known.number === trial.number);
    const isNew = pages.length === 1 && (!state || trial.state === state) && (!items.length || trial.number > items[0].number);
    if (place >= 0) items[place] = trial;
    else if (isNew) items.unshift(trial);
    else return;
    const shape = shownColumns();
    if (items.length > PAGE) return load(); // for what then is the next page
    if (shape.map((column) => column.label).join() !== drawn) return draw();
    const body = holder.querySelector("tbody");
    const row = place < 0 ? body.insertRow(0) : body.rows[place];
    return renew(row, [...tableRow(shape, trial, null).childNodes]);
  }
  const element = h("section", { "aria-labelledby": "trials-title" }, h("h2", { id: "trials-title" }, "Trials"),
    h("div", { class: "row controls" }, labelled("State", select({ onchange: choose }, [["", "all"], ...TRIAL_STATES], state)), newer, older), holder);
  return { element, load, put };
}

/** Importance, slices and parallel coordinates of the complete trials. */
function effectsOf(study, metrics, query, signal) {
  let metric = metrics.find((one) => one.key === (query.get("metric") ?? "nll")) ?? metrics[0];
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
    note({ view: "study", study: study.name, state: query.get("state"), metric: metric.key }, true);
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
    const layout = { height: 40 + 230 * down, grid: { rows: down, columns: across, pattern: "independent", xgap: 0.22, ygap: 0.3 } };
    const data = names().map((key, place) => {
      const at = place ? place + 1 : "";
      const kinds = spaceOf[key]?.kind === "categorical" ? spaceOf[key].choices.map((choice) => plain(choice)) : null;
      const isLog = spaceOf[key]?.log ?? false;
      layout[`xaxis${at}`] = kinds ? axis(key, { type: "category", categoryarray: kinds, range: [-0.5, kinds.length - 0.5] })
        : axis(key, { nticks: 5, ...scaled(around(trials.params[key], isLog), isLog) });
      layout[`yaxis${at}`] = axis(place % across ? "" : metric.label, { range: around(trials.values, false) });
      return {
        type: "scatter", mode: "markers", x: kinds ? trials.params[key].map((value) => plain(value)) : trials.params[key], y: trials.values, customdata: trials.numbers,
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
