/**
 * What the library shows, in the address of the page: `#library?q=monday+cat&kind=gif&i=ID`.
 *
 * The fields have short names, because people send such addresses; an absent field has its default.
 */

import { NO_FILTER } from "./asset_loader.js";

/** @typedef {import("./asset_loader.js").AssetFilter} AssetFilter */

const VIEW = "#library";
const OPEN = "i";
/** @type {Record<string, keyof AssetFilter>} */
const FIELDS = {
  q: "text", sort: "sort", seed: "seed", favorite: "favorite", kind: "kind", tag: "tag", folder: "folder",
  template: "template", group: "group", after: "after", before: "before", similar: "similar",
};

/**
 * Return what an address shows, null if it belongs to another view. `isBare` is an address without any field.
 * @param {string} hash
 * @returns {{filter: AssetFilter, openId: string | null, isBare: boolean} | null}
 */
export function parseAddress(hash) {
  const at = hash.indexOf("?");
  const view = at < 0 ? hash : hash.slice(0, at);
  if (view !== VIEW && view !== "" && view !== "#") return null;
  const fields = new URLSearchParams(at < 0 ? "" : hash.slice(at + 1));
  /** @type {Record<string, string | boolean>} */
  const filter = { ...NO_FILTER };
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = fields.get(name);
    if (value !== null) filter[field] = typeof filter[field] === "boolean" ? value === "true" : value;
  }
  const isBare = fields.size === 0;
  return { filter: /** @type {AssetFilter} */ (/** @type {unknown} */ (filter)), openId: fields.get(OPEN), isBare };
}

/**
 * @param {AssetFilter} filter
 * @param {string | null} openId the picture that the viewer shows
 */
export function formatAddress(filter, openId) {
  const fields = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS)) {
    if (filter[field] !== NO_FILTER[field]) fields.set(name, String(filter[field]));
  }
  if (openId !== null) fields.set(OPEN, openId);
  return fields.size ? `${VIEW}?${fields}` : VIEW;
}
