// The page's moment. Where the server takes a client's clock (simulated worlds) this is a world
// clock: it starts at the server's `now`, runs with the wall, and runs faster while something
// plays, so that plays complete while someone watches. Anywhere else it is the wall clock.

export const SPEEDS = [1, 10, 60];

class Clock {
  #base = Date.now();
  #since = performance.now();
  #speed = 1;
  #isRunningFast = false;
  /** Whether requests carry `now`. */
  isWorld = false;

  /** Takes over what `GET /v1/status` says. */
  start(status) {
    this.isWorld = status.client_clock === true;
    if (!this.isWorld) return;
    this.#base = Math.max(status.now, this.#hasStarted ? this.now() : status.now);
    this.#since = performance.now();
    this.#hasStarted = true;
  }

  #hasStarted = false;

  /** UTC milliseconds. */
  now() {
    if (!this.isWorld) return Date.now();
    return Math.floor(this.#base + (performance.now() - this.#since) * this.rate);
  }

  /** World seconds per second. */
  get rate() {
    return this.isWorld && this.#isRunningFast ? this.#speed : 1;
  }

  /** The speed chosen, one of `SPEEDS`. */
  get speed() {
    return this.#speed;
  }

  set speed(speed) {
    this.#rebase();
    this.#speed = speed;
  }

  /** The world only hurries while something plays; a forgotten tab does not run away. */
  set isPlaying(isPlaying) {
    this.#rebase();
    this.#isRunningFast = isPlaying;
  }

  #rebase() {
    this.#base = this.now();
    this.#since = performance.now();
  }
}

export const clock = new Clock();
