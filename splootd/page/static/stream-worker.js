/** The line to the daemon, in a worker that all tabs share. */

import { get } from "./client.js";
import { Stream } from "./stream.js";

/** @type {Set<MessagePort>} */
const tabs = new Set();
/** @type {Set<MessagePort>} those that show what is measured */
const measuring = new Set();

/** @type {Stream | null} */
let stream = null;

function opened() {
  const opening = new Stream({
    open: (url) => new EventSource(url),
    status: () => get("/v1/status"),
    tell: (told) => (told.kind === "numbers" ? measuring : tabs).forEach((tab) => tab.postMessage(told)),
    later: (work, ms) => void setTimeout(work, ms),
  });
  opening.start();
  return opening;
}

/** @type {Record<import("./news.js").Wish, (tab: MessagePort) => void>} what a tab may say */
const WISHES = {
  measure: (tab) => measuring.add(tab),
  rest: (tab) => measuring.delete(tab),
  leave: (tab) => [tabs, measuring].forEach((all) => all.delete(tab)),
};

addEventListener("connect", (event) => {
  const [tab] = /** @type {MessageEvent} */ (event).ports;
  if (!tab) return;
  tabs.add(tab);
  const line = (stream ??= opened());
  tab.onmessage = ({ data }) => {
    WISHES[/** @type {import("./news.js").Wish} */ (data)](tab);
    line.measure(measuring.size > 0);
  };
  line.present.forEach((told) => tab.postMessage(told));
});
