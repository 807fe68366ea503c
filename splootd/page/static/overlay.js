/** The metrics, over the page: told once a second while they are open, and never otherwise. */

import { Chart } from "./chart.js";
import { button, byId, element } from "./element.js";
import { latency, number, size } from "./words.js";

/** @typedef {import("./protocol.js").Numbers} Numbers */

export class Overlay {
  #panel = byId("overlay");
  #charts = {
    bytes: new Chart("Throughput", (value) => `${size(value)}/s`),
    files: new Chart("Files", rate),
    calls: new Chart("API calls", rate),
    slowest: new Chart("API p95", latency),
    memory: new Chart("Memory", (value) => size(value)),
    errors: new Chart("Errors", rate),
  };
  #calls = element("tbody");
  #errors = element("ul", { class: "errors" });
  /** @type {{calls: number, errors: number, at: number} | null} the sums a second ago */
  #before = null;

  /** @type {HTMLElement | null} what had the focus, and gets it back */
  #cameFrom = null;

  /** @param {import("./news.js").News} news */
  constructor(news) {
    this.news = news;
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
    news.listen((told) => {
      if (this.#panel.hidden) return;
      if (told.kind === "numbers") this.#show(told.numbers);
      else if (told.kind === "offline") this.#interrupt(); // the head of the page says why
    });
  }

  toggle() {
    const isOpen = (this.#panel.hidden = !this.#panel.hidden) === false;
    this.#before = null;
    this.news.measure(isOpen);
    if (!isOpen) return this.#cameFrom?.focus();
    this.#cameFrom = /** @type {HTMLElement | null} */ (document.activeElement);
    this.#panel.focus();
  }

  #interrupt() {
    this.#before = null;
    Object.values(this.#charts).forEach((chart) => chart.add(null));
  }

  /** @param {Numbers} report */
  #show(report) {
    const at = performance.now();
    const calls = report.calls.reduce((sum, each) => sum + each.count, 0);
    const errors = Object.values(report.errors).reduce((sum, each) => sum + each, 0);
    const before = this.#before;
    const per = (/** @type {number} */ now, /** @type {number | undefined} */ then) =>
      before && then !== undefined && now >= then ? ((now - then) * 1000) / (at - before.at) : null;
    this.#charts.bytes.add(report.rates.bytes_per_s);
    this.#charts.files.add(report.rates.items_per_s);
    this.#charts.calls.add(per(calls, before?.calls));
    this.#charts.slowest.add(Math.max(0, ...report.calls.map(({ p95_s }) => p95_s)));
    this.#charts.memory.add(report.memory.now_bytes);
    this.#charts.errors.add(per(errors, before?.errors));
    this.#before = { calls, errors, at };
    const rows = report.calls.filter((each) => each.count).map((each) =>
      element("tr", {}, element("th", { scope: "row" }, each.call.replaceAll("_", " ")),
        ...[number(each.count), number(each.errors), latency(each.p50_s), latency(each.p95_s), latency(each.p99_s)]
          .map((value) => element("td", {}, value))));
    const none = element("tr", {}, element("td", { colspan: 6, class: "none" }, "no calls since the start"));
    this.#calls.replaceChildren(...(rows.length ? rows : [none]));
    const faults = Object.entries(report.errors).filter(([, times]) => times);
    this.#errors.replaceChildren(...(faults.length
      ? faults.map(([fault, times]) => element("li", {}, `${number(times)} ${fault.replaceAll("_", " ")}`))
      : [element("li", { class: "dim" }, "no errors since the start")]));
  }
}

/** @param {number} value */
function rate(value) {
  return `${value.toFixed(value < 9.95 && value ? 1 : 0)}/s`;
}
