/** Where the arrow keys and their neighbours lead in a list or a grid. */

/**
 * The number that is meant, null where the key means nothing here.
 * @param {string} key
 * @param {object} place
 * @param {number} place.at
 * @param {number} place.length
 * @param {number} place.page rows, or tiles, on a screen
 * @param {number} [place.columns] of a grid; a list has one
 */
export function led(key, { at, length, page, columns = 1 }) {
  const by = { ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page }[key];
  const sideways = columns > 1 ? { ArrowRight: 1, ArrowLeft: -1 }[key] : undefined;
  const last = length - 1;
  if (last < 0) return null;
  if (key === "Home") return 0;
  if (key === "End") return last;
  const step = by ?? sideways;
  if (step === undefined) return null;
  return Math.min(last, Math.max(0, at + step));
}

/**
 * Whether somebody is typing, so that a letter is a letter.
 * @param {EventTarget | null} target
 */
export function isTyping(target) {
  return target instanceof HTMLInputElement || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement;
}

/**
 * One stop for the Tab key in a group of buttons; the arrow keys lead from one to the next.
 * @param {HTMLElement} group
 */
export function roving(group) {
  const stops = () => /** @type {HTMLElement[]} */ ([...group.querySelectorAll("button, a")]);
  const settle = (/** @type {HTMLElement | undefined} */ to) =>
    stops().forEach((stop, at) => (stop.tabIndex = (to ? stop === to : at === 0) ? 0 : -1));
  settle(stops().find((stop) => stop.matches("[aria-checked=true], [aria-current=page]")));
  group.addEventListener("focusin", (event) => settle(/** @type {HTMLElement} */ (event.target)));
  group.addEventListener("keydown", (event) => {
    const all = stops();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const key = event.key === "ArrowRight" ? "ArrowDown" : event.key === "ArrowLeft" ? "ArrowUp" : event.key;
    const to = at < 0 ? null : led(key, { at, length: all.length, page: 1 });
    if (to === null) return;
    event.preventDefault();
    all[to]?.focus();
  });
}
