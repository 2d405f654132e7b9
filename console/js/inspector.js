// The inspector: a drawer about the slate on screen, or one card of it. It lies over the page on a
// desk, so the listener's view never shifts, and is a sheet on a phone.

import { announce } from "./announcer.js";
import { CandidateTable } from "./candidate_table.js";
import { cardPane } from "./card_pane.js";
import { isKnown, lookUp } from "./displays.js";
import { el, replace, setText } from "./dom.js";
import { icon } from "./icons.js";
import { router } from "./router.js";
import { slatePane } from "./slate_pane.js";
import { slates } from "./slates.js";
import { errorBlock, stateBlock } from "./states.js";
import { waterfall } from "./waterfall.js";

const TABS = [["stages", "Stages"], ["candidates", "Candidates"], ["card", "Card"], ["slate", "Slate"]];
const NAMES = { home: "Home", now_playing: "Now Playing" };

export class Inspector {
  #surface = "home";
  #record = null;
  #returnTo = null;
  #asked = 0;

  constructor(node) {
    this.node = node;
    this.line = el("p", { class: "page-line" });
    this.tabs = TABS.map(([tab, label]) =>
      el("button", { class: "tab", type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": "inspector-panel", text: label, data: { tab }, on: { click: () => this.#open(tab) } }),
    );
    this.panel = el("div", { class: "inspector-panel", id: "inspector-panel", role: "tabpanel", tabindex: "-1" });
    this.wide = el("button", { class: "icon-button inspector-wide", type: "button", "aria-label": "Wide", title: "Wide", "aria-pressed": "false", on: { click: () => this.#toggleWide() } }, icon("wide"));
    this.table = new CandidateTable((itemId) => this.#pick(itemId));
    replace(
      node,
      el("header", { class: "inspector-head" }, el("div", { class: "inspector-names" }, el("h2", { class: "shelf-title", text: "Inspector" }), this.line), this.wide, el("button", { class: "icon-button", type: "button", "aria-label": "Close the inspector", title: "Close (Escape)", on: { click: () => this.close() } }, icon("close"))),
      el("div", { class: "tabs", role: "tablist", "aria-label": "Inspector", on: { keydown: (event) => this.#keys(event) } }, this.tabs),
      this.panel,
    );
    for (const surface of Object.keys(NAMES)) slates.on(surface, () => surface === this.#surface && this.#load());
  }

  get isOpen() {
    return !this.node.hidden;
  }

  /** Follows the slate of a surface. */
  follow(surface) {
    this.#surface = surface;
    this.#load();
  }

  /** Opens or closes as the address says. */
  applyRoute() {
    const { inspect } = router.route.params;
    const isOpen = TABS.some(([tab]) => tab === inspect);
    this.node.hidden = !isOpen;
    slates.explain = isOpen;
    if (!isOpen) return;
    for (const tab of this.tabs) {
      const isSelected = tab.dataset.tab === inspect;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", `tab-${inspect}`);
    this.#load();
  }

  /** Opens about one card. */
  showCard(card) {
    this.#remember();
    router.go(router.route.room, { inspect: "card", card: card.item_id });
    this.#focus();
  }

  /** Opens (about `card`, if one is in focus) or closes. */
  toggle(card = null) {
    if (this.isOpen) {
      this.close();
      return;
    }
    this.#remember();
    router.go(router.route.room, card ? { inspect: "card", card: card.item_id } : { inspect: "stages" });
    this.#focus();
  }

  /** Closes, and gives focus back; false if it was not open. */
  close() {
    if (!this.isOpen) return false;
    router.go(router.route.room, { inspect: null, card: null });
    if (this.#returnTo?.isConnected) this.#returnTo.focus({ preventScroll: true });
    else document.getElementById("view").focus({ preventScroll: true });
    announce("Inspector closed");
    return true;
  }

  #remember() {
    if (!this.isOpen) this.#returnTo = document.activeElement;
  }

  #focus() {
    this.tabs.find((tab) => tab.tabIndex === 0)?.focus({ preventScroll: true });
  }

  #open(tab) {
    router.go(router.route.room, { inspect: tab });
  }

  #pick(itemId) {
    router.go(router.route.room, { inspect: "card", card: itemId });
    this.#focus();
  }

  #toggleWide() {
    const isWide = this.node.classList.toggle("is-wide");
    this.wide.setAttribute("aria-pressed", String(isWide));
  }

  #keys(event) {
    const i = this.tabs.indexOf(document.activeElement);
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: this.tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = this.tabs[(to + this.tabs.length) % this.tabs.length];
    this.#open(tab.dataset.tab);
    tab.focus();
  }

  async #load() {
    if (!this.isOpen) return;
    const asked = (this.#asked += 1);
    const { slate, isLoading, error } = slates.state(this.#surface);
    if (!slate) {
      setText(this.line, NAMES[this.#surface]);
      replace(
        this.panel,
        error
          ? errorBlock(error, "The slate")
          : isLoading
            ? skeleton()
            : stateBlock({ title: "No slate to inspect", text: this.#surface === "now_playing" ? "Play something: the queue that follows is a slate." : "Home has not been asked for yet." }),
      );
      return;
    }
    if (isLoading && this.#record) return;
    setText(this.line, `${NAMES[this.#surface]} · ${slate.slate_id}`);
    if (this.#record?.slate.slate_id !== slate.slate_id) {
      if (!this.#record) replace(this.panel, skeleton());
      try {
        const record = await slates.record(slate.slate_id);
        if (asked !== this.#asked) return;
        this.#record = record;
        this.#name(record);
      } catch (failure) {
        if (asked !== this.#asked) return;
        this.#record = null;
        replace(this.panel, errorBlock(failure, "The slate's record", () => this.#load()));
        return;
      }
    }
    this.#show();
  }

  /** Titles for the candidates that no shelf shows: one call per record, the page does not wait. */
  async #name(record) {
    const { card } = router.route.params;
    const wasKnown = !card || isKnown(card);
    const current = record.request.current_item_id;
    try {
      const isNew = await lookUp([...record.candidates.map((row) => row.item_id), current, card].filter(Boolean));
      if (!isNew || record !== this.#record) return;
    } catch {
      // The ids stay; the other parts of the page say that the server is away.
      return;
    }
    this.table.showTitles();
    if (!wasKnown && this.isOpen && router.route.params.inspect === "card") this.#show();
  }

  #show() {
    const { inspect, card } = router.route.params;
    const record = this.#record;
    // A new slate under an open card should not throw the reader back to the top.
    const scrolled = this.shown === `${inspect}/${card}` ? this.panel.scrollTop : 0;
    this.shown = `${inspect}/${card}`;
    this.panel.classList.toggle("is-filled", inspect === "candidates");
    if (inspect === "candidates") {
      if (this.panel.firstChild !== this.table.node) replace(this.panel, this.table.node);
      this.table.show(record, card);
      return;
    }
    if (inspect === "stages") replace(this.panel, el("div", { class: "pane" }, waterfall(record)));
    else if (inspect === "card") replace(this.panel, cardPane(record, card, (itemId) => this.#pick(itemId)));
    else replace(this.panel, slatePane(record));
    this.panel.scrollTop = scrolled;
  }
}

function skeleton() {
  return el("div", { class: "pane", "aria-hidden": "true" }, Array.from({ length: 8 }, () => el("div", { class: "skeleton skeleton-line" })));
}
