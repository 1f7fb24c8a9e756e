/** A new study, from the techniques' search spaces or from another study, and the command and the file that make the same. */

import { get, options, paced, send, studyPath } from "./api.js";
import { complain, controlOf, field, forgive, hintOf, input, typed, valueOf } from "./controls.js";
import { announce, copied, empty, fill, h, select } from "./dom.js";
import { go, note } from "./route.js";

export const title = () => "New study";

export async function show(main, query, signal) {
  const origin = query.get("from");
  const [offer, techniques, cloned] = await Promise.all([options(), get("/v1/techniques", signal).then((found) => found.items), origin && get(studyPath(origin), signal)]);
  if (!offer.can_write) return fill(main, empty("This key may only read. A key that may write makes studies: ", h("code", {}, "tuner key create NAME --write"), "."));
  const spec = cloned?.spec ?? {};

  const technique = select({ onchange: () => { note({ view: "new", technique: technique.value }, false); space({}); judge(); rewrite(); } }, techniques.map((one) => one.name), spec.technique ?? query.get("technique") ?? "sfb");
  const about = h("div", { class: "note" });
  const hyperparameters = h("div", { class: "hyperparameters" });
  const parametersOf = (name) => (techniques.find((one) => one.name === name) ?? techniques[0]).hyperparameters;

  /** The chosen technique's hyperparameters, some of them fixed. */
  function space(fixed) {
    const chosen = techniques.find((one) => one.name === technique.value) ?? techniques[0];
    fill(about, h("p", {}, chosen.summary), h("p", {}, h("code", {}, chosen.formula)), h("p", { class: "muted" }, chosen.paper));
    const rows = chosen.hyperparameters.map((parameter) => {
      const { name } = parameter;
      const value = valueOf(parameter, fixed[name] ?? parameter.default);
      const fix = h("input", { type: "checkbox", class: "fix", checked: name in fixed, onchange: () => { value.disabled = !fix.checked; if (fix.checked) value.focus(); } });
      value.disabled = !fix.checked;
      value.setAttribute("aria-label", `${name}'s fixed value`);
      const row = field(`fixed.${name}`, name, value, hintOf(parameter));
      row.insertBefore(h("label", { class: "check" }, fix, "fix"), value);
      row.read = () => (fix.checked ? typed(value.value, parameter) : undefined);
      row.parameter = name;
      return row;
    });
    fill(hyperparameters, rows.length ? rows : empty("This technique has none: its study repeats one configuration."));
  }
  space(spec.fixed ?? {});

  /** Of a cloned study's values, those that the hyperparameters above do not have. */
  const known = new Set(parametersOf(technique.value).map((parameter) => parameter.name));
  const initial = { ...spec, ...(spec.fixed && { fixed: Object.fromEntries(Object.entries(spec.fixed).filter(([key]) => !known.has(key))) }) };
  const own = offer.settings.filter((setting) => setting.key !== "technique");
  const isBasic = (setting) => setting.key === "trials" || (setting.role === "identity" && !TABLES.has(setting.kind));
  const name = field("name", "Name", input("text", origin ? `${origin}-copy` : "", { spellcheck: "false" }), "empty: made from the technique, the corpus and the model");
  name.setting = "name";
  name.read = () => name.querySelector("input").value.trim() || undefined;
  const controls = (wanted) => own.filter(wanted).map((setting) => controlOf(setting, initial[setting.key]));
  const basic = [name, ...controls(isBasic)];
  const rules = controls((setting) => !isBasic(setting));
  /** The objective that the chosen technique has unless another is chosen. */
  const judge = () => { basic.find((row) => row.setting === "objective").querySelector("select").value = techniques.find((one) => one.name === technique.value)?.objective ?? "nll"; };
  if (!cloned) judge();

  const trouble = h("div", { class: "wrong", role: "alert", tabindex: -1 });
  const submit = h("button", { type: "submit", class: "main" }, "Create the study");
  const progress = h("span", { class: "muted", role: "status" });
  const written = h("div");
  const rewrite = paced(write, signal);
  const equivalent = h("details", { ontoggle: rewrite }, h("summary", {}, "As a command and as a file"), written);
  const form = h("form", { novalidate: true, class: "new-study", oninput: rewrite, onsubmit: (event) => { event.preventDefault(); create(); } },
    cloned && h("p", { class: "note" }, "With the settings of ", h("strong", {}, origin), "."),
    h("fieldset", {}, h("legend", {}, "Technique"), field("technique", "Technique", technique, ""), about),
    h("fieldset", {}, h("legend", {}, "Hyperparameters"), hyperparameters),
    h("fieldset", {}, h("legend", {}, "Study"), h("div", { class: "fields" }, basic)),
    h("details", {}, h("summary", {}, "Rules and other settings"), h("div", { class: "fields" }, rules)),
    equivalent, trouble, h("p", { class: "row" }, submit, progress));
  fill(main, form);

  function request() {
    const asked = { technique: technique.value };
    for (const row of [...basic, ...rules]) { const value = row.read(); if (value !== undefined) asked[row.setting] = value; }
    const fixed = { ...asked.fixed };
    for (const row of hyperparameters.children) { const value = row.read?.(); if (value !== undefined) fixed[row.parameter] = value; }
    return { ...asked, fixed };
  }

  /** The command and the file that make the study that the form now describes. */
  async function write() {
    if (!equivalent.open) return;
    try {
      const { command, file } = await send("POST", "/v1/study-file", request());
      fill(written, h("p", { class: "note" }, "The command makes the study on this server, where it may need ", h("code", {}, "TUNER_API_KEY"), "; without ", h("code", {}, "--api"), " in a database of your own. ",
        h("code", {}, "tuner launch --config study.toml"), " reads the file."),
      copied("Command", `${command} --api ${location.origin}`), copied("study.toml", file));
    } catch (error) {
      if (!signal.aborted) fill(written, h("p", { class: "wrong", role: "alert" }, error.message));
    }
  }

  async function create() {
    forgive(form);
    if (submit.ariaBusy) return;
    submit.ariaBusy = "true";
    fill(progress, "Reading the corpus and trying the settings …");
    try {
      const study = await send("POST", "/v1/studies", request());
      announce(`${study.name} was created`);
      go({ view: "study", study: study.name });
    } catch (error) {
      complain(form, trouble, error);
    } finally {
      submit.ariaBusy = null;
      fill(progress);
    }
  }
  return undefined;
}

const TABLES = new Set(["pairs", "domains"]);
