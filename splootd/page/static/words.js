/** Numbers and times as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const GROUPED = new Intl.NumberFormat("en");

/**
 * 12,345.
 * @param {number} value
 */
export function number(value) {
  return GROUPED.format(value);
}

/**
 * Bytes in decimal units: 14.2 MB.
 * @param {number} bytes
 */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${UNITS[unit]}`;
}

/**
 * A duration in its two largest units: 3 d 4 h.
 * @param {number} seconds
 */
export function span(seconds) {
  let left = Math.max(0, Math.round(seconds));
  /** @type {string[]} */
  const parts = [];
  for (const [unit, length] of /** @type {[string, number][]} */ ([["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]])) {
    if (left < length && !(parts.length && left)) continue;
    parts.push(`${Math.floor(left / length)} ${unit}`);
    left %= length;
    if (parts.length === 2) break;
  }
  return parts.filter((part) => !part.startsWith("0 ")).join(" ") || "0 s";
}

/**
 * Milliseconds, as many digits as matter: 0.4 ms, 14 ms, 2.1 s.
 * @param {number} seconds
 */
export function latency(seconds) {
  if (seconds >= 0.9995) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/**
 * 1 file, 2,000 files.
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/**
 * The time of day of today, the date of any other day; the year only where it is another.
 * @param {string} iso
 * @param {Date} [now]
 */
export function moment(iso, now = new Date()) {
  const at = new Date(iso);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  if (at.toDateString() === now.toDateString()) return `${two(at.getHours())}:${two(at.getMinutes())}`;
  const day = `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return at.getFullYear() === now.getFullYear() ? day : `${at.getFullYear()}-${day}`;
}
