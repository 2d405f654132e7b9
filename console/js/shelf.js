// A shelf: a titled row of cards that scrolls sideways. Updates keep the cards that stay, so that
// focus, scrolling and drawings survive a new slate.

import { CardView } from "./card.js";
import { el, setText, uniqueId } from "./dom.js";
import { icon } from "./icons.js";

// What a listener goes back to is compact, so that it is at hand without pushing the rest away.
const TILE_SHELVES = new Set(["jump_back_in"]);

export class ShelfView {
  #cards = new Map();
  #order = [];
  #reach = null;

  constructor(shelf, options) {
    this.options = { ...options, isTile: TILE_SHELVES.has(shelf.shelf_id) };
    const titleId = uniqueId("shelf");
    const whyId = uniqueId("why");
    this.title = el("h2", { class: "shelf-title", id: titleId });
    this.why = el("p", { class: "shelf-why", id: whyId, hidden: true });
    this.whyButton = el("button", { class: "text-button shelf-why-button", type: "button", text: "Why this shelf", "aria-expanded": "false", "aria-controls": whyId, on: { click: () => this.#toggleWhy() } });
    this.list = el("ul", { class: "shelf-cards", "aria-labelledby": titleId, on: { focusin: (event) => this.#reached(event), scroll: () => this.#arrows() } });
    this.left = el("button", { class: "icon-button shelf-arrow", type: "button", "aria-label": "Scroll left", tabindex: "-1", on: { click: () => this.#scroll(-1) } }, icon("left"));
    this.right = el("button", { class: "icon-button shelf-arrow", type: "button", "aria-label": "Scroll right", tabindex: "-1", on: { click: () => this.#scroll(1) } }, icon("right"));
    this.node = el(
      "section",
      { class: `shelf${this.options.isTile ? " shelf-tiles" : ""}`, "aria-labelledby": titleId, data: { shelf: shelf.shelf_id } },
      el("div", { class: "shelf-head" }, this.title, this.whyButton, el("div", { class: "shelf-arrows" }, this.left, this.right)),
      this.why,
      this.list,
    );
    this.resize = new ResizeObserver(() => this.#arrows());
    this.resize.observe(this.list);
  }

  /** Shows the shelf of another slate. Cards that are in both stay the same nodes. */
  update(shelf, slateId, surface) {
    const scrolled = this.list.scrollLeft;
    setText(this.title, shelf.title);
    setText(this.why, shelf.why);
    this.whyButton.setAttribute("aria-label", `Why this shelf: ${shelf.title}`);
    const next = new Map();
    for (const card of shelf.cards) {
      const full = { ...card, slate_id: slateId, shelf_id: shelf.shelf_id, surface };
      const view = this.#cards.get(card.item_id);
      if (view) view.update(full);
      next.set(card.item_id, view ?? new CardView(full, this.options));
    }
    const focused = document.activeElement;
    const focusedItem = focused?.closest?.("[data-item]")?.dataset.item;
    const lostIndex = focusedItem && this.list.contains(focused) && !next.has(focusedItem) ? this.#order.indexOf(focusedItem) : -1;
    for (const [id, view] of this.#cards) if (!next.has(id)) view.remove();
    this.#cards = next;
    this.#order = [...next.keys()];
    this.#order.forEach((id, i) => {
      const { node } = next.get(id);
      if (this.list.children[i] !== node) this.list.insertBefore(node, this.list.children[i] ?? null);
    });
    if (!next.has(this.#reach)) this.#reach = this.#order[Math.max(0, Math.min(lostIndex, this.#order.length - 1))];
    this.#setReach();
    // A snapping row follows the card it rests on; the row should stay where the listener left it.
    this.list.scrollTo({ left: scrolled, behavior: "instant" });
    if (lostIndex >= 0) this.focus();
    else if (focused !== document.activeElement && this.list.contains(focused)) focused.focus({ preventScroll: true });
    this.#arrows();
  }

  refresh() {
    for (const view of this.#cards.values()) view.refresh();
  }

  /** The card of an element inside this shelf. */
  cardAt(element) {
    return this.#cards.get(element.closest("[data-item]")?.dataset.item)?.card ?? null;
  }

  /** Moves focus by `step` cards; true if there was somewhere to go. */
  move(step) {
    const i = this.#order.indexOf(this.#reach) + step;
    if (i < 0 || i >= this.#order.length) return false;
    this.#reach = this.#order[i];
    this.#setReach();
    this.focus();
    return true;
  }

  /** Puts focus on the card in reach. */
  focus() {
    const view = this.#cards.get(this.#reach);
    view?.button.focus({ preventScroll: true });
    view?.node.scrollIntoView({ block: "nearest", inline: "nearest", behavior: calm() });
  }

  remove() {
    this.resize.disconnect();
    for (const view of this.#cards.values()) view.remove();
    this.node.remove();
  }

  #setReach() {
    for (const [id, view] of this.#cards) view.isInReach = id === this.#reach;
  }

  #reached(event) {
    const id = event.target.closest("[data-item]")?.dataset.item;
    if (!id || id === this.#reach) return;
    this.#reach = id;
    this.#setReach();
  }

  #toggleWhy() {
    this.why.hidden = !this.why.hidden;
    this.whyButton.setAttribute("aria-expanded", String(!this.why.hidden));
  }

  #scroll(direction) {
    this.list.scrollBy({ left: direction * this.list.clientWidth * 0.8, behavior: calm() });
  }

  #arrows() {
    const { scrollLeft, scrollWidth, clientWidth } = this.list;
    this.left.disabled = scrollLeft <= 1;
    this.right.disabled = scrollLeft + clientWidth >= scrollWidth - 1;
    this.node.classList.toggle("fits", scrollWidth <= clientWidth + 1);
  }
}

/** Rows of the final size while a slate is on its way. */
export function shelfSkeleton({ isTile = false } = {}) {
  const cards = Array.from({ length: isTile ? 8 : 10 }, () =>
    el("div", { class: `card${isTile ? " card-tile" : ""} skeleton-card` }, el("div", { class: "cover skeleton" }), el("div", { class: "card-text" }, el("div", { class: "skeleton skeleton-line" }), el("div", { class: "skeleton skeleton-line skeleton-short" }))),
  );
  return el("div", { class: `shelf${isTile ? " shelf-tiles" : ""}`, "aria-hidden": "true" }, el("div", { class: "shelf-head" }, el("div", { class: "skeleton skeleton-title" })), el("div", { class: "shelf-cards" }, cards));
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}
