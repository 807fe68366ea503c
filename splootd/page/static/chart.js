/** A small line chart, drawn by hand. */

import { element, write } from "./element.js";
import { Samples } from "./samples.js";

const SECONDS = 120;

export class Chart {
  #canvas = element("canvas", { "aria-hidden": "true" });
  #value = element("output", {});
  #samples = new Samples(SECONDS);

  /**
   * @param {string} title
   * @param {(value: number) => string} says
   */
  constructor(title, says) {
    this.says = says;
    const head = element("figcaption", {}, element("span", {}, title), this.#value);
    this.figure = element("figure", { class: "chart" }, head, this.#canvas);
  }

  /** @param {number | null} value of this second */
  add(value) {
    this.#samples.add(value);
    write(this.#value, value === null ? "–" : this.says(value));
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    if (!context || !width) return;
    const ratio = devicePixelRatio;
    this.#canvas.width = width * ratio;
    this.#canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.#canvas);
    context.strokeStyle = style.color;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.beginPath();
    let isDown = false;
    for (const point of this.#samples.points(width, height - 4)) {
      if (point === null) isDown = false;
      else {
        const [x, y] = point;
        if (isDown) context.lineTo(x, y + 2);
        else context.moveTo(x, y + 2);
        isDown = true;
      }
    }
    context.stroke();
    context.font = style.font;
    context.fillStyle = style.getPropertyValue("--dim");
    context.fillText(this.says(this.#samples.scale), 2, 11);
  }
}
