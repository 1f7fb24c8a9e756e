/** A note as elements: paragraphs, lists, **bold**, *italic*, `code` and links; all else is text. */

import { h } from "./dom.js";

const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;
const ITEM = /^\s*[-*] /;

/** @param {string} note */
export function markdown(note) {
  return h("div", { class: "remark" }, note.trim().split(/\n\s*\n/).map((block) => {
    const lines = block.split("\n");
    if (lines.every((line) => ITEM.test(line))) return h("ul", {}, lines.map((line) => h("li", {}, spans(line.replace(ITEM, "")))));
    return h("p", {}, lines.map((line, place) => [place > 0 && h("br"), spans(line)]));
  }));
}

function spans(line) {
  const found = [];
  let end = 0;
  for (const match of line.matchAll(SPAN)) {
    const [whole, code, bold, italic, label, href] = match;
    found.push(line.slice(end, match.index), code ? h("code", {}, code) : bold ? h("strong", {}, bold) : italic ? h("em", {}, italic)
      : h("a", { href, rel: "noopener noreferrer" }, label));
    end = match.index + whole.length;
  }
  return [...found, line.slice(end)];
}
