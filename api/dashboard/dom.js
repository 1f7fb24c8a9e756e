/** Elements. Every text goes through text nodes, so nothing that a corpus or a request holds is ever read as markup. */

/**
 * An element. `on…` attributes are listeners; null, undefined and false leave an attribute out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Puts these children in the place of all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/**
 * The same, but what has not changed stays as it is: a live update takes away neither the focus nor a button under a finger.
 * A control that takes another's place has its focus too. Two controls that look alike must do alike.
 */
export function renew(element, ...children) {
  patch(element, nodes(children));
  return element;
}

const CONTROLS = ["A", "BUTTON", "INPUT", "SELECT", "TEXTAREA"];

function patch(parent, fresh) {
  const old = [...parent.childNodes];
  fresh.forEach((child, place) => {
    const [was, is] = [old[place], child instanceof Node ? child : document.createTextNode(child)];
    if (!was) parent.append(is);
    else if (was.isEqualNode(is)) return;
    else if (!(was instanceof Element) || was.tagName !== is.tagName || CONTROLS.includes(was.tagName)) {
      const hasFocus = was === document.activeElement && was.tagName === is.tagName;
      was.replaceWith(is);
      if (hasFocus) is.focus({ preventScroll: true });
    }
    else {
      if (was.tagName !== "DETAILS") { // whether that is open is the reader's
        for (const { name } of [...was.attributes]) if (!is.hasAttribute(name)) was.removeAttribute(name);
        for (const { name, value } of is.attributes) was.setAttribute(name, value);
      }
      patch(was, [...is.childNodes]);
    }
  });
  for (const rest of old.slice(fresh.length)) rest.remove();
}

const nodes = (children) =>
  children.flat(Infinity).filter((child) => child != null && child !== false).map((child) => (child instanceof Node ? child : String(child)));

/** Tells screen readers. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** A state as a word with its mark. */
export const stateOf = (state) => h("span", { class: `state ${state}` }, state);

/** A choice among options, each a value or [value, label]. */
export function select(attributes, options, chosen) {
  const entries = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const element = h("select", attributes, entries.map(([value, label]) => h("option", { value }, label)));
  if (chosen != null) element.value = chosen;
  return element;
}

let serial = 0;
/** A control beside its label. */
export function labelled(label, control) {
  control.id = `control-${serial++}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
}

/** What is shown where there is nothing to show. */
export const empty = (...children) => h("p", { class: "empty" }, ...children);

/** A text with a button that copies it. */
export function copied(label, content) {
  const shown = h("pre", { tabindex: 0, "aria-label": label }, content);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(content);
    } catch { // pages without TLS have no clipboard
      getSelection().selectAllChildren(shown);
      document.execCommand("copy");
    }
    announce("Copied.");
  };
  return h("div", { class: "copied" }, shown, h("button", { type: "button", onclick: copy, "aria-label": `Copy ${label}` }, "Copy"));
}

/** Asks before something that cannot be undone. */
export function confirmed(title, detail, action) {
  return new Promise((resolve) => {
    const answer = h("dialog", { "aria-labelledby": "confirm-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "confirm-title" }, title), h("p", {}, detail),
        h("p", { class: "row" }, h("button", { value: "" }, "Cancel"), h("button", { value: "yes", class: "danger" }, action))));
    answer.addEventListener("close", () => { answer.remove(); resolve(answer.returnValue === "yes"); });
    document.body.append(answer);
    answer.showModal();
  });
}
