/** Shows one short message at the bottom of the window, announced to screen readers, with an optional Undo button. */

import { errorText } from "./client.js";
import { button, byId, element } from "./dom.js";

const TOAST_MS = 6000;

let newest = 0;

/**
 * Show a message in place of the current one.
 * @param {string} message
 * @param {{undo?: () => void, ms?: number}} [options] `undo` adds an Undo button for as long as the toast is visible
 */
export function showToast(message, { undo, ms = TOAST_MS } = {}) {
  const toast = byId("toast");
  const number = (newest += 1);
  // The timer of an earlier toast must not remove a later one.
  const dismiss = () => number === newest && toast.replaceChildren();
  const undoButton = undo
    ? button("Undo", () => {
        dismiss();
        undo();
      })
    : null;
  toast.replaceChildren(element("p", {}, message), ...(undoButton ? [undoButton] : []));
  setTimeout(dismiss, ms);
}

/** Remove the current message. */
export function hideToast() {
  byId("toast").replaceChildren();
}

/**
 * Await `work`. If it fails, show its error as a toast and return null.
 * @template T
 * @param {Promise<T>} work
 * @returns {Promise<T | null>}
 */
export async function withErrorToast(work) {
  try {
    return await work;
  } catch (error) {
    showToast(errorText(error));
    return null;
  }
}
