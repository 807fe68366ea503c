import assert from "node:assert/strict";
import { test } from "node:test";

import { Samples } from "../../web/sploot_web/daemon/samples.js";

test("a chart keeps a fixed number of samples, on a scale that fits them", () => {
  const samples = new Samples(4);
  [1, 3, null, 7, 30].forEach((value) => samples.add(value));
  assert.deepEqual(samples.values, [3, null, 7, 30]);
  assert.equal(samples.scale, 50);
  assert.deepEqual(samples.points(30, 100), [[0, 94], null, [20, 86], [30, 40]]);
});
