import assert from "node:assert/strict";
import { test } from "node:test";

import { Selection } from "../../web/sploot_web/ui/selection.js";

test("all of a million rows are selected without listing their ids", () => {
  const selection = new Selection();
  selection.selectAll();
  selection.toggle(7, 3);
  assert.equal(selection.count(1_000_000), 999_999);
  assert.deepEqual([selection.has(7), selection.has(8)], [false, true]);
  assert.deepEqual(selection.singles, []);
  selection.clear();
  assert.ok(selection.isEmpty);
});

test("a range extends from the anchor in both directions", () => {
  const selection = new Selection();
  selection.selectOnly(90, 10);
  selection.extendTo(80, 20);
  assert.deepEqual([selection.count(100), selection.has(85), selection.has(91)], [11, true, false]);
  selection.extendTo(95, 5);
  assert.deepEqual([selection.count(100), selection.has(85), selection.has(91)], [6, false, true]);
  selection.toggle(50, 50);
  assert.deepEqual([selection.count(100), selection.singles], [7, [50]]);
});
