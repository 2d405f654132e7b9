// Small deterministic random numbers for drawings: the same text always gives the same picture.

/** FNV-1a over UTF-16 code units, 32 bits. */
export function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  // Final mixing of MurmurHash3, so that ids that differ in their last digit look unrelated.
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A generator (mulberry32) with the few draws that drawings need. */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  unit() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** In [low, high). */
  between(low, high) {
    return low + (high - low) * this.unit();
  }

  /** An integer in [low, high]. */
  integer(low, high) {
    return Math.floor(this.between(low, high + 1));
  }

  /** One of the list. */
  pick(list) {
    return list[Math.floor(this.unit() * list.length)];
  }
}
