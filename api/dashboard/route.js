/** The page's state is its query string, so that every view can be shared and the browser's back works. */

/** An address for a state; null values are left out and arrays repeated. */
export const address = (state) => pathOf("/", state);

/** A path with values as its query; lists are told as often as they are long, and nothing is told of what is empty. */
export function pathOf(path, state) {
  const values = new URLSearchParams();
  for (const [name, value] of Object.entries(state))
    for (const one of Array.isArray(value) ? value : [value]) if (one != null && one !== "") values.append(name, one);
  return `${path}?${values}`;
}

/** Opens another view. */
export function go(state) {
  history.pushState(null, "", address(state));
  dispatchEvent(new Event("route"));
}

/** Notes a change of the view that is open: as a step of its own that "back" undoes, or in place of the last one. */
export function note(state, asStep) {
  const wanted = address(state);
  if (wanted === location.pathname + location.search) return;
  history[asStep ? "pushState" : "replaceState"](null, "", wanted);
  shown = wanted;
}

/**
 * What the address holds of a view whose sections share it.
 * @param {URLSearchParams} query
 * @returns {{one: (name: string) => string, all: (name: string) => string[], put: (changes: object, asStep: boolean) => void}}
 */
export function kept(query) {
  const state = Object.fromEntries([...new Set(query.keys())].map((name) => [name, query.getAll(name)]));
  return { one: (name) => state[name]?.[0] ?? "", all: (name) => state[name] ?? [], put: (changes, asStep) => {
    for (const [name, value] of Object.entries(changes)) state[name] = [value].flat().filter((one) => one != null && one !== "");
    note(state, asStep);
  } };
}

let shown = location.pathname + location.search;
addEventListener("route", () => { shown = location.pathname + location.search; });
addEventListener("popstate", () => { // which a link within the page tells too, such as the one to its content
  if (location.pathname + location.search !== shown) dispatchEvent(new Event("route"));
});

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href^='/?']");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || anchor.target) return;
  event.preventDefault();
  history.pushState(null, "", anchor.getAttribute("href"));
  dispatchEvent(new Event("route"));
});
