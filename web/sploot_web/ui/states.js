/**
 * The states of an item and their labels.
 *
 * @typedef {"pending" | "uploading" | "embedding" | "ready" | "failed" | "missing" | "skipped"} State
 */

/** @type {Record<State, string>} */
const STATE_LABELS = {
  pending: "Waiting",
  uploading: "Uploading",
  embedding: "Processing",
  ready: "Ready",
  failed: "Failed",
  missing: "Missing",
  skipped: "Skipped",
};

export const STATES = /** @type {State[]} */ (Object.keys(STATE_LABELS));

/**
 * Return the label of an item's state.
 * @param {State} state
 */
export function stateLabel(state) {
  return STATE_LABELS[state] ?? state;
}
