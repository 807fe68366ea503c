/** Measures how fast each transfer is, from the progress that the daemon reports. */

const WINDOW_MS = 3000;
const SAMPLES_MAX = 16;

/** @typedef {{path: string, size: number, sent: number}} Progress of one transfer as the daemon reports it, in bytes */
/** @typedef {Progress & {bytesPerS: number | null}} Transfer the rate is null until there are two samples */

export class TransferRates {
  /** @type {Map<string, {at: number, sent: number}[]>} */
  #samples = new Map();

  /**
   * Record the progress of all current transfers and return them with their rates. Transfers that ended are dropped.
   * @param {readonly Progress[]} progress
   * @param {number} at in milliseconds
   * @returns {Transfer[]}
   */
  update(progress, at) {
    const previous = this.#samples;
    this.#samples = new Map();
    return progress.map((each) => {
      let samples = previous.get(each.path) ?? [];
      if (samples.some((sample) => sample.sent > each.sent)) samples = []; // the upload started again
      samples = [...samples.filter((sample) => at - sample.at <= WINDOW_MS), { at, sent: each.sent }];
      this.#samples.set(each.path, samples.slice(-SAMPLES_MAX));
      const [first] = samples;
      const isKnown = first !== undefined && first.at < at;
      return { ...each, bytesPerS: isKnown ? ((each.sent - first.sent) / (at - first.at)) * 1000 : null };
    });
  }
}

/**
 * Return the seconds until a transfer ends, null if its rate is unknown.
 * @param {Transfer} transfer
 */
export function remainingS({ size, sent, bytesPerS }) {
  return bytesPerS ? (size - sent) / bytesPerS : null;
}
