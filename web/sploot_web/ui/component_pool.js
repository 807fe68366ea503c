/** Recycles the DOM elements of a virtual list, so that scrolling creates none. */

export class ComponentPool {
  /** @type {Map<number, HTMLElement>} elements in use by index */
  #used = new Map();
  /** @type {HTMLElement[]} */
  #spare = [];

  /**
   * @param {HTMLElement} canvas
   * @param {() => HTMLElement} create
   */
  constructor(canvas, create) {
    this.canvas = canvas;
    this.create = create;
  }

  /**
   * Release the elements of all indices that are no longer visible.
   * @param {{has: (index: number) => boolean}} visible
   */
  releaseExcept(visible) {
    for (const [index, used] of this.#used) {
      if (visible.has(index)) continue;
      this.#used.delete(index);
      this.#spare.push(used);
    }
  }

  /**
   * Return the element of an index: the one in use, else a released one, else a new one.
   * @param {number} index
   */
  acquire(index) {
    const used = this.#used.get(index);
    if (used) return used;
    const acquired = this.#spare.pop() ?? this.create();
    if (!acquired.isConnected) this.canvas.append(acquired);
    this.#used.set(index, acquired);
    return acquired;
  }

  /** Take the unused elements out of the document, but keep them for the next frame. */
  detachSpare() {
    this.#spare.forEach((spare) => spare.remove());
  }
}
