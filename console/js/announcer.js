// Says what changed: politely to assistive technology, and as a short note on screen where
// something can be undone or went wrong.

import { el, replace } from "./dom.js";

const NOTE_MS = 6000;
let timer = 0;

/** Announces without showing. Each line is added to a log, so two in a row are both read. */
export function announce(text) {
  const line = el("p", { text });
  document.getElementById("announcer").append(line);
  setTimeout(() => line.remove(), NOTE_MS);
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
