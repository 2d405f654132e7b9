// Home: a greeting and shelves.

import { api } from "./api.js";
import { drawAvatar } from "./avatar.js";
import { clock } from "./clock.js";
import { hueOf } from "./cover.js";
import { el, replace, setText } from "./dom.js";
import { moment, words } from "./format.js";
import { icon } from "./icons.js";
import { listener } from "./listener.js";
import { player } from "./player.js";
import { router } from "./router.js";
import { ShelfView, shelfSkeleton } from "./shelf.js";
import { slates } from "./slates.js";
import { errorBlock, staleNote, stateBlock } from "./states.js";

const SUGGESTED = 8;

export class HomeView {
  #shelves = new Map();
  #off = [];

  /** @param {{inspect: function}} options */
  constructor(options) {
    this.options = options;
    this.heading = el("h1", { class: "page-title" });
    this.line = el("p", { class: "page-line" });
    this.again = el("button", { class: "icon-button", type: "button", "aria-label": "Ask for Home again", title: "Ask again (r)", on: { click: () => slates.askHome() } }, icon("refresh"));
    this.notices = el("div", { class: "notices" });
    this.suggestions = el("div", { class: "suggestions" });
    this.body = el("div", { class: "shelves", on: { keydown: (event) => this.#keys(event) } });
    this.node = el("div", { class: "page home" }, el("header", { class: "page-head" }, el("div", {}, this.heading, this.line), this.again), this.suggestions, this.notices, this.body);
  }

  mount(container) {
    replace(container, this.node);
    const refresh = () => this.#refresh();
    this.#off = [
      slates.on("home", () => this.#show()),
      listener.on("profile", () => this.#greet()),
      listener.on("act", refresh),
      listener.on("profile", refresh),
      player.on("change", refresh),
    ];
    this.#greet();
    this.#suggest();
    this.#show();
    const { slate, isLoading } = slates.state("home");
    if ((!slate && !isLoading) || slates.isStale("home")) slates.askHome();
  }

  unmount() {
    this.#off.forEach((off) => off());
    this.#clear();
  }

  /** The card that has focus, for the keyboard. */
  cardInFocus() {
    const element = document.activeElement;
    const shelf = element?.closest?.("[data-shelf]");
    return shelf ? (this.#shelves.get(shelf.dataset.shelf)?.cardAt(element) ?? null) : null;
  }

  #greet() {
    const now = clock.now();
    const hour = clock.isWorld ? new Date(now).getUTCHours() : new Date(now).getHours();
    const part = hour < 5 ? "Good night" : hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
    setText(this.heading, listener.id ? `${part}, ${listener.name}` : part);
  }

  #show() {
    const { slate, error, isLoading, isRecorded } = slates.state("home");
    this.body.setAttribute("aria-busy", String(isLoading));
    this.again.classList.toggle("is-turning", isLoading);
    if (!slate) {
      this.#clear();
      replace(this.notices);
      setText(this.line, error ? "" : "Composing…");
      if (error) replace(this.body, errorBlock(error, "Home", () => slates.askHome()));
      else replace(this.body, shelfSkeleton({ isTile: Boolean(listener.id) }), shelfSkeleton(), shelfSkeleton());
      return;
    }
    this.#greet();
    setText(this.line, `${moment(slate.composed_at, clock.isWorld)}${clock.isWorld ? " world time" : ""}`);
    replace(
      this.notices,
      error && staleNote(error, () => slates.askHome()),
      isRecorded && !error && recordedNote("Home", () => slates.askHome()),
      degradedNote(slate),
    );
    const cards = slate.shelves.reduce((n, shelf) => n + shelf.cards.length, 0);
    if (!cards) {
      this.#clear();
      replace(this.body, emptyBlock(slate));
      return;
    }
    if (!this.#shelves.size) replace(this.body);
    const next = new Map();
    for (const shelf of slate.shelves) {
      if (!shelf.cards.length) continue;
      const view = this.#shelves.get(shelf.shelf_id) ?? new ShelfView(shelf, this.options);
      next.set(shelf.shelf_id, view);
    }
    for (const [id, view] of this.#shelves) if (!next.has(id)) view.remove();
    this.#shelves = next;
    [...next.values()].forEach(({ node }, i) => {
      if (this.body.children[i] !== node) this.body.insertBefore(node, this.body.children[i] ?? null);
    });
    for (const shelf of slate.shelves) next.get(shelf.shelf_id)?.update(shelf, slate.slate_id, "home");
    const lead = slate.shelves[0]?.cards[0];
    if (lead) this.node.style.setProperty("--hue", String(Math.round(hueOf(lead))));
  }

  #refresh() {
    for (const shelf of this.#shelves.values()) shelf.refresh();
  }

  #clear() {
    for (const view of this.#shelves.values()) view.remove();
    this.#shelves.clear();
  }

  /** A stranger is offered somebody to be. */
  async #suggest() {
    if (listener.id) return;
    try {
      const { users } = await api.users("", SUGGESTED);
      if (listener.id || !users.length) return;
      replace(
        this.suggestions,
        el("p", { class: "suggestions-text", text: "This is the page of a stranger. Listen as somebody to see it change:" }),
        el(
          "ul",
          { class: "suggestions-list" },
          users.map((user) => el("li", {}, el("a", { class: "suggestion", href: router.href("home", { user: user.user_id }) }, drawAvatar(user.user_id, user.display_name), el("span", { text: user.display_name ?? user.user_id })))),
          el("li", {}, el("a", { class: "suggestion suggestion-more", href: router.href("listeners") }, "All listeners")),
        ),
      );
    } catch {
      // The shelves below say that the server is away.
    }
  }

  #keys(event) {
    if (!event.target.closest("[data-item]") || event.altKey || event.ctrlKey || event.metaKey) return;
    const shelves = [...this.#shelves.values()];
    const i = shelves.findIndex((shelf) => shelf.node.contains(event.target));
    const moves = {
      ArrowRight: () => shelves[i].move(1),
      ArrowLeft: () => shelves[i].move(-1),
      ArrowDown: () => shelves[i + 1]?.focus(),
      ArrowUp: () => shelves[i - 1]?.focus(),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }
}

/** Says that a slate is shown as it was served. */
export function recordedNote(what, ask) {
  return el("p", { class: "notice" }, `${what} as it was served, from its record. `, el("button", { class: "text-button", type: "button", text: "Ask again", on: { click: ask } }));
}

/** Names the stages that did not contribute; null on a healthy slate. */
export function degradedNote(slate) {
  if (!slate.degraded.length) return null;
  const list = slate.degraded.map(({ stage, cause }) => `${words(stage)} (${words(cause)})`).join(", ");
  return el("p", { class: "notice notice-warn" }, icon("info"), `Composed without ${list}.`);
}

function emptyBlock(slate) {
  if (slate.degraded.some(({ cause }) => cause === "timeout")) {
    return stateBlock({
      title: "Nothing was ready in time",
      text: "Every source took longer than it may. Ask again; if it stays so, raise `serving.source_budget_ms`.",
      hint: slate.empty_reason,
    });
  }
  if (listener.id && listener.profile?.n_plays === 0) {
    return stateBlock({
      title: "No plays yet for this listener",
      text: "Play something from Now Playing, or import a history: `segue import …`",
      hint: slate.empty_reason,
    });
  }
  return stateBlock({ title: "Nothing to show", text: slate.empty_reason ?? "The slate came back without a card.", hint: "Import items and plays with `segue import …`, then `segue prepare` and `segue train`." });
}
