// The light and dark switch. Until somebody chooses, the system's preference decides.

import { load, save } from "./storage.js";

const KEY = "segue.theme";

/** `dark` or `light`. */
export function theme() {
  return document.documentElement.dataset.theme;
}

/** Changes to the other theme and remembers it. */
export function switchTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  save(KEY, next);
  paintFrames();
  return next;
}

/** Follows the system as long as nobody has chosen. */
export function followSystem(onChange) {
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", (event) => {
    if (load(KEY)) return;
    document.documentElement.dataset.theme = event.matches ? "light" : "dark";
    paintFrames();
    onChange();
  });
}

/** Address of a report in a frame: it runs no script, so its theme is told by the end of its address. */
export function framed(address) {
  return `${address}#${theme()}`;
}

/** A frame that goes elsewhere would be a step to go back through; a new one in its place is not. */
function paintFrames() {
  for (const frame of document.querySelectorAll("iframe.report")) {
    const next = frame.cloneNode();
    next.src = framed(frame.getAttribute("src").split("#")[0]);
    frame.replaceWith(next);
  }
}
