// Events on their way to the server. They are kept until the server says they are durable, across
// reloads too; sending one twice does no harm, since each has its own id.

import { api } from "./api.js";
import { note } from "./announcer.js";
import { loadJson, save } from "./storage.js";

const KEY = "segue.outbox";
const MAX_BATCH = 500;
const MAX_KEPT = 5000;
const RETRY_MS = 4000;

let waiting = loadJson(KEY, []);
let sending = null;
let retryTimer = 0;

/** Adds events; they leave with the next flush. */
export function enqueue(...events) {
  waiting.push(...events);
  // A server that is away for very long costs the oldest impressions, not the page.
  if (waiting.length > MAX_KEPT) waiting = waiting.slice(-MAX_KEPT);
  keep();
}

/** Sends what waits. Resolves when the server has it, or rejects with an `ApiError`. */
export async function flush() {
  clearTimeout(retryTimer);
  while (sending) await sending.catch(() => {});
  if (!waiting.length) return;
  sending = send();
  try {
    await sending;
  } finally {
    sending = null;
  }
}

/** Sends without waiting, as the page goes away. */
export function flushOnLeave() {
  if (waiting.length) api.events(waiting.slice(0, MAX_BATCH), { keepalive: true }).then(() => {}, () => {});
}

async function send() {
  const batch = waiting.slice(0, MAX_BATCH);
  try {
    const answer = await api.events(batch);
    waiting = waiting.slice(batch.length);
    keep();
    if (answer.rejected.length) {
      const [first] = answer.rejected;
      note(`The server refused ${answer.rejected.length} of ${batch.length} events: ${first.message}`);
    }
  } catch (error) {
    if (error.code === "offline" || error.status >= 500) {
      retryTimer = setTimeout(() => flush().catch(() => {}), RETRY_MS);
    } else {
      // A batch the server will never take would block everything behind it.
      waiting = waiting.slice(batch.length);
      keep();
      note(`The server refused the events: ${error.message}`);
    }
    throw error;
  }
  if (waiting.length) await send();
}

function keep() {
  save(KEY, waiting.length ? JSON.stringify(waiting) : null);
}
