/** Shows why a picture was found: the words of the query in its text, and the reason in words. */

import { element } from "../ui/dom.js";
import { escapeInvisible } from "../ui/filename.js";

/** @typedef {import("./asset.js").Asset} Asset */

const REASONS = /** @type {Record<string, string>} */ ({
  meaning: "Close in meaning", picture: "Looks like it",
});

/**
 * Split `text` at the words; those at odd indices are the words as they are written in the text.
 * @param {string} text
 * @param {readonly string[]} words
 */
export function splitAtWords(text, words) {
  const escaped = words.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!escaped.length) return [text];
  const longestFirst = escaped.sort((a, b) => b.length - a.length);
  return text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${longestFirst.join("|")})`, "giu"));
}

/**
 * Return the text of a picture with the matched words marked.
 * @param {Asset} asset
 * @returns {(string | HTMLElement)[]}
 */
export function markedText({ text, matched_words }) {
  const parts = splitAtWords(escapeInvisible((text ?? "").replace(/\s+/g, " ")), matched_words ?? []);
  return parts.map((part, index) => (index % 2 ? element("mark", {}, part) : part));
}

/**
 * Return why a search found a picture, in words for people; empty if it was not searched for.
 * @param {Asset} asset
 */
export function matchReason({ matched_words, reason }) {
  if (matched_words?.length) return `Matches ${matched_words.map((word) => `“${escapeInvisible(word)}”`).join(", ")}`;
  return (reason && REASONS[reason]) || "";
}
