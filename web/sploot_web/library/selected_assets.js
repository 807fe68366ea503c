/** The pictures that the user has selected, in the order of selection. */

/** @typedef {import("./asset.js").Asset} Asset */

export class SelectedAssets {
  /** @type {Map<string, Asset>} by id */
  #assets = new Map();
  /** Index in the list from which Shift selects a range. */
  anchor = 0;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  get size() {
    return this.#assets.size;
  }

  get assets() {
    return [...this.#assets.values()];
  }

  /** @param {Asset | null} asset */
  has(asset) {
    return asset !== null && this.#assets.has(asset.id);
  }

  /** @param {Asset} asset */
  toggle(asset) {
    if (!this.#assets.delete(asset.id)) this.#assets.set(asset.id, asset);
    this.onChange();
  }

  /** @param {Iterable<Asset>} assets the new selection */
  set(assets) {
    this.#assets = new Map([...assets].map((asset) => [asset.id, asset]));
    this.onChange();
  }

  /** @param {Iterable<Asset>} assets */
  add(assets) {
    this.set([...this.assets, ...assets]);
  }

  clear() {
    if (this.size) this.set([]);
  }

  /**
   * Drop what the library no longer has, and take over what has changed.
   * @param {(asset: Asset) => Asset | null} update
   */
  update(update) {
    if (this.size) this.set(this.assets.map(update).filter((asset) => asset !== null));
  }
}
