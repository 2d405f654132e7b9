// Browser storage that may be forbidden or full: then nothing is remembered, and nothing breaks.

/** The stored text, or null. */
export function load(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Stores a text; null removes it. */
export function save(key, text) {
  try {
    if (text === null) localStorage.removeItem(key);
    else localStorage.setItem(key, text);
  } catch {
    // Nothing to do: the page works without a memory.
  }
}

/** The stored value, or `otherwise` if there is none or it cannot be read. */
export function loadJson(key, otherwise) {
  try {
    return JSON.parse(load(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
