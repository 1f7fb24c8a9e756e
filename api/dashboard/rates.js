/** Perplexity, accuracy gap and reached minus wanted rate, against the rate that was asked for. */

import { all, get, paced } from "./api.js";
import { empty, fill, h, labelled, select } from "./dom.js";
import { figure, saveAs } from "./figure.js";
import { number } from "./format.js";
import { chosenAtFirst, picker } from "./picker.js";
import { axis, image, library, look, plain, plot, swatch } from "./plot.js";
import { address, note, pathOf } from "./route.js";
import { colour } from "./theme.js";

const CELL = 280; // least width of a panel
const MAKE = "tuner sweep --technique mdr --over r=1,2,5,10,20";

export const title = () => "Figures by target rate";

const holdsRate = (study) => study.best?.metrics?.rate_error != null;

export async function show(main, query, signal) {
  library().catch(() => {});
  const studies = await all("/v1/studies", signal);
  const state = { study: query.getAll("study"), split: query.get("split") ?? "valid" };
  const keep = (asStep) => note({ view: "rates", ...state, split: state.split === "valid" ? null : state.split }, asStep);
  if (!studies.some(holdsRate)) return fill(main, empty("No trial has held a target rate yet: ", h("code", {}, MAKE), " makes some."));
  if (!state.study.length) {
    state.study = chosenAtFirst(studies.filter(holdsRate));
    keep(false);
  }

  /** @type {any} the server's answer */
  let found = { series: [], panels: {}, note: null };
  const styleOf = (place) => look(place, place);
  const named = (line) => (found.note ? `${line.label}: ${line.estimators.join(", ")}` : line.label);
  const points = () => found.series.flatMap((line, place) => line.target.map((target, at) => ({ line, place, target, at })));

  const shown = figure("Mean and deviation over the runs of a target rate", "Figures by target rate, a line for each study; the table beneath holds the same", () => [[
    { label: "Line", value: ({ line, place }) => [swatch(styleOf(place)), " ", named(line)] },
    { label: "Target rate", figure: true, value: ({ target }) => target },
    { label: "Runs", figure: true, value: ({ line, at }) => line.runs[at] },
    ...Object.entries(found.panels).map(([key, label]) => ({ label, figure: true, value: ({ line, at }) => withDeviation(line[key][at], line[`${key}_sd`][at]) })),
  ], points()]);
  const legend = h("ul", { class: "row legend", "aria-label": "Lines" });
  const hint = h("p", { class: "empty", hidden: true });
  const warning = h("p", { class: "notice", hidden: true });

  function build(width) {
    const panels = Object.entries(found.panels);
    const down = Math.ceil(panels.length / Math.max(1, Math.floor(width / CELL)));
    const layout = { height: 30 + 290 * down, grid: { rows: down, columns: Math.ceil(panels.length / down), pattern: "independent", xgap: 0.22, ygap: 0.3 }, shapes: [] };
    const data = panels.flatMap(([key, label], panel) => {
      const at = panel ? panel + 1 : "";
      layout[`xaxis${at}`] = axis("target rate [nats]", { nticks: 7 });
      layout[`yaxis${at}`] = axis(label, { nticks: 6 });
      if (key === "rate_error") layout.shapes.push({ type: "line", layer: "below", xref: `x${at} domain`, yref: `y${at}`, x0: 0, x1: 1, y0: 0, y1: 0, line: { color: colour("--edge"), width: 1 } });
      return found.series.map((line, place) => {
        const tint = colour(styleOf(place).colour);
        const deviations = line[`${key}_sd`];
        return {
          type: "scatter", mode: "lines+markers", name: plain(named(line)), showlegend: panel === 0, x: line.target, y: line[key], xaxis: `x${at}`, yaxis: `y${at}`,
          line: { color: tint, width: line.joined ? 1.5 : 0 }, marker: { symbol: styleOf(place).symbol, size: 8, color: tint },
          error_y: { type: "data", array: deviations.map((value) => value ?? NaN), visible: deviations.some((value) => value !== null), color: tint, thickness: 1, width: 3 },
          customdata: line.target.map((_, one) => withDeviation(line[key][one], deviations[one])),
          hovertemplate: `${plain(line.label)}<br>target %{x}: %{customdata}<extra></extra>`,
        };
      });
    });
    return { data, layout };
  }

  const drawn = plot(shown.canvas, build, signal);
  async function redraw() {
    const any = found.series.length > 0;
    hint.hidden = any;
    fill(hint, !state.study.length ? "Choose a study." : state.split === "test" ? ["No run of these studies has figures on the test split: ", h("code", {}, "tuner confirm STUDY --trial N"), " makes them."]
      : ["No trial of these studies holds a target rate: ", h("code", {}, MAKE), " makes some."]);
    warning.hidden = !found.note;
    warning.textContent = `Note: ${found.note}.`;
    shown.element.hidden = !any;
    fill(legend, found.series.map((line, place) => h("li", {}, swatch(styleOf(place)), " ", h("a", { href: address({ view: "study", study: line.studies[0] }) }, line.label))));
    shown.refresh();
    studiesPicker.refresh();
    if (any) await drawn();
  }
  const asked = () => pathOf("/v1/rates", state);
  const fetched = async () => {
    if (!state.study.length) { found = { ...found, series: [], note: null }; return; }
    const wanted = asked();
    const answer = await get(wanted, signal);
    if (wanted === asked()) found = answer; // else a later choice has its own under way
  };
  const update = async () => { await fetched(); await redraw(); };
  const change = (changes) => { Object.assign(state, changes); keep(true); return update(); };

  const studiesPicker = picker({
    studies, fits: holdsRate, chosen: () => state.study, choose: (names) => change({ study: names }), changed: paced(update, signal),
    looks: () => Object.fromEntries(found.series.flatMap((line, place) => line.studies.map((name) => [name, styleOf(place)]))),
    note: "Studies whose technique holds a target rate. A sweep's points are joined; a search varies more than one hyperparameter, so its trials are points. On the test split a line is a study's confirmations.",
  }, signal);
  const split = select({ onchange: ({ target }) => change({ split: target.value }) }, [["valid", "validation"], "test"], state.split);
  const bar = h("div", { class: "row controls" }, labelled("Split", split),
    saveAs(() => "rates", (format) => image(build(1200), format, 420), () => rowsOf(found)));
  fill(main, h("div", { class: "beside" }, studiesPicker.element, h("div", { class: "stage" }, bar, hint, warning, legend, shown.element)));
  await update();
  studiesPicker.follow();
  return undefined;
}

const withDeviation = (mean, deviation) => (deviation == null ? number(mean) : `${number(mean)} ± ${number(deviation)}`);

/** All points, as rows under a head. */
function rowsOf({ series, panels }) {
  const columns = ["target", "runs", ...Object.keys(panels).flatMap((key) => [key, `${key}_sd`])];
  return [["label", "estimator", ...columns], ...series.flatMap((line) => line.target.map((_, at) => [line.label, line.estimators.join(", "), ...columns.map((key) => line[key][at])]))];
}
