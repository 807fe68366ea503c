/** What is held of long lists, and what is chosen in them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../../splootd/page/static/feed.js";
import { led } from "../../splootd/page/static/keys.js";
import { ListWindow } from "../../splootd/page/static/listwindow.js";
import { PAGE_ROWS, Pages } from "../../splootd/page/static/pages.js";
import { Samples } from "../../splootd/page/static/samples.js";
import { Selection } from "../../splootd/page/static/selection.js";
import { leftS, Speeds } from "../../splootd/page/static/speeds.js";

/** A daemon with items of the ids 1 to `total`, and somebody who looks at `top`. */
function fed(total) {
  const window = new ListWindow();
  const looked = { top: 0, height: 25 };
  const asked = [];
  const ask = async ({ before, after, limit }) => {
    asked.push({ before, after, limit });
    const all = Array.from({ length: total }, (_, at) => ({ id: total - at, path: `/${total - at}`, extra: "not held" }));
    if (after !== null) {
      const newer = all.filter(({ id }) => id > after);
      const items = newer.slice(-limit);
      return { items, before: null, after: items.length < newer.length ? items[0].id : null };
    }
    const older = all.filter(({ id }) => before === null || id < before);
    const items = older.slice(0, limit);
    return { items, before: items.length < older.length ? items.at(-1).id : null, after: null };
  };
  const view = { isShown: () => true, lookedAt: () => looked, isFollowing: () => false, moved: () => {}, failed: (error) => assert.fail(error) };
  const feed = new Feed(ask, window, view, { now: () => 0, later: () => {} });
  const settled = async () => {
    feed.look();
    for (let turn = 0; turn < 200; turn += 1) await null;
  };
  return { window, looked, feed, settled, asked };
}

test("wherever one looks in a long list, what is there is read, and the rest is forgotten", async () => {
  const { window, looked, settled } = fed(5000);
  await settled();
  window.count(5000);
  for (const top of [0, 40, 2500, 2400, 4975, 4900, 0]) {
    looked.top = top;
    await settled();
    for (let row = top; row < top + 25; row += 1) assert.equal(window.row(row)?.id, 5000 - row, `row ${row} from ${top}`);
    assert.ok(window.rows.length <= 200);
    assert.ok(!("extra" in window.rows[0]));
  }
});

test("a list that is another meanwhile takes no rows of the one before", async () => {
  const { window, feed, settled } = fed(100);
  const before = settled();
  window.clear(null);
  feed.choose({ state: "dead", folder: null, text: null });
  await before;
  await settled();
  assert.equal(window.rows.length, 100);
  assert.equal(window.length, 100);
});

test("all of a million is chosen without naming any", () => {
  const chosen = new Selection();
  chosen.all();
  chosen.toggle(7, 3);
  assert.equal(chosen.count(1_000_000), 999_999);
  assert.deepEqual([chosen.has(7), chosen.has(8)], [false, true]);
  assert.deepEqual(chosen.singles, []);
  chosen.clear();
  assert.ok(chosen.isEmpty);
});

test("a span goes from the anchor to wherever the shift key leads, and back", () => {
  const chosen = new Selection();
  chosen.only(90, 10);
  chosen.reach(80, 20);
  assert.deepEqual([chosen.count(100), chosen.has(85), chosen.has(91)], [11, true, false]);
  chosen.reach(95, 5);
  assert.deepEqual([chosen.count(100), chosen.has(85), chosen.has(91)], [6, false, true]);
  chosen.toggle(50, 50);
  assert.deepEqual([chosen.count(100), chosen.singles], [7, [50]]);
});

test("keys lead through a list and a grid, and not beyond", () => {
  const list = { at: 3, length: 10, page: 4 };
  assert.deepEqual(["ArrowDown", "ArrowUp", "PageDown", "End", "Home", "x"].map((key) => led(key, list)), [4, 2, 7, 9, 0, null]);
  assert.equal(led("ArrowDown", { ...list, at: 8, columns: 5 }), 9);
  assert.equal(led("ArrowLeft", { ...list, columns: 5 }), 2);
  assert.equal(led("End", { at: 0, length: 0, page: 4 }), null);
});

test("pages that nobody has looked at for long are forgotten", () => {
  const pages = new Pages();
  const page = (number) => Array.from({ length: PAGE_ROWS }, (_, at) => ({ id: number * PAGE_ROWS + at }));
  for (let number = 0; number < 40; number += 1) {
    const first = number * PAGE_ROWS;
    assert.equal(pages.lacking(first, first + 20), number);
    pages.take(number, page(number), { total: 40 * PAGE_ROWS, hasMore: number < 39 });
    assert.equal(pages.lacking(first, first + 20), null);
    assert.equal(pages.row(first + 3).id, first + 3);
  }
  assert.equal(pages.row(0), null);
  assert.equal(pages.length, 40 * PAGE_ROWS);
  assert.ok(pages.rows.length <= 12 * PAGE_ROWS);
});

test("a speed is what was sent in the last seconds", () => {
  const speeds = new Speeds();
  const moving = (sent) => [{ path: "/a", size: 10_000, sent }];
  assert.equal(speeds.note(moving(0), 0)[0].bytesPerS, null);
  speeds.note(moving(500), 500);
  const [transfer] = speeds.note(moving(1000), 1000);
  assert.equal(transfer.bytesPerS, 1000);
  assert.equal(leftS(transfer), 9);
  assert.equal(speeds.note(moving(100), 1500)[0].bytesPerS, null, "another try begins anew");
  assert.deepEqual(speeds.note([], 2000), []);
});

test("a chart holds so many seconds, on a scale that fits", () => {
  const samples = new Samples(4);
  [1, 3, null, 7, 30].forEach((value) => samples.add(value));
  assert.deepEqual(samples.values, [3, null, 7, 30]);
  assert.equal(samples.scale, 50);
  assert.deepEqual(samples.points(30, 100), [[0, 94], null, [20, 86], [30, 40]]);
});
