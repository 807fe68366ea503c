/**
 * File names as they can be shown: nothing in a name is obeyed, neither a control character nor a change of direction.
 *
 * The daemon's paths are text as Python's `os.fsdecode` gives it: a byte that is not UTF-8 is a lone surrogate.
 */

/** Controls, format characters (the joiner of emoji and macOS' narrow space excepted), lone surrogates, unassigned. */
const HIDDEN = /(?![\u200d\u202f])[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}]/gu;

/**
 * `text` with everything invisible written out: `\x1b`, `\u202e`, and `\xNN` for a byte that is not UTF-8.
 * @param {string} text
 */
export function safe(text) {
  return text.replace(HIDDEN, escaped);
}

/** @param {string} character */
function escaped(character) {
  const code = character.codePointAt(0) ?? 0;
  if (character === "\n") return "\\n";
  if (character === "\t") return "\\t";
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${hex(code - 0xdc00, 2)}`;
  if (code <= 0xff) return `\\x${hex(code, 2)}`;
  return code <= 0xffff ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

/**
 * @param {number} code
 * @param {number} digits
 */
function hex(code, digits) {
  return code.toString(16).padStart(digits, "0");
}

/**
 * `text` made safe, in a direction of its own: a Hebrew name turns none of its surroundings around.
 * First strong isolate and its end, Unicode Standard Annex 9.
 * @param {string} text
 */
export function isolated(text) {
  return `\u2068${safe(text)}\u2069`;
}

/**
 * The last part of a path.
 * @param {string} path
 */
export function nameOf(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

/**
 * The path of the folder that a path lies in.
 * @param {string} path
 */
export function folderOf(path) {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

/**
 * `text` for a URL, percent-encoded; the bytes that are not UTF-8 are the bytes again that they were.
 * @param {string} text
 */
export function quoted(text) {
  return Array.from(text, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) return `%${hex(code - 0xdc00, 2).toUpperCase()}`;
    return code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(character);
  }).join("");
}
