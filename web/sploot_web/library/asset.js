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
 * @property {import("../ui/states.js").State | null} state
 * @property {number | null} score
 * @property {string | null} text
 * @property {string[] | null} matched_words words of the query that are in its text
 * @property {string | null} [reason] in what it is close to the query, without a common word: meaning, picture
 * @property {string[]} [templates] names of the well-known pictures that it shows
 * @property {string | null} path
 * @property {string | null} link
 * @property {number} near_duplicate_count other pictures that look the same
 * @property {string | null} folder the name of the folder that held the file
 * @property {string | null} deleted_at
 *
 * @typedef {object} AssetPage
 * @property {Asset[]} assets
 * @property {number | null} total
 * @property {boolean} has_more
 * @property {Asset[]} [nearest] what is nearest to a search that nothing matches
 * @property {Features} features
 *
 * What the library can do; a plain Sploot can do little of it.
 *
 * @typedef {object} Features
 * @property {boolean} similar
 * @property {boolean} thumbnails
 * @property {boolean} sorts `sort` may be largest, copied, or shuffle with a `seed`
 * @property {boolean} kinds `kind` may be gif, tall, no_text or untagged
 * @property {boolean} dates `after` and `before`, ISO 8601 times
 * @property {boolean} folders `folder`, and GET /v1/library/folders
 * @property {boolean} templates `template`, GET /v1/library/templates, and PUT /v1/library/{id}/template
 * @property {boolean} copied POST /v1/library/{id}/copied
 * @property {boolean} trash deleted pictures are listed by `trash` and can be restored
 * @property {boolean} tag_editing tags can be renamed and deleted
 * @property {boolean} duplicates `group`, and GET /v1/library/duplicates
 * @property {boolean} share POST and DELETE /v1/library/{id}/share
 * @property {boolean} expiry a share link may end after `days`
 * @property {boolean} links GET /v1/library/links
 */

import { isolate } from "../ui/filename.js";
import { stateLabel } from "../ui/states.js";

/** The longer side of a thumbnail. */
export const THUMBNAIL_PX = 256;
const CAPTION_CHARS_MAX = 200;

/** @param {Asset} asset */
export function originalUrl({ id }) {
  return `/v1/library/${encodeURIComponent(id)}/original`;
}

/** @param {Pick<Asset, "mime">} asset */
export function isVideo({ mime }) {
  return mime?.startsWith("video/") ?? false;
}

/**
 * @param {Pick<Asset, "id">} asset
 * @param {number} px
 */
export function thumbnailUrl({ id }, px = THUMBNAIL_PX) {
  return `/v1/library/${encodeURIComponent(id)}/thumbnail?size=${px}`;
}

/**
 * Return the text alternative of a picture for screen readers: its words first, then its name.
 * @param {Asset} asset
 */
export function altText({ name, text, favorite, near_duplicate_count, state }) {
  const caption = text ? `${isolate(text.replace(/\s+/g, " ").slice(0, CAPTION_CHARS_MAX))}, ` : "";
  const star = favorite ? ", favourite" : "";
  const status = state && state !== "ready" ? `, ${stateLabel(state)}` : "";
  const duplicates = near_duplicate_count ? `, and ${near_duplicate_count} similar` : "";
  return `${caption}${isolate(name)}${star}${status}${duplicates}`;
}
