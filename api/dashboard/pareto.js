/** Trials of several studies in the plane of two metrics, with their fronts. */

import { all, get, options, paced, Problem, studyPath } from "./api.js";
import { brushOf, drawn, figures, NONE, outline, within, written } from "./brush.js";
import { announce, empty, fill, h, labelled, renew, select } from "./dom.js";
import { saveAs } from "./figure.js";
import { count, loss, number, titled } from "./format.js";
import { chosenAtFirst, picker } from "./picker.js";
import { around, axis, farFrom, image, levelLines, library, look, plain, plot, reaching, scaled, swatch } from "./plot.js";
import { address, go, note, pathOf } from "./route.js";
import { table } from "./table.js";
import { colour } from "./theme.js";

const ROWS = 200; // of the table
const TOOLS = [["select", "Box"], ["lasso", "Lasso"], ["zoom", "Zoom"], ["pan", "Pan"]];
const ESTIMATES = ["temper", "error", "bias"]; // how sure a tempered estimate is
const DOTS = 5000; // points from which markers are smaller
const CORNERS = { "max max": ["↗", 1, 1], "max min": ["↘", 1, 0], "min max": ["↖", 0, 1], "min min": ["↙", 0, 0] }; // none where 0 is the best value
const HELPS = 5; // times that an axis's highest figure is its lowest, from which a logarithmic scale shows more

export const title = () => "Pareto";

/**
 * What the address holds.
 * @typedef {object} State
 * @property {string[]} study
 * @property {string} x
 * @property {string} y
 * @property {string} split
 * @property {string[]} log axes on a logarithmic scale
 * @property {string} far "shown" where the scale holds the few that lie far from all others, too
 * @property {string} tool
 * @property {number[]|null} zoom x from, x to, y from, y to, in the axes' own coordinates
 * @property {import("./brush.js").Brush} brush
 * @property {string} where a condition that what is selected fits, as the tables of trials have it
 */

/** @returns {State} */
const stateOf = (query) => ({
  study: query.getAll("study"), x: query.get("x") ?? "rate", y: query.get("y") ?? "ppl", split: query.get("split") ?? "valid",
  log: query.getAll("log"), far: query.get("far") ?? "", where: query.get("where") ?? "", tool: query.get("tool") ?? "select", zoom: figures(query.get("zoom"), { count: 4 }), brush: brushOf(query),
});

/** The same as an address holds it. */
const queryOf = ({ split, tool, zoom, brush, ...state }) => ({ view: "pareto", ...state, split: split === "valid" ? null : split,
  tool: tool === "select" ? null : tool, zoom: written(zoom), box: written(brush.box), lasso: written(brush.lasso) });

export async function show(main, query, signal) {
  library().catch(() => {});
  const [{ metrics }, studies] = await Promise.all([options(), all("/v1/studies", signal)]);
  const known = Object.fromEntries(metrics.map((metric) => [metric.key, metric]));
  const label = (key) => (known[key] ? titled(known[key]) : key);
  const state = stateOf(query);
  const keep = (asStep) => note(queryOf(state), asStep);
  if (!state.study.length) {
    state.study = chosenAtFirst(studies.filter((study) => study.counts.complete > 0));
    keep(false);
  }
  if (!studies.length) return fill(main, empty("No study yet. ", h("a", { href: address({ view: "new" }) }, "Make the first one"), "."));

  /** @type {any} the server's answer */
  let found = { studies: [], front: [], x_goal: "max", y_goal: "min", note: null, levels: [] };
  const fitting = new Map(); // of a study, numbers of the trials that fit the condition, if there is one
  const looks = () => {
    const techniques = [...new Set(found.studies.map((study) => study.technique))];
    return found.studies.map((study, place) => look(place, techniques.indexOf(study.technique)));
  };

  // The plot.
  const canvas = h("div", { class: "plot large", role: "img", "aria-label": "Pareto plot; the table beneath holds the same figures" });
  const tip = h("div", { class: "tip", hidden: true });
  const hint = h("p", { class: "empty", hidden: true });
  const warning = h("p", { class: "notice", hidden: true });
  const beyond = h("p", { class: "note" });
  const isLog = (which) => state.log.includes(which);
  const total = () => found.studies.reduce((sum, study) => sum + study.number.length, 0);

  function build(width, everything = false) {
    const size = total() > DOTS ? 5 : 11;
    const chosen = everything ? null : picked();
    const styles = looks();
    const data = found.studies.map((study, place) => ({
      type: "scatter", mode: "markers", name: plain(found.note ? `${study.study}: ${study.estimators.join(", ")}` : study.study), x: study.x, y: study.y, hoverinfo: "none", meta: place, look: styles[place],
      marker: { symbol: styles[place].symbol, color: colour(styles[place].colour), size, opacity: size > 5 ? 0.8 : 0.6 },
      selectedpoints: chosen?.[place], edge: !state.zoom,
    }));
    const line = (points, style) => ({ type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip", x: points.map(([x]) => x), y: points.map(([, y]) => y), line: { shape: found.x_goal === "max" ? "vh" : "hv", ...style } });
    const [arrow, right, top] = CORNERS[`${found.x_goal} ${found.y_goal}`] ?? [];
    found.studies.forEach((study, place) => {
      for (const kind of new Set(arrow && study.made)) // figures of different estimators are not joined
        data.push(line(study.front.filter((at) => study.made[at] === kind).map((at) => [study.x[at], study.y[at]]), { color: colour(styles[place].colour), width: 1.5 }));
    });
    if (found.studies.length > 1 && !found.note && arrow)
      data.push({ ...line(found.front.map(([study, at]) => [found.studies[study].x[at], found.studies[study].y[at]]), { color: colour("--ink"), width: 1.5, dash: "dot" }), name: "front of all", showlegend: true });
    const dotted = { color: colour("--ink"), width: 1, dash: "dot" };
    const shapes = everything ? [] : outline(state.brush, extent, { xref: "x", yref: "y", line: dotted, fillcolor: "rgba(128, 128, 128, 0.1)" });
    const ranges = { x: rangeOf("x"), y: rangeOf("y") };
    if (state.zoom && !everything) Object.assign(ranges, { x: state.zoom.slice(0, 2), y: state.zoom.slice(2) });
    const levels = levelLines(found.levels, ranges.y, isLog("y"), found.x_goal === "max");
    const corner = { xref: "paper", yref: "paper", x: right, y: top, xanchor: right ? "right" : "left", yanchor: top ? "top" : "bottom", showarrow: false, xshift: right ? -6 : 6, yshift: top ? -4 : 4, text: `better ${arrow}`, bgcolor: colour("--paper"), font: { size: 13, color: colour("--complete") } };
    return { data, layout: {
      height: width < 600 ? 380 : 560, dragmode: state.tool, selections: [], newselection: { line: dotted }, shapes: [...levels.shapes, ...shapes], annotations: [...(arrow ? [corner] : []), ...levels.annotations],
      xaxis: axis(label(state.x), scaled(ranges.x, isLog("x"))), yaxis: axis(label(state.y), scaled(ranges.y, isLog("y"))),
    } };
  }

  const figuresOf = (which) => found.studies.flatMap((study) => study[which]);
  const isFar = (which) => (state.far ? () => false : farFrom(figuresOf(which), isLog(which)));
  /** The scale of an axis: without the few that lie far from all others, and with the lines that are near. */
  function rangeOf(which) {
    const away = isFar(which);
    const range = around(figuresOf(which).filter((value) => !away(value)), isLog(which));
    return which === "y" ? reaching(range, found.levels.map(({ value }) => value), isLog(which)) : range;
  }
  /** What lies beyond the scale, and what would show it. */
  function tellBeyond() {
    const [x, y] = [isFar("x"), isFar("y")];
    const far = found.studies.reduce((sum, study) => sum + study.number.filter((_, at) => x(study.x[at]) || y(study.y[at])).length, 0);
    const [low, high] = extent("y");
    const offer = !isLog("y") && low > 0 && high > HELPS * low;
    fill(beyond, far > 0 && !state.zoom && [`${count(far, "trial")} beyond the scale, marked △ at its edge. `, h("button", { type: "button", onclick: () => wide("shown") }, "Show all")], state.far && h("button", { type: "button", onclick: () => wide("") }, "Leave out the far ones"),
      offer && [" ", h("button", { type: "button", onclick: () => { logs.y.checked = true; logs.y.dispatchEvent(new Event("change")); } }, `Log ${known[state.y]?.label ?? state.y}`)], " ", levelLines(found.levels, rangeOf("y"), isLog("y")).beyond);
  }
  const wide = (far) => { Object.assign(state, { far, zoom: null }); keep(true); return redraw(); };

  function extent(which) {
    let low = Infinity;
    let high = -Infinity;
    for (const study of found.studies) for (const value of study[which]) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
    return [low, high];
  }
  /** Places of the trials within the brush that fit the condition, study by study; null without either. */
  function picked() {
    if (!isBrushed()) return null;
    const isIn = within(state.brush, ["x", "y"].map((which) => (isLog(which) ? Math.log : (value) => value))) ?? (() => true);
    const isShown = (study, at) => study.x[at] !== null && study.y[at] !== null && isIn(study.x[at], study.y[at]);
    const isFit = (study, at) => !state.where || (fitting.get(study.study)?.has(study.number[at]) ?? false);
    return found.studies.map((study) => [...study.number.keys()].filter((at) => isShown(study, at) && isFit(study, at)));
  }

  // The table of what is brushed, or else of the front.
  const below = h("section", { "aria-labelledby": "chosen-title" });
  function list() {
    const chosen = picked();
    const front = found.note ? found.studies.flatMap((own, study) => own.front.map((at) => [study, at])) : found.front;
    const places = chosen ? chosen.flatMap((some, study) => some.map((at) => [study, at])) : front;
    const styles = looks();
    const rows = places.map(([place, at]) => {
      const study = found.studies[place];
      return { study: study.study, style: styles[place], number: study.number[at], x: study.x[at], y: study.y[at], notes: study.notes[at], params: Object.fromEntries(Object.entries(study.params).map(([key, values]) => [key, values[at]])) };
    });
    if (chosen) rows.sort((a, b) => loss(a.y, found.y_goal) - loss(b.y, found.y_goal));
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.params)))];
    const heading = chosen ? `${count(rows.length, "trial")} selected` : `${found.note ? "Each study's own front" : "The front"}: ${count(rows.length, "trial")}`;
    const shown = rows.slice(0, ROWS);
    renew(below, h("h2", { id: "chosen-title" }, heading),
      rows.length > ROWS && h("p", { class: "note" }, `The first ${ROWS} by ${known[state.y]?.label ?? state.y}; the CSV holds all points.`),
      rows.length > 0 && table("Table of these trials", [
        { label: "Trial", value: (row) => [swatch(row.style), " ", h("a", { href: address({ view: "trial", study: row.study, trial: row.number }) }, `${row.study}/${row.number}`)] },
        { label: known[state.x]?.label ?? state.x, figure: true, value: (row) => row.x },
        { label: known[state.y]?.label ?? state.y, figure: true, value: (row) => row.y },
        ...names.map((key) => ({ label: key, figure: true, value: (row) => row.params[key] })),
        ...(rows.some((row) => row.notes) ? [{ label: "Note", value: (row) => row.notes }] : []),
      ], shown));
    return heading;
  }

  // Everything that follows the state.
  const draw = plot(canvas, build, signal, listen);
  async function redraw() {
    const any = total() > 0;
    hint.hidden = any;
    hint.textContent = !state.study.length ? "Choose a study." : state.split === "test"
      ? "No confirmation of these studies has both figures on the test split: `tuner confirm` makes them." : "No complete trial has both figures yet.";
    canvas.hidden = beyond.hidden = !any;
    tellBeyond();
    for (const [which, box] of Object.entries(logs)) box.disabled = !isLog(which) && extent(which)[0] <= 0;
    warning.hidden = !found.note;
    warning.textContent = `Note: ${found.note}.`;
    studiesPicker.refresh();
    ranges();
    const heading = list();
    if (any) await draw();
    return heading;
  }
  const asked = ({ study, x, y, split }) => pathOf("/v1/pareto", { study, x, y, split });
  const fetched = async () => {
    if (!state.study.length) { found = { ...found, studies: [], front: [], note: null, levels: [] }; return; }
    const wanted = asked(state);
    const answer = await get(wanted, signal);
    if (wanted === asked(state)) { found = answer; await fit(); } // else a later choice has its own under way
  };
  /** Which trials fit the condition, by the server; what a study has no column for, none of its trials fits. */
  async function fit() {
    const { where } = state;
    const names = where ? found.studies.map(({ study }) => study) : [];
    const sets = await Promise.all(names.map(async (name) => {
      try {
        return new Set((await get(pathOf(`${studyPath(name)}/table`, { column: "number", where }), signal)).number);
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 422) throw error;
        return error;
      }
    }));
    if (where !== state.where) return; // a later one is under way
    names.forEach((name, place) => fitting.set(name, sets[place] instanceof Set ? sets[place] : new Set()));
    const isWrong = sets.length > 0 && !sets.some((one) => one instanceof Set);
    wrong.textContent = isWrong ? sets[0].message : "";
    if (isWrong) condition.setAttribute("aria-invalid", "true"); else condition.removeAttribute("aria-invalid");
  }
  const change = async (asStep) => { keep(asStep); await fetched(); await redraw(); };
  const brush = async (shape) => {
    state.brush = shape;
    keep(true);
    announce(await redraw());
  };
  const filter = async (where) => {
    state.where = where;
    keep(true);
    await fit();
    announce(await redraw());
  };
  const unbrush = () => { state.brush = NONE; return filter(""); };

  function listen(graph) {
    graph.on("plotly_selected", (event) => {
      // Later, as Plotly is still at it; its own outline then gives way to ours. What it tells of its own redrawing has neither.
      if (event?.range || event?.lassoPoints) setTimeout(() => brush(drawn(event)));
    });
    graph.on("plotly_relayout", (changes) => {
      if (!Object.keys(changes).some((key) => /^[xy]axis\.range/.test(key))) return;
      const { xaxis, yaxis } = graph.layout;
      state.zoom = [...xaxis.range, ...yaxis.range];
      keep(false);
      setTimeout(redraw); // with ticks for what is now to be seen
    });
    graph.on("plotly_doubleclick", () => (isBrushed() ? unbrush() : unzoom()));
    graph.on("plotly_click", ({ points: [point] }) => {
      const study = found.studies[point.data.meta];
      go({ view: "trial", study: study.study, trial: study.number[point.pointNumber] });
    });
    graph.on("plotly_hover", ({ points: [point], event }) => {
      const study = found.studies[point.data.meta];
      const at = point.pointNumber;
      fill(tip, h("strong", {}, `${study.study}/${study.number[at]}`),
        [[known[state.x]?.label ?? state.x, point.x], [known[state.y]?.label ?? state.y, point.y], ...Object.entries(study.params).map(([key, values]) => [key, values[at]]), ...(study.notes[at] ? [["Note", study.notes[at]]] : [])]
          .map(([key, value]) => h("div", {}, h("span", {}, key), h("span", { class: "figures" }, number(value)))));
      tip.hidden = false;
      const left = event.clientX + 16 + tip.offsetWidth < innerWidth ? event.clientX + 16 : event.clientX - 16 - tip.offsetWidth;
      tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 4)}px)`;
    });
    graph.on("plotly_unhover", () => { tip.hidden = true; });
  }
  const isBrushed = () => Boolean(state.brush.box || state.brush.lasso || state.where);
  const unzoom = () => { state.zoom = null; keep(true); return redraw(); };

  // Controls.
  const choices = metrics.map((metric) => [metric.key, metric.label]);
  const axisChoice = (which) => select({ onchange: ({ target }) => {
    state[which] = target.value;
    Object.assign(state, { zoom: null, brush: NONE, log: state.log.filter((one) => one !== which) });
    return change(true);
  } }, choices, state[which]);
  const logs = Object.fromEntries(["x", "y"].map((which) => [which, h("input", { type: "checkbox", checked: isLog(which), onchange: ({ target }) => {
    state.log = target.checked ? [...state.log, which] : state.log.filter((one) => one !== which);
    state.zoom = null;
    keep(true);
    return redraw();
  } })]));
  const split = select({ onchange: ({ target }) => { Object.assign(state, { split: target.value, zoom: null, brush: NONE }); return change(true); } }, [["valid", "validation"], "test"], state.split);
  const tools = h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, "Drag to"), TOOLS.map(([value, word]) =>
    h("label", {}, h("input", { type: "radio", name: "tool", value, checked: state.tool === value, onchange: () => { state.tool = value; keep(false); return redraw(); } }), h("span", {}, word))));
  const inputs = ["x from", "x to", "y from", "y to"].map((word) => h("input", { type: "number", step: "any", "aria-label": word, onchange: () => {
    const box = inputs.map((input) => (input.value === "" ? null : Number(input.value)));
    return brush(box.some((value) => value !== null) ? { ...NONE, box } : NONE);
  } }));
  let shown = ""; // what the inputs show: a live update takes nothing away that is being typed
  function ranges() {
    const { box } = state.brush;
    const wanted = JSON.stringify([box, state.where]);
    if (wanted !== shown) {
      inputs.forEach((input, place) => { input.value = box?.[place] == null ? "" : Number(box[place].toPrecision(5)); });
      condition.value = state.where;
    }
    shown = wanted;
    clear.disabled = !isBrushed();
    whole.disabled = !state.zoom;
  }
  const clear = h("button", { type: "button", onclick: unbrush }, "Clear selection");
  const whole = h("button", { type: "button", onclick: unzoom }, "Whole plot");
  const condition = h("input", { type: "text", class: "condition", size: 26, spellcheck: false, autocomplete: "off", placeholder: "r > 5 and rate > 3", onchange: ({ target }) => filter(target.value.trim()) });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const byFigures = h("details", { class: "by-figures", open: Boolean(state.brush.box || state.where) && innerWidth > 600 }, h("summary", {}, "Select by figures"),
    h("div", { class: "row controls" }, h("span", {}, "x"), inputs[0], "–", inputs[1], h("span", {}, "y"), inputs[2], "–", inputs[3], labelled("Condition", condition)), wrong);

  const choose = (names) => { Object.assign(state, { study: names, zoom: null }); return change(true); };
  const refresh = paced(async () => { await fetched(); await redraw(); }, signal);
  const studiesPicker = picker({
    studies, fits: () => true, chosen: () => state.study, choose, changed: refresh,
    looks: () => Object.fromEntries(looks().flatMap((style, place) => [found.studies[place].confirms, found.studies[place].study].filter(Boolean).map((name) => [name, style]))),
    note: "A line is a study's front; the dotted one is the front of all shown, if one estimator made their figures.",
  }, signal);

  const bar = h("div", { class: "row controls" }, labelled("x", axisChoice("x")), labelled("y", axisChoice("y")), labelled("Split", split),
    h("label", { class: "check" }, logs.x, "log x"), h("label", { class: "check" }, logs.y, "log y"));
  const bar2 = h("div", { class: "row controls" }, tools, clear, whole, saveAs(() => `pareto-${state.x}-${state.y}`, (format) => image(build(1200, true), format), () => pointRows(found)));
  fill(main, h("div", { class: "beside" }, studiesPicker.element, h("div", { class: "stage" }, bar, bar2, hint, warning, canvas, beyond, byFigures, tip)), below);
  addEventListener("keydown", ({ key }) => { if (key === "Escape" && isBrushed()) unbrush(); }, { signal });

  await fetched();
  await redraw();
  studiesPicker.follow();
  return undefined;
}

/** All points, as rows under a head. */
function pointRows(found) {
  const names = [...new Set(found.studies.flatMap((study) => Object.keys(study.params)))];
  const rows = found.studies.flatMap((study) => {
    const front = new Set(study.front);
    return study.number.map((trial, at) => [study.study, study.technique, study.estimators.join(", "), trial, study.x[at], study.y[at], front.has(at), study.notes[at], ...ESTIMATES.map((key) => study[key][at]), ...names.map((key) => study.params[key]?.[at])]);
  });
  return [["study", "technique", "estimator", "trial", found.x, found.y, "front", "notes", ...ESTIMATES, ...names], ...rows];
}
