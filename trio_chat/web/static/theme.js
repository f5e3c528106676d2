// Before anything is painted: the theme that was chosen, if one was. No module, since those run too late.
(() => {
  const chosen = localStorage.getItem("trio-chat.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
