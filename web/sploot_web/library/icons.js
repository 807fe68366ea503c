/** The signs on buttons of the library, drawn as lines in a square of 24. */

import { button } from "../ui/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  download: "M12 4v11M7 10l5 5 5-5M5 20h14",
  star: "M12 3l2.7 5.8 6.3.8-4.6 4.4 1.2 6.3L12 17.2 6.4 20.3l1.2-6.3L3 9.6l6.3-.8z",
  close: "M6 6l12 12M18 6L6 18",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  larger: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5L20 20M8.5 11h5M11 8.5v5",
  smaller: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5L20 20M8.5 11h5",
  screen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
};

/**
 * Create a button that shows a sign; `label` is its name for screen readers and its tooltip.
 * @param {keyof typeof PATHS} icon
 * @param {string} label
 * @param {() => void} onClick
 * @param {Record<string, string | number | boolean | null>} [attributes]
 */
export function iconButton(icon, label, onClick, attributes = {}) {
  const created = button("", onClick, { "aria-label": label, title: label, ...attributes });
  created.classList.add("icon");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[icon]);
  svg.append(path);
  created.append(svg);
  return created;
}
