// The sheet that lists the keys, and switches the single-letter ones off.

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { areKeysOn, KEYS, setKeys } from "./keyboard.js";

let sheet = null;

/** Opens the sheet; focus goes back where it was when it closes. */
export function openKeysSheet() {
  sheet ??= build();
  sheet.showModal();
}

function build() {
  const toggle = el("input", { type: "checkbox", id: "keys-on", on: { change: () => setKeys(toggle.checked) } });
  toggle.checked = areKeysOn();
  const dialog = el(
    "dialog",
    { class: "sheet", "aria-labelledby": "keys-title", on: { click: (event) => event.target === dialog && dialog.close() } },
    el("div", { class: "sheet-head" }, el("h2", { class: "shelf-title", id: "keys-title", text: "Keys" }), el("button", { class: "icon-button", type: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    el("dl", { class: "keys" }, KEYS.map(([key, what]) => el("div", {}, el("dt", {}, key.split(" / ").map((one) => el("kbd", { text: one }))), el("dd", { text: what })))),
    el("label", { class: "check", for: "keys-on" }, toggle, "Single-letter keys are on"),
    el("p", { class: "sheet-line", text: "Playback is silent: time passes, plays are reported, and the next slate follows." }),
  );
  document.body.append(dialog);
  return dialog;
}
