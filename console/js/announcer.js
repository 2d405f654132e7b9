// Says what changed: politely to assistive technology, and as a short note on screen where
// something can be undone or went wrong.

import { el, replace } from "./dom.js";

const NOTE_MS = 6000;
let timer = 0;

/** Announces without showing. Repeating the same words announces them again. */
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 30);
}

/**
 * Shows a note, and announces it.
 * @param {string} text
 * @param {{label: string, run: function}} [action] such as undo
 */
export function note(text, action) {
  announce(action ? `${text} ${action.label} is available.` : text);
  const region = document.getElementById("toasts");
  const close = () => replace(region);
  clearTimeout(timer);
  timer = setTimeout(close, NOTE_MS);
  replace(
    region,
    el(
      "div",
      { class: "toast" },
      el("span", { text }),
      action && el("button", { class: "text-button", type: "button", text: action.label, on: { click: () => { close(); action.run(); } } }),
    ),
  );
}
