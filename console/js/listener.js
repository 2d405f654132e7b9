// Whom the page pretends to be, and what stands of their acts (saved, hidden).

import { api, newId } from "./api.js";
import { note } from "./announcer.js";
import { clock } from "./clock.js";
import { remember } from "./displays.js";
import { Emitter } from "./emitter.js";
import { enqueue, flush } from "./outbox.js";

class Listener extends Emitter {
  /** External id; null is a stranger, who leaves no trace. */
  id = null;
  /** Answer of `GET /v1/users/{id}`, or null. */
  profile = null;
  /** One id per page load, for experiments by session. */
  sessionId = newId();
  #standing = new Map();

  /** The name to greet with; null for a stranger. */
  get name() {
    return this.profile?.display_name ?? this.id;
  }

  /** Becomes somebody. Emits `change`, and `profile` once more is known. */
  async become(id) {
    this.id = id || null;
    this.profile = null;
    this.#standing = new Map();
    this.emit("change");
    await this.refresh();
  }

  /** Asks again what the server knows; quiet when it does not answer, since the views say so. */
  async refresh() {
    const { id } = this;
    if (!id) return;
    try {
      const profile = await api.user(id);
      if (this.id !== id) return;
      this.profile = profile;
      profile.recent.forEach(remember);
      profile.feedback.forEach(remember);
      this.#standing = new Map(profile.feedback.map((row) => [`${row.kind}/${row.target_id}`, true]));
      this.emit("profile");
    } catch (error) {
      this.emit("profile-failed", error);
    }
  }

  isSaved(itemId) {
    return this.#standing.get(`save/${itemId}`) === true;
  }

  isHidden(itemId) {
    return this.#standing.get(`hide/${itemId}`) === true;
  }

  /**
   * Saves, unsaves, hides or shows again. The page answers at once (`act`), and `acted` follows
   * when the server has it, so that the slate asked for then reflects it.
   */
  async act(kind, card) {
    if (!this.id) {
      note("A stranger has no memory. Choose a listener to save or hide.");
      return;
    }
    const base = kind.replace(/^un/, "");
    this.#standing.set(`${base}/${card.item_id}`, kind === base);
    this.emit("act", { kind, item_id: card.item_id });
    const event = {
      type: "feedback",
      event_id: newId(),
      user_id: this.id,
      target_id: card.item_id,
      kind,
      occurred_at: clock.now(),
    };
    // A slate and a position belong together: an act on something found elsewhere has neither.
    if (card.slate_id && Number.isInteger(card.position)) Object.assign(event, { slate_id: card.slate_id, position: card.position });
    enqueue(event);
    try {
      await flush();
      this.emit("acted", { kind, item_id: card.item_id });
    } catch (error) {
      note(`Kept for later: ${error.message}`);
    }
  }

  /** Saves or unsaves. */
  toggleSaved(card) {
    const wasSaved = this.isSaved(card.item_id);
    note(wasSaved ? `Removed ${card.display.title} from saved.` : `Saved ${card.display.title}.`);
    return this.act(wasSaved ? "unsave" : "save", card);
  }

  /** Hides, with a way back. */
  hide(card) {
    if (this.id) note(`Hidden: ${card.display.title}.`, { label: "Undo", run: () => this.act("unhide", card) });
    return this.act("hide", card);
  }
}

export const listener = new Listener();
