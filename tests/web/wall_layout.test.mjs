import assert from "node:assert/strict";
import { test } from "node:test";

import { GAP_PX, layoutPage, nearestInRow, ratioOf, rowPxFor } from "../../web/sploot_web/library/wall_layout.js";

/** Ratios between 0.4 and 2.2, the same in every run. */
function picturesOf(count) {
  let seed = 7;
  return Array.from({ length: count }, (_, index) => {
    seed = (seed * 16_807) % 2_147_483_647;
    return { index, ratio: 0.4 + (seed % 1000) / 555 };
  });
}

const flat = ({ rows }) => rows.flatMap(({ boxes }) => boxes.map(({ index }) => index));

for (const width of [360, 980, 1440, 2560]) {
  const rowPx = rowPxFor(width);
  const wall = { width, rowPx, isLast: false };
  const pictures = picturesOf(60);

  test(`every row of a wall of ${width} px is full, in true ratios, and about as high as wanted`, () => {
    const layout = layoutPage(pictures, wall);
    assert.deepEqual(flat(layout), pictures.map(({ index }) => index));
    let y = 0;
    for (const row of layout.rows) {
      assert.equal(row.y, y);
      y += row.px + GAP_PX;
      assert.ok(row.px > rowPx * 0.6 && row.px < rowPx * 1.6, `${row.px} instead of about ${rowPx}`);
      let x = 0;
      for (const { index, x: at, width: px } of row.boxes) {
        assert.equal(at, x);
        assert.ok(Math.abs(px - pictures[index].ratio * row.px) < 3, "at most rounded");
        x += px + GAP_PX;
      }
      assert.equal(x - GAP_PX, width);
    }
    assert.equal(layout.px, y);
  });
}

test("the last row of the list is not stretched", () => {
  const wall = { width: 1000, rowPx: 200, isLast: true };
  const { rows } = layoutPage(picturesOf(60).slice(0, 2), wall);
  assert.deepEqual(rows.map(({ px }) => px), [200]);
  const one = layoutPage([{ index: 0, ratio: 1.5 }], wall);
  assert.deepEqual(one.rows, [{ y: 0, px: 200, boxes: [{ index: 0, x: 0, width: 300 }] }]);
  assert.deepEqual(layoutPage([], wall), { rows: [], px: 0 });
});

test("a panorama has a row of its own on a phone", () => {
  const pictures = [1, 3.2, 1, 1].map((ratio, index) => ({ index, ratio }));
  const { rows } = layoutPage(pictures, { width: 360, rowPx: 150, isLast: false });
  assert.ok(rows.every(({ boxes }) => boxes.every(({ width }) => width <= 360)));
  assert.deepEqual(rows.flatMap(({ boxes }) => boxes).length, 4);
});

test("a picture that would be a line is cropped, and one of unknown size is square", () => {
  assert.equal(ratioOf({ width: 100, height: 5000 }), 0.4);
  assert.equal(ratioOf({ width: 5000, height: 100 }), 3.2);
  assert.equal(ratioOf({ width: 300, height: 200 }), 1.5);
  assert.equal(ratioOf({ width: null, height: 200 }), 1);
});

test("the arrow keys lead to the picture above or below", () => {
  const boxes = [{ index: 4, x: 0, width: 100 }, { index: 5, x: 105, width: 300 }, { index: 6, x: 410, width: 90 }];
  const row = { y: 0, px: 100, boxes };
  assert.deepEqual([10, 200, 300, 900].map((x) => nearestInRow(row, x).index), [4, 5, 5, 6]);
});

test("laying out a page takes less than a frame", () => {
  const pictures = picturesOf(60);
  const start = performance.now();
  for (let turn = 0; turn < 100; turn += 1) layoutPage(pictures, { width: 1440, rowPx: 226, isLast: false });
  const ms = (performance.now() - start) / 100;
  assert.ok(ms < 8, `${ms} ms`);
});
