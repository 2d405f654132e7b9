// What a view says when it has nothing to show: what happened, and what to do.

import { el } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A state that fills the place of the content.
 * @param {{title: string, text: string, hint?: string, code?: string, isBad?: boolean, actions?: {label: string, run: function}[]}} state
 */
export function stateBlock({ title, text, hint, code, isBad = false, actions = [] }) {
  return el(
    "section",
    { class: `state${isBad ? " state-bad" : ""}`, role: isBad ? "alert" : null },
    el("span", { class: "state-icon" }, icon(isBad ? "info" : "disc")),
    el("h2", { class: "state-title", text: title }),
    el("p", { class: "state-text" }, ticks(text)),
    hint && el("p", { class: "state-text" }, ticks(hint)),
    code && el("p", { class: "state-code" }, "Code ", el("code", { text: code })),
    actions.length > 0 &&
      el("div", { class: "state-actions" }, actions.map(({ label, run }) => el("button", { class: "button", type: "button", text: label, on: { click: run } }))),
  );
}

/** A state for an `ApiError`; `what` names the thing that did not come. */
export function errorBlock(error, what, retry) {
  const isOffline = error.code === "offline";
  return stateBlock({
    title: isOffline ? "The server does not answer" : `${what} could not be made`,
    text: isOffline ? `${what} needs the engine. Check that it runs, or start it with \`segue serve\`.` : error.message,
    hint: isOffline ? null : error.hint,
    code: isOffline ? null : error.code,
    isBad: true,
    actions: retry ? [{ label: "Try again", run: retry }] : [],
  });
}

/** A line above content that is older than it should be. */
export function staleNote(error, retry) {
  return el(
    "p",
    { class: "notice notice-bad", role: "alert" },
    error.code === "offline" ? "The server does not answer. You see the last slate it sent." : `${error.message} You see the slate before.`,
    " ",
    el("button", { class: "text-button", type: "button", text: "Try again", on: { click: retry } }),
  );
}

/** Text in which `code` stands between backticks, as nodes. */
export function ticks(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", { text: part }) : part));
}
