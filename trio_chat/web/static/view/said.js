// The body of a message: Markdown from assistants, plain text from everybody else.

import { pieces } from "../core/text.js";
import { element } from "./dom.js";
import { markdown } from "./markdown.js";

/** @param {{role: string, content: string}} entry @returns {HTMLElement} */
export function bodyOf(entry) {
  if (entry.role === "assistant") return element("div", { class: "body rich" }, markdown(entry.content));
  return element("div", { class: "body plain" }, ...pieces(entry.content).map(piece));
}

function piece({ text, href }) {
  if (href === undefined) return text;
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow ugc", text });
}
