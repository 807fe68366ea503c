import assert from "node:assert/strict";
import { test } from "node:test";

import { PAGE_ROWS, Pages } from "../../splootd/web/static/pages.js";

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
