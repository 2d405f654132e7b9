// Bars from zero with their number, for tables and lists.

import { el } from "./dom.js";
import { number, percent } from "./format.js";

/** A probability; `head` says which series it is. */
export function bar(value, head) {
  if (value === null || value === undefined) return "–";
  return drawn(value.toFixed(3), value, head === "completion" ? "bar-2" : "bar-1");
}

/** A share of one. */
export function shareBar(share) {
  return drawn(percent(share), share, "bar-share");
}

/** An amount beside the largest of its kind; one that speaks against is drawn in another colour. */
export function amountBar(amount, largest) {
  return drawn(number(amount), largest > 0 ? Math.abs(amount) / largest : 0, `bar-amount${amount < 0 ? " is-against" : ""}`);
}

function drawn(text, share, name) {
  return el("span", { class: `bar ${name}` }, el("span", { class: "bar-number", text }), el("span", { class: "bar-track", "aria-hidden": "true" }, el("span", { class: "bar-fill", vars: { "--wide": `${(Math.min(1, share) * 100).toFixed(1)}%` } })));
}
