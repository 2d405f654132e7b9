// One candidate up close: where it came from, what was known of it, what became of it.

import { api } from "./api.js";
import { bar } from "./bars.js";
import { subtitleOf } from "./card.js";
import { drawCover } from "./cover.js";
import { itemOf, remember } from "./displays.js";
import { el, replace } from "./dom.js";
import { explanation } from "./explanation.js";
import { number, probability, words } from "./format.js";
import { player } from "./player.js";
import { stateBlock } from "./states.js";

const NEAREST = 8;

/** @param {function(string): void} onPick called with the id of a similar item */
export function cardPane(record, itemId, onPick) {
  if (!itemId) {
    return el("div", { class: "pane" }, stateBlock({ title: "No card is in focus", text: "Choose a row of the candidates, or focus a card and press `i`." }));
  }
  const item = itemOf(itemId);
  const { display } = item;
  const row = record.candidates.find((candidate) => candidate.item_id === itemId);
  const card = record.slate.shelves.flatMap((shelf) => shelf.cards).find((one) => one.item_id === itemId);
  const shelf = record.slate.shelves.find((one) => one.cards.some((inner) => inner.item_id === itemId));
  return el(
    "div",
    { class: "pane" },
    el(
      "div",
      { class: "card-head" },
      el("div", { class: `cover card-cover${display.kind === "artist" ? " is-round" : ""}` }, drawCover(item)),
      el(
        "div",
        {},
        el("h3", { class: "card-name", text: display.title }),
        el("p", { class: "page-line", text: subtitleOf(display) }),
        el("p", { class: "mono-line", text: itemId }),
        el("button", { class: "button", type: "button", text: "Play", on: { click: () => player.play(card ? { ...card, slate_id: record.slate.slate_id, surface: record.slate.surface } : item, card ? {} : { surface: "other" }) } }),
      ),
    ),
    part("What became of it", el("p", { text: fate(record, itemId, row, card, shelf) }), card?.reason && el("p", { class: "page-line", text: `Said to the listener: “${card.reason}”` })),
    row && part("Where it came from", sources(row)),
    row && part("Which plays speak for it", explanation(record, itemId)),
    row?.heads.length > 0 && part("What the ranker expects", el("dl", { class: "head-list" }, row.heads.map(({ head, probability: p }) => el("div", {}, el("dt", { text: words(head) }), el("dd", {}, bar(p, head)))))),
    row && record.feature_names.length > 0 && part("Features as served", features(record.feature_names, row.features)),
    neighbours(itemId, onPick),
  );
}

function part(title, ...content) {
  return el("section", { class: "pane-part" }, el("h4", { class: "small-title", text: title }), content);
}

function fate(record, itemId, row, card, shelf) {
  if (record.request.current_item_id === itemId) return "It plays now; this slate is what follows it.";
  if (card) {
    const rank = row?.rank ? `rank ${row.rank} before the selector, ` : "";
    return `Served on “${shelf.title}”: ${rank}position ${card.position} after it, with a prefix propensity of ${probability(card.prefix_propensity)}.`;
  }
  if (!row) return "It was not a candidate of this slate, or the candidates were not kept.";
  if (row.removed_by) return `Removed before the selector: ${row.removed_by}.`;
  return `Not chosen: rank ${row.rank} by a score of ${number(row.score)}.`;
}

function sources(row) {
  return el(
    "table",
    { class: "numbers" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Source" }), el("th", { scope: "col", class: "is-number", text: "Rank" }), el("th", { scope: "col", class: "is-number", text: "Score" }))),
    el("tbody", {}, row.sources.map(({ source, rank, score }) => el("tr", {}, el("th", { scope: "row" }, el("span", { class: "chip", text: words(source) })), el("td", { class: "is-number", text: String(rank) }), el("td", { class: "is-number", text: number(score) })))),
  );
}

function features(names, values) {
  return el(
    "table",
    { class: "numbers" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Feature" }), el("th", { scope: "col", class: "is-number", text: "Value" }))),
    el("tbody", {}, names.map((name, i) => el("tr", {}, el("th", { scope: "row", text: words(name) }), el("td", { class: `is-number${values[i] === null || values[i] === undefined ? " is-missing" : ""}`, text: number(values[i]) })))),
  );
}

/** Its neighbours by a model. */
function neighbours(itemId, onPick) {
  const node = el("div", {}, part("Near it", el("p", { class: "page-line", text: "Asking…" })));
  api.similar(itemId, NEAREST).then(
    ({ model, items }) => {
      items.forEach(remember);
      replace(node, part("Near it", el("p", { class: "page-line", text: items.length ? `By ${words(model)}, best first.` : "No model knows its neighbours." }), rows(items, (one) => number(one.score), onPick)));
    },
    (error) => replace(node, part("Near it", el("p", { class: "page-line", text: error.status === 404 ? "No model of this deployment knows its neighbours." : error.message }))),
  );
  return node;
}

function rows(items, note, onPick) {
  return el(
    "ul",
    { class: "item-rows" },
    items.map((one) => el("li", {}, el("button", { class: "item-row", type: "button", on: { click: () => onPick(one.item_id) } }, el("span", { class: "cover item-cover" }, drawCover(one)), el("span", { class: "item-text" }, el("span", { class: "item-title", text: one.display.title }), el("span", { class: "item-line", text: subtitleOf(one.display) })), el("span", { class: "item-note", text: note(one) })))),
  );
}
