/** One study: its best trial, its trials, and what the hyperparameters do. */

import { follow, get, options, paced, studyPath } from "./api.js";
import { changeOf, trialOf } from "./changes.js";
import { curvesOf } from "./curves.js";
import { announce, empty, fill, h, renew, stateOf } from "./dom.js";
import { effectsOf } from "./effects.js";
import { moment, number, perplexity, settings, withError } from "./format.js";
import { historyOf } from "./history.js";
import { markdown } from "./markdown.js";
import { parallelOf } from "./parallel.js";
import { library } from "./plot.js";
import { address, go, kept } from "./route.js";
import { deletion, isOlder, progress, startStop, tagsOf } from "./studies.js";
import { facts } from "./table.js";
import { surfaceOf } from "./surface.js";
import { timelineOf } from "./timeline.js";
import { trialList } from "./trials.js";
import { howTo } from "./workers.js";

export const title = (query) => query.get("study") ?? "Study";

export async function show(main, query, signal) {
  const name = query.get("study") ?? "";
  const path = studyPath(name);
  library().catch(() => {}); // under way while the figures arrive
  const [{ metrics, can_write: canWrite }, first] = await Promise.all([options(), get(path, signal)]);
  const study = first; // one object, which all sections hold
  const leave = () => { if (!signal.aborted) go({ view: "studies" }); }; // once, whether its event or the answer comes first
  const head = h("section", { "aria-label": "Summary" });
  const summarise = (changes) => {
    if (isOlder(changes, study)) return;
    Object.assign(study, changes);
    renew(head, summary(study, canWrite, summarise, leave));
  };
  summarise(study);

  const view = kept(query);
  const attempt = trialOf(study, "Try a configuration");
  const again = async (number) => attempt.open((await get(`${path}/trials/${number}`, signal)).hyperparameters);
  const trials = trialList(study, metrics, view, { filtered: () => curves.load(), again: canWrite && again }, signal);
  const curves = curvesOf(study, view, (numbers) => { trials.pick(numbers); trials.element.scrollIntoView(); }, signal);
  const filter = (condition) => { trials.filter(condition); trials.element.scrollIntoView(); };
  const parallel = parallelOf(study, metrics, view, filter, signal);
  const effects = effectsOf(study, metrics, view, () => parallel.load(), signal);
  const plots = [historyOf(study, signal), curves, effects, timelineOf(study, signal), surfaceOf(study, view, signal), parallel];
  fill(main, head, canWrite && [changeOf(name, summarise), attempt.element], trials.element, h("div", { class: "pair" }, plots[0].element, curves.element), effects.element, parallel.element, plots[4].element, plots[3].element);
  await trials.load();
  /** What one cannot show it says itself, beneath what it shows, and the others go on. */
  const refresh = async (one) => {
    let trouble = null;
    await one.load().catch((error) => { trouble = h("p", { class: "wrong trouble", role: "alert" }, error.message); });
    if (signal.aborted) return;
    one.element.querySelector(":scope > .trouble")?.remove();
    if (trouble) one.element.append(trouble);
  };
  const redraw = paced(() => Promise.all(plots.map(refresh)), signal);
  const relist = paced(trials.load, signal);
  let connected = false;
  follow(`${path}/events?since=${study.revision}`, {
    open: () => {
      if (connected) get(path, signal).then(summarise).then(trials.load).then(redraw).catch(() => {});
      connected = true;
    },
    study: summarise,
    trial: () => {
      relist();
      redraw();
    },
    deleted: () => { announce(`${name} was deleted`); leave(); },
  }, signal).catch((error) => {
    announce(error.message);
    if (error.status === 404) leave(); // deleted while nobody heard
  });
  // After the events: a browser has six connections to a server, and a process that is fitted may hold one for seconds.
  for (const one of plots) {
    one.element.setAttribute("aria-busy", "true");
    refresh(one).finally(() => one.element.removeAttribute("aria-busy"));
  }
}

function summary(study, canWrite, put, leave) {
  const { best } = study;
  return [
    h("p", { class: "lead" }, stateOf(study.state), study.why && ` (${study.why})`, " · ", study.technique, " on ", study.corpus, " · model ", study.model,
      " · sampler ", study.sampler, " · seed ", study.seed, " · objective ", study.objective),
    h("div", { class: "row controls" }, progress(study), canWrite && startStop(study, put),
      canWrite && deletion(study, leave),
      canWrite && h("a", { class: "button", href: address({ view: "new", from: study.name }) }, "Clone"),
      h("a", { class: "button", href: address({ view: "pareto", study: study.name }) }, "Pareto front")),
    tagsOf(study), study.note && markdown(study.note),
    study.waiting_for_workers && h("div", { class: "notice" }, h("strong", {}, "Waiting for a worker: "), "none that is there takes this study. ", howTo()),
    best ? h("div", { class: "best" },
      h("h2", {}, "Best: ", h("a", { href: address({ view: "trial", study: study.name, trial: best.number }) }, `trial ${best.number}`), `, by ${best.by}`),
      facts([
        ["NLL, nats per sentence", withError(best.metrics)],
        [perplexity(study), number(best.metrics?.ppl)],
        ["Rate R", number(best.metrics?.rate)],
        ["Distortion D", number(best.metrics?.distortion)],
        best.noise != null && ["Noise of another seed, nats", number(best.noise)],
        best.mean != null && ["Mean of the process there", number(best.mean)],
        study.entropy != null && ["Exact entropy of the corpus", number(study.entropy)],
        ...Object.entries(best.given).map(([key, value]) => [key, number(value)]),
      ]),
      best.notes.length > 0 && h("p", { class: "note" }, `The best trial is ${best.notes.join(" and ")}.`),
      study.ngram && againstNGrams(study)) : empty("No trial is complete yet."),
    h("details", {}, h("summary", {}, "How it was made"),
      facts([["Created", moment(study.created_at)], ...asked(study.spec ?? {}),
        ...(study.space ?? []).map((parameter) => [`${parameter.name}: ${parameter.meaning}`, parameter.domain])])),
  ];
}

/** What a study was asked to be, but for what its head tells. */
const asked = ({ technique, corpus, model, sampler, seed, objective, space, trials, note, tags, ...spec }) => Object.entries(spec)
  .map(([key, value]) => [key.replaceAll("_", " "), value !== null && typeof value === "object" ? settings(value) : value])
  .filter(([, value]) => value !== null && value !== "").map(([key, value]) => [key, number(value)]);

/** What an n-gram model makes of the sentences that the best trial is judged by, and which of the two is better. */
function againstNGrams({ ngram, best, objective, token }) {
  const said = `An n-gram model of the same text (order ${ngram.order}, interpolated Kneser–Ney) has NLL ${number(ngram.valid.nll)}, ${perplexity({ token })} ${number(ngram.valid.ppl)}`;
  const { nll, estimator } = best.metrics ?? {};
  // What MELBO judges has no NLL that anything keeps low.
  if (nll == null || estimator?.sentences !== ngram.valid.sentences || objective === "melbo") return h("p", { class: "note" }, `${said}.`);
  const apart = `${Math.abs(ngram.valid.nll - nll).toFixed(2)} nats`;
  if (nll <= ngram.valid.nll) return h("p", { class: "note" }, `${said}; the best trial is ${apart} better.`);
  return h("div", { class: "notice" }, h("strong", {}, `Worse than counting ${token}s. `), `${said}; the best trial is ${apart} worse: give it more epochs, more text or a larger model before techniques are compared.`);
}

