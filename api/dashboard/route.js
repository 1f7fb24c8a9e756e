/** The page's state is its query string, so that every view can be shared and the browser's back works. */

/** An address for a state; null values are left out and arrays repeated. */
export function address(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state))
    for (const one of Array.isArray(value) ? value : [value]) if (one != null && one !== "") query.append(name, one);
  return `/?${query}`;
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
}

addEventListener("popstate", () => dispatchEvent(new Event("route")));

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href^='/?']");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || anchor.target) return;
  event.preventDefault();
  history.pushState(null, "", anchor.getAttribute("href"));
  dispatchEvent(new Event("route"));
});
