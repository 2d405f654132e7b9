// The queue of Now Playing, with the reason for each. When it reorders, the rows move to their new
// places, so that one sees what a skip or a save changed.

import { drawCover } from "./cover.js";
import { el, setText, spoken } from "./dom.js";
import { clockTime } from "./format.js";
import { icon } from "./icons.js";
import { unwatch, watch } from "./impressions.js";
import { listener } from "./listener.js";
import { player } from "./player.js";

export class QueueView {
  #rows = new Map();

  /** @param {{inspect: function}} options */
  constructor({ inspect }) {
    this.inspect = inspect;
    this.node = el("ol", { class: "queue", "aria-label": "Up next" });
  }

  /** Shows these cards, in this order. */
  update(cards) {
    const before = new Map([...this.#rows].map(([id, row]) => [id, row.node.offsetTop]));
    const next = new Map();
    for (const card of cards) {
      const row = this.#rows.get(card.item_id) ?? this.#row(card);
      row.show(card);
      next.set(card.item_id, row);
    }
    for (const [id, row] of this.#rows) {
      if (next.has(id)) continue;
      unwatch(row.node);
      row.node.remove();
    }
    this.#rows = next;
    [...next.values()].forEach(({ node }, i) => {
      if (this.node.children[i] !== node) this.node.insertBefore(node, this.node.children[i] ?? null);
    });
    this.#glide(before);
  }

  /** The card of an element inside the queue. */
  cardAt(element) {
    return this.#rows.get(element?.closest?.("[data-item]")?.dataset.item)?.card ?? null;
  }

  refresh() {
    for (const row of this.#rows.values()) row.show(row.card);
  }

  #glide(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const duration = parseFloat(getComputedStyle(this.node).getPropertyValue("--gentle")) || 0;
    for (const [id, { node }] of this.#rows) {
      const from = before.get(id);
      if (from === undefined) node.animate([{ opacity: 0 }, { opacity: 1 }], { duration, easing: "ease-out" });
      else if (from !== node.offsetTop) node.animate([{ transform: `translateY(${from - node.offsetTop}px)` }, { transform: "none" }], { duration, easing: "ease-out" });
    }
  }

  #row(card) {
    const title = el("span", { class: "queue-title", dir: "auto", text: card.display.title });
    const by = el("span", { class: "queue-by", dir: "auto", text: card.display.artists?.join(", ") ?? "" });
    const reason = el("span", { class: "queue-reason" });
    const save = el("button", { class: "icon-button icon-button-small", type: "button", "aria-label": `Save ${card.display.title}`, on: { click: () => listener.toggleSaved(row.card) } });
    const node = el(
      "li",
      { class: "queue-row", data: { item: card.item_id } },
      el(
        "button",
        { class: "queue-play", type: "button", on: { click: () => player.play(row.card) } },
        spoken("Play "),
        el("span", { class: "cover queue-cover" }, drawCover(card), el("span", { class: "play-mark" }, icon("play"))),
        el("span", { class: "queue-text" }, title, by),
      ),
      reason,
      el("span", { class: "time", text: clockTime(card.display.duration_ms) }),
      el(
        "span",
        { class: "queue-actions" },
        save,
        el("button", { class: "icon-button icon-button-small", type: "button", "aria-label": `Hide ${card.display.title}`, on: { click: () => listener.hide(row.card) } }, icon("hide")),
        el("button", { class: "icon-button icon-button-small", type: "button", "aria-label": `Why ${card.display.title}`, on: { click: () => this.inspect(row.card) } }, icon("inspect")),
      ),
    );
    let wasSaved = null;
    const row = {
      node,
      card,
      show(shown) {
        row.card = shown;
        setText(reason, shown.reason);
        const isSaved = listener.isSaved(shown.item_id);
        if (wasSaved !== isSaved) {
          wasSaved = isSaved;
          save.replaceChildren(icon("heart", { isSolid: isSaved }));
          save.setAttribute("aria-pressed", String(isSaved));
        }
        node.classList.toggle("is-hidden", listener.isHidden(shown.item_id));
        watch(node, shown);
      },
    };
    return row;
  }
}
