import assert from "node:assert/strict";
import { test } from "node:test";

import { EXTENT_PX_MAX, ScrollMap } from "../../splootd/page/static/scrollmap.js";

const ROW = 36;
const VIEW = 700;

/** Every seventh row holds an error and is higher. */
const uneven = (/** @type {number} */ row) => (row % 7 === 3 ? 58 + (row % 3) * 18 : ROW);

function mapOf(length, measured = () => null, view = VIEW) {
  const map = new ScrollMap(ROW, measured);
  map.length = length;
  map.viewPx = view;
  map.settle();
  return map;
}

/** No gap and no overlap, and the view is full wherever there are rows enough. */
function assertWhole(map) {
  const placed = map.placed(5);
  for (const [at, { row, y, px }] of placed.entries()) {
    const next = placed[at + 1];
    if (next) assert.deepEqual([next.row, next.y], [row + 1, y + px]);
  }
  const [first, last] = [placed[0], placed.at(-1)];
  assert.ok(first.y <= 0);
  assert.ok(last.y + last.px >= map.viewPx - 0.001 || map.abovePx() === 0);
}

test("rows of one height stand where the scroll bar says", () => {
  const map = mapOf(10_000);
  assert.equal(map.extentPx, 360_000);
  for (const at of [100, 1500, 3000, 2990, 0, 200_000, 359_300]) {
    map.scrolled(at);
    assert.ok(Math.abs(map.abovePx() - at) < 0.01, `${map.abovePx()} instead of ${at}`);
    assertWhole(map);
  }
});

test("five rows beyond either edge are kept ready, and no more", () => {
  const map = mapOf(10_000);
  map.scrolled(3600);
  const rows = map.placed(5).map(({ row }) => row);
  assert.equal(rows[0], 95);
  assert.equal(rows.at(-1), 100 + Math.ceil(VIEW / ROW) - 1 + 5);
});

test("a view that moves by pixels comes to both ends together with the scroll bar, whatever errors it passes", () => {
  const map = mapOf(300, uneven);
  let at = map.settle();
  while (at < map.extentPx - VIEW) {
    at = Math.min(at + 120, map.extentPx - VIEW);
    map.scrolled(at);
    assertWhole(map);
  }
  assert.ok(map.belowPx() < 1);
  while (at > 0) {
    at = Math.max(at - 120, 0);
    map.scrolled(at);
    assertWhole(map);
  }
  assert.ok(map.abovePx() < 200, `${map.abovePx()} px are left above`);
  map.settle();
});

test("the ends are the ends", () => {
  const map = mapOf(5000, uneven);
  map.scrolled(map.extentPx - VIEW);
  assert.equal(map.placed(5).at(-1).row, 4999);
  assert.ok(map.belowPx() < 1);
  map.scrolled(0);
  assert.deepEqual(map.anchor, { row: 0, px: 0 });
});

test("a million rows fit into an element, and each of them can be reached", () => {
  const map = mapOf(1_000_000, uneven);
  assert.equal(map.extentPx, EXTENT_PX_MAX);
  map.scrolled((EXTENT_PX_MAX - VIEW) / 2);
  assert.ok(Math.abs(map.anchor.row - 500_000) < 100);
  const { row } = map.anchor;
  map.scrolled(map.at + 100);
  assert.ok(map.anchor.row - row <= 3, "a turn of the wheel moves by what it says");
  const y = map.placed(0)[0];
  map.settle();
  assert.deepEqual(map.placed(0)[0], y, "the scroll bar follows, the rows stay");
  map.scrolled(EXTENT_PX_MAX - VIEW);
  assert.equal(map.placed(5).at(-1).row, 999_999);
  map.reveal(123_456);
  assert.equal(map.anchor.row, 123_456);
});

test("a list that shrinks below the view begins at its top", () => {
  const map = mapOf(100);
  map.scrolled(2000);
  map.length = 3;
  map.move(0);
  assert.deepEqual(map.anchor, { row: 0, px: 0 });
  assert.equal(map.placed(5).length, 3);
  map.length = 0;
  map.move(0);
  assert.deepEqual(map.placed(5), []);
});

test("rows that get other numbers stay where they are looked at", () => {
  const map = mapOf(1000);
  map.scrolled(3610);
  map.renumber(7);
  assert.deepEqual(map.anchor, { row: 107, px: 10 });
  map.scrolled(0);
  map.renumber(7);
  assert.equal(map.anchor.row, 0, "who looks at the newest goes on doing so");
});

test("a row is shown with as little movement as it takes", () => {
  const map = mapOf(1000, uneven);
  map.scrolled(3600);
  const before = { ...map.anchor };
  map.reveal(before.row + 3);
  assert.deepEqual(map.anchor, before);
  map.reveal(before.row + 40);
  const last = map.placed(0).find(({ row }) => row === before.row + 40);
  assert.ok(Math.abs(last.y + last.px - VIEW) < 0.001);
  map.reveal(5);
  assert.deepEqual(map.anchor, { row: 5, px: 0 });
});
