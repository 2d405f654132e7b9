// Experiments: which run, whom they ask, what their arms serve, and what came of them.

import { announce } from "./announcer.js";
import { api } from "./api.js";
import { el, replace, setText } from "./dom.js";
import { about, experimentList } from "./experiment_list.js";
import { experimentPage } from "./experiment_page.js";
import { counted } from "./format.js";
import { icon } from "./icons.js";
import { router } from "./router.js";
import { errorBlock, stateBlock } from "./states.js";

/** A file as short as it can be; `docs/experiments.md` has the rest. */
const EXAMPLE = `[experiment]
name = "quieter-home"
unit = "user"
ramp = 0.1

[[experiment.arms]]   # the control changes nothing
name = "control"

[[experiment.arms]]
name = "quiet"
[experiment.arms.config.surface.home]
shelf = ["jump_back_in", "made_for_you"]`;

export class ExperimentsView {
  #off = null;
  #abort = null;
  #experiments = null;
  #error = null;

  constructor() {
    this.title = el("h1", { class: "page-title" });
    this.line = el("p", { class: "page-line", "aria-live": "polite" });
    this.back = el("a", { class: "text-button back-link" }, icon("left"), "All experiments");
    this.again = el("button", { class: "icon-button", type: "button", "aria-label": "Ask for the experiments again", title: "Ask again (r)", on: { click: () => this.askAgain() } }, icon("refresh"));
    this.body = el("div");
    this.node = el("div", { class: "page experiments" }, this.back, el("header", { class: "page-head" }, el("div", { class: "page-names" }, this.title, this.line), this.again), this.body);
  }

  mount(container) {
    replace(container, this.node);
    this.#off = router.on("change", ({ route }) => route.room === "experiments" && this.#show());
    this.#show();
    this.#ask();
  }

  unmount() {
    this.#off();
    this.#abort?.abort();
  }

  /** Nothing here can be played by key. */
  cardInFocus() {
    return null;
  }

  /** Asks the server again, and says what came. */
  async askAgain() {
    await this.#ask();
    if (!this.#error) announce(counted(this.#experiments.length, "experiment"));
  }

  async #ask() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.again.classList.add("is-turning");
    try {
      this.#experiments = (await api.experiments(this.#abort.signal)).experiments;
      this.#error = null;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#error = error;
    }
    this.again.classList.remove("is-turning");
    this.#show();
  }

  #show() {
    const name = router.route.params.experiment ?? null;
    setText(this.title, name ?? "Experiments");
    this.back.hidden = name === null;
    this.back.href = router.href("experiments", { experiment: null });
    setText(this.line, "");
    if (this.#error) replace(this.body, errorBlock(this.#error, "The list of experiments", () => this.#ask()));
    else if (!this.#experiments) replace(this.body, skeleton());
    else if (name === null) this.#showAll();
    else this.#showOne(this.#experiments.find((one) => one.name === name), name);
  }

  #showAll() {
    const all = this.#experiments;
    if (!all.length) {
      replace(
        this.body,
        stateBlock({ title: "No experiments yet", text: "An arm is a difference of configuration. Write a file that says who is asked and what each arm changes, and start it: `segue experiment start FILE`.", hint: "Nothing restarts. `[[experiment]]` in `segue.toml` does the same for experiments that belong to the configuration." }),
        el("pre", { class: "raw example", tabindex: "0", role: "region", "aria-label": "An example file", text: EXAMPLE }),
      );
      return;
    }
    const tally = ["running", "stopped", "refused"].map((status) => [all.filter((one) => one.status === status).length, status]).filter(([n]) => n);
    setText(this.line, tally.map(([n, status]) => `${n} ${status}`).join(" · "));
    replace(this.body, experimentList(all));
  }

  #showOne(experiment, name) {
    if (experiment) {
      setText(this.line, about(experiment));
      replace(this.body, experimentPage(experiment));
    } else replace(this.body, stateBlock({ title: "No such experiment", text: `This server has no experiment \`${name}\`. Its file may have been removed from the home's \`experiments/\`.`, actions: [{ label: "All experiments", run: () => router.go("experiments", { experiment: null }) }] }));
  }
}

function skeleton() {
  return el("div", { class: "experiment-rows", "aria-hidden": "true" }, Array.from({ length: 3 }, () => el("div", { class: "experiment skeleton" })));
}
