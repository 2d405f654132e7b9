// The slate as a whole: ids, versions, seed, replay, raw JSON.

import { announce } from "./announcer.js";
import { api } from "./api.js";
import { clock } from "./clock.js";
import { el, replace } from "./dom.js";
import { count, counted, moment, number, probability, words } from "./format.js";
import { icon } from "./icons.js";
import { router } from "./router.js";

/** Everything that decided one slate, by name. */
export function slatePane(record) {
  const { slate } = record;
  const result = el("div", { class: "replay-result", role: "status" });
  const buttons = [["Replay this slate", false], ["Run the stages again", true]].map(([text, recompute]) => el("button", { class: "button", type: "button", text, on: { click: () => replay(slate.slate_id, recompute, buttons, result) } }));
  const models = el("dd", { text: "…" });
  api.status().then((status) => replace(models, status.models.length ? el("ul", {}, status.models.map((model) => el("li", {}, `${words(model.name)} `, el("code", { text: model.artifact_id }), model.status === "serving" ? "" : ` ${words(model.status)}`))) : "None"), () => replace(models, "The server does not answer"));
  const json = el("pre", { class: "raw", tabindex: "0", role: "region", "aria-label": "Record as JSON" });
  const details = el("details", { on: { toggle: () => details.open && !json.textContent && (json.textContent = JSON.stringify(record, null, 2)) } }, el("summary", { text: "Raw JSON" }), json);
  return el(
    "div",
    { class: "pane" },
    el(
      "dl",
      { class: "facts-list" },
      fact("Request id", copyable(slate.slate_id)),
      fact("Surface", words(slate.surface)),
      fact("Listener", slate.user_id ?? "a stranger"),
      fact("Composed at", `${moment(slate.composed_at, clock.isWorld)}${clock.isWorld ? " (UTC)" : ""}`),
      fact("Deployment", copyable(record.deployment_id)),
      el("div", {}, el("dt", { text: "Models serving now" }), models),
      fact("Experiment arms", arms(record.arms)),
      fact("Seed", copyable(String(record.seed))),
      fact("User state", `known up to offset ${count(record.user_state_offset)}`),
      fact("Slate propensity", probability(slate.slate_propensity)),
      fact("Candidates kept", `${count(record.candidates.length)}, of ${(record.candidate_sampling_rate * 100).toFixed(record.candidate_sampling_rate < 0.1 ? 1 : 0)} % of requests`),
      fact("Degraded", slate.degraded.length ? slate.degraded.map(({ stage, cause, detail }) => `${words(stage)}: ${words(cause)} (${detail})`).join("; ") : "no"),
    ),
    record.shelves?.length > 0 && el("section", { class: "pane-part" }, el("h3", { class: "small-title", text: "What each selector was told" }), selectors(record.shelves)),
    el("div", { class: "replay" }, el("div", { class: "state-actions" }, buttons), result),
    details,
  );
}

function selectors(shelves) {
  const heads = ["Shelf", "Selector", "Pool", "Limit", "Per artist", "ε", "Temperature"];
  return el(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "What each selector was told" },
    el(
      "table",
      { class: "plain-table" },
      el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i > 1 ? "is-number" : "", text: head })))),
      el("tbody", {}, shelves.map((shelf) => el("tr", {}, el("th", { scope: "row", text: shelf.title || words(shelf.shelf_id) }), el("td", { text: words(shelf.selector) }), [count(shelf.pool.length), count(shelf.limit), shelf.max_per_group ? count(shelf.max_per_group) : "no cap", number(shelf.epsilon), number(shelf.temperature)].map((text) => el("td", { class: "is-number", text }))))),
    ),
  );
}

function fact(name, value) {
  return el("div", {}, el("dt", { text: name }), el("dd", {}, value));
}

/** Arms as `experiment=arm`, each a link to its experiment. */
function arms(names) {
  if (!names.length) return "none: no experiment could have changed this slate";
  return names.map((name) => el("a", { class: "chip chip-link", href: router.href("experiments", { experiment: name.split("=")[0], inspect: null }), text: name.replace("=", " = ") }));
}

function copyable(text) {
  const button = el("button", { class: "icon-button icon-button-small", type: "button", "aria-label": `Copy ${text}`, title: "Copy", on: { click: () => copy(text, button) } }, icon("copy"));
  return [el("code", { class: "copy-text", text }), button];
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is closed to pages that are not served securely: mark the text, so that one can.
    getSelection().selectAllChildren(button.parentElement.querySelector(".copy-text"));
    announce("Marked. Copy it with your keyboard.");
    return;
  }
  replace(button, icon("check"));
  announce("Copied.");
  setTimeout(() => replace(button, icon("copy")), 1500);
}

async function replay(id, recompute, buttons, result) {
  for (const button of buttons) button.disabled = true;
  replace(result, el("p", { class: "page-line", text: recompute ? "Running the stages again…" : "Composing again from the record…" }));
  try {
    const { is_identical, differences } = await api.replay(id, { recompute });
    replace(
      result,
      is_identical
        ? el("p", { class: "is-ok" }, icon("check"), "Identical: the slate composed again equals the served one, byte for byte.")
        : [el("p", { class: "is-bad", text: `Different in ${counted(differences.length, "place")}:` }), el("ul", { class: "differences" }, differences.map((text) => el("li", { text })))],
    );
  } catch (error) {
    replace(result, el("p", { class: "is-bad", text: `${error.message} ${error.hint ?? ""}` }));
  }
  for (const button of buttons) button.disabled = false;
}
