// A round mark for a listener, drawn from the id; letters from the name.

import { initials } from "./cover.js";
import { svg } from "./dom.js";
import { hash } from "./random.js";

/** An SVG avatar; a stranger (null) has a plain one. */
export function drawAvatar(id, name) {
  const hue = id ? hash(id) % 360 : 265;
  const chroma = id ? 0.1 : 0.02;
  const label = id ? initials(name ?? id).slice(0, name ? 1 : 2) : "?";
  return svg(
    "svg",
    { class: "avatar", viewBox: "0 0 40 40", "aria-hidden": "true", focusable: "false" },
    svg("circle", { cx: 20, cy: 20, r: 20, fill: `oklch(44% ${chroma} ${hue})` }),
    svg("circle", { cx: 32, cy: 34, r: 16, fill: `oklch(58% ${chroma * 1.2} ${(hue + 50) % 360})`, "fill-opacity": "0.55", "clip-path": "circle(20px at 20px 20px)" }),
    svg("text", { x: 20, y: 26.2, "font-size": 17, "text-anchor": "middle", fill: "oklch(98% 0.01 270)", class: "cover-letters", text: label }),
  );
}
