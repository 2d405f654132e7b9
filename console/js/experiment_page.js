// One experiment: what it does, what each arm serves, and its report.

import { api } from "./api.js";
import { shareBar } from "./bars.js";
import { el } from "./dom.js";
import { dated, refusal, statusMark, surfacesText, unitName } from "./experiment_list.js";
import { percent, words } from "./format.js";
import { ticks } from "./states.js";
import { framed } from "./theme.js";

const RAMP_NOTE = { running: " are admitted now", stopped: ", until it stopped", refused: ", if it could run" };

/** @param {object} experiment as `GET /v1/experiments` has it */
export function experimentPage(experiment) {
  const { status, unit, ramp, surfaces, started_at: started, stopped_at: stopped } = experiment;
  const todo = commands(experiment);
  return el(
    "div",
    { class: "experiment-page" },
    refusal(experiment),
    el(
      "section",
      { "aria-label": "How it runs" },
      el(
        "dl",
        { class: "facts-list" },
        fact("Status", statusMark(status)),
        fact("Ramp", shareBar(ramp), el("span", { class: "fact-note", text: `of the ${unitName(unit)}${RAMP_NOTE[status] ?? ""}` })),
        fact("Randomised by", words(unit)),
        fact("Surfaces it can change", surfacesText(surfaces)),
        fact("Started", started ? dated(started) : "not by a command: it stands in segue.toml"),
        stopped && fact("Stopped", dated(stopped)),
      ),
    ),
    section("Arms", arms(experiment)),
    section("Report", report(experiment)),
    todo.length > 0 && section("From the command line", el("ul", { class: "commands" }, todo.map(([command, what]) => el("li", {}, el("code", { text: command }), el("span", { class: "page-line", text: what }))))),
  );
}

function arms({ arms: all, ramp, unit }) {
  const control = all[0]?.deployment_id;
  const heads = ["Arm", "Share of those admitted", `Of all ${unitName(unit)}`, "Deployment"];
  return el(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Arms" },
    el(
      "table",
      { class: "plain-table arms" },
      el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i === 2 ? "is-number" : "", text: head })))),
      el(
        "tbody",
        {},
        all.map(({ name, share, deployment_id: deployment }, i) =>
          el("tr", {}, el("th", { scope: "row" }, name, i === 0 && name !== "control" && el("span", { class: "chip arm-chip", text: "control" })), el("td", {}, shareBar(share)), el("td", { class: "is-number", text: percent(share * ramp) }), el("td", {}, deployment ? el("code", { text: deployment }) : el("span", { class: "fact-note", text: "none: it does not run" }), deployment && i > 0 && deployment === control && el("span", { class: "fact-note", text: " as the control" }))),
        ),
      ),
    ),
  );
}

/** The report is a page of its own, which may do nothing but draw itself: no scripts, no requests. */
function report({ name, has_report: hasReport }) {
  if (!hasReport) return el("p", { class: "page-line" }, ticks(`No report was written yet. \`segue experiment report ${name}\` makes one from the log, and it then shows here.`));
  const address = api.reportAddress(name);
  return [
    el("p", { class: "pane-line" }, el("span", { text: "As it was last written." }), el("a", { class: "text-button", href: address, target: "_blank", rel: "noopener", text: "Open it in a tab of its own" })),
    el("iframe", { class: "report", title: `Report of ${name}`, sandbox: "", src: framed(address), loading: "lazy" }),
  ];
}

function commands({ name, status, has_report: hasReport }) {
  const list = [];
  if (status === "running") list.push([`segue experiment ramp ${name} 0.5`, "admits half; those who are in stay in their arm"], [`segue experiment stop ${name}`, "everybody gets the server's own pages again"]);
  if (hasReport) list.push([`segue experiment report ${name}`, "writes its report anew"]);
  return list;
}

function section(title, ...content) {
  return el("section", { class: "experiment-section" }, el("h2", { class: "small-title", text: title }), content);
}

function fact(name, ...value) {
  return el("div", {}, el("dt", { text: name }), el("dd", {}, value));
}
