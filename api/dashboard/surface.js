/** The process by which a sampler of ours chooses, over two hyperparameters: its mean, and how little it knows. */

import { get, Problem, studyPath } from "./api.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure } from "./figure.js";
import { number, settings } from "./format.js";
import { axis, plain, plot } from "./plot.js";
import { go, pathOf } from "./route.js";
import { colour } from "./theme.js";

const LEAST = 10; // complete trials that a surface takes
const WIDE = 640; // width from which both stand side by side

/** The section of the study's page. */
export function surfaceOf(study, view, signal) {
  const searched = (study.space ?? []).filter((parameter) => parameter.tuned && !(parameter.name in (study.spec?.fixed ?? {})));
  const spaceOf = Object.fromEntries(searched.map((parameter) => [parameter.name, parameter]));
  const names = searched.map((parameter) => parameter.name);
  const chosen = (which) => (names.includes(view.one(which)) ? view.one(which) : names[which === "across" ? 0 : 1]);
  /** @type {any} the server's answer */
  let found = null;
  const shown = figure("Mean and uncertainty of a process through all values", "Two contour plots over two hyperparameters; the table beneath holds the same", () => (found === null ? [[], []] : [[
    { label: found.x, figure: true, value: (row) => row.x }, { label: found.y, figure: true, value: (row) => row.y },
    { label: "Mean", figure: true, value: (row) => row.mean }, { label: "Uncertainty (sd)", figure: true, value: (row) => row.sd },
  ], found.ys.flatMap((y, up) => found.xs.map((x, across) => ({ x, y, mean: found.mean[up][across], sd: found.sd[up][across] })))]));
  const said = h("p", { class: "note" });
  const nothing = h("div");
  const choose = (which) => select({ onchange: ({ target }) => { view.put({ [which]: target.value }, true); return load(); } }, names, chosen(which));
  const element = h("section", { "aria-labelledby": "surface-title", hidden: names.length < 2 }, h("h2", { id: "surface-title" }, "Surface"),
    h("div", { class: "row controls" }, labelled("Across", choose("across")), labelled("Up", choose("up"))), nothing, shown.element, said);

  const scale = (key) => {
    const parameter = spaceOf[key];
    return parameter.kind === "categorical" ? { type: "category" } : parameter.log ? { type: "log" } : {};
  };
  const texts = (key, values) => (spaceOf[key].kind === "categorical" ? values.map((value) => plain(value)) : values);
  let drawn = 0; // times: Plotly calculates contours anew only for another revision of the data, and cannot draw them without
  const build = (width) => {
    const [x, y] = [texts(found.x, found.xs), texts(found.y, found.ys)];
    const beside = width >= WIDE;
    const contour = (z, name, tint, at) => ({
      type: "contour", x, y, z, name, xaxis: `x${at}`, yaxis: `y${at}`, showscale: false, ncontours: 12, line: { width: 0.5, color: colour("--paper") },
      contours: { showlabels: true, labelfont: { size: 10, color: colour("--ink") } }, colorscale: [[0, colour(tint)], [1, colour("--paper")]], opacity: 0.85,
      hovertemplate: `${plain(found.x)} %{x}, ${plain(found.y)} %{y}: ${name} %{z:.3g}<extra></extra>`,
    });
    const points = (at) => ({ type: "scatter", mode: "markers", x: texts(found.x, found.points_x), y: texts(found.y, found.points_y), xaxis: `x${at}`, yaxis: `y${at}`, customdata: found.number,
      look: { symbol: "circle", colour: "--ink", shape: "M6 2.5a3.5 3.5 0 1 0 .01 0z" }, marker: { size: found.number.length > 200 ? 4 : 7, opacity: 0.7 }, hovertemplate: "trial %{customdata}<extra></extra>" });
    const heading = (text, at) => ({ text, xref: `x${at} domain`, yref: `y${at} domain`, x: 0, y: 1.08, xanchor: "left", showarrow: false, font: { size: 12, color: colour("--ink") } });
    return { data: [contour(found.mean, "mean", "--data-0", ""), points(""), contour(found.sd, "sd", "--data-1", "2"), points("2")], layout: {
      datarevision: ++drawn, height: beside ? 360 : 640, margin: { l: 56, r: 12, t: 30, b: 44 }, grid: { rows: beside ? 1 : 2, columns: beside ? 2 : 1, pattern: "independent", xgap: 0.16, ygap: 0.26 },
      xaxis: axis(found.x, scale(found.x)), yaxis: axis(found.y, scale(found.y)), xaxis2: axis(found.x, scale(found.x)), yaxis2: axis(found.y, scale(found.y)),
      annotations: [heading("mean, stronger is better", ""), heading("uncertainty (sd), stronger is surer", "2")],
    } };
  };

  const draw = plot(shown.canvas, build, signal, (graph) =>
    graph.on("plotly_click", ({ points: [point] }) => { if (point.data.customdata) go({ view: "trial", study: study.name, trial: point.customdata }); }));
  async function load() {
    if (names.length < 2) return;
    const wanted = () => pathOf(`${studyPath(study.name)}/surface`, { x: chosen("across"), y: chosen("up") });
    const asked = wanted();
    try {
      const answer = await get(asked, signal);
      if (asked !== wanted()) return; // a later one is under way
      found = answer;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (asked !== wanted()) return;
      shown.element.hidden = said.hidden = true;
      fill(nothing, empty(error.status === 422 ? error.message : `It begins with ${LEAST} complete trials.`));
      return;
    }
    shown.element.hidden = said.hidden = false;
    fill(nothing);
    shown.refresh();
    const others = settings(found.at);
    fill(said, "The process is of the kind by which gp-map and gp-mcmc choose, fitted to the values of all complete trials whoever proposed them; another seed is expected to move a value by ", number(found.noise), ". ",
      others && `The others are those of trial ${found.best}: ${others}.`);
    await draw();
  }
  return { element, load };
}
