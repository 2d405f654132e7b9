// The waterfall: what each stage of a request took, from left to right, against its budget.

import { el, replace } from "./dom.js";
import { count, milliseconds, words } from "./format.js";

const TICKS = 4;

/** The stages of a record, as a picture with a table behind it. */
export function waterfall(record) {
  const { stages } = record;
  const served = stages.filter((stage) => stage.kind !== "side_effect");
  const totalUs = Math.max(1, ...served.map((stage) => stage.started_us + stage.took_us));
  const bad = stages.filter((stage) => stage.status !== "ok");
  const summary = `Composed in ${milliseconds(totalUs)} by ${stages.length} stages${bad.length ? `; ${bad.map((stage) => `${words(stage.stage)}: ${words(stage.status)}`).join(", ")}` : ", none late"}.`;
  const body = el("div");
  const button = el("button", { class: "text-button", type: "button", text: "As a table", "aria-pressed": "false" });
  const show = (isTable) => {
    button.setAttribute("aria-pressed", String(isTable));
    replace(body, isTable ? table(stages) : picture(stages, totalUs, summary));
  };
  button.addEventListener("click", () => show(button.getAttribute("aria-pressed") === "false"));
  show(false);
  return el(
    "div",
    { class: "waterfall" },
    el("div", { class: "key-numbers" }, keyNumber(milliseconds(totalUs), "to compose"), keyNumber(count(Math.max(0, ...stages.map((stage) => stage.n_out))), "candidates at most"), keyNumber(count(record.slate.shelves.reduce((n, shelf) => n + shelf.cards.length, 0)), "cards served")),
    el("div", { class: "pane-line" }, el("p", { class: bad.length ? "is-warn" : "", text: bad.length ? summary : "Bars are time taken, the bands behind them what each stage was allowed." }), button),
    body,
  );
}

function keyNumber(value, what) {
  return el("p", { class: "key-number" }, el("strong", { text: value }), el("span", { text: what }));
}

function picture(stages, totalUs, summary) {
  const endUs = Math.max(totalUs, ...stages.map((stage) => stage.started_us + stage.took_us)) * 1.04;
  const share = (us) => `${Math.min(100, (us / endUs) * 100).toFixed(3)}%`;
  const step = niceStep(endUs / TICKS);
  const ticks = [];
  for (let us = 0; us <= endUs; us += step) ticks.push(us);
  return el(
    "div",
    { class: "chart", role: "img", "aria-label": `${summary} The table has every number.` },
    el(
      "div",
      { class: "chart-rows", "aria-hidden": "true" },
      stages.map((stage) =>
        el(
          "div",
          { class: `chart-row kind-${stage.kind}${stage.status === "ok" ? "" : " is-late"}` },
          el("span", { class: "chart-label" }, el("span", { class: "chart-name", text: words(stage.stage) }), el("span", { class: "chart-kind", text: words(stage.kind) })),
          el(
            "span",
            { class: "chart-track" },
            el("span", { class: "chart-budget", vars: { "--from": share(stage.started_us), "--wide": share(Math.min(stage.budget_us, endUs - stage.started_us)) } }),
            el("span", { class: "chart-bar", vars: { "--from": share(stage.started_us), "--wide": share(stage.took_us) } }),
          ),
          el("span", { class: "chart-time", text: stage.status === "ok" ? milliseconds(stage.took_us) : `${milliseconds(stage.took_us)}, ${words(stage.status)}` }),
          el("span", { class: "chart-flow", text: stage.kind === "source" ? `+${count(stage.n_out)}` : stage.n_in === stage.n_out ? count(stage.n_out) : `${count(stage.n_in)} → ${count(stage.n_out)}` }),
        ),
      ),
      el("div", { class: "chart-row chart-axis" }, el("span"), el("span", { class: "chart-track" }, ticks.map((us) => el("span", { class: "chart-tick", text: tickText(us), vars: { "--from": share(us) } }))), el("span", { class: "chart-time", text: "ms" }), el("span", { class: "chart-flow", text: "candidates" })),
    ),
  );
}

function table(stages) {
  const heads = ["Stage", "Kind", "In", "Out", "Start, ms", "Took, ms", "Budget, ms", "Status"];
  return el(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Stages as a table" },
    el(
      "table",
      { class: "plain-table" },
      el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i > 1 && i < 7 ? "is-number" : "", text: head })))),
      el(
        "tbody",
        {},
        stages.map((stage) =>
          el(
            "tr",
            { class: stage.status === "ok" ? "" : "is-late" },
            el("th", { scope: "row", text: words(stage.stage) }),
            el("td", { text: words(stage.kind) }),
            [stage.n_in, stage.n_out].map((n) => el("td", { class: "is-number", text: count(n) })),
            [stage.started_us, stage.took_us, stage.budget_us].map((us) => el("td", { class: "is-number", text: (us / 1000).toFixed(2) })),
            el("td", { text: words(stage.status) }),
          ),
        ),
      ),
    ),
  );
}

function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= raw);
}

function tickText(us) {
  return String(Math.round(us) / 1000);
}
