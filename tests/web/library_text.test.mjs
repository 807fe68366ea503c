import assert from "node:assert/strict";
import { test } from "node:test";

import { formatAddress, parseAddress } from "../../web/sploot_web/library/address.js";
import { NO_FILTER } from "../../web/sploot_web/library/asset_loader.js";
import { matchReason, splitAtWords } from "../../web/sploot_web/library/marked_text.js";
import { NO_ZOOM, panBy, zoomAt } from "../../web/sploot_web/library/zoom.js";

test("an address says what the library shows, and back", () => {
  const filter = { ...NO_FILTER, text: "cats & dogs", favorite: true, kind: "gif", after: "2026-01-01" };
  const address = formatAddress(filter, "a1");
  assert.equal(address, "#library?q=cats+%26+dogs&favorite=true&kind=gif&after=2026-01-01&i=a1");
  assert.deepEqual(parseAddress(address), { filter, openId: "a1", isBare: false });
  assert.equal(formatAddress(NO_FILTER, null), "#library");
  assert.deepEqual(parseAddress(""), { filter: NO_FILTER, openId: null, isBare: true });
  assert.equal(parseAddress("#activity?q=x"), null);
});

test("matched words are found as they are written, at the start of words only", () => {
  assert.deepEqual(splitAtWords("ONE DOES not, does?", ["does", "one"]), ["", "ONE", " ", "DOES", " not, ", "does", "?"]);
  assert.deepEqual(splitAtWords("concatenate CATS", ["cat"]), ["concatenate ", "CAT", "S"]);
  assert.deepEqual(splitAtWords("a+b (c", ["(", "a+"]), ["", "a+", "b ", "(", "c"]);
  assert.deepEqual(splitAtWords("nothing", []), ["nothing"]);
});

test("the reason of a match is a sentence for people", () => {
  assert.equal(matchReason({ matched_words: ["cat"], reason: "meaning" }), "Matches “cat”");
  assert.equal(matchReason({ matched_words: [], reason: "picture" }), "Looks like it");
  assert.equal(matchReason({ matched_words: null, reason: null }), "");
});

test("zooming keeps the point under the pointer, and panning ends at the edge", () => {
  const picture = { width: 400, height: 200 };
  const zoomed = zoomAt(NO_ZOOM, 2, { x: 100, y: 50 }, picture);
  assert.deepEqual(zoomed, { scale: 2, x: -100, y: -50 });
  assert.deepEqual(panBy(zoomed, { x: -900, y: 900 }, picture), { scale: 2, x: -200, y: 100 });
  assert.deepEqual(zoomAt(zoomed, 0.1, { x: 0, y: 0 }, picture), { scale: 1, x: 0, y: 0 });
});
