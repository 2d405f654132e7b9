// Now Playing: what plays, large, and what follows with the reason for each.

import { announce } from "./announcer.js";
import { acts, progress, speeds, transport } from "./controls.js";
import { drawCover, hueOf } from "./cover.js";
import { el, replace, setText } from "./dom.js";
import { words } from "./format.js";
import { icon } from "./icons.js";
import { degradedNote, recordedNote } from "./home.js";
import { listener } from "./listener.js";
import { player } from "./player.js";
import { QueueView } from "./queue.js";
import { router } from "./router.js";
import { slates } from "./slates.js";
import { errorBlock, staleNote, stateBlock } from "./states.js";

export class NowPlayingView {
  #off = [];
  #drawn = null;

  /** @param {{inspect: function}} options */
  constructor(options) {
    this.controls = [transport(), progress(), acts()];
    const [buttons, slider, judge] = this.controls;
    this.slider = slider;
    this.queue = new QueueView(options);
    this.cover = el("div", { class: "cover hero-cover" });
    this.title = el("h1", { class: "hero-title", dir: "auto" });
    this.by = el("p", { class: "hero-by", dir: "auto" });
    this.facts = el("ul", { class: "facts", "aria-label": "About this track" });
    this.reason = el("p", { class: "hero-reason" });
    this.notices = el("div", { class: "notices" });
    this.list = el("div", { class: "queue-list" });
    this.why = el("p", { class: "queue-why" });
    this.count = el("span", { class: "queue-count" });
    this.node = el(
      "div",
      { class: "page now-playing" },
      el(
        "div",
        { class: "np-columns" },
        el(
          "section",
          { class: "hero", "aria-label": "Current track" },
          this.cover,
          el("div", { class: "hero-words" }, this.title, this.by, this.facts, this.reason),
          slider.node,
          el("div", { class: "hero-controls" }, judge.node, buttons.node, el("button", { class: "icon-button hero-inspect", type: "button", "aria-label": "Why this track", title: "Inspect (i)", on: { click: () => player.card && options.inspect(player.card) } }, icon("inspect"))),
          speeds(),
        ),
        el("section", { class: "up-next", "aria-labelledby": "up-next-title" }, el("div", { class: "queue-head" }, el("h2", { class: "shelf-title", id: "up-next-title", text: "Up next" }), this.count), this.why, this.notices, this.list),
      ),
    );
  }

  mount(container) {
    replace(container, this.node);
    this.#off = [
      player.on("change", () => this.#showCurrent()),
      player.on("tick", () => this.slider.show()),
      slates.on("now_playing", () => this.#showQueue()),
      listener.on("act", () => this.#showActs()),
      listener.on("profile", () => this.#showActs()),
    ];
    this.#showCurrent();
    this.#showQueue();
    const { slate, isLoading } = slates.state("now_playing");
    if (player.card && !slate && !isLoading) slates.askQueue(player.card.item_id);
  }

  unmount() {
    this.#off.forEach((off) => off());
  }

  /** The card of the queue that has focus, for the keyboard. */
  cardInFocus() {
    return this.queue.cardAt(document.activeElement);
  }

  #showCurrent() {
    this.controls.forEach((control) => control.show());
    const { card } = player;
    this.node.classList.toggle("is-idle", !card);
    this.node.classList.toggle("is-playing", player.isPlaying);
    const drawing = card ? `${card.item_id} ${card.display.title}` : "";
    if (this.#drawn === drawing) return;
    this.#drawn = drawing;
    router.note({ item: card?.item_id });
    // What was chosen far down the queue is at the top now.
    if (this.node.parentElement && this.cover.getBoundingClientRect().bottom < 0) this.node.parentElement.scrollTo({ top: 0 });
    replace(this.cover, card && drawCover(card));
    this.cover.classList.toggle("is-round", card?.display.kind === "artist");
    this.cover.classList.toggle("is-empty", !card);
    if (!card) {
      setText(this.title, "Nothing plays yet");
      setText(this.by, "Choose something from Home and it appears here, with what follows.");
      replace(this.facts);
      setText(this.reason, "");
      return;
    }
    const { display } = card;
    this.node.style.setProperty("--hue", String(Math.round(hueOf(card))));
    setText(this.title, display.title);
    setText(this.by, display.artists?.join(", ") ?? "");
    replace(
      this.facts,
      [display.album, display.genre && words(display.genre), display.tempo_bpm && `${Math.round(display.tempo_bpm)} bpm`, Number.isFinite(display.energy) && `energy ${display.energy.toFixed(2)}`, display.explicit && "explicit"]
        .filter(Boolean)
        .map((fact) => el("li", { class: "fact", text: fact })),
    );
    setText(this.reason, card.reason);
  }

  #showActs() {
    this.controls.forEach((control) => control.show());
    this.queue.refresh();
  }

  #showQueue() {
    const { slate, error, isLoading, isRecorded } = slates.state("now_playing");
    const ask = () => player.card && slates.askQueue(player.card.item_id);
    this.list.setAttribute("aria-busy", String(isLoading));
    const cards = (slate?.shelves ?? []).flatMap((shelf) => shelf.cards.map((card) => ({ ...card, slate_id: slate.slate_id, shelf_id: shelf.shelf_id, surface: "now_playing" }))).filter((card) => card.item_id !== player.card?.item_id);
    setText(this.why, slate?.shelves[0]?.why ?? "");
    setText(this.count, cards.length ? String(cards.length) : "");
    replace(
      this.notices,
      slate && error && staleNote(error, ask),
      isRecorded && !error && player.card && recordedNote("The queue", ask),
      slate && degradedNote(slate),
    );
    if (cards.length) {
      if (this.list.firstChild !== this.queue.node) replace(this.list, this.queue.node);
      this.queue.update(cards);
      if (slate.slate_id !== this.announced && !isLoading) {
        this.announced = slate.slate_id;
        announce(`Up next: ${cards[0].display.title}, and ${cards.length - 1} more`);
      }
    } else if (error) {
      replace(this.list, errorBlock(error, "The queue", ask));
    } else if (isLoading) {
      replace(this.list, queueSkeleton());
    } else if (!player.card) {
      replace(this.list, stateBlock({ title: "The queue is empty", text: "It fills as soon as something plays.", actions: [{ label: "Go to Home", run: () => router.go("home", { slate: null }) }] }));
    } else {
      replace(this.list, stateBlock({ title: "Nothing follows", text: slate?.empty_reason ?? "The engine found nothing to play next.", actions: [{ label: "Ask again", run: ask }] }));
    }
  }
}

function queueSkeleton() {
  return el("div", { class: "queue", "aria-hidden": "true" }, Array.from({ length: 8 }, () => el("div", { class: "queue-row" }, el("span", { class: "queue-play" }, el("span", { class: "cover queue-cover skeleton" }), el("span", { class: "queue-text" }, el("span", { class: "skeleton skeleton-line" }), el("span", { class: "skeleton skeleton-line skeleton-short" }))))));
}
