// A test double of `segue serve` for the console: the same addresses, the same JSON shapes, a
// made-up catalogue and very simple choices. It lets the page be worked on and its journey be
// tested without a trained engine. Not part of the product.
//
//   node fake_server.mjs [--port 8787] [--wall-clock]      (prints the address it listens on)
//
// It lives at the clients' time, like `segue serve --client-clock`; `--wall-clock` lives at the
// machine's, and then refuses a `now`.

import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { LISTENERS, noise, TRACK_BY_ID, TRACKS } from "./catalogue.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml" };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox";
const DAY = 86_400_000;
const HEADS = ["stream", "completion"];
const FEATURES = ["user_n_plays_7d", "user_skip_rate_7d", "item_plays_30d", "item_skip_rate", "user_item_n_plays", "user_artist_n_plays", "days_since_user_item", "co_listen_score", "popularity_score", "hour_of_day", "energy_gap", "item_age_days"];

const isWorld = !process.argv.includes("--wall-clock");
let now = isWorld ? Date.UTC(2026, 2, 14, 18, 4) : Date.now();
const seenEvents = new Set();
const records = new Map();
const people = new Map(LISTENERS.map((listener) => [listener.user_id, personOf(listener)]));

function personOf(listener) {
  const liked = TRACKS.filter((track) => listener.genres.includes(track.artist.genre) && track.display.kind === "track");
  const plays = [];
  for (let i = 0; i < Math.min(50, listener.n_plays); i += 1) {
    const track = liked[Math.floor(noise("hist", listener.user_id, i) * liked.length)];
    plays.push({ item_id: track.item_id, occurred_at: now - i * 3_100_000 - 600_000, action: noise("a", i, listener.user_id) < 0.3 ? "skip" : "completion" });
  }
  const feedback = new Map();
  for (let i = 0; i < 5 && i < listener.n_plays; i += 1) feedback.set(`save/${liked[i * 3].item_id}`, { target_id: liked[i * 3].item_id, kind: "save", occurred_at: now - i * DAY });
  return { listener, plays, feedback, n_plays: listener.n_plays, offset: 0 };
}

function standing(person, kind) {
  return new Set([...person.feedback.values()].filter((row) => row.kind === kind).map((row) => row.target_id));
}

/** Every candidate of a request with made-up scores, best first. */
function candidatesFor(person, seed) {
  const hidden = person ? standing(person, "hide") : new Set();
  const saved = person ? standing(person, "save") : new Set();
  const genres = new Set(person?.listener.genres ?? []);
  const recent = new Set(person?.plays.slice(0, 3).map((play) => play.item_id) ?? []);
  const user = person?.listener.user_id ?? "stranger";
  const rows = TRACKS.map((track) => {
    const taste = genres.has(track.artist.genre) ? 0.5 : 0;
    const affinity = taste + 0.3 * track.popularity + 0.4 * noise("aff", user, track.item_id) + (saved.has(track.item_id) ? 0.15 : 0);
    return { track, affinity };
  });
  rows.sort((a, b) => b.affinity - a.affinity || (a.track.item_id < b.track.item_id ? -1 : 1));
  const top = rows.slice(0, 500);
  const candidates = top.map(({ track, affinity }, i) => {
    const sources = [];
    if (genres.has(track.artist.genre)) sources.push({ source: "co_listen", score: affinity, rank: i + 1 });
    if (track.popularity > 0.3 || sources.length === 0) sources.push({ source: "popularity", score: track.popularity * 400, rank: 1 + Math.round((1 - track.popularity) * 300) });
    if (noise("mk", user, track.item_id) < 0.3) sources.push({ source: "markov", score: noise("mks", track.item_id), rank: 1 + (i % 120) });
    const stream = Math.min(0.97, 0.12 + affinity * 0.6);
    let removed_by = null;
    if (hidden.has(track.item_id)) removed_by = "hidden: the listener hid this item";
    else if (recent.has(track.item_id)) removed_by = "recently_played: played within the last 2 hours";
    else if (track.display.explicit && person?.listener.market === "IN") removed_by = "explicit: not allowed for this listener";
    return {
      item_id: track.item_id,
      item_key: track.item_key,
      sources,
      features: FEATURES.map((name) => (noise("missing", name, track.item_id) < 0.12 ? null : Math.round(noise(name, user, track.item_id) * 1e4) / 100)),
      heads: removed_by ? [] : HEADS.map((head, k) => ({ head, probability: Math.round((k ? stream * 0.74 : stream) * 1e4) / 1e4 })),
      score: removed_by ? null : stream + 0.01 * noise(seed, track.item_id),
      rank: null,
      position: null,
      prefix_propensity: null,
      removed_by,
      track,
    };
  });
  const kept = candidates.filter((row) => !row.removed_by).sort((a, b) => b.score - a.score);
  kept.forEach((row, i) => (row.rank = i + 1));
  return { candidates, kept };
}

function compose(request, surface) {
  const person = request.user_id ? (people.get(request.user_id) ?? newPerson(request.user_id)) : null;
  now = Math.max(now, isWorld ? (request.now ?? now) : Date.now());
  const id = request.request_id ?? `req-${randomUUID()}`;
  const seed = BigInt(`0x${createHash("sha1").update(id).digest("hex").slice(0, 16)}`);
  const { candidates, kept } = candidatesFor(person, id);
  const used = new Set();
  let position = 0;
  const take = (rows, n, reason, source) => {
    const cards = [];
    for (const row of rows) {
      if (cards.length >= n) break;
      if (used.has(row.item_id)) continue;
      used.add(row.item_id);
      const propensity = Math.max(0.004, Math.min(1, 0.9 - cards.length * 0.05 - noise("pp", id, row.item_id) * 0.3));
      row.position = position;
      row.prefix_propensity = propensity;
      cards.push({ item_id: row.item_id, item_key: row.item_key, position, source: source ?? row.sources[0].source, reason: typeof reason === "function" ? reason(row) : reason, score: row.score, prefix_propensity: propensity, display: row.track.display });
      position += 1;
    }
    return cards;
  };
  const shelves = [];
  const shelf = (shelf_id, title, why, cards) => cards.length && shelves.push({ shelf_id, title, why, cards });
  const n = Math.min(100, request.limit ?? (surface === "home" ? 12 : 20));
  const saved = person ? standing(person, "save") : new Set();
  const last = person?.plays.find((play) => play.action !== "skip");
  const lastTrack = last && TRACK_BY_ID.get(last.item_id);

  if (surface === "home") {
    if (person?.plays.length) {
      const known = new Set(person.plays.slice(3).map((play) => play.item_id));
      shelf("jump_back_in", "Jump back in", "You played these lately and did not skip them.", take(kept.filter((row) => known.has(row.item_id)), 8, null, "history"));
    }
    if (person?.plays.length) shelf("made_for_you", "Made for you", "The ranker expects you to play these to the end; a little is left to chance so that it can learn.", take(kept, n, (row) => (saved.has(row.item_id) ? "You saved this" : `Listeners of ${row.track.artist.genre} come back to it`)));
    if (lastTrack) shelf("because_you_listened", `Because you listened to ${lastTrack.display.title}`, "Often played in the same session as that track.", take(kept.filter((row) => row.track.artist.genre === lastTrack.artist.genre), n, `Because you played ${lastTrack.display.title}`, "co_listen"));
    if (person?.plays.length) shelf("new_from_artists", "New from artists you love", "Released in the last 60 days by artists you played at least five times.", take(kept.filter((row) => noise("new", row.item_id) < 0.25), n, (row) => `New from ${row.track.artist.name}`, "new_releases"));
    shelf("popular_near_you", "Popular near you", "Most played in your market over the last two weeks.", take([...kept].sort((a, b) => b.track.popularity - a.track.popularity), n, null, "popularity"));
  } else {
    const current = TRACK_BY_ID.get(request.current_item_id);
    const near = kept.filter((row) => row.item_id !== request.current_item_id && row.track.display.kind === "track");
    const same = near.filter((row) => row.track.artist.genre === current?.artist.genre);
    const queue = take([...same.slice(0, n / 2), ...near], n, (row) => (current && row.track.artist.genre === current.artist.genre ? `Often follows ${current.display.title}` : saved.has(row.item_id) ? "You saved this" : `You listen to ${row.track.artist.genre}`), "markov");
    shelf("queue", "Up next", "What tends to follow the current track in sessions like this one.", queue);
  }

  const slate = {
    slate_id: id, surface, user_id: request.user_id ?? null, composed_at: request.now ?? now, shelves,
    degraded: noise("degraded", id) < 0.2 ? [{ stage: "markov", cause: "timeout", detail: "20 ms budget ended after 22 ms" }] : [],
    empty_reason: shelves.length ? null : "Nothing is left for this listener: every candidate was removed.",
    slate_propensity: shelves.flatMap((s) => s.cards).reduce((product, card) => product * card.prefix_propensity, 1),
  };
  const late = slate.degraded.length > 0;
  const stage = (name, kind, n_in, n_out, started_us, took_us, budget_us, status = "ok") => ({ stage: name, kind, n_in, n_out, started_us, took_us, budget_us, status });
  const record = {
    version: 1, request: { ...request, request_id: id, explain: request.explain ?? false }, user_key: null, now: slate.composed_at,
    deployment_id: "dep-5f2c81d09a34", user_state_offset: person?.offset ?? 0, seed: "@seed@", arms: ["home_ranker=treatment"],
    feature_names: FEATURES,
    candidates: candidates.map(({ track, ...row }) => row), candidate_sampling_rate: 1,
    stages: [
      stage("history", "source", 0, 42, 40, 310, 5_000), stage("popularity", "source", 0, 210, 42, 620, 5_000),
      stage("co_listen", "source", 0, 260, 45, 2_900, 10_000), stage("markov", "source", 0, late ? 0 : 130, 47, late ? 20_000 : 4_100, 20_000, late ? "timeout" : "ok"),
      stage("item_features", "hydrator", 500, 500, late ? 20_100 : 4_300, 1_900, 10_000), stage("user_features", "hydrator", 500, 500, late ? 20_110 : 4_310, 700, 5_000),
      stage("hidden", "filter", 500, 499, late ? 22_050 : 6_250, 60, 2_000), stage("recently_played", "filter", 499, kept.length, late ? 22_120 : 6_320, 80, 2_000),
      stage("trees", "scorer", kept.length, kept.length, late ? 22_230 : 6_430, 3_600, 15_000), stage("exploring_selector", "selector", kept.length, position, late ? 25_900 : 10_100, 820, 5_000),
      stage("slate_record", "side_effect", position, position, late ? 26_800 : 11_000, 140, 50_000),
    ],
    shelves: shelves.map((s) => ({ shelf_id: s.shelf_id, title: s.title, why: s.why, selector: s.shelf_id === "made_for_you" ? "explore" : "top", limit: n, min_cards: 3, max_per_group: 2, temperature: 0.05, epsilon: s.shelf_id === "made_for_you" ? 0.1 : 0, pool_size: 100, pool: s.cards.map((card) => ({ item_id: card.item_id, score: card.score, group: card.item_key, source: card.source })) })),
    slate,
  };
  records.set(id, { record, seed: String(seed) });
  return { slate, record, seed: String(seed) };
}

function newPerson(user_id) {
  const person = { listener: { user_id, display_name: null, market: null, n_plays: 0, genres: [] }, plays: [], feedback: new Map(), n_plays: 0, offset: 0, isNew: true };
  people.set(user_id, person);
  return person;
}

function accept(event) {
  now = Math.max(now, event.ended_at ?? event.shown_at ?? event.occurred_at);
  const person = people.get(event.user_id) ?? newPerson(event.user_id);
  person.isNew = false;
  person.offset += 1;
  if (event.type === "play") {
    person.plays.unshift({ item_id: event.item_id, occurred_at: event.occurred_at, action: event.end_reason === "next" ? "skip" : "completion" });
    person.n_plays += 1;
    const genre = TRACK_BY_ID.get(event.item_id)?.artist.genre;
    if (genre && event.end_reason !== "next" && !person.listener.genres.includes(genre)) person.listener.genres.push(genre);
  } else if (event.type === "feedback") {
    const kind = event.kind.replace(/^un/, "");
    const key = `${kind}/${event.target_id}`;
    if (event.kind.startsWith("un")) person.feedback.delete(key);
    else person.feedback.set(key, { target_id: event.target_id, kind, occurred_at: event.occurred_at });
  }
}

const required = { play: ["event_id", "user_id", "item_id", "occurred_at"], feedback: ["event_id", "user_id", "target_id", "kind", "occurred_at"], impression: ["event_id", "user_id", "item_id", "slate_id", "position", "shown_at"] };

const routes = [
  ["GET", /^\/v1\/status$/, () => ({ is_ready: true, version: "0.0.0-fake", deployment_id: "dep-5f2c81d09a34", snapshot_id: "snap-2026-03-14", client_clock: isWorld, now: isWorld ? now : Date.now(), surfaces: ["home", "now_playing"], models: [{ name: "co_listen", kind: "co_listen", artifact_id: "a-91d2", status: "serving", detail: null }, { name: "markov", kind: "markov", artifact_id: "a-77e0", status: "serving", detail: null }, { name: "trees", kind: "trees", artifact_id: "a-03bb", status: "serving", detail: null }], notes: [] })],
  ["POST", /^\/v1\/(home|now-playing)$/, ({ match, body }) => {
    const allowed = ["request_id", "user_id", "market", "limit", "current_item_id", "session_id", "now", "explain"];
    const odd = Object.keys(body).find((field) => !allowed.includes(field));
    if (body.now !== undefined && !isWorld) return fail(400, "bad_field", "this server follows its own clock; leave `now` out");
    if (odd) return fail(400, "body_invalid", `the request has a field \`${odd}\` that is not known`);
    const { slate, record, seed } = compose(body, match[1] === "home" ? "home" : "now_playing");
    return { ...slate, ...(body.explain ? { record, __seed: seed } : {}) };
  }],
  ["GET", /^\/v1\/users$/, ({ query }) => {
    const text = (query.get("query") ?? "").toLowerCase();
    const all = LISTENERS.filter((listener) => `${listener.user_id} ${listener.display_name ?? ""}`.toLowerCase().includes(text));
    const users = all.slice(0, Number(query.get("limit") ?? 50)).map((listener) => ({ user_id: listener.user_id, display_name: listener.display_name, market: listener.market, n_plays: people.get(listener.user_id).n_plays, last_played_at: people.get(listener.user_id).plays[0]?.occurred_at ?? null }));
    return { users, n_total: all.length };
  }],
  ["GET", /^\/v1\/users\/([^/]+)$/, ({ match }) => {
    const id = decodeURIComponent(match[1]);
    const person = people.get(id);
    const display = (item_id) => TRACK_BY_ID.get(item_id)?.display ?? { title: item_id, kind: null, artists: [], album: null, genre: null, duration_ms: null, explicit: false, energy: null, tempo_bpm: null };
    if (!person) return { user_id: id, display_name: null, market: null, is_known: false, n_plays: 0, state_offset: 0, recent: [], feedback: [], features: [] };
    return {
      user_id: id, display_name: person.listener.display_name, market: person.listener.market, is_known: !person.isNew, n_plays: person.n_plays, state_offset: person.offset,
      recent: person.plays.slice(0, 50).map((play) => ({ ...play, display: display(play.item_id) })),
      feedback: [...person.feedback.values()].sort((a, b) => b.occurred_at - a.occurred_at).map((row) => ({ ...row, display: display(row.target_id) })),
      features: [{ name: "user_n_plays_7d", value: Math.min(person.n_plays, 180) }, { name: "user_skip_rate_7d", value: 0.31 }, { name: "user_n_artists_30d", value: Math.min(person.n_plays, 64) }, { name: "user_mean_listened_ms", value: 162_400 }, { name: "user_last_hour_of_day", value: null }],
    };
  }],
  ["GET", /^\/v1\/items$/, ({ query }) => {
    const ids = (query.get("ids") ?? "").split(",");
    if (ids.length > 500) return fail(400, "bad_field", "at most 500 ids in one call");
    return { items: ids.filter((id) => TRACK_BY_ID.has(id)).map((id) => ({ item_id: id, display: TRACK_BY_ID.get(id).display })) };
  }],
  ["GET", /^\/v1\/items\/([^/]+)\/similar$/, ({ match, query }) => {
    const id = decodeURIComponent(match[1]);
    const track = TRACK_BY_ID.get(id);
    if (!track) return fail(404, "item_not_found", `no item \`${id}\` in the catalogue`);
    const items = TRACKS.filter((other) => other !== track && other.artist.genre === track.artist.genre).map((other) => ({ item_id: other.item_id, score: Math.round(noise("sim", id, other.item_id) * 1e4) / 1e4, display: other.display })).sort((a, b) => b.score - a.score).slice(0, Number(query.get("k") ?? 20));
    return { item_id: id, model: "co_listen", items };
  }],
  ["POST", /^\/v1\/events$/, ({ body }) => {
    const out = { n_accepted: 0, n_duplicates: 0, rejected: [] };
    for (const [index, event] of body.events.entries()) {
      const latest = event.ended_at ?? event.shown_at ?? event.occurred_at;
      if (!isWorld && latest > Date.now() + 300_000) {
        out.rejected.push({ index, reason: "future_timestamp", message: `\`${event.type}\` lies in the future` });
        continue;
      }
      const missing = required[event.type]?.find((field) => event[field] === undefined || event[field] === "");
      if (!required[event.type] || missing) out.rejected.push({ index, reason: "missing_column", message: `\`${missing ?? "type"}\` is missing` });
      else if (seenEvents.has(event.event_id)) out.n_duplicates += 1;
      else {
        seenEvents.add(event.event_id);
        accept(event);
        out.n_accepted += 1;
      }
    }
    return out;
  }, 202],
  ["GET", /^\/v1\/slates\/([^/]+)$/, ({ match }) => {
    const found = records.get(decodeURIComponent(match[1]));
    return found ? { ...found.record, __seed: found.seed } : fail(404, "slate_not_found", `no slate \`${match[1]}\`; slates are kept for 30 days`);
  }],
  ["GET", /^\/v1\/slates\/([^/]+)\/explanation$/, ({ match, query }) => {
    const id = decodeURIComponent(match[1]);
    const item_id = query.get("item_id");
    const record = records.get(id)?.record;
    const row = record?.candidates.find((one) => one.item_id === item_id);
    if (!row) return fail(404, "candidate_not_found", `no candidate \`${id}/${item_id}\``);
    const person = people.get(record.request.user_id);
    const sources = row.sources.map(({ source, score }) => ({ source, score, plays: source === "popularity" || !person ? [] : parts(person, row.item_id, source, score) }));
    return { slate_id: id, item_id, sources, is_current: (person?.offset ?? 0) === record.user_state_offset };
  }],
  ["GET", /^\/v1\/experiments$/, () => ({ experiments: EXPERIMENTS })],
  ["GET", /^\/v1\/experiments\/([^/]+)\/report$/, ({ match }) => {
    const name = decodeURIComponent(match[1]);
    return EXPERIMENTS.some((one) => one.name === name && one.has_report) ? { __html: reportPage(name) } : fail(404, "report_not_found", `no report \`${name}\``);
  }],
  ["POST", /^\/v1\/slates\/([^/]+)\/replay$/, ({ match }) => {
    const id = decodeURIComponent(match[1]);
    return records.has(id) ? { slate_id: id, is_identical: true, differences: [] } : fail(404, "slate_not_found", `no slate \`${id}\``);
  }],
];

/** A score taken apart: the plays of the same genre, each worth less the longer ago. */
function parts(person, item_id, source, score) {
  const genre = TRACK_BY_ID.get(item_id).artist.genre;
  const plays = person.plays.filter((play) => TRACK_BY_ID.get(play.item_id)?.artist.genre === genre).slice(0, source === "markov" ? 1 : 20);
  const weights = plays.map((play, i) => noise(source, item_id, play.item_id) / (i + 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return plays.map(({ item_id: played, occurred_at }, i) => ({ item_id: played, display: TRACK_BY_ID.get(played).display, occurred_at, amount: (score * weights[i]) / total })).sort((a, b) => b.amount - a.amount);
}

const EXPERIMENTS = [
  { name: "home_ranker", status: "running", unit: "user", ramp: 0.5, surfaces: ["home"], arms: [{ name: "control", share: 0.5, deployment_id: "dep-5f2c81d09a34" }, { name: "treatment", share: 0.5, deployment_id: "dep-0b77e1c2f4a9" }], started_at: Date.UTC(2026, 2, 2, 9, 30), has_report: true },
  { name: "queue-length", status: "running", unit: "session", ramp: 0.025, surfaces: ["home", "now_playing"], arms: [{ name: "control", share: 0.6, deployment_id: "dep-5f2c81d09a34" }, { name: "shorter", share: 0.3, deployment_id: "dep-9c1f00aa1e62" }, { name: "longer", share: 0.1, deployment_id: "dep-77ab3d51c908" }], has_report: false },
  { name: "fewer-shelves", status: "stopped", unit: "user", ramp: 1, surfaces: ["home"], arms: [{ name: "control", share: 0.5, deployment_id: "dep-5f2c81d09a34" }, { name: "fewer", share: 0.5, deployment_id: "dep-2d90c4b7e113" }], started_at: Date.UTC(2026, 1, 1, 8), stopped_at: Date.UTC(2026, 1, 22, 17, 45), has_report: false },
  { name: "clash", status: "refused", detail: "it changes `surface.home.shelf`, which `home_ranker` changes too; give both the same `exclusion_groups`", unit: "user", ramp: 0.2, surfaces: ["home"], arms: [{ name: "control", share: 0.5, deployment_id: "" }, { name: "bold", share: 0.5, deployment_id: "" }], has_report: false },
];

function reportPage(name) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>${name}</title><style>body{font:16px/1.5 system-ui;margin:2rem;max-width:50rem}td,th{text-align:left;padding:.25rem 2rem .25rem 0}</style><h1>Report of ${name}</h1><p>Completed plays for each listener and day.</p><table><tr><th>Arm</th><th>Listeners</th><th>Mean</th><th>Lift, 95 % interval</th></tr><tr><td>control</td><td>1,204</td><td>8.31</td><td>–</td></tr><tr><td>treatment</td><td>1,187</td><td>8.52</td><td>+2.5 % (−0.4 % to +5.4 %)</td></tr></table></html>`;
}

class Failure extends Error {
  constructor(status, body) {
    super(body.message);
    this.status = status;
    this.body = body;
  }
}

function fail(status, code, message) {
  throw new Failure(status, { code, message });
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const send = (status, body, type = "application/json") => {
    response.writeHead(status, { "content-type": type, "content-security-policy": POLICY, "x-content-type-options": "nosniff", "cache-control": "no-store" });
    response.end(body);
  };
  try {
    if (url.pathname.startsWith("/v1/")) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
      for (const [method, pattern, handler, status = 200] of routes) {
        const match = url.pathname.match(pattern);
        if (match && method === request.method) {
          const { __seed, __html, ...answer } = handler({ match, body, query: url.searchParams });
          if (__html) {
            response.writeHead(200, { "content-type": TYPES[".html"], "content-security-policy": REPORT_POLICY });
            response.end(__html);
            return;
          }
          // The seed is a 64-bit number in JSON, as the engine writes it.
          send(status, JSON.stringify(answer).replace('"@seed@"', __seed));
          return;
        }
      }
      send(404, JSON.stringify({ code: "not_found", message: `no route ${request.method} ${url.pathname}` }));
      return;
    }
    const name = url.pathname === "/" ? "index.html" : normalize(url.pathname.replace(/^\/console\//, ""));
    if (name.includes("..") || name.startsWith("test") || !TYPES[extname(name)]) return send(404, "not found", "text/plain");
    send(200, await readFile(join(ROOT, name)), TYPES[extname(name)]);
  } catch (error) {
    if (error instanceof Failure) send(error.status, JSON.stringify(error.body));
    else if (error.code === "ENOENT") send(404, "not found", "text/plain");
    else send(500, JSON.stringify({ code: "internal", message: String(error.message) }));
  }
});

const port = Number(process.argv[process.argv.indexOf("--port") + 1] || 0);
server.listen(process.argv.includes("--port") ? port : 0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
