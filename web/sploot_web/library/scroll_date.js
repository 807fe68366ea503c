/** The month of the pictures in view, shown beside the scroll bar while the wall scrolls. */

import { element, setText } from "../ui/dom.js";

const SHOWN_MS = 900;
const MONTH = new Intl.DateTimeFormat("en", { month: "long", year: "numeric" });

export class ScrollDate {
  #element = element("p", { class: "scroll-date", "aria-hidden": "true", hidden: true });
  #timer = 0;

  /**
   * @param {HTMLElement} view the wall that scrolls
   * @param {() => string | null} dateInView ISO 8601; null if the list is not in order of time
   */
  constructor(view, dateInView) {
    view.after(this.#element);
    view.addEventListener("scroll", () => {
      const date = dateInView();
      this.#element.hidden = date === null;
      if (date === null) return;
      setText(this.#element, MONTH.format(new Date(date)));
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => (this.#element.hidden = true), SHOWN_MS);
    }, { passive: true });
  }
}
