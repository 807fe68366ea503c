/** How far the uploads are: a bar by state, the rate, the time left and the bottleneck. Hidden while nothing waits. */

import { get } from "../ui/client.js";
import { byId, element, setAttribute, setText } from "../ui/dom.js";
import { capitalize, formatCount, formatDuration, formatSize } from "../ui/format.js";
import { STATES } from "../ui/states.js";
import { withErrorToast } from "../ui/toast.js";

/** @typedef {import("./protocol.js").Status} Status */

export class Progress {
  #bars = new Map(STATES.map((state) => [state, element("i", { "data-state": state })]));

  /** @param {import("./event_hub.js").EventHub} hub */
  constructor(hub) {
    byId("counts-bar").append(...this.#bars.values());
    byId("find-bottleneck").addEventListener("click", () => void this.#findBottleneck());
    hub.subscribe((event) => event.kind === "status" && this.#show(event.status));
  }

  /** @param {Status} status */
  #show(status) {
    const { items } = status;
    const isHidden = items.pending + items.uploading + items.embedding === 0;
    if (isHidden) setText(byId("bottleneck-message"), "");
    byId("progress").hidden = isHidden;
    for (const [state, bar] of this.#bars) {
      bar.style.flexGrow = String(items[state]);
      setAttribute(bar, "data-none", items[state] === 0);
    }
    const delayed = status.delayed ? `${formatCount(status.delayed, "file waits", "files wait")} for a retry` : "";
    setText(byId("rates"), [describeProgress(status), delayed].filter(Boolean).join(" · "));
  }

  async #findBottleneck() {
    /** @type {import("./protocol.js").Bottleneck | null} */
    const reply = await withErrorToast(get("/v1/slow"));
    if (!reply) return;
    const suggestion = reply.suggestion ? `What helps: ${reply.suggestion}` : "";
    setText(byId("bottleneck-message"), `${capitalize(reply.cause)}. ${suggestion}`);
  }
}

/**
 * Describe the upload rate and the time left, or why no upload is in progress.
 * @param {Status} status
 */
function describeProgress({ items, rates, daemon }) {
  const waiting = items.pending + items.uploading;
  if (daemon.state !== "running" && waiting) return `Paused: ${formatCount(waiting, "file waits", "files wait")}.`;
  if (waiting) {
    const left = rates.eta_s === null ? "estimating time left" : `about ${formatDuration(rates.eta_s)} left`;
    return `${formatSize(rates.bytes_per_s)}/s · ${rates.items_per_s.toFixed(1)} files/s · ${left}`;
  }
  const processing = formatCount(items.embedding, "file is", "files are");
  return `All files are uploaded; ${processing} being processed for search.`;
}
