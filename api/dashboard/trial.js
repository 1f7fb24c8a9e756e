/** One trial: its course, its figures, and what its model writes. */

import { all, follow, get, options, paced, Problem, send, studyPath, text } from "./api.js";
import { trialOf } from "./changes.js";
import { announce, empty, fill, h, renew, stateOf } from "./dom.js";
import { figure } from "./figure.js";
import { duration, moment, number, perplexity, withError } from "./format.js";
import { axis, counted, library, plot } from "./plot.js";
import { address } from "./route.js";
import { facts, table } from "./table.js";
import { colour } from "./theme.js";

const CURVES = [["distortion", "D, nats"], ["rate", "R, nats"], ["neg_elbo", "−ELBO, nats"], ["ppl", "PPL by the ELBO"]];
const CELL = 240; // width of a small plot
const NARROW = 500; // width below which two stand side by side nevertheless
const wide = matchMedia("(min-width: 801px)"); // on a phone, what is not asked for at first is folded

/** A part of the page under its heading, which folds it. */
const foldable = (heading, ...children) => h("details", { class: "fold", open: wide.matches }, h("summary", {}, h("h2", {}, heading)), ...children);

export const title = (query) => `Trial ${query.get("trial")} of ${query.get("study")}`;

export async function show(main, query, signal) {
  const name = query.get("study") ?? "";
  const wanted = Number(query.get("trial"));
  const path = `${studyPath(name)}/trials/${wanted}`;
  library().catch(() => {});
  const [{ metrics, can_write: canWrite }, trial, study] = await Promise.all([options(), get(path, signal), get(studyPath(name), signal)]);

  const head = h("section", { "aria-label": "Summary" });
  const figures = h("section", { "aria-label": "All figures" });
  const attempts = h("section", { "aria-label": "All attempts" });
  const course = courseOf(path, trial.metrics ?? study.best?.metrics, signal);
  const writing = h("section", { "aria-label": "Its writing" });
  const log = logOf(path, signal);
  const out = strikeOut(path);
  const again = canWrite && study.space.length > 0 && trialOf(study, "Try values near these", trial.hyperparameters).element;
  const around = h("nav", { class: "row", "aria-label": "Trials" }, h("a", { href: address({ view: "study", study: name }) }, name),
    wanted > 0 && h("a", { href: address({ view: "trial", study: name, trial: wanted - 1 }) }, `← trial ${wanted - 1}`),
    wanted + 1 < Object.values(study.counts).reduce((sum, amount) => sum + amount, 0) && h("a", { href: address({ view: "trial", study: name, trial: wanted + 1 }) }, `trial ${wanted + 1} →`));
  const put = (now) => {
    renew(head, summary(now, study));
    out.hidden = !canWrite || now.state === "failed";
    renew(figures, figuresOf(now, metrics));
    renew(attempts, foldable("Attempts", now.attempts.length ? table("Attempts", ATTEMPT, now.attempts) : empty("None yet.")));
  };
  put(trial);
  fill(main, around, head, course.element, writing, figures, attempts, log, again, out);
  await course.load();
  await showWriting(writing, trial, path, signal);

  const refresh = paced(async () => {
    const now = await get(path, signal);
    put(now);
    await showWriting(writing, now, path, signal);
  }, signal);
  let connected = false;
  follow(`${studyPath(name)}/events?since=${study.revision}`, {
    open: () => { if (connected) { refresh(); course.load().catch(() => {}); } connected = true; },
    epoch: (epoch) => { if (epoch.trial === wanted) course.put(epoch); },
    trial: (changed) => { if (changed.number === wanted) refresh(); },
    deleted: () => announce(`${name} was deleted`),
  }, signal).catch((error) => announce(error.message));
}

/** What a trial's origin and end deserve to be said. */
const remark = (trial) => [["published", "default"].includes(trial.source) && `${trial.source} values`,
  (!trial.notes.length || trial.reason === "struck") && trial.reason && `${trial.reason}: ${trial.message ?? ""}`, ...trial.notes].filter(Boolean).join("; ");

const ATTEMPT = [
  { label: "Attempt", figure: true, value: (row) => row.attempt },
  { label: "State", value: (row) => stateOf(row.state) },
  { label: "Worker", value: (row) => row.worker },
  { label: "Host", value: (row) => row.host },
  { label: "Seed", figure: true, value: (row) => String(row.seed) },
  { label: "Started", value: (row) => moment(row.started_at) },
  { label: "Ended", value: (row) => moment(row.ended_at) },
  { label: "Note", value: (row) => (row.reason ? `${row.reason}: ${row.message ?? ""}` : "") },
];

function summary(trial, study) {
  const spaceOf = Object.fromEntries((study.space ?? []).map((parameter) => [parameter.name, parameter]));
  const { metrics } = trial;
  return [
    h("p", { class: "lead" }, stateOf(trial.state), ` · ${duration(trial.seconds)}`, trial.worker && ` · ${trial.worker}`, remark(trial) && ` · ${remark(trial)}`),
    metrics && h("div", { class: "best" }, facts([["NLL, nats per sentence", withError(metrics)], [perplexity(study), number(metrics.ppl)], ["Rate R", number(metrics.rate)], ["Distortion D", number(metrics.distortion)]])),
    foldable("Hyperparameters", Object.keys(trial.hyperparameters).length ? table("Hyperparameters", [
      { label: "Name", value: ([name]) => name }, { label: "Value", figure: true, value: ([, value]) => value },
      { label: "From", value: ([name]) => (name in trial.params ? "this trial" : name in trial.fixed ? "set by hand" : "default") },
      { label: "Meaning", value: ([name]) => [spaceOf[name]?.meaning, spaceOf[name]?.unit].filter(Boolean).join(", ") }], Object.entries(trial.hyperparameters)) : empty("The technique has none.")),
  ];
}

function figuresOf(trial, metrics) {
  const found = trial.metrics ?? {};
  return foldable("Figures",
    trial.metrics ? table("Figures", [
      { label: "Metric", value: (row) => row.label }, { label: "Value", figure: true, value: (row) => found[row.key] },
      { label: "Unit", value: (row) => row.unit }, { label: "Meaning", value: (row) => row.meaning }], metrics.filter((metric) => found[metric.key] != null)) : empty("It has not been evaluated."),
    trial.estimate && h("p", { class: "note" }, `${trial.estimate}.`),
    h("p", { class: "note" }, "More of what it writes: ", h("code", {}, `tuner sample ${trial.run}`), " · ", h("code", {}, `tuner reconstruct ${trial.run}`)));
}

/**
 * D, R, −ELBO, PPL and the technique's own quantities, epoch by epoch. An epoch has no count of tokens, so those of a sentence
 * come from what was evaluated on the same corpus: this trial, or the best one.
 */
function courseOf(path, evaluated, signal) {
  const epochs = new Map();
  const tokens = evaluated?.ppl_elbo > 1 ? evaluated.neg_elbo / Math.log(evaluated.ppl_elbo) : null;
  const sorted = () => [...epochs.values()].sort((a, b) => a.epoch - b.epoch).map((row) => ({ ...row, ppl: tokens && row.neg_elbo !== null ? Math.exp(row.neg_elbo / tokens) : null }));
  const curves = () => {
    const rows = sorted();
    const own = [...new Set(rows.flatMap((row) => Object.keys(row.objective ?? {})))].map((key) => [key, key, (row) => row.objective?.[key]]);
    return [...CURVES.map(([key, label]) => [key, label, (row) => row[key]]), ...own].filter(([, , value]) => rows.some((row) => typeof value(row) === "number"));
  };
  const shown = figure("Validation figures by epoch", "The trial's validation figures by epoch, a curve for each", () => [
    [{ label: "Epoch", figure: true, value: (row) => row.epoch }, ...curves().map(([, label, value]) => ({ label, figure: true, value })), { label: "Time", figure: true, value: (row) => duration(row.seconds) }], sorted()]);
  const nothing = h("div");
  const element = h("section", { "aria-labelledby": "course-title" }, h("h2", { id: "course-title" }, "Course"), nothing, shown.element);
  const build = (width) => {
    const rows = sorted();
    const found = curves();
    const down = Math.ceil(found.length / (width < NARROW ? 2 : Math.floor(width / CELL)));
    const across = Math.ceil(found.length / down);
    const layout = { height: 30 + (width < NARROW ? 150 : 200) * down, grid: { rows: down, columns: across, pattern: "independent", xgap: width < NARROW ? 0.34 : 0.2, ygap: 0.35 } };
    const data = found.map(([key, label, value], place) => {
      const at = place ? place + 1 : "";
      layout[`xaxis${at}`] = axis("epoch", counted(rows.length));
      layout[`yaxis${at}`] = axis(label, { nticks: 5 });
      return {
        type: "scatter", mode: rows.length > 40 ? "lines" : "lines+markers", x: rows.map((row) => row.epoch), y: rows.map((row) => (typeof value(row) === "number" ? Number(value(row).toPrecision(9)) : null)) /* rounding is no course */, xaxis: `x${at}`, yaxis: `y${at}`,
        line: { color: colour(CURVES.some(([one]) => one === key) ? "--data-0" : "--data-1"), width: 1.75 }, marker: { size: 5 }, hovertemplate: "epoch %{x}: %{y:.4g}<extra></extra>",
      };
    });
    return { data, layout };
  };
  const drawn = plot(shown.canvas, build, signal);
  const redraw = paced(async () => {
    shown.element.hidden = epochs.size === 0;
    fill(nothing, epochs.size ? null : empty("No epoch is over yet."));
    shown.refresh();
    if (epochs.size) await drawn();
  }, signal);
  return {
    element,
    load: async () => {
      for (const epoch of await all(`${path}/epochs`, signal)) epochs.set(epoch.epoch, epoch);
      redraw().catch((error) => { if (!signal.aborted) fill(nothing, h("p", { class: "wrong", role: "alert" }, error.message)); });
    },
    put: (epoch) => { epochs.set(epoch.epoch, epoch); redraw(); },
  };
}

/** What the model writes: samples beside the training text, a homotopy, reconstructions. */
async function showWriting(section, trial, path, signal) {
  const put = (...children) => renew(section, foldable("What it writes", h("div", { class: "writing" }, children)));
  if (trial.state !== "complete") {
    put(empty(trial.state === "failed" || trial.state === "pruned" ? "Only a training that ends well leaves samples." : "To be seen when its training has ended."));
    return;
  }
  let found = null;
  try {
    found = await get(`${path}/samples`, signal);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    put(error.status === 404 ? empty(error.message) : h("p", { class: "wrong", role: "alert" }, error.message));
    return;
  }
  const sentence = (label, key) => ({ label, value: (row) => h("span", { class: "sentence" }, row[key]) });
  put(
    found.samples?.length > 0 && h("div", {}, h("h3", {}, "Samples and their nearest training sentences"),
      table("Samples", [sentence("Sample", "text"), sentence("Nearest training sentence", "neighbour"),
        { label: "TER", figure: true, title: "translation edit rate; 0 is a copy", value: (row) => row.ter }], found.samples)),
    h("div", {}, found.homotopy?.length > 0 && [h("h3", {}, "Homotopy: on the line between two codes of the prior"),
      table("Homotopy", [{ label: "Weight", figure: true, value: (row) => row.weight }, sentence("Sentence", "text")], found.homotopy)],
    found.reconstructions?.length > 0 && [h("h3", {}, "Validation sentences through the code and back"),
      table("Reconstructions", [sentence("Sentence", "source"), sentence("Reconstruction", "text")], found.reconstructions)],
    found.dropped?.length > 0 && [h("h3", {}, "Hidden by the adversary"), h("p", { class: "note" }, "The stronger the shade, the likelier a token is hidden from the decoder."),
      found.dropped.map((words) => h("p", { class: "sentence" }, words.map(hidden)))]));
}

/** A word, shaded by the probability that it is hidden; the figure is in its title, and read aloud. */
function hidden({ word, probability }) {
  const percent = `${Math.round(100 * probability)} %`;
  const shown = h("span", { class: "hidden-word", title: percent }, word, h("span", { class: "unseen" }, ` (${percent})`));
  shown.style.setProperty("--share", percent.replace(" ", ""));
  return [shown, " "];
}

/** The form that strikes the trial out: its figures count for nothing then, and stay in the record with the reason. */
function strikeOut(path) {
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const because = h("input", { name: "because", required: true, maxLength: 500, size: 40 });
  const strike = async (event) => {
    event.preventDefault();
    wrong.hidden = true;
    try {
      await send("POST", `${path}/strike`, { because: because.value });
      announce("The trial is struck out."); // the page hears of it by its events
    } catch (error) {
      fill(wrong, error.message);
      wrong.hidden = false;
    }
  };
  return h("details", { class: "log" }, h("summary", {}, "Strike this trial out"),
    h("p", { class: "note" }, "It then counts as failed, and its figures for nothing. They stay in the record, with the reason."),
    h("form", { class: "row", onsubmit: strike }, h("label", {}, "Because ", because), h("button", { type: "submit" }, "Strike out"), wrong));
}

/** The trainer's log, fetched when it is wanted. */
function logOf(path, signal) {
  const held = h("div");
  const open = async ({ target }) => {
    if (!target.open) return;
    fill(held, empty("Loading …"));
    try {
      const lines = await text(`${path}/log`, signal);
      fill(held, lines ? h("pre", { tabindex: 0, "aria-label": "Log" }, lines) : empty("The trainer wrote nothing."));
    } catch (error) {
      if (!signal.aborted) fill(held, empty(error.message));
    }
  };
  return h("details", { class: "log", ontoggle: open }, h("summary", {}, "Log of the last attempt"), held);
}
