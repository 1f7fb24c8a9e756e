/** Light, dark, or as the system has it. Colours follow `color-scheme` by themselves; plots are told. */

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

const tell = () => dispatchEvent(new Event("theme"));
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
  root.style.setProperty("outline-color", `var(${name})`);
  const found = getComputedStyle(root).outlineColor;
  root.style.removeProperty("outline-color");
  return found;
}
