/** Who is at work. */

import { get } from "./api.js";
import { empty, h, renew, stateOf } from "./dom.js";
import { count, duration, moment } from "./format.js";
import { address } from "./route.js";
import { table } from "./table.js";

const EVERY = 5000;
const LONG = 86_400; // seconds after which a lost worker is gone

export const title = () => "Workers";

const COLUMNS = [
  { label: "Worker", value: (row) => row.name },
  { label: "State", value: (row) => stateOf(row.state) },
  { label: "At", value: (row) => row.study && h("a", { href: address({ view: row.trial == null ? "study" : "trial", study: row.study, trial: row.trial }) },
    row.trial == null ? row.study : `${row.study}/${row.trial}`) },
  { label: "Trials ended", figure: true, value: (row) => row.trials },
  { label: "Host", value: (row) => row.host },
  { label: "Device", value: (row) => row.device },
  { label: "Takes", value: (row) => row.takes?.join(", ") ?? "any study" },
  { label: "GPU use", figure: true, title: "of its card, all programs together, while it trains", value: (row) => row.gpu && (row.gpu.use == null ? "–" : `${Math.round(row.gpu.use)} %`) },
  { label: "GPU memory", figure: true, title: "of its card, all programs together, while it trains", value: (row) => row.gpu && memory(row.gpu) },
  { label: "Tokens/s", figure: true, title: "trained a second, in the last trial that it has ended", value: (row) => row.tokens_per_second },
  { label: "Version", value: (row) => row.version },
  { label: "Since", value: (row) => moment(row.started_at) },
  { label: "Last word", figure: true, value: (row) => `${duration(row.silent)} ago` },
];

/** A table; on a phone a card for each. */
function cards(caption, rows) {
  const made = table(caption, COLUMNS, rows);
  made.classList.add("cards");
  return made;
}
const GIB = 2 ** 30;
const memory = ({ memory_used: used, memory_total: total }) => (used == null || total == null ? "–" : `${(used / GIB).toFixed(1)} of ${Math.round(total / GIB)} GiB`);

export async function show(main, _query, signal) {
  const refresh = async () => {
    const rows = (await get("/v1/workers", signal)).items;
    const isGone = (row) => row.state === "gone" || (row.state === "lost" && row.silent > LONG);
    const [here, gone] = [rows.filter((row) => !isGone(row)), rows.filter(isGone)];
    renew(main, here.length ? cards("Workers", here) : empty(gone.length ? "No worker is here now." : "No worker has ever been here."), howTo(),
      gone.length > 0 && h("details", {}, h("summary", {}, `${count(gone.length, "worker")} that ${gone.length === 1 ? "is" : "are"} gone`), cards("Workers that are gone", gone)));
  };
  await refresh();
  const timer = setInterval(() => document.hidden || refresh().catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** How to start one. */
export const howTo = () =>
  h("p", { class: "note" }, "To start one, on any machine that reaches the database: ", h("code", {}, "tuner worker --database URL"),
    ", with the address that ", h("code", {}, "tuner serve"), " was given.");
