// How numbers are told to people: short, aligned, with their units. Pure.

const WHOLE = new Intl.NumberFormat();
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const ONE_DIGIT = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const TWO_DIGITS = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** What stands where nothing is known. */
export const NONE = "–";

/** @param {number | null} value @returns {string} a count. */
export function count(value) {
  if (value === null) return NONE;
  return value < 1_000_000_000 ? WHOLE.format(Math.round(value)) : SHORT.format(value);
}

/** @param {number | null} value a second. @returns {string} */
export function rate(value) {
  if (value === null) return NONE;
  return value === 0 || value >= 10 ? count(value) : ONE_DIGIT.format(value);
}

/** @param {number | null} part from 0 to 1. @returns {string} */
export function percent(part) {
  if (part === null) return NONE;
  if (part > 0 && part < 0.01) return "<1 %";
  return `${Math.floor(part * 100)} %`;
}

/** @param {number | null} seconds how long something took. @returns {string} */
export function took(seconds) {
  if (seconds === null) return NONE;
  const milliseconds = seconds * 1000;
  if (milliseconds < 1) return `${TWO_DIGITS.format(milliseconds)} ms`;
  if (milliseconds < 10) return `${ONE_DIGIT.format(milliseconds)} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${ONE_DIGIT.format(seconds)} s`;
}

/** @param {number} seconds how long something is ago or has lasted. @returns {string} */
export function lasting(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** @param {number} many @param {string} one the word for one. @returns {string} such as "1 room", "2 rooms". */
export function counted(many, one, more = `${one}s`) {
  return `${count(many)} ${many === 1 ? one : more}`;
}
