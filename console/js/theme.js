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
  return next;
}

/** Follows the system as long as nobody has chosen. */
export function followSystem(onChange) {
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", (event) => {
    if (load(KEY)) return;
    document.documentElement.dataset.theme = event.matches ? "light" : "dark";
    onChange();
  });
}
