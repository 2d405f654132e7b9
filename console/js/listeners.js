// Listeners: find somebody to be, and see what the next slate will know of them.

import { api, newId } from "./api.js";
import { drawAvatar } from "./avatar.js";
import { clock } from "./clock.js";
import { drawCover } from "./cover.js";
import { el, replace, setText, spoken } from "./dom.js";
import { ago, count, counted, number, words } from "./format.js";
import { icon } from "./icons.js";
import { listener } from "./listener.js";
import { player } from "./player.js";
import { router } from "./router.js";
import { errorBlock, stateBlock } from "./states.js";

const LIMIT = 60;
const TYPING_MS = 150;

export class ListenersView {
  #off = [];
  #abort = null;
  #timer = 0;

  constructor() {
    this.input = el("input", { class: "search-input", type: "search", placeholder: "Name or id", autocomplete: "off", spellcheck: "false", "aria-label": "Find a listener by name or id", on: { input: () => this.#typed() } });
    this.total = el("p", { class: "page-line", "aria-live": "polite" });
    this.list = el("div", { class: "people-list" });
    this.profile = el("section", { class: "profile", "aria-label": "The listener now" });
    this.node = el(
      "div",
      { class: "page listeners" },
      el("header", { class: "page-head" }, el("div", {}, el("h1", { class: "page-title", text: "Listeners" }), this.total)),
      el(
        "div",
        { class: "listeners-columns" },
        el(
          "section",
          { class: "people", "aria-label": "All listeners" },
          el("div", { class: "search" }, icon("search"), this.input),
          el(
            "div",
            { class: "people-special" },
            el("button", { class: "button", type: "button", text: "New listener", on: { click: () => this.#become(`guest-${newId().slice(0, 8)}`) } }),
            el("button", { class: "button", type: "button", text: "Stranger", on: { click: () => this.#become(null) } }),
          ),
          this.list,
        ),
        this.profile,
      ),
    );
  }

  mount(container) {
    replace(container, this.node);
    this.#off = [listener.on("change", () => this.#showProfile()), listener.on("profile", () => this.#showProfile()), listener.on("profile-failed", (error) => this.#failProfile(error))];
    this.#find();
    this.#showProfile();
    listener.refresh();
  }

  unmount() {
    this.#off.forEach((off) => off());
    this.#abort?.abort();
  }

  /** Nothing here can be played by key. */
  cardInFocus() {
    return null;
  }

  /** Puts the cursor into the search field. */
  focusSearch() {
    this.input.focus();
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#find(), TYPING_MS);
  }

  async #find() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    const query = this.input.value.trim();
    if (!this.list.firstChild) replace(this.list, peopleSkeleton());
    try {
      const { users, n_total } = await api.users(query, LIMIT, this.#abort.signal);
      setText(this.total, users.length < n_total ? `${count(users.length)} of ${counted(n_total, "listener")}, most plays first` : `${counted(n_total, "listener")}, most plays first`);
      if (users.length) {
        replace(this.list, el("ul", { class: "people-rows" }, users.map((user) => this.#row(user))));
      } else if (query) {
        replace(this.list, stateBlock({ title: `Nobody matches “${query}”`, text: "Look for another part of a name or id, or listen as a new listener with this id.", actions: [{ label: `Listen as ${query}`, run: () => this.#become(query) }] }));
      } else {
        replace(this.list, stateBlock({ title: "No listeners yet", text: "Import a history with `segue import …`, or start as a new listener." }));
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      setText(this.total, "");
      replace(this.list, errorBlock(error, "The list of listeners", () => this.#find()));
    }
  }

  #row(user) {
    const isCurrent = user.user_id === listener.id;
    const details = [user.market, counted(user.n_plays, "play"), user.last_played_at !== null && `last ${ago(user.last_played_at, clock.now())}`].filter(Boolean).join(" · ");
    return el(
      "li",
      {},
      el(
        "a",
        { class: `person${isCurrent ? " is-current" : ""}`, href: router.href("home", { user: user.user_id, item: null }), data: { user: user.user_id }, "aria-current": isCurrent ? "true" : null },
        drawAvatar(user.user_id, user.display_name),
        el("span", { class: "person-text" }, el("span", { class: "person-name", text: user.display_name ?? user.user_id }), el("span", { class: "person-line", text: details })),
        user.display_name && el("span", { class: "person-id", text: user.user_id }),
      ),
    );
  }

  #become(id) {
    router.go("home", { user: id, slate: null, item: null, card: null });
  }

  #failProfile(error) {
    replace(this.profile, errorBlock(error, "The listener's state", () => listener.refresh()));
  }

  #showProfile() {
    const { profile } = listener;
    if (!listener.id) {
      replace(this.profile, stateBlock({ title: "A stranger listens", text: "Nothing is remembered of a stranger, and nothing is sent. Choose somebody to see their plays, saves and features." }));
      return;
    }
    if (!profile) {
      replace(this.profile, el("div", { "aria-hidden": "true" }, el("div", { class: "skeleton skeleton-title" }), Array.from({ length: 6 }, () => el("div", { class: "skeleton skeleton-line" }))));
      return;
    }
    replace(
      this.profile,
      el("div", { class: "profile-head" }, drawAvatar(profile.user_id, profile.display_name), el("div", {}, el("h2", { class: "profile-name", text: profile.display_name ?? profile.user_id }), el("p", { class: "page-line", text: [profile.user_id, profile.market, counted(profile.n_plays, "play"), `state at offset ${count(profile.state_offset)}`].filter(Boolean).join(" · ") }))),
      !profile.is_known && el("p", { class: "notice", text: "The engine has not met this listener yet: they get the page of a stranger until they play something." }),
      section("Recent plays", profile.recent.length ? itemRows(profile.recent.slice(0, 20), (row) => `${words(row.action)}, ${ago(row.occurred_at, clock.now())}`) : el("p", { class: "state-text", text: "No plays yet. Play something from Home." })),
      section("Saved and hidden", profile.feedback.length ? itemRows(profile.feedback.slice(0, 20), (row) => `${words(row.kind)}, ${ago(row.occurred_at, clock.now())}`) : el("p", { class: "state-text", text: "Nothing saved, nothing hidden." })),
      section("Features as the ranker would see them now", profile.features.length ? el("table", { class: "numbers" }, el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Feature" }), el("th", { scope: "col", class: "is-number", text: "Value" }))), el("tbody", {}, profile.features.map(({ name, value }) => el("tr", {}, el("th", { scope: "row", text: words(name) }), el("td", { class: "is-number", text: number(value) }))))) : el("p", { class: "state-text", text: "This deployment has no user features." })),
    );
  }
}

function section(title, ...content) {
  return el("section", { class: "profile-section" }, el("h3", { class: "small-title", text: title }), content);
}

function itemRows(rows, line) {
  return el(
    "ul",
    { class: "item-rows" },
    rows.map((row) => {
      const item = { item_id: row.item_id ?? row.target_id, display: row.display };
      return el("li", {}, el("button", { class: "item-row", type: "button", on: { click: () => player.play(item, { surface: "library" }) } }, spoken("Play "), el("span", { class: "cover item-cover" }, drawCover(item)), el("span", { class: "item-text" }, el("span", { class: "item-title", text: row.display.title }), el("span", { class: "item-line", text: row.display.artists?.join(", ") ?? "" })), el("span", { class: "item-note", text: line(row) })));
    }),
  );
}

function peopleSkeleton() {
  return el("div", { "aria-hidden": "true" }, Array.from({ length: 9 }, () => el("div", { class: "person" }, el("span", { class: "avatar skeleton" }), el("span", { class: "person-text" }, el("span", { class: "skeleton skeleton-line" }), el("span", { class: "skeleton skeleton-line skeleton-short" })))));
}
