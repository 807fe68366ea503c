import assert from "node:assert/strict";
import { test } from "node:test";

import { formatCount, formatDuration, formatLatency, formatSize, formatTime } from "../../web/sploot_web/ui/format.js";
import { STATES, stateLabel } from "../../web/sploot_web/ui/states.js";

test("sizes, durations, latencies and counts have units", () => {
  const sizes = [0, 999, 1000, 14_200_000, 999_960_000];
  assert.deepEqual(sizes.map(formatSize), ["0 B", "999 B", "1.0 kB", "14.2 MB", "1.0 GB"]);
  assert.deepEqual([0, 59.6, 3600, 3661, 273_600].map(formatDuration), ["0 s", "1 min", "1 h", "1 h 1 min", "3 d 4 h"]);
  assert.deepEqual([0.0004, 0.014, 2.06].map(formatLatency), ["0.4 ms", "14 ms", "2.1 s"]);
  assert.deepEqual([formatCount(1, "file"), formatCount(2000, "file")], ["1 file", "2,000 files"]);
});

test("a time has its date: a word for today and yesterday, no time of day for another year", () => {
  const now = new Date(2026, 4, 9, 18, 0);
  assert.equal(formatTime(new Date(2026, 4, 9, 7, 5).toISOString(), now), "Today 07:05");
  assert.equal(formatTime(new Date(2026, 4, 8, 23, 59).toISOString(), now), "Yesterday 23:59");
  assert.equal(formatTime(new Date(2026, 1, 3).toISOString(), now), "3 Feb 00:00");
  assert.equal(formatTime(new Date(2024, 1, 3).toISOString(), now), "3 Feb 2024");
});

test("every state has a label", () => {
  const labels = ["Waiting", "Uploading", "Processing", "Ready", "Failed", "Missing", "Skipped"];
  assert.deepEqual(STATES.map(stateLabel), labels);
});
