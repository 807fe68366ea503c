import assert from "node:assert/strict";
import { test } from "node:test";

import { Stream } from "../../web/sploot_web/daemon/stream.js";

const STATUS = {
  daemon: { state: "running", pid: 7 },
  server: { state: "ok", breaker: "closed", push: "sse" },
  items: { total: 3 },
};

/** A started stream without network and time: `pass` runs all timers that are due. */
function started({ status = async () => STATUS } = {}) {
  const sources = [];
  const emitted = [];
  let timers = [];
  let statusRequests = 0;
  const openSource = (url) => {
    const listeners = {};
    const source = {
      url,
      isClosed: false,
      addEventListener: (name, listener) => (listeners[name] = listener),
      close: () => (source.isClosed = true),
      send: (name, data, id = "") => listeners[name]({ data: JSON.stringify(data), lastEventId: id }),
      fail: () => listeners.error({}),
    };
    sources.push(source);
    return source;
  };
  const stream = new Stream({
    openSource,
    getStatus: () => {
      statusRequests += 1;
      return status();
    },
    emit: (event) => emitted.push(event),
    setTimer: (work, ms) => timers.push({ work, ms }),
  });
  stream.start();
  const pass = async () => {
    const due = timers;
    timers = [];
    due.forEach(({ work }) => work());
    for (let turn = 0; turn < 20; turn += 1) await null;
  };
  const kinds = () => emitted.splice(0).map(({ kind }) => kind);
  return {
    stream, sources, emitted, pass, kinds,
    statusRequests: () => statusRequests, timers: () => timers.map(({ ms }) => ms),
  };
}

test("item events are delivered in batches", async () => {
  const { sources, emitted, pass } = started();
  sources[0].send("start", {}, "5");
  await pass();
  emitted.length = 0;
  for (let item = 0; item < 50; item += 1) sources[0].send("item", { item, state: "ready" }, String(6 + item));
  await pass();
  const batches = emitted.filter(({ kind }) => kind === "items");
  assert.equal(batches.length, 1);
  assert.equal(batches[0].events.length, 50);
});

test("nothing is polled: the daemon pushes the status", async () => {
  const { sources, emitted, pass, statusRequests, timers } = started();
  assert.equal(sources[0].url, "/v1/events?status=true");
  sources[0].send("start", {}, "5");
  sources[0].send("status", STATUS);
  sources[0].send("item", { item: 1, state: "uploading" }, "6");
  sources[0].send("transfers", { transfers: [{ path: "/a", size: 9, sent: 1 }] });
  for (let turn = 0; turn < 5; turn += 1) await pass();
  assert.equal(statusRequests(), 0);
  assert.deepEqual(timers(), []);
  assert.deepEqual(emitted.filter(({ kind }) => kind === "status"), [{ kind: "status", status: STATUS }]);
});

test("a new status replaces the previous one, also for tabs that open later", async () => {
  const { sources, emitted, stream } = started();
  sources[0].send("status", STATUS);
  const server = { state: "unreachable", breaker: "open", push: "polling" };
  const paused = { ...STATUS, daemon: { state: "paused", pid: 7 }, server };
  sources[0].send("status", paused);
  const { status } = emitted.at(-1);
  assert.deepEqual(status, paused);
  assert.equal(stream.snapshot.find(({ kind }) => kind === "status").status, status);
});

test("metrics are received while they are enabled, over the same stream", async () => {
  const { sources, emitted, stream, pass } = started();
  sources[0].send("start", {}, "41");
  stream.setMetricsEnabled(true);
  stream.setMetricsEnabled(true);
  assert.deepEqual(sources.map(({ isClosed }) => isClosed), [true, false]);
  assert.equal(sources[1].url, "/v1/events?status=true&metrics=true&since=41");
  sources[0].fail();
  await pass();
  assert.equal(sources.length, 2, "an error of the replaced source is ignored");
  emitted.length = 0;
  sources[1].send("start", {}, "41");
  await pass();
  assert.deepEqual(emitted, [{ kind: "online" }], "no event was missed, so no list is reloaded");
  sources[1].send("metrics", { calls: [] });
  assert.deepEqual(emitted.at(-1), { kind: "metrics", metrics: { calls: [] } });
  sources[1].fail();
  stream.setMetricsEnabled(false);
  await pass();
  await pass();
  assert.equal(sources[2].url, "/v1/events?status=true&since=41");
});

test("a lost connection is reported and resumed after the last event", async () => {
  let isUp = true;
  const down = Object.assign(new Error("down"), { status: 0 });
  const { sources, pass, kinds, stream } = started({ status: async () => (isUp ? STATUS : Promise.reject(down)) });
  sources[0].send("start", {}, "41");
  sources[0].send("item", { item: 1, state: "ready" }, "42");
  await pass();
  await pass();
  kinds();
  isUp = false;
  sources[0].fail();
  await pass();
  assert.ok(sources[0].isClosed);
  assert.ok(kinds().includes("offline"));
  assert.equal(stream.snapshot[0].kind, "offline");
  await pass();
  assert.equal(sources.at(-1).url, "/v1/events?status=true&since=42");
  isUp = true;
  sources.at(-1).send("start", {}, "42");
  assert.ok(kinds().includes("online"));
});

test("a browser that is signed out gets the command to sign in", async () => {
  const unauthorized = Object.assign(new Error("unauthorized"), { status: 401 });
  const { sources, pass, emitted } = started({ status: async () => Promise.reject(unauthorized) });
  sources[0].fail();
  await pass();
  assert.match(emitted.find(({ kind }) => kind === "offline").message, /sploot ui/);
});

test("too many item events become one: reload", async () => {
  const { sources, emitted, pass } = started();
  sources[0].send("start", {}, "1");
  await pass();
  emitted.length = 0;
  for (let item = 0; item < 2000; item += 1) sources[0].send("item", { item, state: "ready" });
  await pass();
  assert.deepEqual(emitted.find(({ kind }) => kind === "items"), { kind: "items", events: null });
});
