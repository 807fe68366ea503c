/** Retry, bump and forget, for the items that are chosen, however many they are. */

import { change, get } from "./client.js";
import { PAGE_MAX } from "./protocol.js";

/** @typedef {"retry" | "bump" | "forget"} Wish */

/**
 * The ids of what is chosen among what `choice` shows, newest first, a page at a time.
 * @param {import("./selection.js").Selection} selection
 * @param {import("./feed.js").Choice} choice
 */
export async function* pagesOf(selection, choice) {
  const { span, singles } = selection;
  const has = new Set(singles);
  const isChosen = (/** @type {number} */ id) => selection.has(id) && !has.has(id);
  for (let at = 0; at < singles.length; at += PAGE_MAX) yield singles.slice(at, at + PAGE_MAX);
  if (!span) return;
  let before = span.most === Number.MAX_SAFE_INTEGER ? null : span.most + 1;
  do {
    /** @type {import("./protocol.js").Items} */
    const page = await get("/v1/items", { ...choice, before, limit: PAGE_MAX });
    const ids = page.items.map(({ id }) => id);
    yield ids.filter(isChosen);
    before = page.before;
  } while (before !== null && before > span.least);
}

/**
 * Ask for it, a page at a time; `says` hears how many are done. How many were changed.
 * @param {Wish} wish
 * @param {AsyncIterable<number[]>} pages
 * @param {(done: number) => void} says
 */
export async function changed(wish, pages, says) {
  let done = 0;
  for await (const ids of pages) {
    if (ids.length === 0) continue;
    const body = wish === "retry" ? { ids } : { targets: ids.map(String) };
    /** @type {import("./protocol.js").Changed} */
    const answer = await change("POST", `/v1/${wish}`, body);
    done += answer.ids.length;
    says(done);
  }
  return done;
}
