/** A new study, from the techniques' search spaces. */

import { all, options, send } from "./api.js";
import { announce, empty, fill, h, select } from "./dom.js";
import { domain, number } from "./format.js";
import { go, note } from "./route.js";

export const title = () => "New study";

export async function show(main, query, signal) {
  const [offer, techniques, corpora] = await Promise.all([options(), all("/v1/techniques", signal), all("/v1/corpora", signal)]);
  if (!offer.can_write) return fill(main, empty("This key may only read. A key that may write makes studies: ", h("code", {}, "tuner key create NAME --write"), "."));

  let serial = 0;
  /** A control with its label, its hint and a place for what is wrong with it. `key` is the request's. */
  function field(key, label, control, hint) {
    const id = `field-${serial++}`;
    control.id = id;
    control.name = key;
    control.setAttribute("aria-describedby", `${id}-hint ${id}-wrong`);
    return h("div", { class: "field", "data-key": key }, h("label", { for: id }, label), control,
      h("p", { class: "hint", id: `${id}-hint` }, hint), h("p", { class: "wrong", id: `${id}-wrong`, role: "alert" }));
  }
  const input = (type, value, more = {}) => h("input", { type, value, autocomplete: "off", ...more });
  const lines = (rows = 2) => h("textarea", { rows, spellcheck: "false", placeholder: "name=value" });

  const technique = select({ onchange: () => { note({ view: "new", technique: technique.value }, false); space(); } }, techniques.map((one) => one.name), query.get("technique") ?? techniques[0]?.name);
  const about = h("div", { class: "note" });
  const hyperparameters = h("div", { class: "hyperparameters" });

  function space() {
    const chosen = techniques.find((one) => one.name === technique.value) ?? techniques[0];
    fill(about, h("p", {}, chosen.summary), h("p", {}, h("code", {}, chosen.formula)), h("p", { class: "muted" }, chosen.paper));
    const rows = chosen.hyperparameters.map((parameter) => {
      const tuned = parameter.tuned ?? true;
      const value = parameter.kind === "categorical" ? select({}, parameter.choices.map(String), String(parameter.default))
        : input("number", parameter.default, { step: "any", min: parameter.low, max: parameter.high });
      const fix = h("input", { type: "checkbox", class: "fix", onchange: () => { value.disabled = !fix.checked; if (fix.checked) value.focus(); } });
      value.disabled = true;
      value.setAttribute("aria-label", `${parameter.name}'s fixed value`);
      const row = field(`fixed.${parameter.name}`, parameter.name, value, [
        `${parameter.meaning}; ${tuned ? `searched: ${domain(parameter)}` : `${number(parameter.default)} unless fixed; ${domain(parameter)}`}`,
        parameter.unit && `, ${parameter.unit}`, parameter.optimum != null && `; the paper's optimum ${number(parameter.optimum)}`].filter(Boolean).join(""));
      row.insertBefore(h("label", { class: "check" }, fix, "fix"), value);
      row.read = () => (fix.checked ? typed(value.value, parameter) : undefined);
      row.parameter = parameter.name;
      return row;
    });
    fill(hyperparameters, rows.length ? rows : empty("This technique has none: its study repeats one configuration."));
  }
  space();

  const basic = [
    field("name", "Name", input("text", "", { spellcheck: "false" }), "empty: made from the technique, the corpus and the model"),
    field("corpus", "Corpus", select({}, corpora.map((one) => [one.name, `${one.name}${one.sentences ? ` (${number(one.sentences.train)} sentences)` : ""}`])), "what it trains on"),
    field("model", "Model", select({}, offer.models, "tiny"), "a preset of sizes; tiny and small are for processors"),
    field("trials", "Trials", input("number", 8, { min: 1, step: 1, required: true }), "the whole study's budget"),
    field("sampler", "Sampler", select({}, offer.samplers, offer.default_sampler), "proposes what to try next"),
    field("seed", "Seed", input("number", 0, { min: 0, step: 1 }), "everything random follows from it"),
    field("objective", "Objective", select({}, offer.objectives, "nll"), "nll,rate searches the front of both"),
    field("pruner", "Pruner", select({}, offer.pruners, "none"), "ends poor trials early; simulated, each costs quality"),
    field("min_rate", "Least rate", input("number", 0, { min: 0, step: "any" }), "nats; what a trial's rate falls short of it is added to its NLL, so that a collapsed model does not win"),
  ];
  const rules = [
    field("stop_when", "Stop when the gain is below", input("number", 0, { min: 0, step: "any" }), "nats; 0: never"),
    field("timeout", "Timeout", input("number", "", { min: 0, step: "any" }), "seconds that a trial may take; empty: no limit"),
    field("deadline", "Deadline", input("datetime-local", ""), "your time; empty: none"),
    field("max_failures", "Failures in a row", input("number", 3, { min: 0, step: 1 }), "after which the study stops itself; 0: no limit"),
    field("max_losses", "Lost workers in a row", input("number", 20, { min: 0, step: 1 }), "after which a trial fails; 0: no limit"),
    field("first_default", "Begin with the published values", h("input", { type: "checkbox", checked: true }), "trial 0 has the technique's published values, not the sampler's"),
    field("warm_start", "Warm start", input("text", "", { spellcheck: "false" }), "a study over the same hyperparameters whose trials this one begins with"),
    field("sampler_options", "Sampler options", lines(), "one name=value a line"),
    field("fixed", "Other settings", lines(), "one name=value a line, e.g. max_epochs=12 or posterior=iaf"),
  ];

  const trouble = h("div", { class: "wrong", role: "alert", tabindex: -1 });
  const submit = h("button", { type: "submit", class: "main" }, "Create the study");
  const progress = h("span", { class: "muted", role: "status" });
  const form = h("form", { novalidate: true, class: "new-study", onsubmit: (event) => { event.preventDefault(); create(); } },
    h("fieldset", {}, h("legend", {}, "Technique"), field("technique", "Technique", technique, ""), about),
    h("fieldset", {}, h("legend", {}, "Hyperparameters"), hyperparameters),
    h("fieldset", {}, h("legend", {}, "Study"), h("div", { class: "fields" }, basic)),
    h("details", {}, h("summary", {}, "Rules and other settings"), h("div", { class: "fields" }, rules)),
    trouble, h("p", { class: "row" }, submit, progress));
  fill(main, form);

  function request() {
    const read = (key) => form.elements[key].value.trim();
    const amount = (key) => (read(key) === "" ? undefined : Number(read(key)));
    const fixed = { ...pairs("fixed", read("fixed")) };
    for (const row of hyperparameters.children) { const value = row.read?.(); if (value !== undefined) fixed[row.parameter] = value; }
    return {
      name: read("name") || undefined, technique: technique.value, corpus: read("corpus"), model: read("model"), trials: amount("trials"), sampler: read("sampler"),
      sampler_options: pairs("sampler_options", read("sampler_options")), seed: amount("seed"), objective: read("objective"), pruner: read("pruner"), min_rate: amount("min_rate"),
      stop_when: amount("stop_when"), fixed, timeout: amount("timeout"), deadline: read("deadline") ? new Date(read("deadline")).toISOString() : undefined,
      max_failures: amount("max_failures"), max_losses: amount("max_losses"), warm_start: read("warm_start") || undefined, first_default: form.elements.first_default.checked,
    };
  }

  async function create() {
    for (const place of form.querySelectorAll(".wrong")) place.replaceChildren();
    for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    if (submit.ariaBusy) return;
    submit.ariaBusy = "true";
    fill(progress, "Reading the corpus and trying the settings …");
    try {
      const study = await send("POST", "/v1/studies", request());
      announce(`${study.name} was created`);
      go({ view: "study", study: study.name });
    } catch (error) {
      complain(error);
    } finally {
      submit.ariaBusy = null;
      fill(progress);
    }
  }

  /** Shows what is wrong at its field, or above the button where it has none. */
  function complain(error) {
    const key = error.field;
    const row = [...form.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key) ?? [...form.querySelectorAll("[data-key]")].find((one) => key?.startsWith(`${one.dataset.key}.`));
    const control = row?.querySelector("select, input:not(.fix), textarea");
    if (!control) { fill(trouble, error.message); trouble.focus(); return; }
    const details = row.closest("details");
    if (details) details.open = true;
    fill(row.querySelector(".wrong"), error.message);
    control.setAttribute("aria-invalid", "true");
    (control.disabled ? row.querySelector(".fix") : control).focus();
  }
  return undefined;
}

/** What is wrong before anything is sent. */
class Mistake extends Error {
  constructor(field, message) { super(message); this.field = field; }
}

const typed = (text, parameter) => (parameter.kind === "categorical" ? parameter.choices.find((choice) => String(choice) === text) : text.trim() === "" ? null : Number(text));

/** Lines of name=value as an object; values in the type that they look like. */
function pairs(field, text) {
  const found = {};
  for (const line of text.split("\n").map((one) => one.trim()).filter(Boolean)) {
    const [, name, value] = /^([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (!name) throw new Mistake(field, `“${line}” is not name=value: write, for example, max_epochs=12.`);
    found[name] = /^(true|false)$/.test(value) ? value === "true" : value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
  }
  return found;
}
