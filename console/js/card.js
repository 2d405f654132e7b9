// A card on a shelf: cover, title, artists, reason, and what can be done with it.

import { drawCover } from "./cover.js";
import { el, replace, setText, spoken } from "./dom.js";
import { icon } from "./icons.js";
import { unwatch, watch } from "./impressions.js";
import { listener } from "./listener.js";
import { player } from "./player.js";

/** One card; `update` gives it a new slate without drawing it anew. */
export class CardView {
  /**
   * @param {object} card of the contract, with `slate_id`, `shelf_id` and `surface` added
   * @param {{inspect: function, isTile: boolean}} options
   */
  constructor(card, { inspect, isTile = false }) {
    this.name = spoken();
    this.cover = el("span", { class: "cover" }, drawCover(card));
    this.playMark = el("span", { class: "play-mark" }, icon("play"));
    this.button = el("button", { class: "card-play", type: "button", on: { click: () => this.#play() } }, this.cover, this.playMark, this.name);
    this.title = el("span", { class: "card-title", dir: "auto" });
    this.subtitle = el("span", { class: "card-subtitle", dir: "auto" });
    this.reason = el("span", { class: "card-reason" });
    this.save = this.#action("heart", () => listener.toggleSaved(this.card));
    this.hide = this.#action("hide", () => listener.hide(this.card));
    this.inspect = this.#action("inspect", () => inspect(this.card));
    this.node = el(
      "li",
      { class: `card${isTile ? " card-tile" : ""}` },
      this.button,
      el("div", { class: "card-text" }, this.title, this.subtitle, !isTile && this.reason),
      el("div", { class: "card-actions" }, this.save, this.hide, this.inspect),
    );
    this.update(card);
  }

  /** Shows `card`, which is the same item in a slate of its own. */
  update(card) {
    this.card = card;
    const { display } = card;
    const by = display.artists?.length ? ` by ${display.artists.join(", ")}` : "";
    setText(this.title, display.title);
    this.title.title = display.title;
    setText(this.subtitle, subtitleOf(display));
    setText(this.reason, card.reason);
    this.node.classList.toggle("is-round", display.kind === "artist");
    setText(this.name, `Play ${display.title}${by}${card.reason ? `. ${card.reason}` : ""}`);
    this.hide.setAttribute("aria-label", `Hide ${display.title}`);
    this.inspect.setAttribute("aria-label", `Why ${display.title}`);
    this.node.dataset.item = card.item_id;
    watch(this.node, card);
    this.refresh();
  }

  /** Reads again what the listener did and what plays. */
  refresh() {
    const isSaved = listener.isSaved(this.card.item_id);
    if (this.isSavedShown !== isSaved) {
      this.isSavedShown = isSaved;
      replace(this.save, icon("heart", { isSolid: isSaved }));
      this.save.setAttribute("aria-label", `Save ${this.card.display.title}`);
      this.save.setAttribute("aria-pressed", String(isSaved));
    }
    const isCurrent = player.card?.item_id === this.card.item_id;
    this.node.classList.toggle("is-current", isCurrent);
    const mark = isCurrent && player.isPlaying ? "pause" : "play";
    if (this.markShown !== mark) {
      this.markShown = mark;
      replace(this.playMark, icon(mark));
    }
    this.node.classList.toggle("is-hidden", listener.isHidden(this.card.item_id));
  }

  /** One stop per shelf for the tab key: only the card in reach can be tabbed into. */
  set isInReach(isInReach) {
    for (const control of [this.button, this.save, this.hide, this.inspect]) control.tabIndex = isInReach ? 0 : -1;
  }

  remove() {
    unwatch(this.node);
    this.node.remove();
  }

  #play() {
    if (player.card?.item_id === this.card.item_id) player.toggle();
    else player.play(this.card);
  }

  #action(name, run) {
    return el("button", { class: "card-action", type: "button", on: { click: run } }, icon(name));
  }
}

/** The line below a title: artists, or the kind where there is none. */
export function subtitleOf(display) {
  const kind = display.kind && display.kind !== "track" ? display.kind[0].toUpperCase() + display.kind.slice(1) : null;
  const artists = display.artists?.join(", ");
  if (display.kind === "artist") return kind;
  return [kind, artists || display.album || display.genre].filter(Boolean).join(" · ");
}
