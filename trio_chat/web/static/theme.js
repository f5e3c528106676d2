// Before anything is painted: the theme that was chosen, if one was. No module, since those run too late.
(() => {
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("trio-chat.theme"));
  } catch {
    // Nothing is kept for us here.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
