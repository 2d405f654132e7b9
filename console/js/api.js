// The HTTP client: one function per address of `/v1`. See `crates/segue-types/src/api.rs`.

/** An answer that is not a success, or no answer at all (`code` is `offline`). */
export class ApiError extends Error {
  constructor({ status = 0, code, message, hint = null }) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export const api = {
  status: () => get("/v1/status"),
  home: (request, signal) => post("/v1/home", request, { signal }),
  nowPlaying: (request, signal) => post("/v1/now-playing", request, { signal }),
  users: (query, limit, signal) => get(`/v1/users?${new URLSearchParams({ query, limit })}`, { signal }),
  user: (id, signal) => get(`/v1/users/${encodeURIComponent(id)}`, { signal }),
  /** Names and facts of at most 500 items; ids that nobody knows are left out. */
  items: (ids) => get(`/v1/items?ids=${ids.map(encodeURIComponent).join(",")}`),
  similar: (id, k) => get(`/v1/items/${encodeURIComponent(id)}/similar?k=${k}`),
  slate: (id, signal) => get(`/v1/slates/${encodeURIComponent(id)}`, { signal }),
  /** Which plays made each source propose an item of a slate. */
  explanation: (id, itemId) => get(`/v1/slates/${encodeURIComponent(id)}/explanation?${new URLSearchParams({ item_id: itemId })}`),
  experiments: (signal) => get("/v1/experiments", { signal }),
  /** Where the report of an experiment is; a page of its own, not JSON. */
  reportAddress: (name) => `/v1/experiments/${encodeURIComponent(name)}/report`,
  /** Composes again from the record, or with `recompute` runs the stages again. */
  replay: (id, { recompute = false } = {}) => post(`/v1/slates/${encodeURIComponent(id)}/replay${recompute ? "?recompute=true" : ""}`, {}),
  /** `keepalive` lets the request outlive the page. */
  events: (events, { keepalive = false } = {}) => post("/v1/events", { events }, { keepalive }),
};

/** An id nobody else will make; `crypto.randomUUID` is missing where the page is not served securely. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function get(path, options = {}) {
  return call(path, { method: "GET", ...options });
}

function post(path, body, options = {}) {
  return call(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...options,
  });
}

async function call(path, options) {
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ code: "offline", message: "The server does not answer.", hint: "Is `segue serve` still running?" });
  }
  const body = parse(text);
  if (response.ok && body !== undefined) return body;
  throw new ApiError({
    status: response.status,
    code: body?.code ?? `http_${response.status}`,
    message: body?.message ?? `${path} answered ${response.status} with a body that is not JSON.`,
    hint: body?.hint,
  });
}

/** Reads JSON, keeping 64-bit seeds as text: a JavaScript number would lose their last digits. */
function parse(text) {
  try {
    return JSON.parse(text.replace(/"seed":\s*(\d{16,})/g, '"seed":"$1"'));
  } catch {
    return undefined;
  }
}
