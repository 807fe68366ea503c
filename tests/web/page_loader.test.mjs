/** The page loader together with the list window that it fills. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ListWindow } from "../../web/sploot_web/daemon/list_window.js";
import { PageLoader } from "../../web/sploot_web/daemon/page_loader.js";

/** Load from a fake daemon with the item ids 1 to `total`; `visible` is what the view displays. */
function loading(total) {
  const window = new ListWindow();
  const visible = { top: 0, height: 25 };
  const getItems = async ({ before, after, limit }) => {
    const ids = Array.from({ length: total }, (_, index) => total - index);
    const all = ids.map((id) => ({ id, path: `/${id}`, extra: "not kept" }));
    if (after !== null) {
      const newer = all.filter(({ id }) => id > after);
      const items = newer.slice(-limit);
      return { items, before: null, after: items.length < newer.length ? items[0].id : null };
    }
    const older = all.filter(({ id }) => before === null || id < before);
    const items = older.slice(0, limit);
    return { items, before: items.length < older.length ? items.at(-1).id : null, after: null };
  };
  const view = {
    isVisible: () => true, visibleRows: () => visible, isFollowing: () => false, onLoad: () => {},
    onError: (error) => assert.fail(error),
  };
  const loader = new PageLoader(getItems, window, view, { now: () => 0, setTimer: () => {} });
  const settled = async () => {
    loader.onViewChange();
    for (let turn = 0; turn < 200; turn += 1) await null;
  };
  return { window, visible, loader, settled };
}

test("the visible rows of a long list are loaded wherever the view is, and the others are dropped", async () => {
  const { window, visible, settled } = loading(5000);
  await settled();
  window.setTotal(5000);
  for (const top of [0, 40, 2500, 2400, 4975, 4900, 0]) {
    visible.top = top;
    await settled();
    for (let row = top; row < top + 25; row += 1) {
      assert.equal(window.row(row)?.id, 5000 - row, `row ${row} from ${top}`);
    }
    assert.ok(window.rows.length <= 200);
    assert.ok(!("extra" in window.rows[0]));
  }
});

test("a reply for the previous filter is discarded", async () => {
  const { window, loader, settled } = loading(100);
  const before = settled();
  window.clear(null);
  loader.setFilter({ state: "failed", folder: null, text: null });
  await before;
  await settled();
  assert.equal(window.rows.length, 100);
  assert.equal(window.length, 100);
});

test("the window covers the ids that belong between its rows, or beyond an end of the list that it has", async () => {
  const { window, visible, settled } = loading(5000);
  await settled();
  assert.deepEqual([5001, 4900, 10].map((id) => window.covers(id)), [true, true, false]);
  visible.top = 2500;
  window.setTotal(5000);
  await settled();
  assert.deepEqual([5001, 2490, 10].map((id) => window.covers(id)), [false, true, false]);
});
