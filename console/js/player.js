// The player: what plays, for how long it was heard, what comes next. There is no sound; time
// passes on the page's clock, and a play is reported when it ends, with its length and reason.

import { newId } from "./api.js";
import { announce, note } from "./announcer.js";
import { clock } from "./clock.js";
import { isKnown, itemOf } from "./displays.js";
import { Emitter } from "./emitter.js";
import { listener } from "./listener.js";
import { enqueue, flush, flushOnLeave } from "./outbox.js";
import { slates } from "./slates.js";
import { loadJson, save } from "./storage.js";

// Stands in for a length nobody knows; it is never reported.
const NOMINAL_MS = 210_000;
const TICK_MS = 250;
const RESTART_AFTER_MS = 3000;
// What played last, so that a page that is reloaded still knows its title.
const LAST_KEY = "segue.last_card";

class Player extends Emitter {
  /** The card that plays, or null. Carries `slate_id` and `surface` of where it was started. */
  card = null;
  isPlaying = false;
  positionMs = 0;
  #listenedMs = 0;
  #startedAt = 0;
  #startReason = "click";
  #lastTick = 0;
  #timer = 0;
  #past = [];

  /** Length of the current item in ms, a nominal one where it is unknown. */
  get durationMs() {
    return this.card?.display.duration_ms ?? NOMINAL_MS;
  }

  /** Whether the length is known. */
  get isLengthKnown() {
    return Number.isFinite(this.card?.display.duration_ms);
  }

  /** The cards of the queue. */
  get queue() {
    const cards = slates.state("now_playing").slate?.shelves.flatMap((shelf) => shelf.cards) ?? [];
    return cards.filter((card) => card.item_id !== this.card?.item_id && !listener.isHidden(card.item_id));
  }

  /** Starts a card that the listener chose. */
  play(card, from) {
    return this.#change({ ...card, ...from }, { ended: "click", started: "click" });
  }

  /** Shows an item without starting it: the state of a link, or of a page that was reloaded. */
  cue(itemId) {
    const last = loadJson(LAST_KEY, null);
    this.card = isKnown(itemId) || last?.item_id !== itemId ? itemOf(itemId) : last;
    this.isPlaying = false;
    this.positionMs = 0;
    this.#listenedMs = 0;
    this.#startedAt = 0;
    this.emit("change");
  }

  /** Plays or pauses; starts with the first of Home if nothing was chosen. */
  toggle() {
    if (!this.card) {
      const home = slates.state("home").slate;
      const shelf = home?.shelves.find((one) => one.cards.length);
      if (!shelf) return this.next("click");
      return this.play(shelf.cards[0], { slate_id: home.slate_id, shelf_id: shelf.shelf_id, surface: "home" });
    }
    if (this.isPlaying) this.#pause();
    else this.#resume();
    return Promise.resolve();
  }

  /** The next of the queue; `ended` says why the current play ends. */
  async next(ended = "next") {
    const [card] = this.queue;
    if (!card) {
      if (this.card && ended === "track_done") await this.#end(ended);
      note("The queue is empty. Choose something from Home.");
      return;
    }
    const slate = slates.state("now_playing").slate;
    const started = ended === "track_done" ? "track_done" : ended === "click" ? "click" : "next";
    await this.#change({ ...card, slate_id: slate.slate_id, shelf_id: slate.shelves[0].shelf_id, surface: "now_playing" }, { ended, started });
  }

  /** Back to the start, or to the play before if this one just began. */
  async back() {
    if (this.card && (this.positionMs > RESTART_AFTER_MS || !this.#past.length)) {
      this.seek(0);
      return;
    }
    const before = this.#past.pop();
    if (before) await this.#change(before, { ended: "back", started: "back", isBack: true });
  }

  /** Jumps to a place; what was jumped over was not heard. */
  seek(ms) {
    this.#advance();
    this.positionMs = Math.min(this.durationMs, Math.max(0, ms));
    this.emit("tick");
  }

  /** Ends the play as somebody leaves: another listener, or the page closes. */
  async stop({ isLeaving = false } = {}) {
    this.#report("stop");
    this.#halt();
    this.card = null;
    this.#past = [];
    this.emit("change");
    if (isLeaving) flushOnLeave();
    else await flush().catch(() => {});
  }

  async #change(card, { ended, started, isBack = false }) {
    if (this.card && !isBack && this.#startedAt) this.#past.push(this.card);
    if (this.#past.length > 50) this.#past.shift();
    const hasReported = this.#report(ended);
    this.card = card;
    save(LAST_KEY, JSON.stringify({ item_id: card.item_id, display: card.display }));
    this.positionMs = 0;
    this.#listenedMs = 0;
    this.#startReason = started;
    this.#startedAt = clock.now();
    this.#resume();
    this.emit("started", { card, started });
    announce(`Playing ${card.display.title}${card.display.artists?.length ? ` by ${card.display.artists[0]}` : ""}`);
    // The server first learns how the last play ended; the queue asked for then reflects it.
    try {
      await flush();
    } catch {
      // The outbox keeps the events; the queue says that the server is away.
    }
    if (hasReported) this.emit("acted");
    await slates.askQueue(card.item_id);
  }

  async #end(reason) {
    this.#report(reason);
    this.#halt();
    this.emit("change");
    await flush().catch(() => {});
    this.emit("acted");
  }

  #resume() {
    if (!this.#startedAt) {
      this.#startedAt = clock.now();
      this.#startReason = "click";
    }
    this.isPlaying = true;
    clock.isPlaying = true;
    this.#lastTick = clock.now();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.emit("change");
  }

  #pause() {
    this.#advance();
    this.isPlaying = false;
    clock.isPlaying = false;
    clearInterval(this.#timer);
    this.emit("change");
  }

  #halt() {
    this.isPlaying = false;
    clock.isPlaying = false;
    clearInterval(this.#timer);
    this.#startedAt = 0;
    this.positionMs = 0;
    this.#listenedMs = 0;
  }

  #advance() {
    if (!this.isPlaying) return;
    const now = clock.now();
    const passed = Math.min(now - this.#lastTick, this.durationMs - this.positionMs);
    this.#lastTick = now;
    this.positionMs += passed;
    this.#listenedMs += passed;
  }

  #tick() {
    this.#advance();
    this.emit("tick");
    if (this.positionMs >= this.durationMs) {
      clearInterval(this.#timer);
      this.next("track_done");
    }
  }

  /** Queues the play that ends now; false if nothing played, or a stranger listened. */
  #report(reason) {
    this.#advance();
    const { card } = this;
    if (!card || !this.#startedAt || !listener.id) return false;
    const event = {
      type: "play",
      event_id: newId(),
      user_id: listener.id,
      item_id: card.item_id,
      occurred_at: this.#startedAt,
      ended_at: Math.max(clock.now(), this.#startedAt),
      listened_ms: Math.round(this.#listenedMs),
      start_reason: this.#startReason,
      end_reason: reason,
      surface: card.surface ?? "other",
    };
    if (this.isLengthKnown) event.duration_ms = card.display.duration_ms;
    if (card.slate_id && Number.isInteger(card.position)) Object.assign(event, { slate_id: card.slate_id, position: card.position });
    this.#startedAt = 0;
    enqueue(event);
    return true;
  }
}

export const player = new Player();
