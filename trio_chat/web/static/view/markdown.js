// What assistants say is Markdown. Nobody knows what made them say it, so it is treated as hostile:
//
// 1. marked makes HTML of it; HTML in the Markdown itself is shown as text, pictures are links.
// 2. DOMPurify takes out everything that is not on the list below.
// 3. The page's Content-Security-Policy lets no script run that is not a file of this server, and nothing be loaded
//    from elsewhere; Trusted Types let no other code turn text into HTML.

import { marked } from "../vendor/marked.esm.js";
import "../vendor/purify.min.js";
import { isWebAddress } from "../core/text.js";

const ALLOWED = {
  ALLOWED_TAGS: [
    ..."p br hr strong em del code pre blockquote ul ol li h3 h4 h5 h6 a".split(" "),
    ..."table thead tbody tr th td".split(" "),
  ],
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => text.replace(/[&<>"']/g, (character) => ESCAPES[character]);

marked.use({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    // The page's own headings are above these.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  if (!isWebAddress(node.getAttribute("href") ?? "")) {
    node.removeAttribute("href");
    return;
  }
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow ugc");
  // Its text may say anything, so pointing at it tells where it leads.
  node.setAttribute("title", node.getAttribute("href"));
});

/** @param {string} text Markdown. @returns {DocumentFragment} */
export function markdown(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text, { async: false }), ALLOWED);
  // What is wider than the page scrolls by itself, and with the keyboard too.
  for (const wide of fragment.querySelectorAll("pre, table")) scrollable(wide);
  return fragment;
}

function scrollable(wide) {
  const frame = document.createElement("div");
  frame.className = "wide";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", wide.nodeName === "PRE" ? "Code" : "Table");
  wide.replaceWith(frame);
  frame.append(wide);
}
