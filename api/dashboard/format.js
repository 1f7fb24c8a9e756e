/** Figures and times as text, as the commands print them. */

const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

/** 4 significant digits or 2 decimals, whichever is more; powers of ten from a million on. */
export function number(value) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return minus(grouped(value));
  const size = Math.abs(value);
  if (size >= 10 && size < 1e6) return minus(value.toFixed(2));
  if (size >= 1e-4 && size < 10) return minus(String(Number(value.toPrecision(4))));
  return minus(value.toExponential(3));
}

const minus = (text) => text.replace(/^-/, "−");

/** `0.25 s`, `42 s`, `3:07 min` or `2:05 h`. */
export function duration(seconds) {
  if (seconds == null) return "–";
  const rounded = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (seconds > 0 && seconds < 9.95) return `${Number(seconds.toPrecision(2))} s`;
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)}:${two(rounded % 60)} min`;
  return `${Math.floor(rounded / 3600)}:${two(Math.floor((rounded % 3600) / 60))} h`;
}

/** A moment in the reader's own time. */
export function moment(time) {
  return time ? new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/** `1 trial`, `1,200 trials`. */
export const count = (amount, noun, plural = `${noun}s`) => `${grouped(amount)} ${amount === 1 ? noun : plural}`;

/** `r=1.521 alpha=0.0095` */
export const settings = (params) => Object.entries(params).filter(([, value]) => value != null).map(([name, value]) => `${name}=${number(value)}`).join(" ");

/** A metric as it heads a column or an axis. */
export const titled = (metric) => (metric.unit ? `${metric.label} (${metric.unit})` : metric.label);

/** The perplexity's name, which tells per what it is unless that is the word, as in the papers. */
export const perplexity = ({ token }) => (token === "word" ? "PPL" : `PPL per ${token}`);

/** An NLL with its standard error. */
export const withError = (metrics) => (metrics?.nll_se != null ? `${number(metrics.nll)} ± ${metrics.nll_se.toPrecision(2)}` : number(metrics?.nll));

/** A number that is the lower the better a figure is; of the goal `zero` the best value is 0. */
export const loss = (value, goal) => (goal === "zero" ? Math.abs(value) : goal === "max" ? -value : value);
