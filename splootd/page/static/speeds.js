/** How fast each transfer is, from how far it had come each time it was heard of. */

const WINDOW_MS = 3000;
const SAMPLES_MAX = 16;

/** @typedef {{path: string, size: number, sent: number}} Moving as the daemon's stream tells it, in bytes */
/** @typedef {Moving & {bytesPerS: number | null}} Transfer the speed is null until it can be told */

export class Speeds {
  /** @type {Map<string, {at: number, sent: number}[]>} */
  #seen = new Map();

  /**
   * What moves at the millisecond `at`; what does not any more is forgotten.
   * @param {readonly Moving[]} moving
   * @param {number} at
   * @returns {Transfer[]}
   */
  note(moving, at) {
    const before = this.#seen;
    this.#seen = new Map();
    return moving.map((each) => {
      let samples = before.get(each.path) ?? [];
      if (samples.some((sample) => sample.sent > each.sent)) samples = []; // another try
      samples = [...samples.filter((sample) => at - sample.at <= WINDOW_MS), { at, sent: each.sent }];
      this.#seen.set(each.path, samples.slice(-SAMPLES_MAX));
      const [first] = samples;
      const isKnown = first !== undefined && first.at < at;
      return { ...each, bytesPerS: isKnown ? ((each.sent - first.sent) / (at - first.at)) * 1000 : null };
    });
  }
}

/**
 * The seconds that a transfer still needs, null where that cannot be told.
 * @param {Transfer} transfer
 */
export function leftS({ size, sent, bytesPerS }) {
  return bytesPerS ? (size - sent) / bytesPerS : null;
}
