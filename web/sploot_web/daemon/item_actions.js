/** Sends retry, bump and forget for the selected items, page by page. */

import { get, send } from "../ui/client.js";
import { PAGE_ITEMS_MAX } from "./protocol.js";

/** @typedef {"retry" | "bump" | "forget"} ItemAction */

/**
 * Return the actions that do something for at least one of the selected items.
 * @param {readonly import("./page_loader.js").RowItem[]} loaded the selected items that are loaded
 * @param {number} selected the number of selected items; those that are not loaded may be in any state
 * @returns {Set<ItemAction>}
 */
export function possibleActions(loaded, selected) {
  if (loaded.length < selected) return new Set(["retry", "bump", "forget"]);
  /** @type {Set<ItemAction>} */
  const possible = new Set();
  for (const { state, can_retry: canRetry } of loaded) {
    if (canRetry) possible.add("retry");
    if (state === "pending") possible.add("bump");
    if (["pending", "failed", "missing"].includes(state)) possible.add("forget");
  }
  return possible;
}

/**
 * Yield the ids of the selected items among those that `filter` matches, newest first, a page at a time.
 * @param {import("../ui/selection.js").Selection} selection
 * @param {import("./page_loader.js").ItemFilter} filter
 */
export async function* selectedIds(selection, filter) {
  const { range, singles } = selection;
  const sent = new Set(singles);
  const isInRange = (/** @type {number} */ id) => selection.has(id) && !sent.has(id);
  for (let start = 0; start < singles.length; start += PAGE_ITEMS_MAX) {
    yield singles.slice(start, start + PAGE_ITEMS_MAX);
  }
  if (!range) return;
  let before = range.maxId === Number.MAX_SAFE_INTEGER ? null : range.maxId + 1;
  do {
    /** @type {import("./protocol.js").Items} */
    const page = await get("/v1/items", { ...filter, before, limit: PAGE_ITEMS_MAX });
    const ids = page.items.map(({ id }) => id);
    yield ids.filter(isInRange);
    before = page.before;
  } while (before !== null && before > range.minId);
}

/**
 * Send an action for all pages of ids; `onProgress` receives the number of items changed so far. Returns their number.
 * @param {ItemAction} action
 * @param {AsyncIterable<number[]>} pages
 * @param {(changed: number) => void} onProgress
 */
export async function applyAction(action, pages, onProgress) {
  let changed = 0;
  for await (const ids of pages) {
    if (ids.length === 0) continue;
    const body = action === "retry" ? { ids } : { targets: ids.map(String) };
    /** @type {import("./protocol.js").ChangeReply} */
    const reply = await send("POST", `/v1/${action}`, body);
    changed += reply.ids.length;
    onProgress(changed);
  }
  return changed;
}
