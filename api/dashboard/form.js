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
  const technique = select({ onchange: () => { note({ view: "new", technique: technique.value }, false); space(); } }, techniques.map((one) => one.name), query.get("technique") ?? "sfb");
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

  /** A declared setting's control, which reads its value as the request has it. */
  function control(setting) {
    const make = KINDS[setting.choices ? "choice" : setting.kind] ?? KINDS.text;
    const made = make(setting);
    const row = field(setting.key, setting.label, made.control, setting.meaning);
    row.setting = setting.key;
    row.read = () => made.read(made.control);
    return row;
  }
  const own = offer.settings.filter((setting) => setting.key !== "technique");
  const isBasic = (setting) => setting.key === "trials" || (setting.role === "identity" && !TABLES.has(setting.kind));
  const name = field("name", "Name", input("text", "", { spellcheck: "false" }), "empty: made from the technique, the corpus and the model");
  name.setting = "name";
  name.read = () => name.querySelector("input").value.trim() || undefined;
  const basic = [name, ...own.filter(isBasic).map(control)];
  const rules = own.filter((setting) => !isBasic(setting)).map(control);

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
    const asked = { technique: technique.value };
    for (const row of [...basic, ...rules]) { const value = row.read(); if (value !== undefined) asked[row.setting] = value; }
    const fixed = { ...asked.fixed };
    for (const row of hyperparameters.children) { const value = row.read?.(); if (value !== undefined) fixed[row.parameter] = value; }
    return { ...asked, fixed };
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

const TABLES = new Set(["pairs", "domains"]);
const text = (control) => control.value.trim() || undefined;
const input = (type, value, more = {}) => h("input", { type, value, autocomplete: "off", ...more });
const lines = (placeholder) => h("textarea", { rows: 2, spellcheck: "false", placeholder });

/** How a kind of value is entered, and read from its control; what is left empty is left out. */
const KINDS = {
  choice: (setting) => ({ control: select({}, setting.choices, setting.default ?? setting.choices[0]), read: text }),
  text: (setting) => ({ control: input("text", setting.default ?? "", { spellcheck: "false" }), read: text }),
  number: (setting) => ({
    control: input("number", setting.default, { min: setting.low, max: setting.high, step: setting.whole ? 1 : "any" }),
    read: (control) => (control.value.trim() === "" ? undefined : Number(control.value)),
  }),
  truth: (setting) => ({ control: h("input", { type: "checkbox", checked: setting.default }), read: (control) => control.checked }),
  duration: () => ({ control: input("number", "", { min: 0, step: "any", placeholder: "seconds" }), read: (control) => (text(control) ? Number(control.value) : undefined) }),
  moment: () => ({ control: input("datetime-local", ""), read: (control) => (control.value ? new Date(control.value).toISOString() : undefined) }),
  words: () => ({ control: input("text", "", { placeholder: "one, another" }), read: (control) => text(control)?.split(",").map((one) => one.trim()).filter(Boolean) }),
  pairs: (setting) => ({ control: lines("name=value"), read: (control) => pairs(setting.key, control.value) }),
  domains: (setting) => ({ control: lines("JSON"), read: (control) => parsed(setting.key, control.value) }),
};

/** What is wrong before anything is sent. */
class Mistake extends Error {
  constructor(field, message) { super(message); this.field = field; }
}

const typed = (text, parameter) => (parameter.kind === "categorical" ? parameter.choices.find((choice) => String(choice) === text) : text.trim() === "" ? null : Number(text));

/** A text as JSON; empty is nothing. */
function parsed(field, text) {
  if (!text.trim()) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Mistake(field, `This is no JSON (${error.message}).`);
  }
}

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
