/** The metrics, over the page: looked at once a second while they are open, and never otherwise. */

import { Chart } from "./chart.js";
import { get } from "./client.js";
import { button, byId, element } from "./element.js";
import { latency, number, size } from "./words.js";

const TICK_MS = 1000;

/** @typedef {import("./protocol.js").Report} Report */
/** @typedef {import("./protocol.js").Status} Status */

export class Overlay {
  #panel = byId("overlay");
  #charts = {
    bytes: new Chart("Throughput", (value) => `${size(value)}/s`),
    files: new Chart("Files", (value) => `${value.toFixed(1)}/s`),
    calls: new Chart("API calls", (value) => `${value.toFixed(value < 10 ? 1 : 0)}/s`),
    slowest: new Chart("Slowest p95", latency),
    memory: new Chart("Memory", (value) => size(value)),
    errors: new Chart("Errors", (value) => `${number(value)}/s`),
  };
  #calls = element("tbody");
  #errors = element("ul", { class: "errors" });
  /** @type {{calls: number, errors: number, at: number} | null} the sums a second ago */
  #before = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;

  constructor() {
    const names = ["Call", "Count", "Errors", "p50", "p95", "p99"].map((name) => element("th", { scope: "col" }, name));
    const head = element("div", { class: "head" }, element("h2", { id: "overlay-title" }, "Metrics"),
      button("Close", () => this.toggle(), { "aria-keyshortcuts": "Control+Shift+M" }));
    this.#panel.append(
      head,
      element("div", { class: "charts" }, ...Object.values(this.#charts).map(({ figure }) => figure)),
      element("div", { class: "calls", tabindex: 0, role: "region", "aria-label": "Calls to the library" },
        element("table", {}, element("thead", {}, element("tr", {}, ...names)), this.#calls)),
      this.#errors,
    );
    byId("metrics").addEventListener("click", () => this.toggle());
  }

  toggle() {
    const isOpen = (this.#panel.hidden = !this.#panel.hidden) === false;
    clearInterval(this.#ticking);
    this.#before = null;
    if (!isOpen) return byId("metrics").focus();
    this.#panel.focus();
    void this.#tick();
    this.#ticking = setInterval(() => void this.#tick(), TICK_MS);
  }

  async #tick() {
    try {
      const [report, status] = await Promise.all([get("/v1/report"), get("/v1/status")]);
      this.#show(report, status);
    } catch {
      this.#before = null; // the head of the page says why
      Object.values(this.#charts).forEach((chart) => chart.add(null));
    }
  }

  /**
   * @param {Report} report
   * @param {Status} status
   */
  #show(report, status) {
    const at = performance.now();
    const calls = report.calls.reduce((sum, each) => sum + each.count, 0);
    const errors = Object.values(report.errors).reduce((sum, each) => sum + each, 0);
    const before = this.#before;
    const per = (/** @type {number} */ now, /** @type {number | undefined} */ then) =>
      before && then !== undefined && now >= then ? ((now - then) * 1000) / (at - before.at) : null;
    this.#charts.bytes.add(status.rates.bytes_per_s);
    this.#charts.files.add(status.rates.items_per_s);
    this.#charts.calls.add(per(calls, before?.calls));
    this.#charts.slowest.add(Math.max(0, ...report.calls.map(({ p95_s }) => p95_s)));
    this.#charts.memory.add(report.memory.now_bytes);
    this.#charts.errors.add(per(errors, before?.errors));
    this.#before = { calls, errors, at };
    this.#calls.replaceChildren(...report.calls.filter((each) => each.count).map((each) =>
      element("tr", {}, element("th", { scope: "row" }, each.call),
        ...[number(each.count), number(each.errors), latency(each.p50_s), latency(each.p95_s), latency(each.p99_s)]
          .map((value) => element("td", {}, value)))));
    const faults = Object.entries(report.errors).filter(([, times]) => times);
    this.#errors.replaceChildren(...(faults.length
      ? faults.map(([fault, times]) => element("li", {}, `${number(times)} ${fault.replaceAll("_", " ")}`))
      : [element("li", { class: "dim" }, "no errors since the start")]));
  }
}
