// The switch between light and dark. Without a choice the page follows the system.

import { keep } from "../core/kept.js";
import { byId } from "./dom.js";

const KEY = "trio-chat.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

function show() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
}

export function prepareTheme() {
  show();
  system.addEventListener("change", show);
  byId("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    // What the system says anyway need not be chosen; then the page goes on following it.
    keep("localStorage", KEY, (theme === "dark") === system.matches ? null : theme);
    show();
  });
}
