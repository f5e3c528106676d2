// What people write is text, never markup. The only thing found in it is links.

const URLS = /\bhttps?:\/\/[^\s<>"'`\u0000-\u001f]+/giu;
// What ends a sentence or closes a bracket around a link is not part of it.
const TRAILING = /[.,;:!?…]+$/u;
const PAIRS = { ")": "(", "]": "[", "}": "{" };

/**
 * Split a text into plain pieces and links. A link shows exactly the address it leads to, so that none can pretend.
 *
 * @param {string} text
 * @returns {{text: string, href?: string}[]} put together, the pieces are the text.
 */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(URLS)) {
    const shown = trimmed(match[0]);
    if (!isWebAddress(shown)) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: shown, href: shown });
    end = match.index + shown.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

/** @param {string} address @returns {boolean} whether it leads to the web, and says openly where. */
export function isWebAddress(address) {
  const url = parsed(address);
  // What looks like a host before an @ is a name, and the address leads to what stands behind it.
  return url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.password;
}

function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

function trimmed(link) {
  let before;
  do {
    before = link;
    link = link.replace(TRAILING, "");
    const closing = link.at(-1);
    const opening = PAIRS[closing];
    if (opening && count(link, closing) > count(link, opening)) link = link.slice(0, -1);
  } while (link !== before);
  return link;
}

function count(text, character) {
  return text.split(character).length - 1;
}
