/**
 * A picture of the library, as the daemon returns it.
 *
 * @typedef {object} Asset
 * @property {string} id
 * @property {string} name
 * @property {string | null} mime
 * @property {number | null} width
 * @property {number | null} height
 * @property {number | null} size
 * @property {boolean} favorite
 * @property {{id: string, name: string}[]} tags
 * @property {string | null} created_at
 * @property {import("./protocol.js").State | null} state
 * @property {number | null} score
 * @property {string | null} text
 * @property {string[] | null} matched_words
 * @property {string | null} path
 * @property {string | null} link
 * @property {number} near_duplicate_count near-duplicates that a search result stands for
 *
 * @typedef {object} AssetPage
 * @property {Asset[]} assets
 * @property {number | null} total
 * @property {boolean} has_more
 * @property {{similar: boolean, thumbnails: boolean}} features
 */

import { isolate } from "./filename.js";
import { stateLabel } from "./format.js";

const CAPTION_CHARS_MAX = 200;

/** @param {Asset} asset */
export function originalUrl({ id }) {
  return `/v1/library/${encodeURIComponent(id)}/original`;
}

/**
 * @param {Asset} asset
 * @param {number} px
 */
export function thumbnailUrl({ id }, px) {
  return `/v1/library/${encodeURIComponent(id)}/thumbnail?size=${px}`;
}

/**
 * Return the text alternative of a picture for screen readers.
 * @param {Asset} asset
 */
export function altText({ name, text, favorite, near_duplicate_count, state }) {
  const caption = text ? `, text: ${isolate(text.replace(/\s+/g, " ").slice(0, CAPTION_CHARS_MAX))}` : "";
  const star = favorite ? ", favourite" : "";
  const status = state && state !== "ready" ? `, ${stateLabel(state)}` : "";
  const duplicates = near_duplicate_count ? `, and ${near_duplicate_count} similar` : "";
  return `${isolate(name)}${star}${status}${caption}${duplicates}`;
}
