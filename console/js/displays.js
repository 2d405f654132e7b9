// What is known of how items look. A slate's record names candidates by id only; whatever this
// page has seen of an item elsewhere gives it a title.

const known = new Map();

/** Remembers the display of a card, play, saved item or similar item. */
export function remember(item) {
  if (item?.display && (item.item_id ?? item.target_id)) {
    known.set(item.item_id ?? item.target_id, item.display);
  }
}

/** Remembers every card of a slate. */
export function rememberSlate(slate) {
  for (const shelf of slate.shelves) shelf.cards.forEach(remember);
}

/** The display of an item; its id stands in for a title that was never seen. */
export function displayOf(itemId) {
  return known.get(itemId) ?? { title: itemId, artists: [] };
}

/** Something that can be drawn and played. */
export function itemOf(itemId) {
  return { item_id: itemId, display: displayOf(itemId) };
}

/** Whether more than the id is known. */
export function isKnown(itemId) {
  return known.has(itemId);
}
