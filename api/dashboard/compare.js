/** A few trials side by side. */

import { all, get, studyPath } from "./api.js";
import { empty, fill, h } from "./dom.js";
import { figure } from "./figure.js";
import { duration, loss, number } from "./format.js";
import { around, axis, counted, library, look, plain, plot, scaled, swatch } from "./plot.js";
import { address, pathOf } from "./route.js";
import { table } from "./table.js";
import { colour } from "./theme.js";

const CURVES = [["neg_elbo", "−ELBO, nats"], ["distortion", "D, nats"], ["rate", "R, nats"]];
const CELL = 300; // least width of a small plot
const SAMPLES = 5;

export const title = () => "Trials side by side";

export async function show(main, query, signal) {
  library().catch(() => {});
  const runs = query.getAll("run");
  if (runs.length < 2) return fill(main, empty("Tick two to six trials in a study's table, then press Compare."));
  const found = await get(pathOf("/v1/compare", { run: runs }), signal);
  const path = ({ study, number: at }) => `${studyPath(study)}/trials/${at}`;
  const styles = found.runs.map((_, place) => look(place, place));
  const heading = (place) => [swatch(styles[place]), " ", h("a", { href: address({ view: "trial", study: found.runs[place].study, trial: found.runs[place].number }) }, found.runs[place].run)];
  const sideBySide = (caption, rows) => table(caption, [{ label: "", head: h("span", { class: "unseen" }, "Name"), value: (row) => row.name },
    ...found.runs.map((run, place) => ({ label: run.run, head: heading(place), figure: true, value: (row) => row.cell?.(place) ?? row.values[place] }))], rows);
  const differing = found.settings.filter((one) => one.differs);
  const same = found.settings.filter((one) => !one.differs);
  const marked = (one) => {
    const known = one.values.filter((value) => value !== null);
    const losses = known.map((value) => loss(value, one.goal));
    const best = Math.min(...losses);
    return (place) => {
      const value = one.values[place];
      const text = one.key === "seconds" ? duration(value) : number(value);
      return value !== null && loss(value, one.goal) === best && !found.note && known.length > 1 && new Set(losses).size > 1 ? h("strong", {}, text) : text;
    };
  };
  const shown = figure("Validation figures by epoch", "Learning curves of the compared trials; the table beneath holds the same", () => [[
    { label: "Trial", value: (row) => row.run }, { label: "Epoch", figure: true, value: (row) => row.epoch },
    ...CURVES.map(([key, label]) => ({ label, figure: true, value: (row) => row[key] }))], epochs.flatMap((each, place) => each.map((row) => ({ ...row, run: found.runs[place].run })))]);
  const writing = h("section", { "aria-labelledby": "writing-title" });
  let [epochs, samples] = [[], []];
  fill(main,
    h("p", { class: "row" }, found.runs.map((run, place) => h("span", {}, heading(place), run.note && h("span", { class: "muted" }, ` ${run.note}`)))),
    found.note && h("p", { class: "notice" }, `Note: ${found.note}.`),
    h("h2", {}, "Settings that differ"), differing.length ? sideBySide("Settings that differ", differing) : empty("All settings are the same."),
    h("details", {}, h("summary", {}, "Settings that are the same"), sideBySide("Settings that are the same", same)),
    h("h2", {}, "Figures"), sideBySide("Figures", found.figures.map((one) => ({ ...one, name: one.unit ? `${one.label} (${one.unit})` : one.label, cell: marked(one) }))),
    h("h2", {}, "Learning curves"), shown.element, writing);

  [epochs, samples] = await Promise.all([
    Promise.all(found.runs.map((run) => all(`${path(run)}/epochs`, signal))),
    Promise.all(found.runs.map((run) => get(`${path(run)}/samples`, signal).catch(() => null))),
  ]);
  shown.refresh();
  showWriting(writing, found.runs.map((_, place) => () => heading(place)), samples);
  if (!epochs.some((each) => each.length)) return fill(shown.element, empty("None of them has reported an epoch."));
  const build = (width) => {
    const across = Math.max(1, Math.min(CURVES.length, Math.floor(width / CELL)));
    const down = Math.ceil(CURVES.length / across);
    const layout = { height: 30 + 240 * down, grid: { rows: down, columns: across, pattern: "independent", xgap: 0.2, ygap: 0.3 } };
    const data = CURVES.flatMap(([key, label], panel) => {
      const at = panel ? panel + 1 : "";
      layout[`xaxis${at}`] = axis("epoch", counted(Math.max(...epochs.map((each) => each.length))));
      layout[`yaxis${at}`] = axis(label, scaled(around(epochs.flat().map((row) => row[key]), false), false));
      return epochs.map((each, place) => ({
        type: "scatter", mode: "lines", x: each.map((row) => row.epoch), y: each.map((row) => row[key]), xaxis: `x${at}`, yaxis: `y${at}`,
        line: { width: 2, color: colour(styles[place].colour) }, hovertemplate: `${plain(found.runs[place].run)}, epoch %{x}: %{y:.4g}<extra></extra>`,
      }));
    });
    return { data, layout };
  };
  return plot(shown.canvas, build, signal)();
}

/** What they write, and what their codes keep of the same validation sentences. */
function showWriting(section, headings, samples) {
  const sentence = (text) => h("span", { class: "sentence" }, text ?? "–");
  const columns = (value) => headings.map((head, place) => ({ label: "", head: head(), value: (row) => sentence(value(row, samples[place])) }));
  if (!samples.some(Boolean)) return fill(section, h("h2", { id: "writing-title" }, "What they write"), empty("Only a training that ends well leaves samples."));
  const most = (key) => [...Array(Math.max(...samples.map((each) => each?.[key].length ?? 0))).keys()];
  const kept = (one) => one && [h("span", { class: "muted" }, `${one.source} →`), h("br"), one.text];
  return fill(section, h("h2", { id: "writing-title" }, "What they write"),
    table("Samples", columns((place, each) => each?.samples[place]?.text), [...Array(SAMPLES).keys()]),
    h("h3", {}, "What their codes keep: validation sentences through the code and back"),
    table("Reconstructions", columns((place, each) => kept(each?.reconstructions[place])), most("reconstructions")),
    h("h3", {}, "On the line between two codes"),
    table("Homotopies", columns((place, each) => each?.homotopy[place]?.text), most("homotopy")));
}
