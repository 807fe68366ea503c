/** A sliding window of measurements, one value a second, and their coordinates in a chart. */

export class Samples {
  /** @type {(number | null)[]} */
  values = [];

  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
  }

  /** @param {number | null} value null for a second without a measurement */
  add(value) {
    this.values.push(value);
    if (this.values.length > this.capacity) this.values.shift();
  }

  /** The top of the scale: the smallest of one, two or five times a power of ten that is not below any value. */
  get scale() {
    const maximum = Math.max(0, ...this.values.map((value) => value ?? 0));
    if (maximum === 0) return 1;
    const power = 10 ** Math.floor(Math.log10(maximum));
    return ([1, 2, 5, 10].find((step) => step * power >= maximum) ?? 10) * power;
  }

  /**
   * Return the points of the chart in pixels, the newest at the right edge; null interrupts the curve.
   * @param {number} width
   * @param {number} height
   * @returns {([number, number] | null)[]}
   */
  points(width, height) {
    const { scale, capacity, values } = this;
    const step = width / (capacity - 1);
    const left = width - (values.length - 1) * step;
    return values.map((value, index) => (value === null ? null : [left + index * step, height * (1 - value / scale)]));
  }
}
