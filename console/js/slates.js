// The slates on screen: asks for them, remembers the latest of each surface, and finds the record
// behind one when the inspector wants it.

import { api } from "./api.js";
import { clock } from "./clock.js";
import { rememberSlate } from "./displays.js";
import { Emitter } from "./emitter.js";
import { listener } from "./listener.js";

const RECORD_RETRIES = 4;
const RECORD_RETRY_MS = 250;

class Slates extends Emitter {
  /** Surface (`home`, `now_playing`) to `{slate, error, isLoading, isRecorded}`. */
  #states = new Map();
  #records = new Map();
  #aborts = new Map();
  #stale = new Set();
  /** Set while the inspector is open: then the record comes with the slate. */
  explain = false;

  /** What is known of a surface. Never null. */
  state(surface) {
    return this.#states.get(surface) ?? { slate: null, error: null, isLoading: false, isRecorded: false };
  }

  /** Notes that an act changed what a surface that is out of sight would show. */
  markStale(surface) {
    this.#stale.add(surface);
  }

  /** Whether a surface should be asked for anew when it comes into sight. */
  isStale(surface) {
    return this.#stale.has(surface);
  }

  /** Asks for Home. Emits `home`. */
  askHome() {
    return this.#ask("home", (request, signal) => api.home(request, signal));
  }

  /** Asks what follows `itemId`. Emits `now_playing`. */
  askQueue(itemId) {
    return this.#ask("now_playing", (request, signal) => api.nowPlaying({ ...request, current_item_id: itemId }, signal));
  }

  /** Shows a slate as it was served; rejects if there is no record of it. */
  async showRecorded(slateId) {
    const record = await this.record(slateId);
    this.#settle(record.slate.surface, { slate: record.slate, isRecorded: true });
    return record;
  }

  /** Forgets everything: another listener. */
  clear() {
    for (const controller of this.#aborts.values()) controller.abort();
    this.#states.clear();
    this.#stale.clear();
  }

  /** The record of a slate. It is written after the response, so the first tries may be early. */
  async record(slateId) {
    if (this.#records.has(slateId)) return this.#records.get(slateId);
    for (let attempt = 0; ; attempt += 1) {
      try {
        const record = await api.slate(slateId);
        rememberSlate(record.slate);
        return this.#keepRecord(record);
      } catch (error) {
        if (error.status !== 404 || attempt >= RECORD_RETRIES) throw error;
        await new Promise((done) => setTimeout(done, RECORD_RETRY_MS));
      }
    }
  }

  async #ask(surface, call) {
    this.#aborts.get(surface)?.abort();
    this.#stale.delete(surface);
    const controller = new AbortController();
    this.#aborts.set(surface, controller);
    this.#settle(surface, { ...this.state(surface), isLoading: true });
    const request = { session_id: listener.sessionId, explain: this.explain };
    if (listener.id) request.user_id = listener.id;
    if (clock.isWorld) request.now = clock.now();
    try {
      const { record, ...slate } = await call(request, controller.signal);
      rememberSlate(slate);
      if (record) this.#keepRecord(record);
      this.#settle(surface, { slate });
      return slate;
    } catch (error) {
      if (error.name === "AbortError") return null;
      this.#settle(surface, { slate: this.state(surface).slate, error });
      return null;
    }
  }

  #keepRecord(record) {
    // Records are large; the page needs the last few.
    if (this.#records.size > 8) this.#records.delete(this.#records.keys().next().value);
    this.#records.set(record.slate.slate_id, record);
    return record;
  }

  #settle(surface, { slate = null, error = null, isLoading = false, isRecorded = false }) {
    this.#states.set(surface, { slate, error, isLoading, isRecorded });
    this.emit(surface);
  }
}

export const slates = new Slates();
