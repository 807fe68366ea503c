import assert from "node:assert/strict";
import { test } from "node:test";

import { PAGE_ROWS, Pages } from "../../web/sploot_web/ui/pages.js";

test("the least recently used pages are evicted", () => {
  const pages = new Pages();
  const page = (number) => Array.from({ length: PAGE_ROWS }, (_, index) => ({ id: number * PAGE_ROWS + index }));
  for (let number = 0; number < 40; number += 1) {
    const first = number * PAGE_ROWS;
    assert.equal(pages.missingPage(first, first + 20), number);
    pages.store(number, page(number), { total: 40 * PAGE_ROWS, hasMore: number < 39 });
    assert.equal(pages.missingPage(first, first + 20), null);
    assert.equal(pages.row(first + 3).id, first + 3);
  }
  assert.equal(pages.row(0), null);
  assert.equal(pages.length, 40 * PAGE_ROWS);
  assert.ok(pages.rows.length <= 12 * PAGE_ROWS);
});

test("after a removed row the others move up, and an incomplete page is loaded again", () => {
  const pages = new Pages();
  const page = (number, rows) => Array.from({ length: rows }, (_, index) => ({ id: number * PAGE_ROWS + index }));
  const total = 4 * PAGE_ROWS + 5;
  for (const number of [0, 1, 3]) pages.store(number, page(number, PAGE_ROWS), { total, hasMore: true });
  pages.store(4, page(4, 5), { total, hasMore: false });
  pages.remove(pages.findIndex(({ id }) => id === 10));
  assert.equal(pages.length, total - 1);
  assert.deepEqual([9, 10, PAGE_ROWS - 1].map((index) => pages.row(index).id), [9, 11, PAGE_ROWS]);
  assert.equal(pages.row(PAGE_ROWS), null, "page 2 is not loaded, so page 1 lacks its last row");
  assert.equal(pages.missingPage(0, 2 * PAGE_ROWS), 1);
  assert.equal(pages.row(3 * PAGE_ROWS).id, 3 * PAGE_ROWS + 1);
  assert.deepEqual([0, 3].map((index) => pages.row(4 * PAGE_ROWS + index).id), [1, 4].map((at) => 4 * PAGE_ROWS + at));
  assert.equal(pages.findIndex(({ id }) => id === 10), -1);
});
