// One-to-many notification, without a library.

export class Emitter {
  #listeners = new Map();

  /** Calls `listener` for each `name` until the returned function is called. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  /** Notifies in the order of subscription. */
  emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(detail);
  }
}
