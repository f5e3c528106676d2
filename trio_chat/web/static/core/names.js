// Names of rooms and people: what is allowed, and how they are drawn.

const ROOM = /^[A-Za-z0-9_.:/@-]{1,128}$/;

// What is written from left to right and says nothing of directions.
const PLAIN = /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}\p{N}\p{Zs}!-@[-`{-~]*$/u;

/** How many colours the style sheet has for people. */
export const COLOURS = 8;

/** @param {string} room @returns {string | null} what is wrong with it, for a person; null if nothing is. */
export function roomProblem(room) {
  if (ROOM.test(room)) return null;
  if (room.length > 128) return "A room’s name has at most 128 characters.";
  return "A room’s name is made of letters a–z, digits and _ . : / @ - without spaces.";
}

/** @param {string} name @returns {string} one or two letters for a name: the beginnings of its words. */
export function initials(name) {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const letters = words.slice(0, 2).map((word) => [...word][0]);
  return letters.join("").toUpperCase() || "?";
}

/** @param {string} name @returns {number} its colour, the same for everybody (FNV-1a). */
export function colour(name) {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193) >>> 0;
  return hash % COLOURS;
}

/** @returns {string} a name that leaves the direction of the text around it alone (Unicode, UAX #9). */
export function isolated(name) {
  return PLAIN.test(name) ? name : `\u2068${name}\u2069`;
}

/** @param {string[]} people @returns {string} such as "ada, bob and 2 others". */
export function listed(people) {
  const names = people.map(isolated);
  if (names.length <= 1) return names[0] ?? "";
  if (names.length <= 3) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${names.slice(0, 2).join(", ")} and ${names.length - 2} others`;
}
