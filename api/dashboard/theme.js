/** Light, dark, or as the system has it. Colours follow `color-scheme` by themselves; plots are told. */

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

const known = new Map(); // colours, until the theme changes: each look at a style costs milliseconds

function tell() {
  known.clear();
  dispatchEvent(new Event("theme"));
}
system.addEventListener("change", tell);

/** Applies the kept choice and lets the control change it. */
export function install(control) {
  control.value = localStorage.getItem("theme") ?? "";
  root.style.colorScheme = control.value;
  control.addEventListener("change", () => {
    localStorage.setItem("theme", control.value);
    root.style.colorScheme = control.value;
    tell();
  });
}

/** What a colour of theme.css is now, e.g. `--ink`. */
export function colour(name) {
  if (!known.has(name)) {
    root.style.setProperty("outline-color", `var(${name})`);
    known.set(name, getComputedStyle(root).outlineColor);
    root.style.removeProperty("outline-color");
  }
  return known.get(name);
}
