/** Modal dialogs. The `dialog` element of the browser keeps the focus inside and restores it on close. */

import { button, element, withCode } from "./dom.js";

/**
 * Open a modal dialog. Escape and a click outside close it.
 * @param {string} title
 * @param {...(Node | null)} children
 */
export function openDialog(title, ...children) {
  const dialog = element("dialog", { class: "sheet", "aria-label": title }, element("h2", {}, title), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask the user to confirm; resolves to true only if they click the confirm button.
 * @param {string} question
 * @param {string} confirmLabel
 * @param {string} [details] with commands in backticks
 * @returns {Promise<boolean>}
 */
export function confirmDialog(question, confirmLabel, details = "") {
  return new Promise((resolve) => {
    let isConfirmed = false;
    const confirm = button(confirmLabel, () => {
      isConfirmed = true;
      dialog.close();
    }, { class: "primary", autofocus: true });
    const cancel = button("Cancel", () => dialog.close());
    const actions = element("div", { class: "actions" }, cancel, confirm);
    const dialog = openDialog(question, details ? element("p", {}, ...withCode(details)) : null, actions);
    dialog.addEventListener("close", () => resolve(isConfirmed));
  });
}

/**
 * Create a description list of names and values.
 * @param {[string, string | null][]} pairs those without a value are left out
 */
export function descriptionList(pairs) {
  const list = element("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value) list.append(element("dt", {}, name), element("dd", {}, ...withCode(value)));
  }
  return list;
}
