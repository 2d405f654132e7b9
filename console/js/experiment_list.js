// The list of experiments: one row each, the numbers as bars.

import { shareBar } from "./bars.js";
import { clock } from "./clock.js";
import { el } from "./dom.js";
import { moment, percent, words } from "./format.js";
import { router } from "./router.js";
import { ticks } from "./states.js";

const STATUS = { running: "Running", stopped: "Stopped", refused: "Refused" };
const SURFACES = { home: "Home", now_playing: "Now Playing" };

/** @param {object[]} experiments as `GET /v1/experiments` has them */
export function experimentList(experiments) {
  return el("ul", { class: "experiment-rows" }, experiments.map(row));
}

/** The status as a word with its colour. */
export function statusMark(status) {
  return el("span", { class: `status-mark is-${status}`, text: STATUS[status] ?? words(status) });
}

/** `Home and Now Playing`. */
export function surfacesText(surfaces) {
  return surfaces.map((surface) => SURFACES[surface] ?? words(surface)).join(" and ") || "no surface";
}

/** `By user, on Home`. */
export function about({ unit, surfaces }) {
  return `By ${words(unit)}, on ${surfacesText(surfaces)}`;
}

/** A day and a time, said to be UTC where the world clock runs. */
export function dated(ms) {
  return `${moment(ms, clock.isWorld)}${clock.isWorld ? " (UTC)" : ""}`;
}

/** Why an experiment is refused, or null. */
export function refusal(experiment) {
  if (experiment.status !== "refused") return null;
  return el("p", { class: "notice notice-bad refusal" }, ticks(experiment.detail ?? "The server does not say why."));
}

function row(experiment) {
  const { name, status, unit, ramp, arms } = experiment;
  return el(
    "li",
    { class: "experiment", data: { experiment: name } },
    el("div", { class: "experiment-head" }, el("h2", { class: "experiment-name" }, el("a", { href: router.href("experiments", { experiment: name }), text: name })), statusMark(status), el("p", { class: "page-line", text: about(experiment) }), el("p", { class: "page-line", text: times(experiment) })),
    el("div", { class: "experiment-part" }, el("p", { class: "part-label", text: rampLabel(experiment) }), shareBar(ramp)),
    el("div", { class: "experiment-part" }, el("p", { class: "part-label", text: "Arms: share of those admitted" }), split(arms)),
    refusal(experiment),
  );
}

/** `eligible listeners`, for what is randomised. */
export function unitName(unit) {
  return { user: "eligible listeners", session: "eligible sessions", request: "eligible requests" }[unit] ?? `eligible ${words(unit)}`;
}

function rampLabel({ status, unit }) {
  if (status === "running") return `Ramp: ${unitName(unit)} admitted`;
  return status === "stopped" ? "Ramp when it stopped: nobody is admitted now" : "Ramp asked for: nobody is admitted";
}

function times({ status, started_at: started, stopped_at: stopped }) {
  if (stopped) return `Stopped ${dated(stopped)}`;
  if (started) return `Started ${dated(started)}`;
  return status === "refused" ? "Not started" : "Stands in segue.toml";
}

/** The arms side by side, as wide as their shares; the words below carry every number. */
function split(arms) {
  return el(
    "div",
    { class: "split" },
    el("div", { class: "split-bar", "aria-hidden": "true" }, arms.map(({ share }, i) => el("span", { class: `split-part series-${(i % 6) + 1}`, vars: { "--wide": `${(share * 100).toFixed(2)}%` } }))),
    el("ul", { class: "split-names" }, arms.map(({ name, share }, i) => el("li", {}, el("span", { class: `split-dot series-${(i % 6) + 1}`, "aria-hidden": "true" }), el("span", { text: `${name} ${percent(share)}` })))),
  );
}
