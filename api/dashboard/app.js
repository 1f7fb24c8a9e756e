/** The page: which view the address names, and what stands around every view. */

import { newKey, Problem } from "./api.js";
import * as compare from "./compare.js";
import { announce, empty, fill, h } from "./dom.js";
import * as form from "./form.js";
import * as pareto from "./pareto.js";
import * as rates from "./rates.js";
import * as studies from "./studies.js";
import * as study from "./study.js";
import * as theme from "./theme.js";
import * as trial from "./trial.js";
import * as workers from "./workers.js";
import "./route.js";

/** A view is `title(query)` and `show(main, query, signal)`, which fills `main` and stops what it began when the signal says so. */
const VIEWS = { studies, study, trial, compare, pareto, rates, workers, new: form };

const main = document.getElementById("main");
let current = new AbortController();

async function show({ focus }) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const query = new URLSearchParams(location.search);
  const name = query.get("view") in VIEWS ? query.get("view") : "studies";
  const view = VIEWS[name];
  const title = view.title(query);
  document.getElementById("trouble").hidden = true;
  document.title = `${title} · Text VAE tuner`;
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.search === `?view=${name}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const body = h("div", { class: `view ${name}`, "aria-busy": "true" }, empty("Loading …"));
  const heading = h("h1", { tabindex: -1 }, title);
  fill(main, heading, body);
  if (focus) {
    scrollTo(0, 0);
    heading.focus();
    announce(title);
  }
  try {
    await view.show(body, query, signal);
  } catch (error) {
    if (signal.aborted) return;
    fill(body, h("div", { class: "wrong", role: "alert" }, h("p", {}, error.message)),
      h("p", {}, h("button", { type: "button", onclick: () => show({ focus: true }) }, "Try again")));
  } finally {
    body.removeAttribute("aria-busy");
  }
}

const banner = document.getElementById("banner");
let ticking = 0;
addEventListener("server", ({ detail: { retryAt } }) => {
  clearInterval(ticking);
  banner.hidden = retryAt === null;
  if (retryAt === null) return announce("The server answers again.");
  const left = h("span", { "aria-hidden": "true" });
  const tick = () => { left.textContent = `trying again in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`; };
  tick();
  ticking = setInterval(tick, 500);
  return fill(banner, "The server does not answer; what you see may be out of date. ", left, " ",
    h("button", { type: "button", onclick: () => dispatchEvent(new Event("retry")) }, "Try now"));
});

const trouble = document.getElementById("trouble");
addEventListener("busy", ({ detail }) => {
  if (detail !== null && trouble.textContent !== detail) trouble.textContent = detail;
  trouble.hidden = detail === null;
});
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault(); // what a view that was left had asked for
  else if (event.reason instanceof Problem) {
    event.preventDefault();
    trouble.textContent = event.reason.message;
    trouble.hidden = false;
  }
});

const key = document.getElementById("key");
key.hidden = sessionStorage.getItem("key") === null;
key.addEventListener("click", async () => {
  const before = sessionStorage.getItem("key");
  await newKey(false);
  if (sessionStorage.getItem("key") !== before) dispatchEvent(new Event("route")); // another key may do other things
});
addEventListener("key", () => { key.hidden = false; });

theme.install(document.getElementById("theme"));
addEventListener("route", () => show({ focus: true }));
show({ focus: false });
