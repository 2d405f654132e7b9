// Keys that work anywhere. Single letters can be switched off (WCAG 2.1.4): people who dictate
// would otherwise set them off by speaking.

import { load, save } from "./storage.js";

const KEY = "segue.keys";

/** The keys and what they do, as the sheet lists them. */
export const KEYS = [
  ["Space", "Play or pause"],
  ["j / l", "Back / next"],
  ["s", "Save the card in focus, or what plays"],
  ["h", "Hide the card in focus, or what plays"],
  ["i", "Open or close the inspector"],
  ["1 / 2 / 3 / 4", "Home / Now Playing / Listeners / Experiments"],
  ["Arrows", "Between cards and between shelves"],
  ["r", "Ask again for the slate, or for the experiments"],
  ["/", "Find a listener"],
  ["t", "Light or dark"],
  ["?", "This sheet"],
  ["Escape", "Close the inspector or this sheet"],
];

/** Whether single-letter keys are on. */
export function areKeysOn() {
  return load(KEY) !== "off";
}

/** Switches single-letter keys. */
export function setKeys(isOn) {
  save(KEY, isOn ? null : "off");
}

/**
 * Listens for keys.
 * @param {Object<string, function(): void>} actions by key; `Escape` is never switched off
 */
export function listenForKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const action = actions[event.key];
    if (!action) return;
    if (event.key !== "Escape") {
      if (!areKeysOn() || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      // A button, link or row in focus answers to Space itself.
      if (event.key === " " && event.target.closest("button, a, summary, [role=tab], [role=slider]")) return;
    }
    if (action() !== false) event.preventDefault();
  });
}

function isTyping(target) {
  return target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}
