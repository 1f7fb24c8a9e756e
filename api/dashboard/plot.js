/**
 * Plots: the plotting script, fetched when the first plot is wanted, in this page's colours.
 *
 * Points are painted on a canvas over Plotly's axes: its SVG points take half a second for 10,000, and its WebGL ones make
 * code from text, which this page's content-security policy forbids. Axes, hover, brush and zoom are Plotly's.
 */

import { h } from "./dom.js";
import { number } from "./format.js";
import { colour } from "./theme.js";

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "pentagon", "star", "triangle-down"];
const SHAPES = [ // the same in a box of 12 by 12, for lists
  "M6 1.5a4.5 4.5 0 1 0 .01 0z", "M2 2h8v8h-8z", "M6 .5l5.5 5.5-5.5 5.5-5.5-5.5z", "M6 1.5l5 9h-10z",
  "M2.5 1l3.5 3.5 3.5-3.5 1.5 1.5-3.5 3.5 3.5 3.5-1.5 1.5-3.5-3.5-3.5 3.5-1.5-1.5 3.5-3.5-3.5-3.5z",
  "M6 1l5 3.8-1.9 6h-6.2l-1.9-6z", "M6 .5l1.5 3.8h4l-3.2 2.5 1.2 4-3.5-2.4-3.5 2.4 1.2-4-3.2-2.5h4z", "M6 10.5l5-9h-10z",
];
const COLOURS = 8;
const BOX = 12; // of SHAPES
const FAINT = 0.22; // of what is not selected
const ARROW = 5; // half an arrow's size

let loading = null;
/** The plotting library. */
export function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/assets/plotly.js" });
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => { loading = null; script.remove(); reject(new Error("The plotting script did not arrive; the tables hold the same figures.")); };
    document.head.append(script);
  });
  return loading;
}

/** How a series looks: the colour is its group's (a technique), the symbol its own. */
export const look = (series, group) => ({ symbol: SYMBOLS[series % SYMBOLS.length], colour: `--data-${group % COLOURS}`, shape: SHAPES[series % SHAPES.length] });

/** That look as a small picture. */
export function swatch(style) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const path = document.createElementNS(namespace, "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 12 12", class: "swatch", "aria-hidden": "true" })) svg.setAttribute(name, value);
  path.setAttribute("d", style.shape);
  path.style.fill = `var(${style.colour})`;
  svg.append(path);
  return svg;
}

/** Text as it is: Plotly reads some markup and % templates in titles. */
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("%{", "% {");

/** An axis in this page's type and colours. */
export function axis(title, more = {}) {
  return {
    title: { text: plain(title), standoff: 8, font: { size: 12, color: colour("--ink") } }, automargin: true, zeroline: false, showline: true,
    linecolor: colour("--edge"), gridcolor: colour("--line"), ticks: "outside", ticklen: 4, tickcolor: colour("--edge"),
    tickfont: { size: 11, color: colour("--muted") }, exponentformat: "power", ...more,
  };
}

const layoutOf = (layout) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", margin: { l: 56, r: 12, t: 12, b: 44 },
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--ink") },
  hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--edge"), font: { color: colour("--ink"), size: 12 } },
  ...layout,
});

/** A range with some air around these values. */
export function around(values, isLog) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || (isLog && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (isLog) [low, high] = [Math.log10(low), Math.log10(high)];
  const air = 0.04 * (high - low) || 0.04 * Math.abs(high) || 1;
  return [low - air, high + air];
}

const FAR = 3; // times the spread of the middle half of the values, beyond its ends
const FEW = 0.1; // share of the values that may lie beyond a scale
const LEAST = 0.2; // share of a scale that the other values would have with them, or less
/** Whether a value is one of the few that lie so far away that they would take the scale from all others. */
export function farFrom(values, isLog) {
  const at = (value) => (isLog ? Math.log10(value) : value);
  const known = values.filter((value) => value !== null && (!isLog || value > 0)).map(at).sort((a, b) => a - b);
  const [low, high] = [known[Math.floor(known.length / 4)], known[Math.ceil((3 * known.length) / 4) - 1]];
  const reach = FAR * (high - low);
  const isAway = (place) => Math.abs(place - (low + high) / 2) > reach + (high - low) / 2;
  const kept = known.filter((place) => !isAway(place));
  const areFew = known.length - kept.length <= Math.max(1, FEW * known.length);
  const areTaken = kept.at(-1) - kept[0] < LEAST * (known.at(-1) - known[0]);
  return reach > 0 && areFew && areTaken ? (value) => value !== null && (!isLog || value > 0) && isAway(at(value)) : () => false;
}

/** A range that also reaches those of these levels for which it need not grow by more than its own height. */
export function reaching([low, high], levels, isLog) {
  const room = high - low;
  const near = levels.map((level) => (isLog ? Math.log10(level) : level)).filter((level) => level > low - room && level < high + room);
  const air = 0.04 * (high - low);
  return [Math.min(low, ...near.map((level) => level - air)), Math.max(high, ...near.map((level) => level + air))];
}

/** Named horizontal lines, as Plotly's shapes and annotations, on the right or the left, and in words those that lie beyond the range. */
export function levelLines(levels, [low, high], isLog, isLeft = false) {
  const at = ({ value }) => (isLog ? Math.log10(value) : value);
  const inside = levels.filter((level) => at(level) >= low && at(level) <= high);
  return {
    shapes: inside.map(({ value }) => ({ type: "line", layer: "below", xref: "paper", yref: "y", x0: 0, x1: 1, y0: value, y1: value, line: { color: colour("--muted"), width: 1, dash: "dash" } })),
    annotations: inside.map((level) => ({ xref: "paper", yref: "y", x: isLeft ? 0 : 1, xanchor: isLeft ? "left" : "right", y: at(level), yanchor: "bottom", showarrow: false, text: plain(`${level.label} ${number(level.value)}`), font: { size: 11, color: colour("--muted") } })),
    beyond: levels.filter((level) => !inside.includes(level)).map((level) => `${level.label} ${number(level.value)}, ${at(level) > high ? "above" : "below"} the plot. `).map((text) => text[0].toUpperCase() + text.slice(1)),
  };
}

/** What an axis of whole numbers has beside its range: none between them is named. */
export const counted = (most) => (most > 6 ? { nticks: 7, tickformat: "d" } : { dtick: 1, tickformat: "d" });

const LOG_TICKS = Array.from({ length: 16 }, (_, place) => 10 ** (place - 8)).flatMap((decade) => [decade, 2 * decade, 5 * decade]);
/** An axis over this range. On a logarithmic one Plotly writes bare digits between the decades, so over more than one its ticks are ours. */
export function scaled(range, isLog) {
  if (!isLog) return { type: "linear", range };
  const span = range[1] - range[0];
  const ticks = LOG_TICKS.filter((tick, place) => span < 1.5 || place % 3 === 0);
  return { type: "log", range, ...(span > 0.7 && { tickvals: ticks, ticktext: ticks.map(number) }) };
}

/**
 * A function that draws a figure, however often it is called: it is begun once, then drawn anew, as when the theme or its width
 * change.
 * @param {HTMLElement} element
 * @param {(width: number) => {data: object[], layout: object}} build traces of mode "markers" have a `look` as well
 * @param {AbortSignal} signal ends it
 * @param {(graph: HTMLElement, repaint: () => void) => void} [begun] is given Plotly's element once, and what paints curves and
 *   points alone anew
 * @returns {() => Promise<void>}
 */
export function plot(element, build, signal, begun = () => {}) {
  let drawing = null;
  return async () => {
    const isFirst = drawing === null;
    drawing ??= begin(element, build, signal, begun).catch((error) => { drawing = null; throw error; });
    const draw = await drawing;
    if (!isFirst) await draw();
  };
}

async function begin(element, build, signal, begun) {
  const Plotly = await library();
  signal.throwIfAborted();
  const graph = h("div");
  const canvas = h("canvas", { "aria-hidden": "true" });
  element.replaceChildren(graph, canvas);
  let [points, strokes] = [[], []];
  const repaint = () => paint(graph, canvas, points, strokes);
  const restroke = () => { strokes = build(element.clientWidth).strokes; repaint(); };
  const draw = async () => {
    if (signal.aborted || !element.clientWidth) return;
    const { data, layout, strokes: wanted } = build(element.clientWidth);
    strokes = wanted ?? [];
    points = data.filter((trace) => trace.mode === "markers");
    const bare = data.map((trace) => (trace.mode === "markers" ? { ...trace, mode: "none", hoveron: "points", selectedpoints: undefined } : trace));
    const isNew = !graph.on;
    await Plotly.react(graph, bare, layoutOf(layout), { displayModeBar: false, responsive: false, doubleClick: false, showTips: false });
    if (signal.aborted) return;
    if (isNew) for (const event of ["plotly_relayouting", "plotly_relayout"]) graph.on(event, repaint);
    repaint();
    performance.mark("drawn");
    element.setAttribute("data-drawn", points.reduce((sum, trace) => sum + trace.x.length, 0));
  };
  let width = element.clientWidth;
  const observer = new ResizeObserver(() => {
    if (element.clientWidth !== width) { width = element.clientWidth; draw(); }
  });
  observer.observe(element);
  addEventListener("theme", draw, { signal });
  signal.addEventListener("abort", () => { observer.disconnect(); Plotly.purge(graph); });
  await draw();
  signal.throwIfAborted();
  begun(graph, restroke);
  return draw;
}

/**
 * Paints curves and points where Plotly's axes have them now. A trace with `edge` has its points beyond the scale painted at its edge,
 * as arrows.
 */
function paint(graph, canvas, traces, strokes) {
  const full = graph._fullLayout;
  const ratio = devicePixelRatio;
  canvas.width = full.width * ratio;
  canvas.height = full.height * ratio;
  canvas.style.width = `${full.width}px`;
  canvas.style.height = `${full.height}px`;
  const pen = canvas.getContext("2d");
  if (strokes.length) paintStrokes(pen, full, strokes, ratio);
  for (const trace of traces) {
    const [across, up] = [trace.xaxis ?? "x", trace.yaxis ?? "y"].map((id) => full[`${id[0]}axis${id.slice(1)}`]);
    const { size, opacity } = trace.marker;
    const stamp = stampOf(trace.look, size, ratio);
    const half = stamp.width / ratio / 2;
    const put = (at) => {
      const [x, y] = [across.d2p(trace.x[at]), up.d2p(trace.y[at])];
      if (trace.edge && (x < 0 || x > across._length || y < 0 || y > up._length)) arrow(pen, across, up, x, y, colour(trace.look.colour));
      else if (Number.isFinite(x) && Number.isFinite(y)) pen.drawImage(stamp, across._offset + x - half, up._offset + y - half, 2 * half, 2 * half);
    };
    pen.save();
    pen.scale(ratio, ratio);
    pen.beginPath();
    pen.rect(across._offset, up._offset, across._length, up._length);
    pen.clip();
    pen.globalAlpha = trace.selectedpoints ? FAINT : opacity;
    for (let at = 0; at < trace.x.length; at++) put(at);
    pen.globalAlpha = 1;
    trace.selectedpoints?.forEach(put);
    pen.restore();
  }
}

/** An arrow at the edge, towards a point that lies beyond it. */
function arrow(pen, across, up, x, y, tint) {
  const inside = (value, length) => Math.min(length - ARROW, Math.max(ARROW, value));
  const [left, top] = [inside(x, across._length), inside(y, up._length)];
  pen.save();
  pen.translate(across._offset + left, up._offset + top);
  pen.rotate(y < 0 ? 0 : y > up._length ? Math.PI : x < 0 ? -Math.PI / 2 : Math.PI / 2);
  pen.beginPath();
  pen.moveTo(0, -ARROW);
  pen.lineTo(ARROW, ARROW);
  pen.lineTo(-ARROW, ARROW);
  pen.closePath();
  pen.lineWidth = 1.5;
  pen.strokeStyle = tint;
  pen.stroke();
  pen.restore();
}

/** Curves: each has `x`, `y`, `colour`, `width` and `opacity`. */
function paintStrokes(pen, { xaxis, yaxis }, strokes, ratio) {
  pen.save();
  pen.scale(ratio, ratio);
  pen.beginPath();
  pen.rect(xaxis._offset, yaxis._offset, xaxis._length, yaxis._length);
  pen.clip();
  pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath();
    let isOn = false;
    stroke.x.forEach((value, at) => {
      const [x, y] = [xaxis._offset + xaxis.d2p(value), yaxis._offset + yaxis.d2p(stroke.y[at])];
      if (!Number.isFinite(x) || !Number.isFinite(y) || value === null || stroke.y[at] === null) { isOn = false; return; }
      if (isOn) pen.lineTo(x, y); else pen.moveTo(x, y);
      isOn = true;
    });
    pen.globalAlpha = stroke.opacity;
    pen.lineWidth = stroke.width;
    pen.strokeStyle = stroke.colour;
    pen.stroke();
  }
  pen.restore();
}

/** One marker, painted once to be stamped. */
function stampOf(style, size, ratio) {
  const stamp = document.createElement("canvas");
  stamp.width = stamp.height = Math.ceil((size + 2) * ratio);
  const pen = stamp.getContext("2d");
  const scale = (size * ratio) / BOX;
  pen.translate(stamp.width / 2, stamp.height / 2);
  pen.scale(scale, scale);
  pen.translate(-BOX / 2, -BOX / 2);
  pen.fillStyle = colour(style.colour);
  pen.fill(new Path2D(style.shape));
  return stamp;
}

/** Saves a figure as the browser saves files. */
export function save(name, content, type) {
  const url = typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The whole figure as an image, its points drawn by Plotly as shapes. */
export async function image({ data, layout }, format, height = 800) {
  const Plotly = await library();
  const full = { ...layoutOf(layout), height, paper_bgcolor: colour("--paper"), showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom" } };
  return Plotly.toImage({ data, layout: full }, { format, width: 1200, height, scale: format === "png" ? 2 : 1 });
}
