/** Keyboard navigation in lists, grids and button groups. */

/**
 * Return the index that a navigation key leads to, null for any other key.
 * @param {string} key
 * @param {object} position
 * @param {number} position.current
 * @param {number} position.length
 * @param {number} position.page number of rows, or of tiles, that fit on the screen
 * @param {number} [position.columns] of a grid; 1 for a list
 */
export function nextIndex(key, { current, length, page, columns = 1 }) {
  const vertical = { ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page }[key];
  const horizontal = columns > 1 ? { ArrowRight: 1, ArrowLeft: -1 }[key] : undefined;
  const last = length - 1;
  if (last < 0) return null;
  if (key === "Home") return 0;
  if (key === "End") return last;
  const step = vertical ?? horizontal;
  if (step === undefined) return null;
  return Math.min(last, Math.max(0, current + step));
}

/**
 * Return true if `target` takes text input: a letter key is then no shortcut.
 * @param {EventTarget | null} target
 */
export function isTyping(target) {
  return [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement].some((kind) => target instanceof kind);
}

/**
 * Make a group of buttons one tab stop, with arrow keys to move inside (roving tabindex, WAI-ARIA practices).
 * @param {HTMLElement} group
 */
export function makeRoving(group) {
  const stops = () => /** @type {HTMLElement[]} */ ([...group.querySelectorAll("button, a")]);
  const setTabStop = (/** @type {HTMLElement | undefined} */ target) =>
    stops().forEach((stop, index) => (stop.tabIndex = (target ? stop === target : index === 0) ? 0 : -1));
  setTabStop(stops().find((stop) => stop.matches("[aria-checked=true], [aria-current=page]")));
  group.addEventListener("focusin", (event) => setTabStop(/** @type {HTMLElement} */ (event.target)));
  group.addEventListener("keydown", (event) => {
    const all = stops();
    const current = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const key = event.key === "ArrowRight" ? "ArrowDown" : event.key === "ArrowLeft" ? "ArrowUp" : event.key;
    const target = current < 0 ? null : nextIndex(key, { current, length: all.length, page: 1 });
    if (target === null) return;
    event.preventDefault();
    all[target]?.focus();
  });
}
