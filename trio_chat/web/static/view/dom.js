// Building the document. Texts become text nodes, always: nothing here reads markup.

/**
 * @param {string} tag
 * @param {Record<string, unknown>} attributes `class`, `text` and `on…` listeners; others as in HTML. Null leaves one
 *     out.
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** @param {string} id @returns {HTMLElement} what `index.html` has under this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Let the first link of the page lead past the rest of it, and leave the address alone: that says what is open. */
export function prepareSkip() {
  const skip = byId("skip");
  skip.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector(skip.getAttribute("href")).focus();
  });
}

const PATHS = {
  clock: "M8 4.5V8l2.2 1.6M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  check: "m3.5 8.5 3 3 6-7",
  checks: "m1.5 8.5 3 3 6-7M7.8 10.8l.7.7 6-7",
  memory: "M8 5v3.5M8 11v.2M8 1.8 14.7 13.6H1.3Z",
  alert: "M8 4.5v4M8 11v.2M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z",
  edit: "m3 11.2-.5 2.3 2.3-.5 7.8-7.8-1.8-1.8Z",
  trash: "M2.8 4.3h10.4M6.3 4.3V2.7h3.4v1.6M4 4.3l.6 9h6.8l.6-9",
  close: "m4 4 8 8M12 4l-8 8",
  spark: "M8 1.8 9.5 6.5 14.2 8 9.5 9.5 8 14.2 6.5 9.5 1.8 8 6.5 6.5Z",
};

/**
 * @param {string} tag of SVG. @param {Record<string, string | number>} attributes @param {...Node} children
 * @returns {SVGElement}
 */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {keyof PATHS} name @returns {SVGElement} a picture that says nothing to a screen reader. */
export function icon(name) {
  const path = drawing("path", { d: PATHS[name] });
  return drawing("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, path);
}

/** Change an element's text only if it is another one, so that nothing is drawn or said again for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Put children into a parent, in this order. Those that stay, in their order, are left alone: what is moved in the
 * document is laid out anew, and loses the focus and what was selected in it.
 */
export function arrange(parent, children) {
  const staying = new Set(children);
  // First, so that nobody stands in the way: what cannot be passed would make everything behind it move.
  for (const child of [...parent.childNodes]) if (!staying.has(child)) child.remove();
  let place = parent.firstChild;
  for (const child of children) {
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
  }
}
