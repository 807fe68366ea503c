/** Formats numbers, sizes and times for people. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];
/** @type {[string, number][]} */
const DURATION_UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const GROUPED = new Intl.NumberFormat("en");

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
 * Format a time with its date: Today 15:34, Yesterday 15:34, 28 Nov 15:34, and 28 Nov 2025 in another year.
 * @param {string} iso
 * @param {Date} [now]
 */
export function formatTime(iso, now = new Date()) {
  const date = new Date(iso);
  const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  const [yesterday, today, tomorrow] = [-1, 0, 1].map((days) =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() + days));
  if (yesterday && today && tomorrow && date >= yesterday && date < tomorrow) {
    return `${date < today ? "Yesterday" : "Today"} ${time}`;
  }
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  return date.getFullYear() === now.getFullYear() ? `${day} ${time}` : `${day} ${date.getFullYear()}`;
}

const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });

/**
 * Format a time in full: 1 December 2026 at 15:32.
 * @param {string} iso
 */
export function formatDate(iso) {
  return DATE.format(new Date(iso));
}

/**
 * Return `sentence` with a capital first letter.
 * @param {string} sentence
 */
export function capitalize(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
