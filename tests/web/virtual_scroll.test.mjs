import assert from "node:assert/strict";
import { test } from "node:test";

import { EXTENT_PX_MAX, VirtualScroll } from "../../web/sploot_web/ui/virtual_scroll.js";

const ROW_PX = 36;
const VIEW_PX = 700;

/** Heights of rows of which every seventh has an error message and is higher. */
const uneven = (/** @type {number} */ row) => (row % 7 === 3 ? 58 + (row % 3) * 18 : ROW_PX);

function scrollOf(length, measured = () => null, view = VIEW_PX) {
  const scroll = new VirtualScroll(ROW_PX, measured);
  scroll.length = length;
  scroll.viewPx = view;
  scroll.settle();
  return scroll;
}

/** Assert that rows neither overlap nor leave gaps, and that they fill the view. */
function assertFilled(scroll) {
  const placed = scroll.placedRows(5);
  for (const [index, { row, y, px }] of placed.entries()) {
    const next = placed[index + 1];
    if (next) assert.deepEqual([next.row, next.y], [row + 1, y + px]);
  }
  const [first, last] = [placed[0], placed.at(-1)];
  assert.ok(first.y <= 0);
  assert.ok(last.y + last.px >= scroll.viewPx - 0.001 || scroll.abovePx() === 0);
}

test("rows of equal height are where the scroll bar is", () => {
  const scroll = scrollOf(10_000);
  assert.equal(scroll.extentPx, 360_000);
  for (const at of [100, 1500, 3000, 2990, 0, 200_000, 359_300]) {
    scroll.onScroll(at);
    assert.ok(Math.abs(scroll.abovePx() - at) < 0.01, `${scroll.abovePx()} instead of ${at}`);
    assertFilled(scroll);
  }
});

test("five rows beyond each edge are rendered, and no more", () => {
  const scroll = scrollOf(10_000);
  scroll.onScroll(3600);
  const rows = scroll.placedRows(5).map(({ row }) => row);
  assert.equal(rows[0], 95);
  assert.equal(rows.at(-1), 100 + Math.ceil(VIEW_PX / ROW_PX) - 1 + 5);
});

test("scrolling by pixels reaches both ends together with the scroll bar, past rows of any height", () => {
  const scroll = scrollOf(300, uneven);
  let at = scroll.settle();
  while (at < scroll.extentPx - VIEW_PX) {
    at = Math.min(at + 120, scroll.extentPx - VIEW_PX);
    scroll.onScroll(at);
    assertFilled(scroll);
  }
  assert.ok(scroll.belowPx() < 1);
  while (at > 0) {
    at = Math.max(at - 120, 0);
    scroll.onScroll(at);
    assertFilled(scroll);
  }
  assert.ok(scroll.abovePx() < 200, `${scroll.abovePx()} px left above`);
  scroll.settle();
});

test("a jump to an end reaches it", () => {
  const scroll = scrollOf(5000, uneven);
  scroll.onScroll(scroll.extentPx - VIEW_PX);
  assert.equal(scroll.placedRows(5).at(-1).row, 4999);
  assert.ok(scroll.belowPx() < 1);
  scroll.onScroll(0);
  assert.deepEqual(scroll.anchor, { row: 0, px: 0 });
});

test("a million rows fit into an element, and each of them is reachable", () => {
  const scroll = scrollOf(1_000_000, uneven);
  assert.equal(scroll.extentPx, EXTENT_PX_MAX);
  scroll.onScroll((EXTENT_PX_MAX - VIEW_PX) / 2);
  assert.ok(Math.abs(scroll.anchor.row - 500_000) < 100);
  const { row } = scroll.anchor;
  scroll.onScroll(scroll.scrollTop + 100);
  assert.ok(scroll.anchor.row - row <= 3, "a turn of the wheel moves by its own distance");
  const y = scroll.placedRows(0)[0];
  scroll.settle();
  assert.deepEqual(scroll.placedRows(0)[0], y, "the scroll bar moves, the rows do not");
  scroll.onScroll(EXTENT_PX_MAX - VIEW_PX);
  assert.equal(scroll.placedRows(5).at(-1).row, 999_999);
  scroll.reveal(123_456);
  assert.equal(scroll.anchor.row, 123_456);
});

test("a list that becomes shorter than the view starts at its top", () => {
  const scroll = scrollOf(100);
  scroll.onScroll(2000);
  scroll.length = 3;
  scroll.scrollBy(0);
  assert.deepEqual(scroll.anchor, { row: 0, px: 0 });
  assert.equal(scroll.placedRows(5).length, 3);
  scroll.length = 0;
  scroll.scrollBy(0);
  assert.deepEqual(scroll.placedRows(5), []);
});

test("the view stays on its rows when their indices change", () => {
  const scroll = scrollOf(1000);
  scroll.onScroll(3610);
  scroll.shiftRows(7);
  assert.deepEqual(scroll.anchor, { row: 107, px: 10 });
  scroll.onScroll(0);
  scroll.shiftRows(7);
  assert.equal(scroll.anchor.row, 0, "a view at the top stays at the top");
});

test("revealing a row scrolls as little as possible", () => {
  const scroll = scrollOf(1000, uneven);
  scroll.onScroll(3600);
  const before = { ...scroll.anchor };
  scroll.reveal(before.row + 3);
  assert.deepEqual(scroll.anchor, before);
  scroll.reveal(before.row + 40);
  const last = scroll.placedRows(0).find(({ row }) => row === before.row + 40);
  assert.ok(Math.abs(last.y + last.px - VIEW_PX) < 0.001);
  scroll.reveal(5);
  assert.deepEqual(scroll.anchor, { row: 5, px: 0 });
});
