/** The brush: a box or a lasso in figures rather than pixels, so that it also holds for trials that arrive later, and in an address. */

const CORNERS = 60; // of a lasso, few enough for an address

/**
 * @typedef {object} Brush one of the two, or neither
 * @property {(number|null)[]|null} box x from, x to, y from, y to; null where it is open
 * @property {number[]|null} lasso x, y, x, y, …
 */

export const NONE = { box: null, lasso: null };

/** Figures of an address, `1,,2.5`; null unless there are so many, none wrong, and none left out where that may not be. */
export function figures(text, { count = null, open = false } = {}) {
  const values = text?.split(",").map((part) => (part === "" && open ? null : part === "" ? NaN : Number(part)));
  return values && (count === null || values.length === count) && !values.some(Number.isNaN) ? values : null;
}

/** Those figures for an address. */
export const written = (values) => values?.map((value) => (value === null ? "" : String(Number(value.toPrecision(5))))).join(",");

/** The brush that an address holds. */
export function brushOf(query) {
  const lasso = figures(query.get("lasso"));
  return { box: figures(query.get("box"), { count: 4, open: true }), lasso: lasso?.length >= 6 && lasso.length % 2 === 0 ? lasso : null };
}

/** What Plotly tells of a drag. */
export const drawn = ({ range, lassoPoints }) => (range ? { ...NONE, box: [...ordered(range.x), ...ordered(range.y)] } : { ...NONE, lasso: thinned(lassoPoints) });

const ordered = ([a, b]) => (a < b ? [a, b] : [b, a]);

function thinned({ x, y }) {
  const step = Math.ceil(x.length / CORNERS);
  return x.flatMap((value, place) => (place % step === 0 ? [value, y[place]] : []));
}

const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, place) => [flat[2 * place], flat[2 * place + 1]]);

/**
 * Whether a point lies within, or null where nothing is brushed.
 * @param {Brush} brush
 * @param {((value: number) => number)[]} scales of x and y: a lasso's edges are straight as they were drawn
 * @returns {((x: number, y: number) => boolean)|null}
 */
export function within({ box, lasso }, [across, up]) {
  if (box) {
    const [x0, x1, y0, y1] = box.map((value, place) => value ?? (place % 2 ? Infinity : -Infinity));
    return (x, y) => x0 <= x && x <= x1 && y0 <= y && y <= y1;
  }
  if (!lasso) return null;
  const corners = pairs(lasso).map(([x, y]) => [across(x), up(y)]);
  return (px, py) => {
    const [x, y] = [across(px), up(py)];
    let inside = false;
    corners.forEach(([xi, yi], place) => {
      const [xj, yj] = corners.at(place - 1);
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    });
    return inside;
  };
}

/** Its outline as Plotly's shapes; an open side ends where the points do. */
export function outline({ box, lasso }, extent, style) {
  if (lasso) return [{ type: "path", path: `M${pairs(lasso).map((point) => point.join()).join("L")}Z`, ...style }];
  if (!box) return [];
  const [x0, x1, y0, y1] = box.map((value, place) => value ?? extent(place < 2 ? "x" : "y")[place % 2]);
  return [{ type: "rect", x0, x1, y0, y1, ...style }];
}
