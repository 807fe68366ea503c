/** The colour theme that the user chose: kept in this browser, applied before the page is drawn. */

const KEY = "sploot-theme";
export const THEMES = /** @type {const} */ (["system", "light", "dark"]);

/** @typedef {typeof THEMES[number]} Theme */

/** @returns {Theme} */
export function chosenTheme() {
  const saved = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === saved) ?? "system";
}

/** @param {Theme} theme */
export function chooseTheme(theme) {
  localStorage.setItem(KEY, theme);
  applyTheme();
}

/** Show the chosen theme: the style sheets read `data-theme`, which is absent for the theme of the system. */
function applyTheme() {
  const theme = chosenTheme();
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}

applyTheme();
addEventListener("storage", ({ key }) => key === KEY && applyTheme()); // another tab changed it
