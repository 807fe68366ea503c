/**
 * Makes file names safe to display, and splits and encodes paths.
 *
 * The daemon sends paths as Python's `os.fsdecode` returns them: a byte that is not UTF-8 is a lone surrogate
 * (U+DC80 to U+DCFF), which `encodeURIComponent` rejects with a URIError.
 */

/**
 * Characters that are invisible or change how their surroundings are displayed: controls, format characters (except
 * the joiner of emoji and the narrow space that macOS puts into screenshot names), lone surrogates, unassigned.
 */
const INVISIBLE = /(?![\u200d\u202f])[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}]/gu;

/**
 * Escape invisible characters in `text`: `\x1b`, `\u202e`, and `\xNN` for a byte that is not UTF-8.
 * @param {string} text
 */
export function escapeInvisible(text) {
  return text.replace(INVISIBLE, escapeCharacter);
}

/** @param {string} character */
function escapeCharacter(character) {
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
 * Escape `text` and isolate its writing direction, so that a right-to-left name does not reorder the text around it.
 * Uses FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE, Unicode Standard Annex 9.
 * @param {string} text
 */
export function isolate(text) {
  return `\u2068${escapeInvisible(text)}\u2069`;
}

/**
 * Return the last part of a path.
 * @param {string} path
 */
export function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

/**
 * Return the path of the folder that contains `path`.
 * @param {string} path
 */
export function parentFolder(path) {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

/**
 * Percent-encode `text` for a URL. A lone surrogate that stands for a byte becomes that byte again.
 * @param {string} text
 */
export function percentEncode(text) {
  return Array.from(text, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) return `%${hex(code - 0xdc00, 2).toUpperCase()}`;
    return code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(character);
  }).join("");
}

let home = "";

/**
 * Set the folder that `displayPath` shortens to `~`.
 * @param {string} path
 */
export function setHome(path) {
  home = path;
}

/**
 * Return a path for people: escaped and isolated, with `~` for the user's home.
 * @param {string} path
 */
export function displayPath(path) {
  const isInHome = home !== "" && (path === home || path.startsWith(`${home}/`));
  return isolate(isInHome ? `~${path.slice(home.length)}` : path);
}
