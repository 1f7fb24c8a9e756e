/** All studies, live. */

import { follow, get, options, send, studyPath } from "./api.js";
import { announce, confirmed, empty, fill, h, labelled, renew, select, stateOf } from "./dom.js";
import { count, number } from "./format.js";
import { address, go, pathOf } from "./route.js";
import { table, tableRow } from "./table.js";
import { howTo } from "./workers.js";

const PAGE = 100;
const UNREADABLE = "unreadable";
const DONE = ["complete", "pruned", "failed"];

export const title = () => "Studies";

export async function show(main, query, signal) {
  const { states, technique_names: techniques, can_write: canWrite } = await options();
  const wanted = { technique: query.get("technique") ?? "", state: query.get("state") ?? "", tag: query.get("tag") ?? "" };
  const matches = (study) => ["technique", "state"].every((key) => !wanted[key] || study[key] === wanted[key]) && (!wanted.tag || study.tags.includes(wanted.tag));
  const choose = (key) => ({ target }) => go({ view: "studies", ...wanted, [key]: target.value });
  const ticked = new Set();
  const removal = h("button", { type: "button", class: "danger", hidden: true, onclick: () => remove() });
  const trouble = h("p", { class: "wrong", role: "alert" });
  const filters = h("div", { class: "row controls" },
    labelled("Technique", select({ onchange: choose("technique") }, [["", "all"], ...techniques], wanted.technique)),
    labelled("State", select({ onchange: choose("state") }, [["", "all"], ...states], wanted.state)),
    labelled("Tag", h("input", { type: "search", size: 12, maxlength: 40, value: wanted.tag, onchange: choose("tag") })),
    canWrite && removal,
    canWrite && h("a", { class: "button main", href: address({ view: "new" }) }, "New study"));

  const columns = [
    { label: "Study", value: (s) => (s.state === UNREADABLE ? s.name : [h("a", { href: address({ view: "study", study: s.name }) }, s.name), tagsOf(s)]) },
    { label: "State", value: (s) => stateCell(s) },
    { label: "Technique", value: (s) => s.technique },
    { label: "Corpus", value: (s) => s.corpus },
    { label: "Trials", value: (s) => progress(s) },
    { label: "NLL", figure: true, title: "of the best trial, nats per sentence", value: (s) => h("span", { title: s.estimator }, [number(s.best?.metrics?.nll), ...(s.best?.notes ?? [])].join(", ")) },
    { label: "R", figure: true, title: "rate of the best trial, nats per sentence", value: (s) => s.best?.metrics?.rate },
    { label: "PPL", figure: true, title: "perplexity of the best trial, per token", value: (s) => h("span", { title: s.estimator }, number(s.best?.metrics?.ppl)) },
    { label: "Best", value: (s) => s.best && h("a", { title: `by ${s.best.by}`, href: address({ view: "trial", study: s.name, trial: s.best.number }) }, `trial ${s.best.number}`) },
    ...(canWrite ? [{ label: "", head: h("span", { class: "unseen" }, "Start or stop"), value: (s) => (s.state === UNREADABLE ? deletion(s, () => drop(s)) : startStop(s, put)) }, { label: "", head: h("span", { class: "unseen" }, "Chosen"), value: (s) => h("label", { class: "check" },
      h("input", { type: "checkbox", checked: ticked.has(s.name), "aria-label": `Choose ${s.name}`, onchange: ({ target }) => { ticked[target.checked ? "add" : "delete"](s.name); offer(); } })) }] : []),
  ];
  const rows = new Map();
  let body = null;
  let next = null;
  let last = null; // of the studies that the server has listed
  const holder = h("div");
  const more = h("p", {}, h("button", { type: "button", onclick: () => load(next) }, "More studies"));
  const waits = h("div");

  function offer() {
    removal.hidden = ticked.size === 0;
    removal.textContent = `Delete ${ticked.size}`;
  }

  async function remove() {
    const names = [...ticked];
    if (!(await confirmed(`Delete ${count(names.length, "study", "studies")}?`, `${names.join(", ")}: all trials and their checkpoints go for good.`, "Delete"))) return;
    const refused = [];
    for (const name of names) {
      try {
        await send("DELETE", studyPath(name)); // the list hears of it by its events
        ticked.delete(name);
      } catch (error) {
        refused.push(error.message);
      }
    }
    offer();
    trouble.textContent = refused.join(" ");
    announce(`${count(names.length - refused.length, "study", "studies")} deleted`);
  }

  function put(study) {
    const known = rows.get(study.name);
    if (known && isOlder(study, known.study)) return undefined;
    if (!matches(study)) { known?.row.remove(); rows.delete(study.name); return note(); }
    if (!known && next !== null && isBefore(last, study)) return undefined; // on a page that nobody has asked for yet
    const row = known?.row ?? h("tr");
    renew(row, [...tableRow(columns, study, null).childNodes]);
    if (known?.study.created_at !== study.created_at) {
      if (!body) draw();
      rows.delete(study.name);
      const below = [...rows.values()].reduce((found, each) => (isBefore(study, each.study) && (!found || isBefore(each.study, found.study)) ? each : found), null);
      body.insertBefore(row, below?.row ?? null);
    }
    rows.set(study.name, { study, row });
    return note();
  }

  function drop({ name }) {
    rows.get(name)?.row.remove();
    rows.delete(name);
    note();
  }

  function draw() {
    const list = table("Studies", columns, []);
    list.classList.add("cards");
    body = list.querySelector("tbody");
    fill(holder, list);
  }

  function note() {
    const waiting = [...rows.values()].filter(({ study }) => study.waiting_for_workers).length;
    renew(waits, waiting > 0 && h("div", { class: "notice" }, h("strong", {}, `${count(waiting, "study", "studies")} waiting for a worker: `), "none that is there takes ", waiting === 1 ? "it. " : "them. ", howTo()));
    more.hidden = next === null;
    if (rows.size === 0 && next === null) {
      body = null;
      fill(holder, Object.values(wanted).some(Boolean) ? empty("No study matches this filter.")
        : empty("No study yet. ", canWrite ? h("a", { href: address({ view: "new" }) }, "Make the first one") : "This key may only read", "."));
    }
  }

  async function load(cursor) {
    const page = await get(pathOf("/v1/studies", { ...wanted, limit: PAGE, cursor }), signal);
    next = page.next;
    last = page.items.at(-1) ?? null;
    if (!cursor) rows.clear();
    if (page.items.length && (!cursor || !body)) draw();
    for (const study of page.items) {
      rows.get(study.name)?.row.remove(); // one that an event has told of already
      const row = tableRow(columns, study, null);
      rows.set(study.name, { study, row });
      body.append(row);
    }
    note();
  }

  await load(null);
  fill(main, filters, trouble, waits, holder, more);
  let first = true;
  follow("/v1/events", {
    open: () => { if (!first) load(null).catch(() => {}); first = false; },
    study: put,
    deleted: drop,
  }, signal).catch((error) => announce(error.message));
}

/** True if a study is listed before another one: the newest first. */
const isBefore = (study, other) => (study.created_at === other.created_at ? study.name > other.name : study.created_at === null || study.created_at > other.created_at);

/** True if a study is told of as it was before what is known: its event was under way while it was changed here. */
export const isOlder = (study, known) => study.created_at === known.created_at && study.revision < known.revision;

const doneOf = (study) => DONE.reduce((sum, state) => sum + (study.counts[state] ?? 0), 0);

const stateCell = (study) => [stateOf(study.state), study.waiting_for_workers && h("span", { class: "muted" }, " waits: no worker takes it"),
  study.state === UNREADABLE && h("span", { class: "muted" }, ` ${study.why}`)];

const sum = (counts) => Object.values(counts).reduce((total, value) => total + value, 0);

/** The button that deletes a study, once that is confirmed; `done` is called then. */
export function deletion(study, done) {
  const press = async ({ target }) => {
    const lost = study.state === UNREADABLE ? "Its trials and their checkpoints" : `Its ${count(sum(study.counts), "trial")} and their checkpoints`;
    if (!(await confirmed(`Delete ${study.name}?`, `${lost} go for good.`, "Delete"))) return;
    try {
      await send("DELETE", studyPath(study.name));
      announce(`${study.name} was deleted`);
      done();
    } catch (error) {
      target.after(h("p", { class: "wrong", role: "alert" }, error.message));
    }
  };
  const trials = sum(study.counts ?? {}); // so that a button of other counts is another button
  return h("button", { type: "button", class: "danger", onclick: press, "data-trials": trials, "aria-label": `Delete ${study.name}` }, "Delete");
}

/** A study's tags, each a link to the studies that have it. */
export const tagsOf = (study) => study.tags?.length > 0 && h("span", { class: "tags" }, study.tags.map((tag) => h("a", { href: address({ view: "studies", tag }) }, tag)));

/** How far a study is, as a bar of its trials' states. */
export function progress(study) {
  const done = doneOf(study);
  const running = study.counts.running ?? 0;
  const share = (amount) => `${(100 * amount) / Math.max(study.budget, done + running, 1)}%`;
  const words = `${number(done)} of ${number(study.budget)} trials done${running ? `, ${number(running)} running` : ""}`;
  return h("div", { class: "progress" },
    h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": study.budget, "aria-valuenow": Math.min(done, study.budget), "aria-label": words, title: words },
      [...DONE, "running"].map((state) => h("span", { class: state, style: `width: ${share(study.counts[state] ?? 0)}` }))),
    h("span", { class: "figures" }, `${number(done)} / ${number(study.budget)}`));
}

/** The button that starts or stops a study; `put` is given what the study then is. */
export function startStop(study, put) {
  const [verb, word] = study.state === "active" ? ["stop", "Stop"] : ["start", "Start"];
  if (["deleting", "finished"].includes(study.state)) return "";
  const press = async ({ target }) => {
    if (target.ariaBusy) return;
    target.ariaBusy = "true"; // rather than disabled, which would lose the focus
    try {
      const holder = target.parentElement;
      put(await send("POST", `${studyPath(study.name)}/${verb}`));
      holder.querySelector("button")?.focus(); // the other one, in its place
      announce(`${study.name}: ${verb === "stop" ? "stopped" : "started"}`);
    } catch (error) {
      target.ariaBusy = null;
      target.after(h("p", { class: "wrong", role: "alert" }, error.message));
    }
  };
  return h("button", { type: "button", onclick: press, "aria-label": `${word} ${study.name}` }, word);
}
