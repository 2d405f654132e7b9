// The journey through the console, in a real browser, against a running server.
//
//   node journey.mjs BASE_URL [OUTPUT_FOLDER]
//
// Needs Chromium (CHROMIUM names it, else /usr/bin/chromium) and `npm ci` in this folder. Prints
// one line per check and ends with `N passed, N failed`; exits non-zero if one failed. Pictures go
// to OUTPUT_FOLDER (default `console-journey`). The server may be the engine or `fake_server.mjs`;
// errors and a server that is away are played by the browser, so nothing special is asked of it.

import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { chromium } from "playwright-core";

const [base, output = "console-journey"] = process.argv.slice(2);
if (!base) {
  console.error("usage: node journey.mjs BASE_URL [OUTPUT_FOLDER]");
  process.exit(2);
}
const MAX_COMPRESSED_BYTES = 150 * 1024;
const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
await mkdir(output, { recursive: true });

let passed = 0;
let failed = 0;
const trouble = [];
const foreign = [];

async function check(name, run) {
  try {
    const detail = await run();
    passed += 1;
    console.log(`ok    ${name}${typeof detail === "string" ? ` (${detail})` : ""}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message).split("\n").slice(0, 8).join("\n      ")}`);
    await page?.screenshot({ path: join(output, `failed-${failed}.png`) }).catch(() => {});
  }
}

function assert(isTrue, message) {
  if (!isTrue) throw new Error(message);
}

/** Waits until `read` gives something true. */
async function until(read, message, timeoutMs = 8000) {
  const end = Date.now() + timeoutMs;
  let last;
  while (Date.now() < end) {
    last = await read();
    if (last) return last;
    await new Promise((done) => setTimeout(done, 60));
  }
  throw new Error(`${message} (waited ${timeoutMs} ms, last ${JSON.stringify(last)})`);
}

/** A page whose every request, message and violation is noted. `quiet` pages may fail on purpose. */
async function open({ width = 1440, height = 900, scheme = "dark", isQuiet = false, ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: false, ...more });
  const opened = await context.newPage();
  const origin = new URL(base).origin;
  opened.on("request", (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith("data:") && !request.url().startsWith("blob:")) foreign.push(request.url());
  });
  opened.on("pageerror", (error) => trouble.push(`page error: ${error.message}`));
  opened.on("console", (message) => {
    // An item without neighbours, or that was no candidate, is a 404: the browser notes it and the card pane says it.
    if (/\/(similar|explanation)(\?|$)/.test(message.location().url) && message.text().includes("404")) return;
    if (["error", "warning"].includes(message.type()) && !isQuiet) trouble.push(`${message.type()}: ${message.text()}`);
  });
  return opened;
}

/** The next answer of an address that a step leads to; `containing` picks one among several by what was sent. */
function answer(of, path, step, containing = "") {
  const waiting = of.waitForResponse((response) => new URL(response.url()).pathname === path && response.request().method() === "POST" && (response.request().postData() ?? "").includes(containing));
  return Promise.all([waiting, step()]).then(async ([response]) => ({ response, body: await response.json(), sent: response.request().postDataJSON() }));
}

/** Zero violations of WCAG 2.2 AA and the best practices that axe knows. */
async function axe(of, what) {
  await check(`axe finds nothing: ${what}`, async () => {
    // Evaluated by the debugger, which a content-security policy does not stop.
    await of.evaluate(axeSource);
    const found = await of.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    const list = found.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target.join(" ")} ${node.failureSummary?.split("\n")[1]?.trim() ?? ""}`).join(" | ")}`);
    assert(list.length === 0, list.join("\n"));
    return `${found.passes.length} rules`;
  });
}

/** Plays an answer of the server in the browser. */
const answers = (of, pattern, status, body) => of.route(pattern, (route) => route.fulfill({ status, contentType: "application/json", body: JSON.stringify(body) }));
const shot = (of, name) => of.screenshot({ path: join(output, `${name}.png`) });
const titles = (of, selector) => of.locator(selector).allTextContents();
const hash = (of) => of.evaluate(() => location.hash);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
let page = await open();
const bytes = new Map();
page.on("response", async (response) => {
  const { pathname } = new URL(response.url());
  if (pathname.startsWith("/v1/")) return;
  const body = await response.body().catch(() => Buffer.alloc(0));
  bytes.set(pathname, gzipSync(body).length);
});

// --- Arriving ---------------------------------------------------------------------------------
let firstPolicy = "";
await check("the page opens, with shelves for a stranger", async () => {
  const response = await page.goto(`${base}/`);
  firstPolicy = response.headers()["content-security-policy"] ?? "";
  await page.locator(".shelf .card").first().waitFor();
  return `${await page.locator(".shelf[data-shelf]").count()} shelves`;
});
await check("first paint comes soon", async () => {
  const paint = await until(() => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime), "no paint was noted");
  assert(paint < 1500, `first contentful paint after ${Math.round(paint)} ms; 1,500 ms is the bound on a loaded machine, 300 ms the aim`);
  return `${Math.round(paint)} ms`;
});
await check("the content-security policy allows this server only", async () => {
  assert(/default-src '(self|none)'/.test(firstPolicy), `policy is \`${firstPolicy}\``);
  assert(!/unsafe-inline|unsafe-eval|https?:|\*/.test(firstPolicy), `policy is \`${firstPolicy}\``);
});

// --- A listener -------------------------------------------------------------------------------
let user = "";
await check("a listener is found and chosen", async () => {
  await page.getByRole("link", { name: "Listeners", exact: true }).click();
  await page.locator(".person[data-user]").first().waitFor();
  user = await page.locator(".person[data-user]").first().getAttribute("data-user");
  await page.getByLabel("Find a listener by name or id").fill(user);
  await until(async () => (await page.locator(".person[data-user]").count()) >= 1 && (await page.locator(`.person[data-user="${user}"]`).count()) === 1, "the search does not find the id");
  await page.locator(`.person[data-user="${user}"]`).click();
  await page.locator(".home .shelf .card").first().waitFor();
  assert((await hash(page)).includes(encodeURIComponent(user)), "the address does not name the listener");
  return user;
});
await check("Home has shelves with titles, reasons and a why", async () => {
  await until(async () => (await page.locator(".shelf[data-shelf]").count()) >= 2, "fewer than two shelves");
  const why = page.locator(".shelf[data-shelf]").first().getByRole("button", { name: /Why this shelf/ });
  await why.click();
  assert((await page.locator(".shelf-why:visible").first().textContent()).length > 5, "the shelf does not say why");
  await why.click();
  return (await titles(page, ".shelf[data-shelf] .shelf-title")).join(" / ");
});
await check("every card has a drawn cover and no picture is loaded", async () => {
  const [cards, covers, images] = await page.evaluate(() => ["li.card", "li.card svg.cover-art", "img"].map((selector) => document.querySelectorAll(selector).length));
  assert(cards > 0 && cards === covers && images === 0, `${cards} cards, ${covers} covers, ${images} images`);
  return `${cards} cards`;
});
await check("covers are the same after a reload, and no two items share one", async () => {
  const drawings = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("li.card")].map((card) => [card.dataset.item, card.querySelector(".cover-art").innerHTML.replace(/clip-\d+/g, "clip")])));
  const before = await drawings();
  await page.reload();
  await page.locator(".home .shelf .card").first().waitFor();
  const after = await drawings();
  const shared = Object.keys(before).filter((item) => item in after);
  assert(shared.length > 0 && shared.every((item) => before[item] === after[item]), "a cover changed");
  assert(new Set(Object.values(before)).size === Object.keys(before).length, "two items have the same cover");
  return `${shared.length} compared`;
});
await shot(page, "home-dark");
await axe(page, "Home, dark");
await check("cards in sight are reported as impressions", async () => {
  const { body, sent } = await answer(page, "/v1/events", () => page.getByRole("button", { name: "Ask for Home again" }).click(), '"impression"');
  const kinds = new Set(sent.events.map((event) => event.type));
  assert(kinds.has("impression"), `events were ${[...kinds]}`);
  assert(body.rejected.length === 0, JSON.stringify(body.rejected[0]));
  return `${sent.events.length} events`;
});
await check("the address reproduces the slate", async () => {
  await page.waitForTimeout(400);
  const before = await page.evaluate(() => [...document.querySelectorAll(".card")].map((card) => card.dataset.item).join());
  assert(/slate=/.test(await hash(page)), "the address does not name the slate");
  await page.reload();
  await page.locator(".shelf .card").first().waitFor();
  const after = await page.evaluate(() => [...document.querySelectorAll(".card")].map((card) => card.dataset.item).join());
  assert(before === after, "other cards after a reload");
});

// --- Acts on Home -----------------------------------------------------------------------------
const lastShelfCard = () => page.locator(".shelf:not(.shelf-tiles) .card").first();
await check("saving answers at once and the server has it", async () => {
  const card = lastShelfCard();
  const item = await card.getAttribute("data-item");
  await card.hover();
  const save = card.getByRole("button", { name: /^Save / });
  const wasPressed = await save.getAttribute("aria-pressed");
  const { body, sent } = await answer(page, "/v1/events", () => save.click(), '"feedback"');
  assert(sent.events.some((event) => event.type === "feedback" && event.kind === (wasPressed === "true" ? "unsave" : "save") && event.target_id === item && Number.isInteger(event.position)), "no save was sent");
  assert(body.rejected.length === 0, JSON.stringify(body.rejected[0]));
  const known = await page.evaluate(async (id) => (await fetch(`/v1/users/${encodeURIComponent(id)}`)).json(), user);
  assert(known.feedback.some((row) => row.target_id === item && row.kind === "save") === (wasPressed !== "true"), "the listener's state does not show the save");
});
await check("hiding answers at once and the next Home is without it", async () => {
  const card = lastShelfCard();
  const item = await card.getAttribute("data-item");
  await card.hover();
  const [, { body }] = await Promise.all([
    // The Home that followed the save may still be on its way; the one after the hide is meant.
    page.waitForResponse(async (response) => new URL(response.url()).pathname === "/v1/home" && !(await response.json().catch(() => ({ shelves: [{ cards: [{ item_id: item }] }] }))).shelves.some((shelf) => shelf.cards.some((one) => one.item_id === item)), { timeout: 8000 }),
    answer(page, "/v1/events", () => card.getByRole("button", { name: /^Hide / }).click(), '"hide"'),
  ]);
  assert(body.rejected.length === 0, JSON.stringify(body.rejected[0]));
  await until(async () => (await page.locator(`.card[data-item="${item}"]`).count()) === 0, "the hidden card is still on the page");
  return item;
});
await check("a hide can be undone", async () => {
  const { sent } = await answer(page, "/v1/events", () => page.getByRole("button", { name: "Undo" }).click(), '"unhide"');
  assert(sent.events.some((event) => event.kind === "unhide"), "no unhide was sent");
});

// --- Playing ----------------------------------------------------------------------------------
await check("playing a card fills the queue", async () => {
  const { body, sent } = await answer(page, "/v1/now-playing", () => lastShelfCard().locator(".card-play").click());
  assert(sent.user_id === user && sent.current_item_id, "the request does not say who and what");
  assert(body.shelves.flatMap((shelf) => shelf.cards).length > 0, "the queue is empty");
});
await check("Now Playing shows the track, its progress and a queue with reasons", async () => {
  await page.keyboard.press("2");
  await page.locator(".queue-row[data-item]").first().waitFor();
  assert((await page.locator(".hero-title").textContent()).length > 0, "no title");
  assert((await page.locator(".queue-reason").allTextContents()).some((text) => text.length > 3), "no reason in the queue");
  return `${await page.locator(".queue-row[data-item]").count()} in the queue`;
});
await shot(page, "now-playing-dark");
await axe(page, "Now Playing, dark");
await check("a skip is reported and another queue follows", async () => {
  const current = new URLSearchParams((await hash(page)).split("?")[1]).get("item");
  const events = page.waitForRequest((request) => request.url().endsWith("/v1/events") && (request.postData() ?? "").includes('"end_reason":"next"'));
  const { sent } = await answer(page, "/v1/now-playing", () => page.keyboard.press("l"));
  const play = (await events).postDataJSON().events.find((event) => event.type === "play");
  assert(play.item_id === current && play.end_reason === "next" && play.listened_ms >= 0, JSON.stringify(play));
  assert(sent.current_item_id !== current, "the current track did not change");
  return `heard ${play.listened_ms} ms`;
});
await check("the server knows the skip", async () => {
  const known = await page.evaluate(async (id) => (await fetch(`/v1/users/${encodeURIComponent(id)}`)).json(), user);
  assert(known.recent.length > 0 && known.recent[0].display.title.length > 0, "no recent play");
  return known.recent[0].action;
});
const clientClock = await page.evaluate(async () => (await (await fetch("/v1/status")).json()).client_clock);
if (clientClock) {
  await check("at ×60 a track plays to its end by itself", async () => {
    await page.locator(".player .speed", { hasText: "×60" }).click();
    const request = await page.waitForRequest((one) => one.url().endsWith("/v1/events") && (one.postData() ?? "").includes('"end_reason":"track_done"'), { timeout: 25_000 });
    const play = request.postDataJSON().events.find((event) => event.end_reason === "track_done");
    assert(play.ended_at - play.occurred_at >= play.listened_ms - 1000, "the play ended before it could be heard");
    await page.locator(".player .speed", { hasText: "×1" }).first().click();
    return `heard ${Math.round(play.listened_ms / 1000)} s`;
  });
}
await check("Space pauses and plays, s saves, h hides and goes on", async () => {
  await page.locator("#view").focus();
  const playButton = page.locator(".player .play-button");
  const was = await playButton.getAttribute("aria-label");
  await page.keyboard.press(" ");
  await until(async () => (await playButton.getAttribute("aria-label")) !== was, "Space changed nothing");
  await page.keyboard.press(" ");
  const save = page.locator(".hero .acts .icon-button").first();
  const wasSaved = await save.getAttribute("aria-pressed");
  await page.keyboard.press("s");
  await until(async () => (await save.getAttribute("aria-pressed")) !== wasSaved, "s saved nothing");
  const item = new URLSearchParams((await hash(page)).split("?")[1]).get("item");
  await answer(page, "/v1/now-playing", () => page.keyboard.press("h"));
  await until(async () => new URLSearchParams((await hash(page)).split("?")[1]).get("item") !== item, "h did not go on");
  const queue = await until(async () => {
    const items = await page.locator(".queue-row:not(.is-hidden)").evaluateAll((rows) => rows.map((row) => row.dataset.item));
    return items.length && !items.includes(item) ? items : null;
  }, "the hidden track is still in the queue");
  return `${queue.length} follow`;
});
await check("? lists the keys and Escape closes the sheet", async () => {
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await axe(page, "the sheet of keys");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
});

// --- Inspector --------------------------------------------------------------------------------
await check("i opens the inspector on the stages without moving the page", async () => {
  await page.keyboard.press("1");
  await page.locator(".home .shelf .card").first().waitFor();
  const place = () => page.locator(".home .shelf .card").first().boundingBox();
  const before = await place();
  await page.locator("#view").focus();
  await page.keyboard.press("i");
  await page.locator(".chart-row").first().waitFor();
  const after = await place();
  assert(before.x === after.x && before.width === after.width, "the view shifted");
  return `${(await page.locator(".chart-row").count()) - 1} stages`;
});
await shot(page, "inspector-stages");
await axe(page, "inspector, stages");
await check("candidates sort by any column, and draw in under 100 ms", async () => {
  await page.getByRole("tab", { name: "Candidates" }).click();
  await page.locator(".candidates tbody tr[data-item]").first().waitFor();
  const first = () => page.locator(".candidates tbody tr[data-item]").first().getAttribute("data-item");
  // Time of the page's own thread, an average of five: what else the machine does is not meant.
  // An odd number of clicks ends downwards.
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async () => (await cdp.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value * 1000;
  const before = await busy();
  await page.evaluate(() => {
    for (let i = 0; i < 5; i += 1) {
      document.querySelector('[data-sort="score"]').click();
      document.querySelector(".candidates").getBoundingClientRect();
    }
  });
  const ms = ((await busy()) - before) / 5;
  await cdp.detach();
  assert(ms > 0 && ms < 100, `sorting took ${Math.round(ms)} ms`);
  const down = await first();
  assert((await page.locator('th:has([data-sort="score"])').getAttribute("aria-sort")) === "descending", "not sorted downwards");
  await page.locator('[data-sort="score"]').click();
  assert((await first()) !== down, "the order did not turn");
  await page.locator('[data-sort="rank"]').click();
  const drawn = await page.locator(".candidates tbody tr[data-item]").count();
  return `${await page.locator(".pane-summary").textContent()}; ${drawn} rows drawn, ${ms.toFixed(1)} ms`;
});
await axe(page, "inspector, candidates");
await check("every candidate has its title and artist, looked up in one call for the record", async () => {
  const calls = [];
  const count = (request) => new URL(request.url()).pathname === "/v1/items" && calls.push(request.url());
  page.on("request", count);
  await page.reload();
  await page.locator(".candidates tbody tr[data-item]").first().waitFor();
  await until(async () => (await page.locator(".candidates .row-button.is-id").count()) === 0, "some candidates have no title");
  await page.locator(".candidates-scroll").evaluate((node) => (node.scrollTop = node.scrollHeight / 2));
  await page.waitForTimeout(150);
  const [rows, ids, artists] = await page.evaluate(() => [".row-button", ".row-button.is-id", ".row-artists"].map((selector) => document.querySelectorAll(`.candidates ${selector}`).length));
  assert(rows > 10 && ids === 0 && artists > 0, `${rows} rows, ${ids} of them without a title, ${artists} with artists`);
  await page.getByRole("tab", { name: "Stages" }).click();
  await page.getByRole("tab", { name: "Candidates" }).click();
  await page.waitForTimeout(150);
  page.off("request", count);
  assert(calls.length === 1, `${calls.length} calls of /v1/items`);
  const artist = (await page.locator(".candidates .row-artists").first().textContent()).split(",")[0];
  await page.getByLabel("Filter the candidates").fill(artist);
  await until(async () => (await page.locator(".candidates .row-artists").allTextContents()).every((text) => text.includes(artist)), `the filter does not find ${artist}`);
  const found = await page.locator(".candidates tbody tr[data-item]").count();
  await page.getByLabel("Filter the candidates").fill("");
  assert(found > 0, `the filter finds nothing of ${artist}`);
  return `${rows} rows looked at; ${found} by ${artist}`;
});
await shot(page, "inspector-candidates");
await check("the end of the table can be reached, with the removed ones below", async () => {
  await page.locator(".candidates-scroll").evaluate((node) => (node.scrollTop = node.scrollHeight));
  await page.waitForTimeout(150);
  const rows = Number(await page.locator(".candidates").getAttribute("aria-rowcount"));
  const last = Number(await page.locator(".candidates tbody tr[aria-rowindex]").last().getAttribute("aria-rowindex"));
  assert(rows === last, `the last row drawn is ${last} of ${rows}`);
  return `${rows - 1} rows`;
});
await check("a row opens its card, with sources and features", async () => {
  await page.locator(".candidates-scroll").evaluate((node) => (node.scrollTop = 0));
  await page.waitForTimeout(150);
  await page.locator(".candidates .row-button").first().click();
  await page.locator(".card-name").waitFor();
  const parts = await titles(page, ".pane-part .small-title");
  assert(parts.includes("Where it came from") && parts.includes("What became of it"), parts.join());
});
const params = async () => new URLSearchParams((await hash(page)).split("?")[1]);
const inspectCard = (item) => page.evaluate((id) => {
  const [room, query] = location.hash.split("?");
  const changed = new URLSearchParams(query);
  changed.set("inspect", "card");
  changed.set("card", id);
  location.hash = `${room}?${changed}`;
}, item);
await check("the card says which plays made each source's score, as bars with numbers", async () => {
  const slate = (await params()).get("slate");
  // The first candidate that some source scored by at least two plays.
  const found = await page.evaluate(async (id) => {
    const { candidates } = await (await fetch(`/v1/slates/${encodeURIComponent(id)}`)).json();
    for (const { item_id: item } of candidates) {
      const answer = await (await fetch(`/v1/slates/${encodeURIComponent(id)}/explanation?item_id=${encodeURIComponent(item)}`)).json();
      if (answer.sources.some(({ plays }) => plays.length > 1)) return answer;
    }
    return null;
  }, slate);
  assert(found, "no candidate of this slate has a source that decomposes");
  await inspectCard(found.item_id);
  const wanted = found.sources.filter(({ plays }) => plays.length);
  await until(async () => (await page.locator(".explained").count()) === wanted.length, `not ${wanted.length} sources`);
  const shown = await page.locator(".explained").evaluateAll((nodes) => nodes.map((node) => ({ source: node.querySelector(".chip").textContent, sum: node.querySelector(".explained-sum").textContent, plays: [...node.querySelectorAll(".explained-play")].map((row) => ({ title: row.querySelector(".item-title").textContent, hasCover: row.querySelector("svg.cover-art") !== null, number: row.querySelector(".bar-number").textContent, wide: row.querySelector(".bar-fill").getBoundingClientRect().width })) })));
  for (const [i, { source, plays }] of wanted.entries()) {
    assert(shown[i].source === source.replaceAll("_", " "), `${shown[i].source} instead of ${source}`);
    assert(shown[i].plays.length === Math.min(5, plays.length), `${shown[i].plays.length} plays of ${source}`);
    assert(shown[i].plays.every((play, k) => play.hasCover && play.title === plays[k].display.title), `covers or titles of ${source}`);
    assert(shown[i].plays.every((play, k) => Math.abs(Number(play.number.replaceAll(",", "")) - plays[k].amount) <= 0.001 * Math.abs(plays[k].amount)), `numbers of ${source}: ${JSON.stringify(shown[i].plays)}`);
    assert(shown[i].plays.every((play, k) => k === 0 || play.wide <= shown[i].plays[k - 1].wide + 0.5), `bars of ${source} do not follow the amounts`);
  }
  const longest = wanted.findIndex(({ plays }) => plays.length > 5);
  if (longest >= 0) {
    const section = page.locator(".explained").nth(longest);
    await section.getByRole("button", { name: /more play/ }).click();
    assert((await section.locator(".explained-play").count()) === wanted[longest].plays.length, "the rest did not come");
    assert(await section.evaluate((node) => node.contains(document.activeElement)), "focus was lost");
  }
  return shown.map(({ source, sum }) => `${source}: ${sum}`).join("; ");
});
await page.locator(".explained").first().scrollIntoViewIfNeeded();
await shot(page, "inspector-card");
await axe(page, "inspector, card");
await check("an explanation says when there are no parts, when they moved on, and when it cannot be had", async () => {
  const item = (await params()).get("card");
  const play = { item_id: item, display: { title: "A play", kind: "track", artists: ["Somebody"] }, occurred_at: null, amount: -0.25 };
  const say = async (status, body, expected) => {
    await page.route("**/explanation?*", (route) => route.fulfill({ status, contentType: "application/json", body: JSON.stringify(body) }));
    await page.getByRole("tab", { name: "Stages" }).click();
    await page.getByRole("tab", { name: "Card" }).click();
    const text = await until(async () => {
      const said = (await page.locator(".explanation").textContent()) ?? "";
      return expected.every((part) => said.includes(part)) ? said : null;
    }, `\`${expected}\` is not said`);
    await page.unroute("**/explanation?*");
    return text;
  };
  const answer = { slate_id: "s", item_id: item, is_current: true };
  await say(200, { ...answer, sources: [] }, ["No source of this slate proposed it"]);
  await say(200, { ...answer, sources: [{ source: "popularity", score: 3, plays: [] }] }, ["Not made of single plays: popularity"]);
  await say(200, { ...answer, is_current: false, sources: [{ source: "co_listen", score: 0.5, plays: [play] }, { source: "popularity", score: 3, plays: [] }] }, ["No longer current", "1 play makes -0.25 now; the recorded score is 0.5", "plays now, or undated", "the score of popularity"]);
  assert((await page.locator(".bar-amount.is-against").count()) === 1, "a play that speaks against looks like one that speaks for");
  await say(404, { code: "candidate_not_found", message: "no candidate `s/i`", hint: "candidates were not kept" }, ["no candidate", "candidates were not kept"]);
});
await check("the slate replays", async () => {
  await page.getByRole("tab", { name: "Slate" }).click();
  const { body } = await answer(page, new URL(`${base}/v1/slates/${await page.locator(".copy-text").first().textContent()}/replay`).pathname, () => page.getByRole("button", { name: "Replay this slate" }).click());
  await until(async () => (await page.locator(".replay-result").textContent()).includes("Identical"), `replay said ${JSON.stringify(body)}`);
});
await check("seed and raw JSON are shown without losing a digit", async () => {
  const seed = await page.locator(".facts-list div", { hasText: "Seed" }).locator("code").textContent();
  assert(/^\d+$/.test(seed), `the seed is \`${seed}\``);
  const id = await page.locator(".copy-text").first().textContent();
  const raw = await page.evaluate(async (slate) => (await fetch(`/v1/slates/${encodeURIComponent(slate)}`)).text(), id);
  assert(new RegExp(`"seed":\\s*"?${seed}\\b`).test(raw), `the record does not have the seed ${seed}`);
  await page.getByText("Raw JSON").click();
  await until(async () => (await page.locator("pre.raw").textContent()).includes('"stages"'), "no JSON");
});
await check("the slate names its arms, and an arm leads to its experiment", async () => {
  const id = await page.locator(".copy-text").first().textContent();
  const { arms } = await page.evaluate(async (slate) => (await fetch(`/v1/slates/${encodeURIComponent(slate)}`)).json(), id);
  const fact = page.locator(".facts-list > div", { hasText: "Experiment arms" });
  if (!arms.length) {
    assert((await fact.textContent()).includes("none"), "no arms, and it does not say so");
    return "none";
  }
  assert((await fact.locator("a").allTextContents()).join() === arms.map((arm) => arm.replace("=", " = ")).join(), "other arms than the record's");
  await fact.locator("a").first().click();
  await until(async () => (await page.locator(".page-title").textContent()) === arms[0].split("=")[0], "the arm does not lead to its experiment");
  await page.goBack();
  await page.locator(".facts-list").first().waitFor();
  return arms.join(", ");
});
await shot(page, "inspector-slate");
await axe(page, "inspector, slate");

// --- Experiments ------------------------------------------------------------------------------
const listed = await page.evaluate(async () => (await (await fetch("/v1/experiments")).json()).experiments);
await check("key 4 opens Experiments: every one with status, ramp and arms", async () => {
  await page.keyboard.press("Escape");
  await page.locator("#view").focus();
  await page.keyboard.press("4");
  await page.locator(".experiments").waitFor();
  if (!listed.length) {
    await page.getByText("segue experiment start FILE").waitFor();
    return "none on this server";
  }
  await page.locator(".experiment[data-experiment]").first().waitFor();
  const rows = await page.locator(".experiment[data-experiment]").evaluateAll((nodes) => nodes.map((node) => ({ name: node.dataset.experiment, status: node.querySelector(".status-mark").textContent.toLowerCase(), ramp: parseFloat(node.querySelector(".bar-number").textContent), arms: [...node.querySelectorAll(".split-names li")].map((arm) => arm.textContent), widths: [...node.querySelectorAll(".split-part")].map((part) => part.getBoundingClientRect().width) })));
  assert(rows.length === listed.length, `${rows.length} rows of ${listed.length}`);
  for (const [i, one] of listed.entries()) {
    assert(rows[i].name === one.name && rows[i].status === one.status, `${JSON.stringify(rows[i])} is not ${one.name}, ${one.status}`);
    assert(Math.abs(rows[i].ramp - one.ramp * 100) < 0.06, `ramp of ${one.name} is ${rows[i].ramp} %`);
    assert(one.arms.every(({ name, share }, k) => rows[i].arms[k].startsWith(name) && Math.abs(parseFloat(rows[i].arms[k].slice(name.length)) - share * 100) < 0.06), `arms of ${one.name} are ${rows[i].arms}`);
    const width = rows[i].widths.reduce((sum, part) => sum + part, 0);
    assert(one.arms.every(({ share }, k) => Math.abs(rows[i].widths[k] / width - share) < 0.05), `bars of ${one.name} are ${rows[i].widths}`);
  }
  return rows.map(({ name, status }) => `${name} ${status}`).join(", ");
});
await page.waitForTimeout(250);
await shot(page, "experiments-dark");
await axe(page, "Experiments, dark");
if (listed.length) {
  await check("an experiment opens by keyboard, with its arms and deployments, and the address holds it", async () => {
    await page.locator(".experiment-name a").first().focus();
    await page.keyboard.press("Enter");
    const one = listed[0];
    await page.locator(".arms tbody tr").first().waitFor();
    assert((await params()).get("experiment") === one.name, "the address does not name the experiment");
    assert((await page.title()).includes(one.name), "the tab does not name the experiment");
    const look = () => page.locator(".arms tbody tr").evaluateAll((rows) => rows.map((row) => `${row.querySelector("th").firstChild.textContent} ${row.querySelector("code")?.textContent ?? ""}`).join());
    const arms = one.arms.map((arm) => `${arm.name} ${arm.deployment_id}`).join();
    assert((await look()) === arms, await look());
    await page.reload();
    await page.locator(".arms tbody tr").first().waitFor();
    assert((await look()) === arms && (await page.locator(".page-title").textContent()) === one.name, "another page after a reload");
    if (!one.has_report) await page.getByText(`segue experiment report ${one.name}`).first().waitFor();
    return arms;
  });
  await page.waitForTimeout(400);
  await shot(page, "experiment-dark");
  await axe(page, "one experiment, dark");
  await check("back to the list, and out of the room, the address lets go of the experiment", async () => {
    await page.getByRole("link", { name: "All experiments" }).click();
    await page.locator(".experiment[data-experiment]").first().waitFor();
    await page.goBack();
    await page.locator(".arms").waitFor();
    await page.keyboard.press("1");
    await page.locator(".home .shelf .card").first().waitFor();
    assert((await params()).get("experiment") === null, await hash(page));
  });
}
const played = { experiments: [
  { name: "with a report/1", status: "running", unit: "session", ramp: 0.025, surfaces: ["home", "now_playing"], arms: [{ name: "control", share: 0.9, deployment_id: "d-1" }, { name: "new", share: 0.1, deployment_id: "d-2" }], has_report: true },
  { name: "clash", status: "refused", detail: "it changes `surface.home.shelf`, which another changes too", unit: "user", ramp: 0.2, surfaces: ["home"], arms: [{ name: "control", share: 0.5, deployment_id: "" }, { name: "bold", share: 0.5, deployment_id: "" }], has_report: false },
] };
await check("a report is shown in a frame that may do nothing", async () => {
  const more = await open();
  await answers(more, "**/v1/experiments", 200, played);
  await more.route("**/v1/experiments/*/report", (route) => route.fulfill({ status: 200, contentType: "text/html", headers: { "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox" }, body: "<!doctype html><html lang=en><meta name=color-scheme content='light dark'><title>R</title><h1>Lift of plays</h1></html>" }));
  await more.goto(`${base}/#/experiments?experiment=${encodeURIComponent(played.experiments[0].name)}`);
  const frame = more.locator("iframe.report");
  await frame.waitFor();
  assert((await frame.getAttribute("sandbox")) === "" && (await frame.getAttribute("title")).includes("with a report/1"), "the frame has no sandbox or no title");
  await frame.scrollIntoViewIfNeeded();
  await frame.contentFrame().getByRole("heading", { name: "Lift of plays" }).waitFor();
  const themed = async () => (await frame.getAttribute("src")).endsWith(`#${await more.locator("html").getAttribute("data-theme")}`);
  assert(await themed(), "the report has another theme than the page");
  await more.getByRole("button", { name: /theme/i }).first().click();
  assert(await themed(), "the report keeps the theme that the page had");
  await frame.scrollIntoViewIfNeeded();
  await frame.contentFrame().getByRole("heading", { name: "Lift of plays" }).waitFor();
  assert((await more.getByRole("link", { name: "Open it in a tab of its own" }).getAttribute("href")) === "/v1/experiments/with%20a%20report%2F1/report", "the link to the report");
  await axe(more, "a report in its frame");
  await more.context().close();
});
await check("a refused experiment says why, in the list and on its page", async () => {
  const more = await open();
  await answers(more, "**/v1/experiments", 200, played);
  await more.goto(`${base}/#/experiments`);
  await more.locator('.experiment[data-experiment="clash"] .refusal', { hasText: "which another changes too" }).waitFor();
  await more.goto(`${base}/#/experiments?experiment=clash`);
  await more.locator(".experiment-page .refusal", { hasText: "which another changes too" }).waitFor();
  await more.getByText("segue experiment report clash").first().waitFor();
  assert((await more.getByText("none: it does not run").count()) === 2, "a deployment is named that does not exist");
  await more.goto(`${base}/#/experiments?experiment=nobody`);
  await more.getByText("No such experiment").waitFor();
  await axe(more, "an experiment that does not exist");
  await more.context().close();
});
await check("no experiments, an error and a late answer are said so", async () => {
  const more = await open({ isQuiet: true });
  let release;
  await more.route("**/v1/experiments", (route) => new Promise((done) => (release = done)).then(() => route.fulfill({ status: 500, contentType: "application/json", body: JSON.stringify({ code: "internal", message: "experiments/x.toml cannot be read", hint: "check its rights" }) })));
  await more.goto(`${base}/#/experiments`);
  await more.locator(".experiment.skeleton").first().waitFor();
  release();
  const alert = more.getByRole("alert");
  await alert.waitFor();
  assert((await alert.textContent()).includes("experiments/x.toml cannot be read"), "the error is not said");
  await more.unroute("**/v1/experiments");
  await answers(more, "**/v1/experiments", 200, { experiments: [] });
  await more.getByRole("button", { name: "Try again" }).click();
  await more.getByText("No experiments yet").waitFor();
  await more.getByText("segue experiment start FILE").waitFor();
  await shot(more, "experiments-empty");
  await axe(more, "no experiments");
  await more.unroute("**/v1/experiments");
  await answers(more, "**/v1/experiments", 200, played);
  await more.locator("#view").focus();
  await more.keyboard.press("r");
  await more.locator(".experiment[data-experiment]").first().waitFor();
  await more.context().close();
});
await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
await page.locator(".home .shelf .card").first().waitFor();

// --- Light ------------------------------------------------------------------------------------
await check("the switch changes the theme", async () => {
  await page.getByRole("button", { name: "Use the light theme" }).click();
  assert((await page.evaluate(() => document.documentElement.dataset.theme)) === "light", "still dark");
});
await page.waitForTimeout(250);
await shot(page, "home-light");
await axe(page, "Home, light");
await page.keyboard.press("2");
await page.locator(".hero-title").waitFor();
await page.waitForTimeout(250);
await shot(page, "now-playing-light");
await axe(page, "Now Playing, light");
await page.keyboard.press("3");
await page.locator(".person[data-user]").first().waitFor();
await page.waitForTimeout(250);
await shot(page, "listeners-light");
await axe(page, "Listeners, light");
await page.keyboard.press("4");
await page.locator(".experiments .experiment[data-experiment], .experiments .state").first().waitFor();
await page.waitForTimeout(250);
await shot(page, "experiments-light");
await axe(page, "Experiments, light");
if (listed.length) {
  await page.locator(".experiment-name a").first().click();
  await page.locator(".arms").waitFor();
  await page.waitForTimeout(400);
  await shot(page, "experiment-light");
  await axe(page, "one experiment, light");
}
for (const tab of ["stages", "candidates", "card", "slate"]) {
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}&inspect=${tab}`);
  await page.waitForTimeout(700);
  await axe(page, `inspector, ${tab}, light`);
}
await page.getByRole("button", { name: "Close the inspector" }).click();
await page.getByRole("button", { name: "Use the dark theme" }).click();
await page.getByRole("link", { name: "Listeners", exact: true }).click();
await page.locator(".profile-head").waitFor();
await shot(page, "listeners-dark");
await axe(page, "Listeners, dark");

// --- Keyboard only ----------------------------------------------------------------------------
await check("everything by keyboard: listener, shelf, card, play, inspector", async () => {
  const keys = await open();
  await keys.goto(`${base}/#/listeners`);
  await keys.locator(".person[data-user]").first().waitFor();
  await keys.keyboard.press("/");
  // The rows are drawn anew by the answer, which a focus must not run ahead of.
  const found = keys.waitForResponse((response) => new URL(response.url()).searchParams.get("query") === user);
  await keys.keyboard.type(user);
  await found;
  await until(async () => (await keys.locator(`.person[data-user="${user}"]`).count()) === 1, "not found");
  const tabTo = async (test, what) => {
    for (let i = 0; i < 40; i += 1) {
      await keys.keyboard.press("Tab");
      if (await keys.evaluate(test)) return;
    }
    throw new Error(`40 tabs did not reach ${what}`);
  };
  await tabTo(() => document.activeElement.matches(".person[data-user]"), "a listener");
  await keys.keyboard.press("Enter");
  await keys.locator(".home .shelf .card").first().waitFor();
  await tabTo(() => document.activeElement.matches(".card-play"), "a card");
  const at = () => keys.evaluate(() => [document.activeElement.closest("[data-shelf]")?.dataset.shelf, document.activeElement.closest("[data-item]")?.dataset.item]);
  const start = await at();
  await keys.keyboard.press("ArrowRight");
  const right = await at();
  assert(start[0] === right[0] && start[1] !== right[1], "the right arrow did not move within the shelf");
  await keys.keyboard.press("ArrowDown");
  const down = await at();
  assert(down[0] !== right[0], "the down arrow did not move to the next shelf");
  const outline = await keys.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert(outline !== "none", "the focus cannot be seen");
  await keys.keyboard.press("i");
  await keys.locator(".card-name").waitFor();
  await keys.keyboard.press("Escape");
  const back = await at();
  assert(back[1] === down[1], "focus did not come back to the card");
  await answer(keys, "/v1/now-playing", () => keys.keyboard.press("Enter"));
  await keys.context().close();
});

// --- Small screens and zoom -------------------------------------------------------------------
const small = [["phone", { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }], ["360", { width: 360, height: 740, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }], ["zoom-200", { width: 720, height: 450, deviceScaleFactor: 2 }]];
for (const [name, size] of small) {
  for (const [room, ready] of [["home", ".shelf .card"], ["now-playing", ".now-playing"], ["listeners", ".person[data-user]"], ["experiments", ".experiment[data-experiment], .experiments .state"]]) {
    await check(`${room} fits at ${name} without scrolling sideways`, async () => {
      page = await open(size);
      await page.goto(`${base}/#/${room}?user=${encodeURIComponent(user)}`);
      await page.locator(ready).first().waitFor();
      if (room === "now-playing") {
        await page.getByRole("button", { name: "Go to Home" }).click();
        await answer(page, "/v1/now-playing", () => page.locator(".card-play").first().click());
        await page.getByRole("link", { name: "Now Playing", exact: true }).click();
        await page.locator(".queue-row[data-item]").first().waitFor();
      }
      await page.waitForTimeout(300);
      const over = await page.evaluate(() => {
        const view = document.querySelector("main");
        return Math.max(document.documentElement.scrollWidth - innerWidth, view.scrollWidth - view.clientWidth);
      });
      assert(over <= 0, `${over} px too wide`);
      await shot(page, `${room}-${name}`);
    });
    if (name !== "zoom-200") await axe(page, `${room} at ${name}`);
    await page.context().close();
  }
}
await check("the inspector is a sheet on a phone", async () => {
  page = await open(small[0][1]);
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}&inspect=stages`);
  await page.locator(".chart-row").first().waitFor();
  const box = await page.locator(".inspector").boundingBox();
  assert(box.x === 0 && box.width === 390, JSON.stringify(box));
  await shot(page, "inspector-phone");
  await page.context().close();
});

// --- Empty, loading, error, offline -----------------------------------------------------------
await check("loading has skeletons of the cards' size", async () => {
  page = await open();
  let release;
  await page.route("**/v1/home", (route) => new Promise((done) => (release = done)).then(() => route.continue()));
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  const skeleton = await page.locator(".skeleton-card:not(.card-tile) .cover").first().boundingBox();
  const tile = await page.locator(".skeleton-card.card-tile").first().boundingBox();
  await shot(page, "home-loading");
  release();
  const card = await page.locator(".shelf[data-shelf]:not(.shelf-tiles) .card .cover").first().boundingBox();
  const realTile = page.locator(".shelf[data-shelf] .card-tile").first();
  if (await realTile.count()) assert(Math.abs(tile.height - (await realTile.boundingBox()).height) < 1, "tiles change their height");
  assert(Math.abs(skeleton.width - card.width) < 1 && Math.abs(skeleton.height - card.height) < 1, `${skeleton.width} and ${card.width}`);
  await page.context().close();
});
await check("an error says what the server said, and what to do", async () => {
  page = await open({ isQuiet: true });
  await answers(page, "**/v1/home", 503, { code: "not_ready", message: "the deployment is not ready: model `trees` is missing", hint: "run `segue train`" });
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.getByRole("alert").waitFor();
  const text = await page.getByRole("alert").textContent();
  assert(text.includes("not_ready") && text.includes("segue train"), text);
  await shot(page, "home-error");
  await axe(page, "an error");
  await page.unroute("**/v1/home");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".shelf[data-shelf] .card").first().waitFor();
  await page.context().close();
});
await check("a server that is away is said so in each room, and the page recovers", async () => {
  page = await open({ isQuiet: true });
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.locator(".shelf[data-shelf] .card").first().waitFor();
  await page.route("**/v1/**", (route) => route.abort());
  await page.getByRole("button", { name: "Ask for Home again" }).click();
  await page.locator(".notice-bad").waitFor();
  await page.locator(".shelf:not(.shelf-tiles) .card-play").first().click();
  await page.keyboard.press("2");
  await page.locator(".up-next .state-bad").waitFor();
  await page.keyboard.press("3");
  await page.locator(".people-list .state-bad").waitFor();
  await page.keyboard.press("4");
  await page.locator(".experiments .state-bad").waitFor();
  await page.keyboard.press("3");
  await page.locator(".people-list .state-bad").waitFor();
  await page.unroute("**/v1/**");
  await page.getByRole("button", { name: "Try again" }).first().click();
  await page.locator(".person[data-user]").first().waitFor();
  await page.context().close();
});
await check("a page opened while the server is away says so, and starts when it is back", async () => {
  page = await open({ isQuiet: true });
  await page.route("**/v1/**", (route) => route.abort());
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.getByRole("alert").waitFor();
  await shot(page, "offline");
  await axe(page, "offline");
  await page.unroute("**/v1/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".shelf[data-shelf] .card").first().waitFor();
  await page.context().close();
});
await check("an empty slate says why and what to do", async () => {
  page = await open({ isQuiet: true });
  await answers(page, "**/v1/home", 200, { slate_id: "empty-1", surface: "home", user_id: user, composed_at: 0, shelves: [], degraded: [], empty_reason: "every candidate was removed", slate_propensity: 1 });
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.locator(".state").waitFor();
  assert((await page.locator(".state").textContent()).includes("every candidate was removed"), "no reason");
  await page.goto(`${base}/#/now-playing`);
  await page.getByText("It fills as soon as something plays").waitFor();
  await page.context().close();
});
await check("strings from outside are text, never HTML", async () => {
  page = await open({ isQuiet: true });
  const evil = '<img src=x onerror="globalThis.pwned=1"><b>bold</b>';
  const card = { item_id: evil, item_key: "00000000000000ff", position: 0, source: evil, reason: evil, score: 0.5, prefix_propensity: 1, display: { title: evil, kind: "track", artists: [evil], album: evil, genre: evil, duration_ms: 1000, explicit: false, energy: null, tempo_bpm: null } };
  await answers(page, "**/v1/home", 200, { slate_id: "evil-1", surface: "home", user_id: user, composed_at: 0, shelves: [{ shelf_id: "evil", title: evil, why: evil, cards: [card] }], degraded: [{ stage: evil, cause: evil, detail: evil }], empty_reason: null, slate_propensity: 1 });
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.locator(".card").first().waitFor();
  assert((await page.locator(".card-title").first().textContent()) === evil, "the title is not shown as it is");
  assert((await page.evaluate(() => globalThis.pwned)) === undefined && (await page.locator("main img, main b").count()) === 0, "markup came through");
  await page.context().close();
});
await check("nothing moves for people who asked for that", async () => {
  page = await open({ reducedMotion: "reduce" });
  await page.goto(`${base}/#/home?user=${encodeURIComponent(user)}`);
  await page.locator(".shelf[data-shelf] .card").first().waitFor();
  const moving = await page.evaluate(() => document.getAnimations().filter((one) => one.playState === "running").length);
  assert(moving === 0, `${moving} animations run`);
  await page.context().close();
});

// --- All along --------------------------------------------------------------------------------
await check("no request left for another server", async () => assert(foreign.length === 0, foreign.join("\n")));
await check("the browser reported no error, warning or policy violation", async () => assert(trouble.length === 0, [...new Set(trouble)].join("\n")));
await check("the page is under 150 KB compressed", async () => {
  const total = [...bytes.values()].reduce((sum, n) => sum + n, 0);
  assert(bytes.size > 10 && total < MAX_COMPRESSED_BYTES, `${total} bytes in ${bytes.size} files`);
  return `${Math.round(total / 1024)} KB in ${bytes.size} files`;
});

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
