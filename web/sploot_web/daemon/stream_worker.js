/** SharedWorker that holds the event stream for all tabs. */

import { get } from "../ui/client.js";
import { Stream } from "./stream.js";

/** @type {Set<MessagePort>} */
const tabs = new Set();
/** @type {Set<MessagePort>} tabs that display metrics */
const metricsTabs = new Set();

/** @type {Stream | null} */
let sharedStream = null;

function startStream() {
  const stream = new Stream({
    openSource: (url) => new EventSource(url),
    getStatus: () => get("/v1/status"),
    emit: (event) => (event.kind === "metrics" ? metricsTabs : tabs).forEach((tab) => tab.postMessage(event)),
    setTimer: (work, ms) => void setTimeout(work, ms),
  });
  stream.start();
  return stream;
}

/** @type {Record<import("./event_hub.js").TabCommand, (tab: MessagePort) => void>} */
const COMMANDS = {
  enable_metrics: (tab) => metricsTabs.add(tab),
  disable_metrics: (tab) => metricsTabs.delete(tab),
  disconnect: (tab) => [tabs, metricsTabs].forEach((ports) => ports.delete(tab)),
};

addEventListener("connect", (event) => {
  const [tab] = /** @type {MessageEvent} */ (event).ports;
  if (!tab) return;
  tabs.add(tab);
  const stream = (sharedStream ??= startStream());
  tab.onmessage = ({ data }) => {
    COMMANDS[/** @type {import("./event_hub.js").TabCommand} */ (data)](tab);
    stream.setMetricsEnabled(metricsTabs.size > 0);
  };
  stream.snapshot.forEach((each) => tab.postMessage(each));
});
