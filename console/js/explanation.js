// Why the sources proposed an item: each play of the listener that made part of a score.

import { api } from "./api.js";
import { amountBar } from "./bars.js";
import { clock } from "./clock.js";
import { drawCover } from "./cover.js";
import { remember } from "./displays.js";
import { el, replace } from "./dom.js";
import { ago, counted, number, words } from "./format.js";

/** Plays in sight before the rest is asked for. */
const AT_FIRST = 5;
/** The server sends the largest ones only. */
const MOST = 20;

/** Fills itself once the server has worked the parts out. */
export function explanation(record, itemId) {
  const node = el("div", { class: "explanation" }, el("p", { class: "page-line", text: "Working out the parts…" }));
  const { slate } = record;
  api.explanation(slate.slate_id, itemId).then(
    (found) => {
      found.sources.forEach(({ plays }) => plays.forEach(remember));
      replace(node, found.sources.length ? parts(found, slate.user_id === null) : line("No source of this slate proposed it."));
    },
    (error) => replace(node, line([error.message, error.hint].filter(Boolean).join(" "))),
  );
  return node;
}

function parts({ sources, is_current: isCurrent }, isStranger) {
  const made = sources.filter(({ plays }) => plays.length);
  const whole = sources.filter(({ plays }) => !plays.length).map(({ source }) => words(source));
  return [
    !isCurrent && made.length > 0 && el("p", { class: "notice", text: "No longer current: the listener or the deployment moved on since this slate. These are the parts as they are now, and they may not add up to the recorded score." }),
    made.map((one) => source(one, isCurrent)),
    whole.length > 0 && line(wholeText(whole, { isCurrent, isStranger, isAll: made.length === 0 })),
  ];
}

function wholeText(names, { isCurrent, isStranger, isAll }) {
  const list = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
  if (isStranger) return `Nothing is known of a stranger: ${list} proposed it without a play.`;
  const text = `Not made of single plays: ${isAll ? "" : "the score of "}${list}.`;
  return isCurrent ? text : `${text} Plays that were forgotten since this slate do not show either.`;
}

function source({ source: name, score, plays }, isCurrent) {
  const largest = Math.max(...plays.map((play) => Math.abs(play.amount)));
  const sum = plays.reduce((total, play) => total + play.amount, 0);
  const list = el("ul", { class: "item-rows" }, plays.slice(0, AT_FIRST).map((play) => row(play, largest)));
  const more = plays.length > AT_FIRST && el("button", { class: "text-button", type: "button", text: counted(plays.length - AT_FIRST, "more play"), on: { click: () => showRest() } });
  const showRest = () => {
    const rest = plays.slice(AT_FIRST).map((play) => row(play, largest));
    list.append(...rest);
    more.remove();
    // The button is gone: focus goes on with what it showed.
    rest[0].tabIndex = -1;
    rest[0].focus({ preventScroll: true });
  };
  return el(
    "section",
    { class: "explained", "aria-label": `Plays behind ${words(name)}` },
    el("p", { class: "pane-line" }, el("span", { class: "chip", text: words(name) }), el("span", { class: "explained-sum", text: `${countText(plays.length)} ${number(sum)} ${isCurrent ? "of" : "now; the recorded score is"} ${number(score)}` })),
    list,
    more,
  );
}

function countText(n) {
  if (n >= MOST) return `the ${n} largest plays make`;
  return n === 1 ? "1 play makes" : `${n} plays make`;
}

function row(play, largest) {
  const when = play.occurred_at === null || play.occurred_at === undefined ? "plays now, or undated" : ago(play.occurred_at, clock.now());
  const { title, artists } = play.display;
  return el(
    "li",
    { class: "explained-play" },
    el("span", { class: "cover item-cover" }, drawCover(play)),
    el("span", { class: "item-text" }, el("span", { class: "item-title", dir: "auto", text: title }), el("span", { class: "item-line", text: [artists?.join(", "), when].filter(Boolean).join(" · ") })),
    amountBar(play.amount, largest),
  );
}

function line(text) {
  return el("p", { class: "page-line", text });
}
