/** The line to the daemon, in a worker that all tabs share. */

import { get } from "./client.js";
import { Stream } from "./stream.js";

/** @type {Set<MessagePort>} */
const tabs = new Set();

/** @type {Stream | null} */
let stream = null;

function opened() {
  const opening = new Stream({
    open: (url) => new EventSource(url),
    status: () => get("/v1/status"),
    tell: (told) => tabs.forEach((tab) => tab.postMessage(told)),
    later: (work, ms) => void setTimeout(work, ms),
  });
  opening.start();
  return opening;
}

addEventListener("connect", (event) => {
  const [tab] = /** @type {MessageEvent} */ (event).ports;
  if (!tab) return;
  tabs.add(tab);
  tab.onmessage = () => tabs.delete(tab); // the only thing that a tab ever says is that it leaves
  stream ??= opened();
  stream.present.forEach((told) => tab.postMessage(told));
});
