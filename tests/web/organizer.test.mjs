import assert from "node:assert/strict";
import { test } from "node:test";

import { suggestTags } from "../../web/sploot_web/library/tag_suggestions.js";
import { daysLeft } from "../../web/sploot_web/library/trash.js";
import { UndoStack } from "../../web/sploot_web/library/undo_stack.js";

const tag = (name, count) => ({ id: name, name, count });

test("tags that begin with the text precede those that contain it, frequent ones first", () => {
  const tags = [tag("Bobcat", 9), tag("cat", 1), tag("Catch", 5), tag("catalogue", 7), tag("dog", 9)];
  assert.deepEqual(suggestTags(tags, "CAT").map(({ name }) => name), ["catalogue", "Catch", "Bobcat"]);
});

test("the days until a picture leaves the trash are counted down", () => {
  const now = new Date("2026-12-01T12:00:00Z");
  assert.equal(daysLeft("2026-12-01T11:00:00Z", now), "30 days left");
  assert.equal(daysLeft("2026-11-02T11:00:00Z", now), "1 day left");
  assert.equal(daysLeft("2026-10-01T11:00:00Z", now), "leaves today");
});

test("changes are undone in reverse order, each once", () => {
  const [undos, done] = [new UndoStack(), []];
  undos.push(() => done.push("first"));
  const undoSecond = undos.push(() => done.push("second"));
  undos.push(() => done.push("third"));
  undoSecond();
  undoSecond();
  assert.ok(undos.undoLast());
  assert.ok(undos.undoLast());
  assert.ok(!undos.undoLast());
  assert.deepEqual(done, ["second", "third", "first"]);
});
