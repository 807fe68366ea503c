/** The metrics panel: charts and API calls. It receives metrics once a second, and only while it is open. */

import { Chart } from "./chart.js";
import { button, byId, element, setAttribute } from "../ui/dom.js";
import { formatLatency, formatNumber, formatSize } from "../ui/format.js";

/** @typedef {import("./protocol.js").Metrics} Metrics */

export class MetricsPanel {
  #panel = byId("metrics-panel");
  #charts = {
    bytes: new Chart("Throughput", (value) => `${formatSize(value)}/s`),
    files: new Chart("Files", formatRate),
    calls: new Chart("API calls", formatRate),
    latency: new Chart("API p95", formatLatency),
    memory: new Chart("Memory", (value) => formatSize(value)),
    errors: new Chart("Errors", formatRate),
  };
  #calls = element("tbody");
  #errors = element("ul", { class: "errors" });
  /** @type {{calls: number, errors: number, at: number} | null} the totals of the previous second */
  #previous = null;

  /** @type {HTMLElement | null} the element to focus when the panel closes */
  #returnFocus = null;

  /** @param {import("./event_hub.js").EventHub} hub */
  constructor(hub) {
    this.hub = hub;
    const names = ["Call", "Count", "Errors", "p50", "p95", "p99"].map((name) => element("th", { scope: "col" }, name));
    const head = element("div", { class: "head" }, element("h2", { id: "metrics-title" }, "Metrics"),
      button("Close", () => this.toggle(), { "aria-keyshortcuts": "Control+Shift+M" }));
    this.#panel.append(
      head,
      element("div", { class: "charts" }, ...Object.values(this.#charts).map(({ figure }) => figure)),
      element("div", { class: "calls", tabindex: 0, role: "region", "aria-label": "API calls to the server" },
        element("table", {}, element("thead", {}, element("tr", {}, ...names)), this.#calls)),
      this.#errors,
    );
    byId("metrics").addEventListener("click", () => this.toggle());
    hub.subscribe((event) => {
      if (this.#panel.hidden) return;
      if (event.kind === "metrics") this.#show(event.metrics);
      else if (event.kind === "offline") this.#interrupt(); // the header shows why
    });
  }

  toggle() {
    const isOpen = (this.#panel.hidden = !this.#panel.hidden) === false;
    setAttribute(byId("metrics"), "aria-expanded", String(isOpen));
    this.#previous = null;
    this.hub.setMetricsEnabled(isOpen);
    if (!isOpen) return this.#returnFocus?.focus();
    this.#returnFocus = /** @type {HTMLElement | null} */ (document.activeElement);
    this.#panel.focus();
  }

  #interrupt() {
    this.#previous = null;
    Object.values(this.#charts).forEach((chart) => chart.add(null));
  }

  /** @param {Metrics} metrics */
  #show(metrics) {
    const at = performance.now();
    const calls = metrics.calls.reduce((sum, each) => sum + each.count, 0);
    const errors = Object.values(metrics.errors).reduce((sum, each) => sum + each, 0);
    const previous = this.#previous;
    // Totals start at 0 again when the daemon restarts: a smaller one is no rate.
    const rate = (/** @type {number} */ now, /** @type {number | undefined} */ then) =>
      previous && then !== undefined && now >= then ? ((now - then) * 1000) / (at - previous.at) : null;
    this.#charts.bytes.add(metrics.rates.bytes_per_s);
    this.#charts.files.add(metrics.rates.items_per_s);
    this.#charts.calls.add(rate(calls, previous?.calls));
    this.#charts.latency.add(Math.max(0, ...metrics.calls.map(({ p95_s }) => p95_s)));
    this.#charts.memory.add(metrics.memory.now_bytes);
    this.#charts.errors.add(rate(errors, previous?.errors));
    this.#previous = { calls, errors, at };
    const rows = metrics.calls.filter((each) => each.count).map((each) => {
      const quantiles = [each.p50_s, each.p95_s, each.p99_s].map(formatLatency);
      const values = [formatNumber(each.count), formatNumber(each.errors), ...quantiles];
      return element("tr", {}, element("th", { scope: "row" }, each.endpoint.replaceAll("_", " ")),
        ...values.map((value) => element("td", {}, value)));
    });
    const none = element("tr", {}, element("td", { colspan: 6, class: "none" }, "No calls since the daemon started."));
    this.#calls.replaceChildren(...(rows.length ? rows : [none]));
    const counts = Object.entries(metrics.errors).filter(([, count]) => count);
    this.#errors.replaceChildren(...(counts.length
      ? counts.map(([code, count]) => element("li", {}, `${formatNumber(count)} ${code.replaceAll("_", " ")}`))
      : [element("li", { class: "dim" }, "No errors since the daemon started.")]));
  }
}

/** @param {number} value */
function formatRate(value) {
  return `${value.toFixed(value < 9.95 && value ? 1 : 0)}/s`;
}
