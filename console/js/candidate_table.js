// The candidates of a slate: sortable, with every number, only the rows in sight in the document.
// The ones that were removed stand below the others, with the reason.

import { bar } from "./bars.js";
import { displayOf, isKnown } from "./displays.js";
import { el, replace, setText, spoken } from "./dom.js";
import { count, number, probability, words } from "./format.js";
import { stateBlock } from "./states.js";

const OVERSCAN = 8;

export class CandidateTable {
  #record = null;
  #kept = [];
  #removed = [];
  #rows = [];
  #heads = [];
  #columns = [];
  #sort = { key: "rank", isDown: false };
  #range = null;
  #selected = null;

  /** @param {function(string): void} onPick called with the item id of a row */
  constructor(onPick) {
    this.onPick = onPick;
    this.filter = el("input", { class: "search-input search-small", type: "search", placeholder: "Title, artist, id, source or rule", "aria-label": "Filter the candidates", autocomplete: "off", spellcheck: "false", on: { input: () => this.#arrange() } });
    this.summary = el("p", { class: "pane-summary", role: "status" });
    this.head = el("thead");
    this.body = el("tbody", { on: { keydown: (event) => this.#keys(event) } });
    this.table = el("table", { class: "candidates" }, el("caption", { class: "visually-hidden", text: "Candidates of this slate" }), this.head, this.body);
    this.scroller = el("div", { class: "table-scroll candidates-scroll", tabindex: "0", role: "region", "aria-label": "Candidates", on: { scroll: () => this.#paint() } }, this.table);
    this.node = el("div", { class: "pane pane-candidates" });
    this.resize = new ResizeObserver(() => this.#paint());
    this.resize.observe(this.scroller);
  }

  /** Shows the candidates of a record. */
  show(record, selected) {
    this.#selected = selected;
    if (record === this.#record) {
      this.#paint(true);
      return;
    }
    this.#record = record;
    if (!record.candidates.length) {
      replace(this.node, stateBlock({ title: "The candidates were not kept", text: `Candidates are kept for ${(record.candidate_sampling_rate * 100).toFixed(1)} % of requests, and this one was not drawn.`, hint: "Raise the share of logged candidates in `segue.toml` to see them for each slate." }));
      return;
    }
    replace(this.node, el("div", { class: "pane-line" }, this.filter), this.summary, this.scroller);
    this.#heads = [...new Set(record.candidates.flatMap((row) => row.heads.map(({ head }) => head)))];
    this.#columns = [
      { key: "rank", label: "Rank", title: "Rank before the selector", value: (row) => row.rank },
      { key: "position", label: "After", title: "Position in the slate, and how far the selector moved it", value: (row) => row.position },
      { key: "title", label: "Item", value: (row) => displayOf(row.item_id).title },
      ...this.#heads.map((head) => ({ key: `head:${head}`, label: capital(words(head)), title: `Probability of ${words(head)}`, isDownFirst: true, value: (row) => row.heads.find((one) => one.head === head)?.probability ?? null })),
      { key: "sources", label: "Sources", value: (row) => row.sources.map(({ source }) => source).join(" ") },
      { key: "score", label: "Score", isNumber: true, isDownFirst: true, value: (row) => row.score },
      { key: "propensity", label: "Propensity", title: "Probability of this item at its position, given those above", isNumber: true, isDownFirst: true, value: (row) => row.prefix_propensity },
    ];
    if (!this.#columns.some((column) => column.key === this.#sort.key)) this.#sort = { key: "rank", isDown: false };
    this.#kept = record.candidates.filter((row) => !row.removed_by);
    this.#removed = record.candidates.filter((row) => row.removed_by);
    this.#drawHead();
    this.#arrange();
  }

  /** Draws again with the titles that came in since; the place in the table is kept. */
  showTitles() {
    if (this.#record?.candidates.length) this.#arrange();
  }

  #drawHead() {
    replace(
      this.head,
      el(
        "tr",
        { "aria-rowindex": "1" },
        this.#columns.map((column) => {
          const isSorted = this.#sort.key === column.key;
          return el(
            "th",
            { scope: "col", class: `col-${column.key.split(":")[0]}${column.isNumber ? " is-number" : ""}`, "aria-sort": isSorted ? (this.#sort.isDown ? "descending" : "ascending") : "none" },
            el("button", { class: "sort", type: "button", title: column.title, data: { sort: column.key }, on: { click: () => this.#sortBy(column) } }, column.label, el("span", { class: "sort-mark", "aria-hidden": "true", text: isSorted ? (this.#sort.isDown ? "↓" : "↑") : "" })),
          );
        }),
      ),
    );
  }

  #sortBy(column) {
    const { key, isDown } = this.#sort;
    this.#sort = { key: column.key, isDown: key === column.key ? !isDown : Boolean(column.isDownFirst) };
    this.#drawHead();
    this.head.querySelector(`[data-sort="${CSS.escape(column.key)}"]`)?.focus();
    this.scroller.scrollTop = 0;
    this.#arrange();
  }

  #arrange() {
    const text = this.filter.value.trim().toLowerCase();
    const matches = (row) => !text || [row.item_id, displayOf(row.item_id).title, ...(displayOf(row.item_id).artists ?? []), row.removed_by ?? "", ...row.sources.map(({ source }) => source)].some((part) => part.toLowerCase().includes(text));
    const { value } = this.#columns.find((column) => column.key === this.#sort.key);
    const order = compare(value, this.#sort.isDown);
    const kept = this.#kept.filter(matches).sort(order);
    const removed = this.#removed.filter(matches).sort(order);
    this.#rows = removed.length ? [...kept, { isDivider: true, n: removed.length }, ...removed] : kept;
    const chosen = kept.filter((row) => row.position !== null).length;
    setText(this.summary, `${count(kept.length + removed.length)} candidates: ${count(chosen)} chosen, ${count(kept.length - chosen)} not chosen, ${count(removed.length)} removed`);
    this.table.setAttribute("aria-rowcount", String(this.#rows.length + 1));
    this.#paint(true);
  }

  #paint(isForced = false) {
    if (!this.#rows.length && !this.#record) return;
    const rowHeight = parseFloat(getComputedStyle(this.node).getPropertyValue("--row-px")) || 44;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / rowHeight) - OVERSCAN);
    const to = Math.min(this.#rows.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / rowHeight) + OVERSCAN);
    if (!isForced && this.#range && this.#range.from === from && this.#range.to === to) return;
    this.#range = { from, to };
    const focused = document.activeElement?.closest?.("tr[data-item]")?.dataset.item;
    replace(this.body, spacer(from * rowHeight), this.#rows.slice(from, to).map((row, i) => this.#row(row, from + i)), spacer((this.#rows.length - to) * rowHeight));
    if (focused && document.activeElement === document.body) this.body.querySelector(`tr[data-item="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
  }

  #row(row, i) {
    const attributes = { "aria-rowindex": String(i + 2) };
    if (row.isDivider) return el("tr", { ...attributes, class: "divider" }, el("th", { colspan: String(this.#columns.length), scope: "colgroup", text: `Removed before the selector: ${count(row.n)}` }));
    const { title, artists } = displayOf(row.item_id);
    const by = artists?.join(", ");
    const isChosen = row.position !== null;
    const moved = isChosen ? row.rank - (row.position + 1) : 0;
    const cells = [
      el("td", { class: "is-number", text: row.rank === null ? "–" : String(row.rank) }),
      el("td", { class: "col-position" }, isChosen ? [String(row.position), moved !== 0 && el("span", { class: moved > 0 ? "moved-up" : "moved-down", text: ` ${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}` })] : "–"),
      el("th", { scope: "row", class: "col-title" }, el("button", { class: `row-button${isKnown(row.item_id) ? "" : " is-id"}`, type: "button", title: `${[title, by].filter(Boolean).join(" by ")} (${row.item_id})`, on: { click: () => this.onPick(row.item_id) } }, el("span", { class: "row-title", dir: "auto", text: title }), by && [spoken(" by "), el("span", { class: "row-artists", dir: "auto", text: by })])),
    ];
    const sources = el("td", { class: "col-sources" }, el("span", { class: "chips" }, row.sources.map(({ source, rank, score }) => el("span", { class: "chip", title: `${words(source)}: rank ${rank}, score ${number(score)}`, text: words(source) }))));
    const reason = (columns) => el("td", { class: "col-removed", colspan: String(columns), title: row.removed_by, text: row.removed_by });
    if (row.removed_by && this.#heads.length) cells.push(reason(this.#heads.length), sources, el("td", { class: "is-number", text: "–" }), el("td", { class: "is-number", text: "–" }));
    else if (row.removed_by) cells.push(sources, reason(2));
    else {
      for (const head of this.#heads) cells.push(el("td", { class: "col-head" }, bar(row.heads.find((one) => one.head === head)?.probability, head)));
      cells.push(sources, el("td", { class: "is-number", text: row.score === null ? "–" : number(row.score) }), el("td", { class: "is-number", text: probability(row.prefix_propensity) }));
    }
    return el("tr", { ...attributes, class: `${isChosen ? "is-chosen" : ""}${row.removed_by ? " is-removed" : ""}${row.item_id === this.#selected ? " is-selected" : ""}`, data: { item: row.item_id } }, cells);
  }

  /** Up and down between rows, also to rows that are not in the document yet. */
  #keys(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const item = event.target.closest("tr")?.dataset.item;
    if (!step || !item) return;
    event.preventDefault();
    let i = this.#rows.findIndex((row) => row.item_id === item) + step;
    if (this.#rows[i]?.isDivider) i += step;
    const row = this.#rows[i];
    if (!row) return;
    const rowHeight = parseFloat(getComputedStyle(this.node).getPropertyValue("--row-px")) || 44;
    const top = i * rowHeight;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + 2 * rowHeight > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = top + 2 * rowHeight - this.scroller.clientHeight;
    this.#paint();
    this.body.querySelector(`tr[data-item="${CSS.escape(row.item_id)}"] button`)?.focus({ preventScroll: true });
  }
}

/** Missing values last, whichever way; ties by item id. */
function compare(value, isDown) {
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    const tie = a.item_id < b.item_id ? -1 : 1;
    if (x === y) return tie;
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return (isDown ? -order : order) || tie;
  };
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function spacer(height) {
  if (height <= 0) return null;
  const row = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td"));
  row.style.height = `${height}px`;
  return row;
}
