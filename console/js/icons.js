// Icons, drawn on a 24 × 24 grid with one stroke width. Always beside a label for people who
// cannot see them: the icon itself is hidden from assistive technology.

import { svg } from "./dom.js";

const SHAPES = {
  home: ["M4 11.2 12 4l8 7.2V20h-5.5v-5.5h-5V20H4z"],
  disc: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 9.4a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2z"],
  people: ["M9 4.5a3.6 3.6 0 1 0 0 7.2 3.6 3.6 0 0 0 0-7.2z", "M2.5 20c.3-3.8 3-6 6.5-6s6.2 2.2 6.5 6", "M16 5a3.3 3.3 0 0 1 0 6.4", "M18 14.6c2.1.8 3.3 2.7 3.5 5.4"],
  split: ["M3.5 12H8c4.500 0 4-5.500 8.500-5.500h4", "M8 12c4.500 0 4 5.500 8.500 5.500h4", "M18 4l2.500 2.500L18 9M18 15l2.500 2.500L18 20"],
  back: ["M18.5 5.5v13L8.5 12z", "M6 5.5v13"],
  next: ["M5.5 5.5v13l10-6.5z", "M18 5.5v13"],
  heart: ["M12 20S3.8 15.2 3.8 9.4A4.5 4.5 0 0 1 12 6.9a4.5 4.5 0 0 1 8.2 2.5C20.2 15.2 12 20 12 20z"],
  hide: ["M3 12s3.3-6 9-6c1.6 0 3 .4 4.2 1.1M21 12s-3.3 6-9 6c-1.6 0-3-.4-4.2-1.1", "M4.5 19.5 19.5 4.5"],
  inspect: ["M4 6h10M18 6h2M4 12h3M11 12h9M4 18h8M16 18h4", "M16 4a2 2 0 1 0 0 4 2 2 0 0 0 0-4z", "M9 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4z", "M14 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4z"],
  close: ["M6 6l12 12M18 6 6 18"],
  left: ["M14.5 5.5 8 12l6.5 6.5"],
  right: ["M9.5 5.5 16 12l-6.5 6.5"],
  search: ["M10.8 4a6.8 6.8 0 1 0 0 13.6 6.8 6.8 0 0 0 0-13.600z", "M16 16l4.5 4.5"],
  sun: ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4"],
  moon: ["M20 14.200A8.2 8.2 0 0 1 9.8 4 8.2 8.2 0 1 0 20 14.200z"],
  keyboard: ["M3.5 6.500h17v11h-17z", "M7 10h.01M10.3 10h.01M13.7 10h.01M17 10h.01M8 14h8"],
  refresh: ["M19.5 12a7.5 7.5 0 1 1-2.2-5.300L19.5 9", "M19.5 4.500V9H15"],
  wide: ["M9 5H4v14h5M15 5h5v14h-5", "M8 12h8M8 12l2.5-2.500M8 12l2.5 2.500M16 12l-2.5-2.500M16 12l-2.5 2.5"],
  copy: ["M9 9h10.500v10.500H9z", "M15 9V4.500H4.500V15H9"],
  check: ["M5 12.5 10 17.5 19.5 7"],
  info: ["M12 3.500a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z", "M12 11v5.500M12 7.600v.1"],
};

const FILLED = {
  play: "M7.5 4.800c0-.8.9-1.3 1.6-.9l11 7.200c.6.4.6 1.3 0 1.700l-11 7.200c-.7.4-1.6 0-1.6-.9z",
  pause: "M6.5 4.500h3.800v15H6.500zM13.7 4.500h3.800v15h-3.800z",
};

/** An icon by name; `isSolid` fills an outline, such as the heart of something saved. */
export function icon(name, { isSolid = false } = {}) {
  const root = svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" });
  if (FILLED[name]) root.append(svg("path", { d: FILLED[name], fill: "currentColor" }));
  else for (const d of SHAPES[name]) root.append(svg("path", { d, class: "icon-line", fill: isSolid ? "currentColor" : "none" }));
  return root;
}

/** The mark: one track fades out while the next fades in. */
export function mark() {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 32 24", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: "M3 4C13 4 17 20 29 20", class: "mark-out" }),
    svg("path", { d: "M3 20C13 20 17 4 29 4", class: "mark-in" }),
  );
}
