/** Sheets over the page: a question, a story, the keys. The browser holds the focus in them and gives it back. */

import { button, element, prose } from "./element.js";

/**
 * @param {string} title
 * @param {...(Node | null)} children
 */
export function sheet(title, ...children) {
  const made = element("dialog", { class: "sheet", "aria-label": title }, element("h2", {}, title), ...children);
  made.addEventListener("close", () => made.remove());
  made.addEventListener("click", (event) => event.target === made && made.close());
  document.body.append(made);
  made.showModal();
  return made;
}

/**
 * Whether the answer is yes.
 * @param {string} question
 * @param {string} says what the button does that means yes
 * @param {string} [more]
 * @returns {Promise<boolean>}
 */
export function asked(question, says, more = "") {
  return new Promise((answer) => {
    let isYes = false;
    const yes = button(says, () => {
      isYes = true;
      made.close();
    }, { class: "main", autofocus: true });
    const no = button("Cancel", () => made.close());
    const made = sheet(question, more ? element("p", {}, more) : null, element("div", { class: "actions" }, no, yes));
    made.addEventListener("close", () => answer(isYes));
  });
}

/**
 * Pairs of a name and what it means.
 * @param {[string, string | null][]} pairs those without a meaning are left out
 */
export function facts(pairs) {
  const list = element("dl", { class: "facts" });
  for (const [name, meaning] of pairs) {
    if (meaning) list.append(element("dt", {}, name), element("dd", {}, ...prose(meaning)));
  }
  return list;
}
