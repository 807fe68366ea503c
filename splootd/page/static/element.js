/** How elements are made: attributes and children in one line. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null>} [attributes] true is an attribute without a value
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) put(made, name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * Set an attribute, or take it away; nothing where it is so already, so that nothing is drawn again.
 * @param {Element} on
 * @param {string} name
 * @param {string | number | boolean | null} value
 */
export function put(on, name, value) {
  if (value === null || value === false) on.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (on.getAttribute(name) !== text) on.setAttribute(name, text);
  }
}

/**
 * @param {Element} on
 * @param {string} text
 */
export function write(on, text) {
  if (on.textContent !== text) on.textContent = text;
}

/**
 * A button that says what it does.
 * @param {string} says
 * @param {() => void} does
 * @param {Record<string, string | number | boolean | null>} [attributes]
 */
export function button(says, does, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, says);
  made.addEventListener("click", does);
  return made;
}

/**
 * A sentence in which commands stand between backticks.
 * @param {string} sentence
 * @returns {(string | HTMLElement)[]}
 */
export function prose(sentence) {
  return sentence.split(/`([^`]+)`/).map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

/**
 * The element of the page with this id.
 * @param {string} id
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
