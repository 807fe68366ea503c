import assert from "node:assert/strict";
import { test } from "node:test";

import { baseName, escapeInvisible, isolate, parentFolder, percentEncode } from "../../web/sploot_web/ui/filename.js";

test("control and format characters in a name are escaped", () => {
  assert.equal(escapeInvisible("a\u001b[31mb"), "a\\x1b[31mb");
  assert.equal(escapeInvisible("photo\u202egnp.exe"), "photo\\u202egnp.exe");
  assert.equal(escapeInvisible("a\nb\tc\u0000"), "a\\nb\\tc\\x00");
  assert.equal(escapeInvisible("broken \udcff"), "broken \\xff");
  assert.equal(escapeInvisible("\u2066x\u2069\u200f"), "\\u2066x\\u2069\\u200f");
});

test("names in any language are unchanged", () => {
  const names = ["קפה.png", "ممتاز.jpg", "猫.webp", "👩‍💻.gif", "Bildschirmfoto 10\u202fPM.png"];
  for (const name of names) assert.equal(escapeInvisible(name), name);
});

test("a name has a writing direction of its own, and cannot end its isolation", () => {
  assert.equal(isolate("קפה"), "\u2068קפה\u2069");
  assert.equal(isolate("a\u2069b"), "\u2068a\\u2069b\u2069");
});

test("a path that is not UTF-8 keeps its bytes in a URL", () => {
  assert.equal(percentEncode("/a b/\udcff\udc80é"), "%2Fa%20b%2F%FF%80%C3%A9");
});

test("a path has a base name and a parent folder", () => {
  assert.deepEqual([baseName("/a/b.png"), parentFolder("/a/b.png")], ["b.png", "/a"]);
  assert.deepEqual([baseName("/b.png"), parentFolder("/b.png")], ["b.png", "/"]);
});
