/**
 * One picture of the library, as the daemon hands it on.
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
 * @property {string | null} state
 * @property {number | null} score
 * @property {string | null} text
 * @property {string[] | null} why
 * @property {string | null} path
 * @property {string | null} link
 * @property {number} others near-duplicates behind it
 *
 * @typedef {object} Found
 * @property {Asset[]} assets
 * @property {number | null} total
 * @property {boolean} has_more
 * @property {{similar: boolean, thumbnails: boolean}} offers
 */

import { isolated } from "./names.js";

/** @param {Asset} asset */
export function original({ id }) {
  return `/v1/library/${encodeURIComponent(id)}/original`;
}

/**
 * @param {Asset} asset
 * @param {number} px
 */
export function thumbnail({ id }, px) {
  return `/v1/library/${encodeURIComponent(id)}/thumbnail?size=${px}`;
}

/**
 * What there is to say of a picture to somebody who does not see it.
 * @param {Asset} asset
 */
export function described({ name, text, favorite, others, state }) {
  const words = text ? `, with the words: ${isolated(text.replace(/\s+/g, " ").slice(0, 200))}` : "";
  const star = favorite ? ", favourite" : "";
  const waits = state && state !== "ready" ? `, ${state}` : "";
  return `${isolated(name)}${star}${waits}${words}${others ? `, and ${others} alike` : ""}`;
}
