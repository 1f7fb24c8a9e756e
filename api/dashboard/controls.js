/** Controls for settings and hyperparameters as the server declares them, and what is said of a wrong value. */

import { fill, h, select } from "./dom.js";
import { number } from "./format.js";

let serial = 0;
/** A control with its label, its hint and a place for what is wrong with it. `key` is the request's. */
export function field(key, label, control, hint) {
  const id = `field-${serial++}`;
  control.id = id;
  control.name = key;
  control.setAttribute("aria-describedby", `${id}-hint ${id}-wrong`);
  return h("div", { class: "field", "data-key": key }, h("label", { for: id }, label), control,
    h("p", { class: "hint", id: `${id}-hint` }, hint), h("p", { class: "wrong", id: `${id}-wrong`, role: "alert" }));
}

export const input = (type, value, more = {}) => h("input", { type, value, autocomplete: "off", ...more });

/** A declared setting's control, which begins with a value and reads its own as the request has it; left empty, nothing. */
export function controlOf(setting, value = setting.default) {
  const make = KINDS[setting.choices ? "choice" : setting.kind] ?? KINDS.text;
  const made = make({ ...setting, value });
  const row = field(setting.key, setting.label, made.control, setting.meaning);
  row.setting = setting.key;
  row.read = () => made.read(made.control);
  return row;
}

/** A hyperparameter's control, which reads its value. */
export function valueOf(parameter, value) {
  return parameter.kind === "categorical" ? select({}, parameter.choices.map(String), String(value))
    : input("number", value, { step: "any", min: parameter.low, max: parameter.high });
}
export const typed = (text, parameter) => (parameter.kind === "categorical" ? parameter.choices.find((choice) => String(choice) === text) : text.trim() === "" ? null : Number(text));

/** What a hyperparameter means, and its domain. */
export const hintOf = (parameter) => [
  `${parameter.meaning}; ${parameter.tuned ?? true ? `searched: ${parameter.domain}` : `${number(parameter.default)} unless fixed; ${parameter.domain}`}`,
  parameter.unit && `, ${parameter.unit}`, parameter.optimum != null && `; the paper's optimum ${number(parameter.optimum)}`].filter(Boolean).join("");

/** Shows what is wrong at its field, or in `trouble` where it has none. */
export function complain(form, trouble, error) {
  const key = error.field;
  const rows = [...form.querySelectorAll("[data-key]")];
  const row = rows.find((one) => one.dataset.key === key) ?? rows.find((one) => key?.startsWith(`${one.dataset.key}.`));
  const control = row?.querySelector("select, input:not(.fix), textarea");
  if (!control) { fill(trouble, error.message); trouble.focus(); return; }
  const details = row.closest("details");
  if (details) details.open = true;
  fill(row.querySelector(".wrong"), error.message);
  control.setAttribute("aria-invalid", "true");
  (control.disabled ? row.querySelector(".fix") : control).focus();
}

/** Takes back what was said. */
export function forgive(form) {
  for (const place of form.querySelectorAll(".wrong")) place.replaceChildren();
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

const text = (control) => control.value.trim() || undefined;
const lines = (value, placeholder) => h("textarea", { rows: 2, spellcheck: "false", placeholder }, value);
/** A moment as `datetime-local` has it. */
const local = (time) => { const at = new Date(time); return new Date(at - 60_000 * at.getTimezoneOffset()).toISOString().slice(0, 16); };

/** How a kind of value is entered, and read from its control. */
const KINDS = {
  choice: ({ choices, value = choices[0] }) => ({ // one that is not offered here stays chosen, and the server says so
    control: select({}, [...new Set([...choices, value])].filter((one) => one != null), value), read: text,
  }),
  text: ({ role, value }) => ({ control: role === "remark" ? h("textarea", { rows: 3 }, value) : input("text", value ?? "", { spellcheck: "false" }), read: text }),
  number: ({ key, low, high, whole, value }) => ({
    control: input("number", value, { min: low, max: high, step: whole ? 1 : "any" }),
    read: (control) => figureIn(key, control),
  }),
  truth: ({ value }) => ({ control: h("input", { type: "checkbox", checked: value }), read: (control) => control.checked }),
  duration: ({ key, value }) => ({ control: input("number", value ?? "", { min: 0, step: "any", placeholder: "seconds" }), read: (control) => figureIn(key, control) }),
  moment: ({ value }) => ({ control: input("datetime-local", value ? local(value) : ""), read: (control) => (control.value ? new Date(control.value).toISOString() : undefined) }),
  words: ({ value }) => ({ control: lines((value ?? []).map((one) => spelled(one, false)).join("\n"), "one a line"), read: (control) => (text(control) ? eachLine(control.value).map((line) => meant(line, false)) : undefined) }),
  pairs: ({ key, value }) => ({ control: lines(Object.entries(value ?? {}).map(([name, one]) => `${name}=${spelled(one, true)}`).join("\n"), "name=value"), read: (control) => pairs(key, control.value) }),
  domains: ({ key, value }) => ({ control: lines(value ? JSON.stringify(value) : "", "JSON"), read: (control) => parsed(key, control.value) }),
};

/** What is wrong before anything is sent. */
class Mistake extends Error {
  constructor(at, message) { super(message); this.field = at; }
}

/** The number in a control; empty is nothing. A browser has what is no number as empty, and tells so elsewhere. */
function figureIn(at, control) {
  if (control.validity.badInput) throw new Mistake(at, "This is no number.");
  return text(control) === undefined ? undefined : Number(control.value);
}

/** A text as JSON; empty is nothing. */
function parsed(at, content) {
  if (!content.trim()) return undefined;
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new Mistake(at, `This is no JSON (${error.message}).`);
  }
}

const eachLine = (content) => content.split("\n").map((one) => one.trim()).filter(Boolean);

/** What a line means: a text in quotation marks is that text; where figures may be, what looks like one or like a truth value is that. */
function meant(line, figures) {
  if (line.length > 1 && line.startsWith('"') && line.endsWith('"')) {
    try {
      return JSON.parse(line);
    } catch { /* a text that has such marks */ }
  }
  if (!figures) return line;
  if (/^(true|false)$/.test(line)) return line === "true";
  return line !== "" && Number.isFinite(Number(line)) ? Number(line) : line;
}

/** A value as a line that means it: whatever would be read otherwise is in quotation marks. */
const spelled = (value, figures) => (typeof value === "string" && (value !== value.trim() || value.includes("\n") || meant(value, figures) !== value) ? JSON.stringify(value) : String(value));

/** Lines of name=value as an object. */
function pairs(at, content) {
  const found = {};
  for (const line of eachLine(content)) {
    const [, name, value] = /^([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (!name) throw new Mistake(at, `“${line}” is not name=value: write, for example, max_epochs=12.`);
    found[name] = meant(value, true);
  }
  return found;
}
