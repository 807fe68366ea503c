/** What was measured in the last minutes, a value a second. */

export class Samples {
  /** @type {(number | null)[]} */
  values = [];

  /** @param {number} most */
  constructor(most) {
    this.most = most;
  }

  /** @param {number | null} value null where nothing was measured */
  add(value) {
    this.values.push(value);
    if (this.values.length > this.most) this.values.shift();
  }

  /** The top of a scale on which all of them can be drawn: one, two or five times a power of ten. */
  get scale() {
    const most = Math.max(0, ...this.values.map((value) => value ?? 0));
    if (most === 0) return 1;
    const power = 10 ** Math.floor(Math.log10(most));
    return ([1, 2, 5, 10].find((step) => step * power >= most) ?? 10) * power;
  }

  /**
   * Points in an area of so many pixels, the newest at its right edge; null parts two lines.
   * @param {number} width
   * @param {number} height
   * @returns {([number, number] | null)[]}
   */
  points(width, height) {
    const { scale, most, values } = this;
    const step = width / (most - 1);
    const left = width - (values.length - 1) * step;
    return values.map((value, at) => (value === null ? null : [left + at * step, height * (1 - value / scale)]));
  }
}
