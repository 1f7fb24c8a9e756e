/** The learning curves of a study's trials over each other. */

import { get, Problem, studyPath } from "./api.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure } from "./figure.js";
import { count, number } from "./format.js";
import { around, axis, counted, farFrom, plot, scaled } from "./plot.js";
import { address, go, pathOf } from "./route.js";
import { colour } from "./theme.js";

const NAMES = { neg_elbo: "−ELBO, nats", distortion: "D, nats", rate: "R, nats", active_units: "active units" };
const NEAR = 14; // pixels from the mouse to the curve that it names
const BY = [["epoch", "epoch"], ["seconds", "seconds"]];

/**
 * The section of the study's page.
 * @param {any} study
 * @param {ReturnType<import("./route.js").kept>} view
 * @param {(numbers: Set<number>) => void} pick shows trials in the table
 * @param {AbortSignal} signal
 */
export function curvesOf(study, view, pick, signal) {
  /** @type {any} the server's answer */
  let found = { figure: "", figures: Object.keys(NAMES), every: 1, number: [], epoch: [], seconds: [], value: [] };
  let box = null; // what is brushed: x from, x to, y from, y to
  let hovered = null;
  const by = () => view.one("by") || "epoch";
  const isLog = (which) => view.all("curvelog").includes(which);
  const nameOf = (key) => NAMES[key] ?? key;
  const across = () => found[by()];
  const brushed = () => box && new Set(found.number.filter((_, place) => across()[place].some((x, at) => x >= box[0] && x <= box[1] && found.value[place][at] !== null && found.value[place][at] >= box[2] && found.value[place][at] <= box[3])));

  const shown = figure("Validation figures of all trials", "A learning curve for each trial; the table beneath holds their last values", () => [[
    { label: "#", figure: true, value: (row) => h("a", { href: address({ view: "trial", study: study.name, trial: row.at }) }, row.at) },
    { label: "Epochs", figure: true, value: (row) => row.epochs },
    { label: `Last ${nameOf(found.figure)}`, figure: true, value: (row) => row.last },
  ], found.number.map((at, place) => ({ at, epochs: found.epoch[place].at(-1), last: found.value[place].at(-1) }))]);
  const tip = h("div", { class: "tip", hidden: true });
  const nothing = h("div");
  const said = h("p", { class: "note", role: "status" });

  const build = () => {
    const chosen = brushed();
    const strokes = found.number.map((at, place) => {
      const isStrong = chosen ? chosen.has(at) : at === study.best?.number;
      return { x: across()[place], y: found.value[place], colour: colour(isStrong && !chosen ? "--data-1" : "--data-0"), width: isStrong ? 2 : 1, opacity: isStrong ? 1 : chosen ? 0.12 : found.number.length > 100 ? 0.25 : 0.55 };
    });
    strokes.sort((a, b) => a.opacity - b.opacity);
    const place = hovered === null ? -1 : found.number.indexOf(hovered);
    if (place >= 0) strokes.push({ x: across()[place], y: found.value[place], colour: colour("--ink"), width: 3, opacity: 1 });
    const [xs, ys] = [across().flat(), found.value.flat()];
    const isFar = farFrom(ys, isLog("y"));
    const near = ys.filter((value) => !isFar(value));
    const [xRange, yRange] = [around(xs, isLog("x")), around(near, isLog("y"))];
    const ends = (range, log) => range.map((value) => (log ? 10 ** value : value));
    return { strokes, data: [{ type: "scatter", mode: "none", hoverinfo: "skip", x: ends(xRange, isLog("x")), y: ends(yRange, isLog("y")) }], layout: {
      height: 320, dragmode: "select", selections: [], hovermode: false,
      shapes: box ? [{ type: "rect", x0: box[0], x1: box[1], y0: box[2], y1: box[3], line: { width: 1, dash: "dot" }, fillcolor: "rgba(128, 128, 128, 0.1)" }] : [],
      xaxis: axis(by(), { ...scaled(xRange, isLog("x")), ...(by() === "epoch" && !isLog("x") && counted(Math.max(...xs))) }), yaxis: axis(nameOf(found.figure), scaled(yRange, isLog("y"))),
    } };
  };

  let repaint = () => {};
  const drawn = plot(shown.canvas, build, signal, (graph, painted) => { repaint = painted; listen(graph); });
  async function draw() {
    const any = found.number.length > 0;
    shown.element.hidden = !any;
    fill(nothing, any ? null : empty("No trial has reported an epoch yet."));
    shown.refresh();
    const chosen = brushed();
    fill(said, !any ? null : chosen ? [`${count(chosen.size, "trial")} brushed. `,
      h("button", { type: "button", disabled: chosen.size === 0, onclick: () => pick(chosen) }, "Show in the table"), " ", h("button", { type: "button", onclick: () => brush(null) }, "Clear")]
      : [`${count(found.number.length, "trial")}`, study.best && ", the best one in the second colour", ". Drag over curves to brush them; click one to open its trial.", found.every > 1 && ` Of ${found.every} epochs one is drawn, and each trial's last.`]);
    if (any) await drawn();
  }
  const brush = (wanted) => { box = wanted; return draw(); };

  function listen(graph) {
    graph.on("plotly_selected", (event) => {
      const ordered = (pair) => [...pair].sort((a, b) => a - b);
      if (event?.range) setTimeout(() => brush([...ordered(event.range.x), ...ordered(event.range.y)]));
    });
    graph.on("plotly_doubleclick", () => brush(null));
    shown.canvas.addEventListener("mousemove", (event) => hover(nearest(graph, event), event));
    shown.canvas.addEventListener("mouseleave", () => hover(null));
    shown.canvas.addEventListener("click", (event) => { const at = nearest(graph, event); if (at !== null) go({ view: "trial", study: study.name, trial: at.trial }); });
  }
  /** The point of a curve that is nearest to the mouse, if one is near. */
  function nearest(graph, event) {
    const { xaxis, yaxis } = graph._fullLayout;
    const frame = graph.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left - xaxis._offset, event.clientY - frame.top - yaxis._offset];
    let best = null;
    let least = NEAR ** 2;
    found.number.forEach((trial, place) => across()[place].forEach((x, at) => {
      const distance = (xaxis.d2p(x) - left) ** 2 + (yaxis.d2p(found.value[place][at]) - top) ** 2;
      if (distance < least) { least = distance; best = { trial, x, y: found.value[place][at] }; }
    }));
    return best;
  }
  function hover(at, event) {
    tip.hidden = at === null;
    if (at) {
      fill(tip, h("strong", {}, `trial ${at.trial}`), [[by(), at.x], [nameOf(found.figure), at.y]].map(([key, value]) => h("div", {}, h("span", {}, key), h("span", { class: "figures" }, number(value)))));
      tip.style.transform = `translate(${Math.max(4, Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 4))}px, ${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 4)}px)`;
    }
    if ((at?.trial ?? null) === hovered) return;
    hovered = at?.trial ?? null;
    repaint();
  }

  const figures = select({ onchange: ({ target }) => { view.put({ curve: target.value }, true); box = null; return load(); } }, Object.entries(NAMES), view.one("curve") || "neg_elbo");
  const axes = select({ onchange: ({ target }) => { view.put({ by: target.value === "epoch" ? "" : target.value }, true); box = null; return draw(); } }, BY, by());
  const log = (which) => h("label", { class: "check" }, h("input", { type: "checkbox", checked: isLog(which), onchange: ({ target }) => {
    view.put({ curvelog: target.checked ? [...view.all("curvelog"), which] : view.all("curvelog").filter((one) => one !== which) }, true);
    box = null;
    return draw();
  } }), `log ${which}`);
  const element = h("section", { class: "curves", "aria-labelledby": "curves-title" }, h("h2", { id: "curves-title" }, "Learning curves"),
    h("div", { class: "row controls" }, labelled("Figure", figures), labelled("By", axes), log("x"), log("y")), nothing, shown.element, said, tip);

  async function load() {
    const wanted = () => pathOf(`${studyPath(study.name)}/curves`, { figure: view.one("curve"), where: view.one("where") });
    const asked = wanted();
    let [answer, trouble] = [null, null];
    try {
      answer = await get(asked, signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      trouble = error.message;
    }
    if (asked !== wanted()) return; // a later one is under way
    if (trouble !== null) {
      shown.element.hidden = true;
      fill(said);
      fill(nothing, h("p", { class: "wrong", role: "alert" }, trouble));
      return;
    }
    found = answer;
    if (found.figures.length !== figures.options.length) {
      fill(figures, found.figures.map((key) => h("option", { value: key }, nameOf(key))));
      figures.value = found.figure;
    }
    await draw();
  }
  return { element, load };
}
