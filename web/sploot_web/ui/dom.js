/** Helpers that create and update DOM elements. */

/**
 * Create an element with attributes and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null>} [attributes] true sets an attribute without a value
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(created, name, value);
  created.append(...children.filter((child) => child !== null));
  return created;
}

/**
 * Set an attribute; null and false remove it. An unchanged value is not written, because every write costs a style
 * recalculation and the lists call this for every row of every frame.
 * @param {Element} target
 * @param {string} name
 * @param {string | number | boolean | null} value
 */
export function setAttribute(target, name, value) {
  if (value === null || value === false) target.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (target.getAttribute(name) !== text) target.setAttribute(name, text);
  }
}

/**
 * Set the text of an element, unless it is the same: a live region would be read out again.
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Create a button.
 * @param {string} label
 * @param {() => void} onClick
 * @param {Record<string, string | number | boolean | null>} [attributes]
 */
export function button(label, onClick, attributes = {}) {
  const created = element("button", { type: "button", ...attributes }, label);
  created.addEventListener("click", onClick);
  return created;
}

/**
 * Split a sentence into text and `code` elements: commands are marked with backticks.
 * @param {string} sentence
 * @returns {(string | HTMLElement)[]}
 */
export function withCode(sentence) {
  return sentence.split(/`([^`]+)`/).map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/**
 * Return the element with this id. Throws if the document has none.
 * @param {string} id
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the document has no #${id}`);
  return found;
}

/**
 * Replace the children of `parent` unless they are equal: replacing a focused button would lose the focus.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
export function replaceIfChanged(parent, children) {
  const current = parent.children;
  const isSame = children.length === current.length
    && children.every((each, index) => each.isEqualNode(current[index] ?? null));
  if (!isSame) parent.replaceChildren(...children);
}
