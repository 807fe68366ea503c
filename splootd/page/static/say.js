/** One sentence at the foot of the page, for a while, which screen readers read out; perhaps with a way back. */

import { sentenceOf } from "./client.js";
import { button, byId, element } from "./element.js";

const SAY_MS = 6000;

let said = 0;

/**
 * @param {string} sentence
 * @param {{undo?: () => void, ms?: number}} [options] `undo` is offered for as long as the sentence stands
 */
export function say(sentence, { undo, ms = SAY_MS } = {}) {
  const line = byId("said");
  const number = (said += 1);
  const end = () => number === said && line.replaceChildren();
  const back = undo
    ? button("Undo", () => {
        end();
        undo();
      })
    : null;
  line.replaceChildren(element("p", {}, sentence), ...(back ? [back] : []));
  setTimeout(end, ms);
}

/** What was said is over. */
export function hush() {
  byId("said").replaceChildren();
}

/**
 * Do what was asked for, and say why when it cannot be done. Null where it could not.
 * @template T
 * @param {Promise<T>} work
 * @returns {Promise<T | null>}
 */
export async function tried(work) {
  try {
    return await work;
  } catch (error) {
    say(sentenceOf(error));
    return null;
  }
}
