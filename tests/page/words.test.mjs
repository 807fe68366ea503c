import assert from "node:assert/strict";
import { test } from "node:test";

import { folderOf, isolated, nameOf, quoted, safe } from "../../splootd/page/static/names.js";
import { count, latency, moment, size, span } from "../../splootd/page/static/words.js";

test("nothing in a name is obeyed", () => {
  assert.equal(safe("a\u001b[31mb"), "a\\x1b[31mb");
  assert.equal(safe("photo\u202egnp.exe"), "photo\\u202egnp.exe");
  assert.equal(safe("a\nb\tc\u0000"), "a\\nb\\tc\\x00");
  assert.equal(safe("broken \udcff"), "broken \\xff");
  assert.equal(safe("\u2066x\u2069\u200f"), "\\u2066x\\u2069\\u200f");
});

test("names of all languages are left alone", () => {
  for (const name of ["קפה.png", "ممتاز.jpg", "猫.webp", "👩‍💻.gif", "Bildschirmfoto 10\u202fPM.png"]) assert.equal(safe(name), name);
});

test("a name is in a direction of its own, and cannot leave it", () => {
  assert.equal(isolated("קפה"), "\u2068קפה\u2069");
  assert.equal(isolated("a\u2069b"), "\u2068a\\u2069b\u2069");
});

test("a path that is not UTF-8 is the same bytes in a URL", () => {
  assert.equal(quoted("/a b/\udcff\udc80é"), "%2Fa%20b%2F%FF%80%C3%A9");
});

test("a path has a name and a folder", () => {
  assert.deepEqual([nameOf("/a/b.png"), folderOf("/a/b.png")], ["b.png", "/a"]);
  assert.deepEqual([nameOf("/b.png"), folderOf("/b.png")], ["b.png", "/"]);
});

test("numbers are as people say them", () => {
  assert.deepEqual([0, 999, 1000, 14_200_000, 999_960_000].map(size), ["0 B", "999 B", "1.0 kB", "14.2 MB", "1.0 GB"]);
  assert.deepEqual([0, 59.6, 3600, 3661, 273_600].map(span), ["0 s", "1 min", "1 h", "1 h 1 min", "3 d 4 h"]);
  assert.deepEqual([0.0004, 0.014, 2.06].map(latency), ["0.4 ms", "14 ms", "2.1 s"]);
  assert.deepEqual([count(1, "file"), count(2000, "file")], ["1 file", "2,000 files"]);
});

test("today is a time, another day a date", () => {
  const now = new Date(2026, 4, 9, 18, 0);
  assert.equal(moment(new Date(2026, 4, 9, 7, 5).toISOString(), now), "07:05");
  assert.equal(moment(new Date(2026, 1, 3).toISOString(), now), "02-03");
  assert.equal(moment(new Date(2024, 1, 3).toISOString(), now), "2024-02-03");
});
