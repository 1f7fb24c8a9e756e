/** Who is at work. */

import { all } from "./api.js";
import { empty, h, renew, stateOf } from "./dom.js";
import { duration, moment } from "./format.js";
import { address } from "./route.js";
import { table } from "./table.js";

const EVERY = 5000;

export const title = () => "Workers";

const COLUMNS = [
  { label: "Worker", value: (row) => row.name },
  { label: "State", value: (row) => stateOf(row.state) },
  { label: "At", value: (row) => row.study && h("a", { href: address({ view: row.trial == null ? "study" : "trial", study: row.study, trial: row.trial }) },
    row.trial == null ? row.study : `${row.study}/${row.trial}`) },
  { label: "Trials ended", figure: true, value: (row) => row.trials },
  { label: "Host", value: (row) => row.host },
  { label: "Device", value: (row) => row.device },
  { label: "Version", value: (row) => row.version },
  { label: "Since", value: (row) => moment(row.started_at) },
  { label: "Last word", figure: true, value: (row) => `${duration(row.silent)} ago` },
];

export async function show(main, _query, signal) {
  const refresh = async () => {
    const rows = await all("/v1/workers", signal);
    renew(main, rows.length ? table("Workers", COLUMNS, rows) : empty("No worker has ever been here."), howTo());
  };
  await refresh();
  const timer = setInterval(() => document.hidden || refresh().catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** How to start one. */
export const howTo = () =>
  h("p", { class: "note" }, "To start one, on any machine that reaches the database: ", h("code", {}, "tuner worker --database URL"),
    ", with the address that ", h("code", {}, "tuner serve"), " was given.");
