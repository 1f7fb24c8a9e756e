/** Which worker trained which trial when, those that were lost or repeated too. */

import { get, studyPath } from "./api.js";
import { empty, fill, h, stateOf } from "./dom.js";
import { figure } from "./figure.js";
import { count, duration, moment } from "./format.js";
import { around, axis, plain, plot } from "./plot.js";
import { address, go } from "./route.js";
import { colour } from "./theme.js";

const TINTS = { finished: "--complete", running: "--running", interrupted: "--pruned", failed: "--failed", lost: "--failed" };
const MOST = 24; // workers in the plot: those with the newest attempts
const ROW = 22; // pixels
const BAR = 10;
const NAME = 22; // characters of a worker's name

/** Unix seconds on the plot's axis, which knows no time zone: in the reader's own. */
const local = (seconds) => 1000 * seconds - 60_000 * new Date(1000 * seconds).getTimezoneOffset();

/** The section of the study's page. */
export function timelineOf(study, signal) {
  /** @type {any} the server's answer */
  let found = { trial: [], attempt: [], worker: [], state: [], note: [], started: [], ended: [], now: 0, of: 0 };
  const rows = () => found.trial.map((trial, at) => Object.fromEntries([["at", at], ...["trial", "attempt", "worker", "state", "note", "started", "ended"].map((key) => [key, found[key][at]])]));
  const ending = (row) => row.ended ?? found.now;
  /** The workers that are drawn, in the order of their first attempts. */
  const drawn = () => {
    const newest = [...new Set(found.worker.toReversed())].slice(0, MOST);
    return [...new Set(found.worker)].filter((worker) => newest.includes(worker));
  };
  const shown = figure("Attempts by worker", "A bar for each attempt to train a trial, by worker and time; the table beneath holds the same", () => [[
    { label: "Trial", figure: true, value: (row) => h("a", { href: address({ view: "trial", study: study.name, trial: row.trial }) }, row.trial) },
    { label: "Attempt", figure: true, value: (row) => row.attempt },
    { label: "State", value: (row) => stateOf(row.state) },
    { label: "Worker", value: (row) => row.worker },
    { label: "Began", value: (row) => moment(1000 * row.started) },
    { label: "Took", figure: true, value: (row) => duration(ending(row) - row.started) },
    { label: "Note", value: (row) => row.note },
  ], rows().reverse()]);
  const tip = h("div", { class: "tip", hidden: true });
  const nothing = h("div");
  const said = h("p", { class: "note" });
  const element = h("section", { "aria-labelledby": "timeline-title" }, h("h2", { id: "timeline-title" }, "Timeline"), nothing, shown.element, said, tip);

  const build = () => {
    const workers = drawn();
    const place = new Map(workers.map((worker, at) => [worker, at]));
    const seen = rows().filter((row) => place.has(row.worker));
    const strokes = seen.map((row) => ({ x: [local(row.started), local(ending(row))], y: [place.get(row.worker), place.get(row.worker)], colour: colour(TINTS[row.state]), width: row.attempt ? BAR / 2 : BAR, opacity: row.state === "lost" ? 0.55 : 0.9 }));
    const xRange = around(seen.flatMap((row) => [local(row.started), local(ending(row))]), false);
    const name = (worker) => plain(worker.length > NAME ? `…${worker.slice(1 - NAME)}` : worker);
    return { strokes, data: [{ type: "scatter", mode: "none", hoverinfo: "skip", x: xRange, y: [0, 0] }], layout: {
      height: 70 + ROW * workers.length, hovermode: false, dragmode: false,
      xaxis: axis("", { type: "date", range: xRange, nticks: 6 }),
      yaxis: axis("", { range: [workers.length - 0.4, -0.6], tickvals: workers.map((_, at) => at), ticktext: workers.map(name), showgrid: false, fixedrange: true }),
    } };
  };

  /** The attempt under the mouse. */
  function under(graph, event) {
    const { xaxis, yaxis } = graph._fullLayout;
    const frame = graph.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left - xaxis._offset, event.clientY - frame.top - yaxis._offset];
    const worker = drawn()[Math.round(yaxis.p2d(top))];
    const reach = (row) => [xaxis.d2p(local(row.started)) - 2, xaxis.d2p(local(ending(row))) + 2];
    return rows().filter((row) => row.worker === worker).findLast((row) => { const [from, to] = reach(row); return left >= from && left <= to; }) ?? null;
  }
  function hover(row, event) {
    tip.hidden = row === null;
    if (!row) return;
    fill(tip, h("strong", {}, `trial ${row.trial}${row.attempt ? `, attempt ${row.attempt}` : ""}`), [["state", row.state], ["worker", row.worker], ["began", moment(1000 * row.started)], ["took", duration(ending(row) - row.started)], ...(row.note ? [["note", row.note]] : [])]
      .map(([key, value]) => h("div", {}, h("span", {}, key), h("span", { class: "figures" }, value))));
    tip.style.transform = `translate(${Math.max(4, Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 4))}px, ${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 4)}px)`;
  }
  function tell() {
    const amount = (state) => found.state.filter((one) => one === state).length;
    const again = found.attempt.filter(Boolean).length;
    const others = new Set(found.worker).size - drawn().length;
    const odd = ["failed", "lost", "interrupted"].map((state) => [amount(state), state]).filter(([many]) => many).map(([many, state]) => `${many} ${state}`);
    fill(said, [`${count(found.of, "attempt")}`, odd.length > 0 && `, of which ${odd.join(", ")}`, again > 0 && `; ${again} repeat a trial or go on with it, drawn thinner`, ".", others > 0 && ` ${count(others, "worker")} of earlier attempts ${others === 1 ? "is" : "are"} in the table alone.`, found.of > found.trial.length && ` The newest ${count(found.trial.length, "attempt")} are here.`]);
  }

  const draw = plot(shown.canvas, build, signal, (graph) => {
    shown.canvas.addEventListener("mousemove", (event) => hover(under(graph, event), event));
    shown.canvas.addEventListener("mouseleave", () => hover(null));
    shown.canvas.addEventListener("click", (event) => { const row = under(graph, event); if (row) go({ view: "trial", study: study.name, trial: row.trial }); });
  });
  async function load() {
    found = await get(`${studyPath(study.name)}/timeline`, signal);
    const any = found.trial.length > 0;
    shown.element.hidden = said.hidden = !any;
    fill(nothing, any ? null : empty("No trial has been begun yet."));
    shown.refresh();
    tell();
    if (any) await draw();
  }
  return { element, load };
}
