import assert from "node:assert/strict";
import { test } from "node:test";

import { nextIndex } from "../../web/sploot_web/ui/keys.js";

test("navigation keys move through a list and a grid, and not beyond their ends", () => {
  const list = { current: 3, length: 10, page: 4 };
  const keys = ["ArrowDown", "ArrowUp", "PageDown", "End", "Home", "x"];
  assert.deepEqual(keys.map((key) => nextIndex(key, list)), [4, 2, 7, 9, 0, null]);
  assert.equal(nextIndex("ArrowDown", { ...list, current: 8, columns: 5 }), 9);
  assert.equal(nextIndex("ArrowLeft", { ...list, columns: 5 }), 2);
  assert.equal(nextIndex("End", { current: 0, length: 0, page: 4 }), null);
});
