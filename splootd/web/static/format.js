/** Formats numbers, sizes, times and states for people. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];
/** @type {[string, number][]} */
const DURATION_UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
const GROUPED = new Intl.NumberFormat("en");

/** @type {Record<import("./protocol.js").State, string>} */
const STATE_LABELS = {
  pending: "Waiting",
  uploading: "Uploading",
  embedding: "Processing",
  ready: "Ready",
  failed: "Failed",
  missing: "Missing",
  skipped: "Skipped",
};

/**
 * Return the label of an item's state.
 * @param {import("./protocol.js").State} state
 */
export function stateLabel(state) {
  return STATE_LABELS[state] ?? state;
}

/**
 * Format a number with thousands separators: 12,345.
 * @param {number} value
 */
export function formatNumber(value) {
  return GROUPED.format(value);
}

/**
 * Format a size in decimal units: 14.2 MB.
 * @param {number} bytes
 */
export function formatSize(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${UNITS[unit]}`;
}

/**
 * Format a duration in its two largest units: 3 d 4 h.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  /** @type {string[]} */
  const parts = [];
  for (const [unit, length] of DURATION_UNITS) {
    if (left < length && !(parts.length && left)) continue;
    parts.push(`${Math.floor(left / length)} ${unit}`);
    left %= length;
    if (parts.length === 2) break;
  }
  return parts.filter((part) => !part.startsWith("0 ")).join(" ") || "0 s";
}

/**
 * Format a latency with two significant digits: 0.4 ms, 14 ms, 2.1 s.
 * @param {number} seconds
 */
export function formatLatency(seconds) {
  if (seconds >= 0.9995) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/**
 * Format a count with its noun: 1 file, 2,000 files.
 * @param {number} value
 * @param {string} singular
 * @param {string} [plural]
 */
export function formatCount(value, singular, plural = `${singular}s`) {
  return `${formatNumber(value)} ${value === 1 ? singular : plural}`;
}

/**
 * Format a time: the time of day if it is today, otherwise the date, with the year if it is not this year.
 * @param {string} iso
 * @param {Date} [now]
 */
export function formatTime(iso, now = new Date()) {
  const date = new Date(iso);
  const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");
  if (date.toDateString() === now.toDateString()) return `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  const day = `${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return date.getFullYear() === now.getFullYear() ? day : `${date.getFullYear()}-${day}`;
}

/**
 * Return `sentence` with a capital first letter.
 * @param {string} sentence
 */
export function capitalize(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
