/** A small line chart of the last two minutes, drawn on a canvas. */

import { element, setText } from "../ui/dom.js";
import { Samples } from "./samples.js";

const SECONDS = 120;

export class Chart {
  #canvas = element("canvas", { "aria-hidden": "true" });
  #value = element("output", {});
  #samples = new Samples(SECONDS);

  /**
   * @param {string} title
   * @param {(value: number) => string} format
   */
  constructor(title, format) {
    this.format = format;
    const caption = element("figcaption", {}, element("span", {}, title), this.#value);
    this.figure = element("figure", { class: "chart" }, caption, this.#canvas);
  }

  /** @param {number | null} value of this second */
  add(value) {
    this.#samples.add(value);
    setText(this.#value, value === null ? "–" : this.format(value));
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    if (!context || !width) return;
    const ratio = devicePixelRatio;
    this.#canvas.width = width * ratio; // setting the size also clears the canvas
    this.#canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.#canvas);
    context.strokeStyle = style.accentColor;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.beginPath();
    let isDrawing = false;
    for (const point of this.#samples.points(width, height - 4)) {
      if (point === null) isDrawing = false;
      else {
        const [x, y] = point;
        if (isDrawing) context.lineTo(x, y + 2);
        else context.moveTo(x, y + 2);
        isDrawing = true;
      }
    }
    context.stroke();
    context.font = style.font;
    context.fillStyle = style.color;
    context.fillText(this.format(this.#samples.scale), 2, 11);
  }
}
