/** What Ctrl+Z undoes: the changes of this page, the last one first. */

const UNDOS_MAX = 50;

export class UndoStack {
  /** @type {(() => unknown)[]} */
  #undos = [];

  /**
   * Remember how to undo a change. Returns a function that undoes it, once.
   * @param {() => unknown} undo
   */
  push(undo) {
    this.#undos.push(undo);
    if (this.#undos.length > UNDOS_MAX) this.#undos.shift();
    return () => this.#run(undo);
  }

  /** Undo the last change that was not undone. Returns false if there is none. */
  undoLast() {
    const undo = this.#undos.at(-1);
    if (undo) this.#run(undo);
    return undo !== undefined;
  }

  /** @param {() => unknown} undo */
  #run(undo) {
    const index = this.#undos.indexOf(undo);
    if (index < 0) return;
    this.#undos.splice(index, 1);
    undo();
  }
}
