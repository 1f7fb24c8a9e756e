/** What is done to a study from its page: other rules and remarks, and a configuration to be tried. */

import { get, options, send, studyPath } from "./api.js";
import { complain, controlOf, field, forgive, hintOf, typed, valueOf } from "./controls.js";
import { fill, h } from "./dom.js";
import { address } from "./route.js";

/**
 * A form behind a heading that opens it.
 * @param {string} heading
 * @param {string} word on its button
 * @param {() => Promise<Node[]>} rows what it asks for, made when it is opened
 * @param {(rows: any[]) => Promise<any>} act what it says when that is done
 */
function folded(heading, word, rows, act) {
  const [body, trouble, said] = [h("div", { class: "fields" }), h("p", { class: "wrong", role: "alert", tabindex: -1 }), h("span", { class: "muted", role: "status" })];
  const button = h("button", { type: "submit" }, word);
  const submit = async (event) => {
    event.preventDefault();
    if (button.ariaBusy) return;
    button.ariaBusy = "true";
    forgive(element);
    fill(said);
    try {
      fill(said, await act([...body.children]));
    } catch (error) {
      complain(element, trouble, error);
    } finally {
      button.ariaBusy = null;
    }
  };
  const element = h("details", { class: "change", ontoggle: async () => {
    if (element.open && !body.children.length) fill(body, await rows());
    else if (!element.open) { fill(body); fill(said); }
  } }, h("summary", {}, heading), h("form", { novalidate: true, onsubmit: submit }, body, trouble, h("p", { class: "row" }, button, said)));
  return element;
}

/**
 * The form that changes a study's budget, rules and remarks.
 * @param {string} name
 * @param {(study: any) => void} put is given what the study then is
 */
export function changeOf(name, put) {
  let before = new Map();
  const rows = async () => {
    const [{ settings }, { spec }] = await Promise.all([options(), get(studyPath(name))]);
    const made = settings.filter((setting) => setting.role !== "identity").map((setting) => Object.assign(controlOf(setting, spec[setting.key]), { usual: setting.default }));
    before = new Map(made.map((row) => [row.setting, JSON.stringify(row.read())]));
    return made;
  };
  return folded("Change budget, rules, note or tags", "Change", rows, async (made) => {
    const changed = made.map((row) => [row, row.read()]).filter(([row, value]) => JSON.stringify(value) !== before.get(row.setting));
    if (!changed.length) return "Nothing is changed.";
    put(await send("PATCH", studyPath(name), Object.fromEntries(changed.map(([row, value]) => [row.setting, value ?? row.usual]))));
    for (const [row, value] of changed) before.set(row.setting, JSON.stringify(value)); // not what has been typed meanwhile
    return "Changed.";
  });
}

/**
 * The form that has a configuration tried next; `open` shows it with a trial's values.
 * @param {any} study
 * @param {string} heading
 * @param {Record<string, any>} [given] what it begins with; others have their defaults
 */
export function trialOf(study, heading, given = {}) {
  let values = given;
  const searched = study.space.filter((parameter) => parameter.tuned && !(parameter.name in study.spec.fixed));
  const element = folded(heading, "Enqueue", async () => searched.map((parameter) => {
    const control = valueOf(parameter, values[parameter.name] ?? parameter.default);
    return Object.assign(field(`params.${parameter.name}`, parameter.name, control, hintOf(parameter)), { parameter, control });
  }), async (rows) => {
    const params = Object.fromEntries(rows.map(({ parameter, control }) => [parameter.name, typed(control.value, parameter)]));
    const { number } = await send("POST", `${studyPath(study.name)}/trials`, { params });
    return [h("a", { href: address({ view: "trial", study: study.name, trial: number }) }, `Trial ${number}`), " waits for a worker."];
  });
  return { element, open: (params) => {
    values = params;
    element.open = false;
    element.querySelector(".fields").replaceChildren();
    element.open = true;
    element.scrollIntoView();
    element.querySelector("summary").focus();
  } };
}
