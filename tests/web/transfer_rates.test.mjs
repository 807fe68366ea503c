import assert from "node:assert/strict";
import { test } from "node:test";

import { remainingS, TransferRates } from "../../web/sploot_web/daemon/transfer_rates.js";

test("the rate of a transfer is measured over the last seconds", () => {
  const rates = new TransferRates();
  const progress = (sent) => [{ path: "/a", size: 10_000, sent }];
  assert.equal(rates.update(progress(0), 0)[0].bytesPerS, null);
  rates.update(progress(500), 500);
  const [transfer] = rates.update(progress(1000), 1000);
  assert.equal(transfer.bytesPerS, 1000);
  assert.equal(remainingS(transfer), 9);
  assert.equal(rates.update(progress(100), 1500)[0].bytesPerS, null, "a new attempt starts a new measurement");
  assert.deepEqual(rates.update([], 2000), []);
});
