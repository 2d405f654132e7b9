// The address holds the state: `#/home?user=ada&slate=req-1&inspect=candidates`. A link
// reproduces the view, the browser's back button works, and the server needs no rule for it.

import { Emitter } from "./emitter.js";

export const ROOMS = ["home", "now-playing", "listeners", "experiments"];

class Router extends Emitter {
  #route = parse(location.hash);

  constructor() {
    super();
    addEventListener("hashchange", () => this.#apply(parse(location.hash)));
  }

  /** `room` and the parameters `user`, `slate`, `item` (current track), `inspect`, `card`, `experiment`. */
  get route() {
    return this.#route;
  }

  /** Goes to a place; parameters not named are kept, null ones removed. Emits `change`. */
  go(room, changes = {}) {
    const params = inRoom(room, merged(this.#route.params, changes));
    const address = format(room, params);
    if (address === location.hash) return;
    history.pushState(null, "", address);
    this.#apply({ room, params });
  }

  /** Notes something in the address without a new step in the history. Emits nothing. */
  note(changes) {
    const params = merged(this.#route.params, changes);
    this.#route = { room: this.#route.room, params };
    history.replaceState(null, "", format(this.#route.room, params));
  }

  /** The address of a room, for links. */
  href(room, changes = {}) {
    return format(room, inRoom(room, merged(this.#route.params, { slate: null, card: null, ...changes })));
  }

  #apply(route) {
    const before = this.#route;
    this.#route = route;
    this.emit("change", { before, route });
  }
}

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const params = Object.fromEntries(new URLSearchParams(query));
  return { room: ROOMS.includes(path) ? path : "home", params };
}

function format(room, params) {
  const query = new URLSearchParams(params).toString();
  return `#/${room}${query ? `?${query}` : ""}`;
}

/** An experiment is open in its own room only. */
function inRoom(room, params) {
  const { experiment, ...others } = params;
  return room === "experiments" ? params : others;
}

function merged(params, changes) {
  const all = { ...params, ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

export const router = new Router();
