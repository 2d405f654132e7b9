// What is known of how items look. A slate's record names candidates by id only; what the page has
// seen of an item elsewhere gives it a title, and the rest is looked up in one call.

import { api } from "./api.js";

/** Most ids the server takes in one call. */
const BATCH = 500;

const known = new Map();
/** Ids that were asked for, so that those nobody knows are not asked for again. */
const asked = new Set();

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

/**
 * Looks up the items that have no title yet, each once.
 * @returns {Promise<boolean>} whether something was learned; rejects if the server does not say
 */
export async function lookUp(itemIds) {
  // The list is joined by commas, so an id with one in it cannot be asked for.
  const ids = [...new Set(itemIds)].filter((id) => !known.has(id) && !asked.has(id) && !id.includes(","));
  const before = known.size;
  for (let from = 0; from < ids.length; from += BATCH) {
    const some = ids.slice(from, from + BATCH);
    some.forEach((id) => asked.add(id));
    try {
      (await api.items(some)).items.forEach(remember);
    } catch (error) {
      some.forEach((id) => asked.delete(id));
      throw error;
    }
  }
  return known.size > before;
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
