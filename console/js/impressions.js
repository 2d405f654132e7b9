// Reports what the listener met: a card counts once per slate, when half of it has been on screen
// for half a second.

import { newId } from "./api.js";
import { clock } from "./clock.js";
import { listener } from "./listener.js";
import { enqueue, flush } from "./outbox.js";

const SHARE = 0.5;
const DWELL_MS = 500;
const BATCH_MS = 1200;

const shown = new WeakMap();
const timers = new WeakMap();
const reported = new Set();
let batchTimer = 0;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(timers.get(target));
      if (isIntersecting) timers.set(target, setTimeout(() => report(shown.get(target)), DWELL_MS));
    }
  },
  { threshold: SHARE },
);

/** Watches a card's element; call again when the card belongs to a new slate. */
export function watch(element, { slate_id, shelf_id, position, item_id }) {
  const before = shown.get(element);
  if (before && before.slate_id === slate_id && before.position === position) return;
  clearTimeout(timers.get(element));
  shown.set(element, { slate_id, shelf_id, position, item_id });
  observer.unobserve(element);
  observer.observe(element);
}

/** Stops watching an element that leaves the page. */
export function unwatch(element) {
  clearTimeout(timers.get(element));
  observer.unobserve(element);
}

/** Reports one card as met now, such as a track that begins to sound. */
export function report(card) {
  if (!card?.slate_id || !listener.id || !Number.isInteger(card.position)) return;
  const key = `${card.slate_id}/${card.position}`;
  if (reported.has(key)) return;
  reported.add(key);
  const event = {
    type: "impression",
    event_id: newId(),
    user_id: listener.id,
    item_id: card.item_id,
    slate_id: card.slate_id,
    position: card.position,
    shown_at: clock.now(),
  };
  if (card.shelf_id) event.shelf_id = card.shelf_id;
  enqueue(event);
  clearTimeout(batchTimer);
  batchTimer = setTimeout(() => flush().catch(() => {}), BATCH_MS);
}
