/** The studies to choose from beside a plot that they share, as the server has them now. */

import { follow } from "./api.js";
import { announce, fill, h, labelled, select } from "./dom.js";
import { number } from "./format.js";
import { swatch } from "./plot.js";

const SHOWN_AT_FIRST = 6; // studies

/** The estimator that judges most of these studies. */
function commonest(studies) {
  const counts = new Map();
  for (const { estimator } of studies) counts.set(estimator, (counts.get(estimator) ?? 0) + 1);
  return [...counts].sort(([, one], [, other]) => other - one)[0]?.[0];
}

/** The newest studies of those that the commonest estimator judges: others are not to be ranked with them. */
export function chosenAtFirst(studies) {
  const usual = commonest(studies);
  return studies.filter(({ estimator }) => estimator === usual).slice(0, SHOWN_AT_FIRST).map(({ name }) => name);
}

/**
 * @param {object} wanted
 * @param {any[]} wanted.studies all of the server's; kept as they are now
 * @param {(study: any) => boolean} wanted.fits whether there is anything of it to show
 * @param {() => string[]} wanted.chosen names of the chosen ones
 * @param {(names: string[]) => void} wanted.choose
 * @param {() => void} wanted.changed is called when a chosen study is not as it was
 * @param {() => Record<string, object>} wanted.looks how each shown study looks in the plot, by its name
 * @param {string} wanted.note
 * @param {AbortSignal} signal ends it
 * @returns {{element: HTMLElement, refresh: () => void, follow: () => void}}
 */
export function picker({ studies, fits, chosen, choose, changed, looks, note }, signal) {
  const techniques = [...new Set(studies.filter(fits).map((study) => study.technique))].sort();
  let wanted = "";
  const listed = () => studies.filter((study) => fits(study) && (!wanted || study.technique === wanted));
  const boxes = h("div", { class: "choices", role: "group", "aria-label": "Studies in the plot" });
  function refresh() {
    const styles = looks();
    const usual = commonest(studies.filter(fits));
    const focused = boxes.contains(document.activeElement) ? document.activeElement.value : null;
    fill(boxes, listed().map((study) => h("label", {},
      h("input", { type: "checkbox", value: study.name, checked: chosen().includes(study.name), onchange: ({ target }) =>
        choose(target.checked ? [...chosen(), study.name] : chosen().filter((one) => one !== study.name)) }),
      styles[study.name] ? swatch(styles[study.name]) : h("span", { class: "swatch" }),
      h("span", {}, study.name, h("small", {}, [study.technique, `${number(study.counts.complete ?? 0)} complete`, study.estimator !== usual && study.estimator].filter(Boolean).join(" · "))))));
    if (focused !== null) [...boxes.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
  }
  const element = h("details", { class: "picker", open: innerWidth > 800 }, h("summary", {}, "Studies"),
    labelled("Technique", select({ onchange: ({ target }) => { wanted = target.value; refresh(); } }, [["", "all"], ...techniques])),
    boxes, h("p", { class: "row" }, h("button", { type: "button", onclick: () => choose(listed().map((study) => study.name)) }, "All listed"),
      h("button", { type: "button", onclick: () => choose([]) }, "None")),
    h("p", { class: "note" }, note));

  let connected = false;
  const place = (name) => studies.findIndex((one) => one.name === name);
  const live = () => follow("/v1/events", {
    open: () => { if (connected) changed(); connected = true; },
    study: (study) => {
      const at = place(study.name);
      if (studies[at]?.revision === study.revision) return;
      if (at < 0) studies.unshift(study); else studies[at] = study;
      if (chosen().includes(study.name)) changed(); else refresh();
    },
    deleted: ({ name }) => {
      if (place(name) >= 0) studies.splice(place(name), 1);
      if (chosen().includes(name)) choose(chosen().filter((one) => one !== name)); else refresh();
    },
  }, signal).catch((error) => announce(error.message));
  return { element, refresh, follow: live };
}
