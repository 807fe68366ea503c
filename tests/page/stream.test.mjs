import assert from "node:assert/strict";
import { test } from "node:test";

import { Stream } from "../../splootd/page/static/stream.js";

const STATUS = { daemon: { state: "running", pid: 7 }, server: { state: "ok", breaker: "closed", push: "sse" }, items: { total: 3 } };

/** A stream in a world without a network and without time: `pass` lets what waits happen. */
function world({ status = async () => STATUS } = {}) {
  const sources = [];
  const told = [];
  let waiting = [];
  let asked = 0;
  const open = (url) => {
    const heard = {};
    const source = {
      url,
      isClosed: false,
      addEventListener: (name, hear) => (heard[name] = hear),
      close: () => (source.isClosed = true),
      say: (name, data, id = "") => heard[name]({ data: JSON.stringify(data), lastEventId: id }),
      fail: () => heard.error({}),
    };
    sources.push(source);
    return source;
  };
  const stream = new Stream({
    open,
    status: () => {
      asked += 1;
      return status();
    },
    tell: (each) => told.push(each),
    later: (work, ms) => waiting.push({ work, ms }),
  });
  stream.start();
  const pass = async () => {
    const now = waiting;
    waiting = [];
    now.forEach(({ work }) => work());
    for (let turn = 0; turn < 20; turn += 1) await null;
  };
  const kinds = () => told.splice(0).map(({ kind }) => kind);
  return { stream, sources, told, pass, kinds, asked: () => asked, waits: () => waiting.map(({ ms }) => ms) };
}

test("news of items travel together", async () => {
  const { sources, told, pass } = world();
  sources[0].say("start", {}, "5");
  await pass();
  told.length = 0;
  for (let item = 0; item < 50; item += 1) sources[0].say("item", { item, state: "ready" }, String(6 + item));
  await pass();
  const news = told.filter(({ kind }) => kind === "items");
  assert.equal(news.length, 1);
  assert.equal(news[0].news.length, 50);
});

test("whatever happens, nothing is asked and nothing is waited for: the status comes by itself", async () => {
  const { sources, told, pass, asked, waits } = world();
  sources[0].say("start", {}, "5");
  sources[0].say("now", STATUS);
  sources[0].say("item", { item: 1, state: "uploading" }, "6");
  sources[0].say("transfers", { transfers: [{ path: "/a", size: 9, sent: 1 }] });
  for (let turn = 0; turn < 5; turn += 1) await pass();
  assert.equal(asked(), 0);
  assert.deepEqual(waits(), []);
  assert.deepEqual(told.filter(({ kind }) => kind === "status"), [{ kind: "status", status: STATUS }]);
});

test("a pause is shown at once, before the whole status follows", async () => {
  const { sources, told, stream } = world();
  sources[0].say("status", { daemon: "paused", server: "ok", breaker: "closed", push: "sse" });
  assert.deepEqual(told, [], "nothing is known that could be shown");
  sources[0].say("now", STATUS);
  sources[0].say("status", { daemon: "paused", server: "unreachable", breaker: "open", push: "polling" });
  const { status } = told.at(-1);
  assert.deepEqual(status.daemon, { state: "paused", pid: 7 });
  assert.deepEqual(status.server, { state: "unreachable", breaker: "open", push: "polling" });
  assert.equal(stream.present.find(({ kind }) => kind === "status").status, status);
});

test("what is measured is told while it is wanted, over the same line", async () => {
  const { sources, told, stream, pass } = world();
  sources[0].say("start", {}, "41");
  stream.measure(true);
  stream.measure(true);
  assert.deepEqual(sources.map(({ isClosed }) => isClosed), [true, false]);
  assert.equal(sources[1].url, "/v1/events?now=true&numbers=true&since=41");
  sources[0].fail();
  await pass();
  assert.equal(sources.length, 2, "the end of the old line is no news");
  told.length = 0;
  sources[1].say("start", {}, "41");
  await pass();
  assert.deepEqual(told, [{ kind: "online" }], "nothing was missed that would have to be read again");
  sources[1].say("numbers", { calls: [] });
  assert.deepEqual(told.at(-1), { kind: "numbers", numbers: { calls: [] } });
  sources[1].fail();
  stream.measure(false);
  await pass();
  await pass();
  assert.equal(sources[2].url, "/v1/events?now=true&since=41");
});

test("a line that breaks is said, and taken up where it broke", async () => {
  let isUp = true;
  const down = Object.assign(new Error("down"), { status: 0 });
  const { sources, pass, kinds, stream } = world({ status: async () => (isUp ? STATUS : Promise.reject(down)) });
  sources[0].say("start", {}, "41");
  sources[0].say("item", { item: 1, state: "ready" }, "42");
  await pass();
  await pass();
  kinds();
  isUp = false;
  sources[0].fail();
  await pass();
  assert.ok(sources[0].isClosed);
  assert.ok(kinds().includes("offline"));
  assert.equal(stream.present[0].kind, "offline");
  await pass();
  assert.equal(sources.at(-1).url, "/v1/events?now=true&since=42");
  isUp = true;
  sources.at(-1).say("start", {}, "42");
  assert.ok(kinds().includes("online"));
});

test("who is signed out is told the way in", async () => {
  const out = Object.assign(new Error("who?"), { status: 401 });
  const { sources, pass, told } = world({ status: async () => Promise.reject(out) });
  sources[0].fail();
  await pass();
  assert.match(told.find(({ kind }) => kind === "offline").sentence, /sploot ui/);
});

test("a flood of news becomes one: read again", async () => {
  const { sources, told, pass } = world();
  sources[0].say("start", {}, "1");
  await pass();
  told.length = 0;
  for (let item = 0; item < 2000; item += 1) sources[0].say("item", { item, state: "ready" });
  await pass();
  assert.deepEqual(told.find(({ kind }) => kind === "items"), { kind: "items", news: null });
});
