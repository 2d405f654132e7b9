// Covers, drawn from what is known of an item: no picture is ever loaded.
//
// Hue follows the genre's neighbourhood, contrast the energy, density the tempo, form the kind
// (square for tracks and albums, round for artists, two by two for playlists). The artist chooses
// a pair of motifs, so a catalogue looks like one; the item's id chooses between them and varies
// everything else, so neighbours can be told apart. The same input always gives the same drawing.

import { svg, uniqueId } from "./dom.js";
import { MOTIFS } from "./cover_motifs.js";
import { anyHue, hueOfGenre } from "./genre_hue.js";
import { hash, Random } from "./random.js";

const DEFAULT_ENERGY = 0.55;
const TEMPO_LOW = 70;
const TEMPO_HIGH = 175;

/**
 * Draws a cover that fills its container.
 * @param {{item_id: string, display: object}} item a card, or anything like one
 * @returns {SVGElement} hidden from assistive technology: the title stands beside it
 */
export function drawCover(item) {
  const display = item.display ?? {};
  const root = svg("svg", { class: "cover-art", viewBox: "0 0 100 100", "aria-hidden": "true", focusable: "false" });
  if (display.kind === "artist") drawRound(root, item, display);
  else if (display.kind === "playlist") drawFour(root, item, display);
  else drawSquare(root, item, display);
  return root;
}

/** The hue a view may borrow from an item for its background. */
export function hueOf(item) {
  return traits(item, item.display ?? {}).hue;
}

/** Up to two letters that stand for a title. */
export function initials(title) {
  const words = (title ?? "").normalize("NFC").match(/[\p{L}\p{N}]+/gu) ?? [];
  const skip = new Set(["the", "a", "an", "of", "and", "der", "die", "das", "la", "le", "el", "los", "les"]);
  const telling = words.filter((word) => !skip.has(word.toLowerCase()));
  const chosen = (telling.length ? telling : words).slice(0, 2);
  return chosen.map((word) => [...word][0].toUpperCase()).join("") || "–";
}

function traits(item, display, salt = "") {
  // The id, not the key: plays and saves come without a key, and must look the same.
  const key = `${item.item_id}${salt}`;
  const r = new Random(hash(key));
  const artist = display.artists?.[0] ?? key;
  const base = hueOfGenre(display.genre) ?? anyHue(artist);
  const energy = display.energy ?? DEFAULT_ENERGY + r.between(-0.25, 0.25);
  const tempo = display.tempo_bpm ?? r.between(TEMPO_LOW, TEMPO_HIGH);
  const pace = Math.min(1, Math.max(0, (tempo - TEMPO_LOW) / (TEMPO_HIGH - TEMPO_LOW)));
  const first = hash(`${artist}/motif`) % MOTIFS.length;
  const second = (first + 1 + (hash(`${artist}/other`) % (MOTIFS.length - 1))) % MOTIFS.length;
  return {
    r,
    hue: (base + r.between(-17, 17) + 360) % 360,
    energy: Math.min(1, Math.max(0, energy)),
    n: Math.round(3 + pace * 6),
    motif: MOTIFS[r.unit() < 0.55 ? first : second],
  };
}

/** A ground, its shade, three colours for shapes, and the ink for letters on the ground. */
function palette(r, hue, energy) {
  // Low energy stays within neighbouring tones, high energy sets light against dark.
  const s = 0.62 + 0.38 * energy;
  const c = 0.7 + 0.45 * energy;
  const far = r.pick([150, 175, 205]);
  const near = r.pick([-48, -34, 34, 48]);
  const colour = (l, chroma, h) => `oklch(${(l * 100).toFixed(1)}% ${(chroma * c).toFixed(3)} ${((h + 720) % 360).toFixed(0)})`;
  const toward = (from, to) => from + (to - from) * s;
  const schemes = [
    // Night: deep ground, glowing shapes.
    () => ({ ground: colour(0.25, 0.07, hue), shade: colour(0.34, 0.085, hue), one: colour(toward(0.4, 0.7), 0.15, hue), two: colour(toward(0.42, 0.5), 0.13, hue + near), three: colour(toward(0.6, 0.88), 0.1, hue - near), dark: true }),
    // Poster: full colour ground, dark and pale shapes.
    () => ({ ground: colour(0.52, 0.15, hue), shade: colour(0.64, 0.14, hue + near / 2), one: colour(toward(0.5, 0.27), 0.08, hue + near), two: colour(toward(0.68, 0.84), 0.12, hue - near), three: colour(toward(0.7, 0.93), 0.05, hue), dark: true }),
    // Paper: pale ground, saturated shapes.
    () => ({ ground: colour(0.93, 0.025, hue + 30), shade: colour(0.85, 0.06, hue), one: colour(toward(0.76, 0.58), 0.17, hue), two: colour(toward(0.7, 0.35), 0.09, hue + near), three: colour(toward(0.82, 0.74), 0.13, hue + far), dark: false }),
    // Duet: a ground and its counterpart.
    () => ({ ground: colour(0.38, 0.12, hue), shade: colour(0.46, 0.13, hue), one: colour(toward(0.56, 0.76), 0.14, hue + near), two: colour(toward(0.52, 0.64), 0.16, hue + far), three: colour(toward(0.7, 0.92), 0.06, hue + near), dark: true }),
  ];
  const out = r.pick([schemes[0], schemes[0], schemes[1], schemes[2], schemes[3], schemes[3]])();
  out.ink = out.dark ? colour(0.97, 0.015, hue) : colour(0.22, 0.05, hue);
  return out;
}

function drawSquare(root, item, display, salt = "") {
  const { r, hue, energy, n, motif } = traits(item, display, salt);
  const colours = palette(r, hue, energy);
  root.append(svg("rect", { width: 100, height: 100, fill: colours.ground }));
  const layout = r.integer(0, 3);
  const letters = initials(display.title ?? item.item_id);
  const text = (x, y, size, anchor = "start") =>
    svg("text", { x, y, "font-size": size, "text-anchor": anchor, fill: colours.ink, class: "cover-letters", text: letters });
  const wide = letters.length > 1 ? 24 : 16;

  if (layout === 0) {
    // The motif above, a strip for the letters below.
    root.append(framed(motif({ ...colours, r, n }), 0, 0, 100, 80));
    root.append(text(7, 94.5, 12.5), svg("rect", { x: 80, y: 88.6, width: 13, height: 2.4, fill: colours.three }));
  } else if (layout === 1) {
    // The motif in a window, letters in the margin.
    const inset = r.pick([9, 12]);
    root.append(framed(motif({ ...colours, r, n }), inset, inset, 100 - 2 * inset, 100 - 2 * inset - 10));
    root.append(text(inset, 95, 11));
  } else if (layout === 2) {
    // Full bleed, letters on a plate.
    root.append(framed(motif({ ...colours, r, n }), 0, 0, 100, 100));
    root.append(svg("rect", { x: 6, y: 6, width: wide, height: 17, fill: colours.ground, rx: 2 }), text(6 + wide / 2, 18.8, 12, "middle"));
  } else {
    // A record seen through the sleeve: the motif in a disc.
    const id = uniqueId("clip");
    const cx = r.pick([50, 62, 38]);
    root.append(
      svg("clipPath", { id }, svg("circle", { cx, cy: 44, r: 35 })),
      svg("circle", { cx, cy: 44, r: 35, fill: colours.shade }),
      svg("g", { "clip-path": `url(#${id})` }, framed(motif({ ...colours, ground: colours.shade, r, n }), cx - 36, 8, 72, 72)),
      text(7, 94.5, 12.5),
    );
  }
  if (display.kind === "album") {
    root.append(svg("rect", { x: 0, y: 0, width: 3.2, height: 100, fill: colours.ink, "fill-opacity": 0.28 }));
  }
  if (display.kind === "episode" || display.kind === "chapter") {
    root.append(svg("rect", { x: 0, y: 0, width: 100, height: 5, fill: colours.three }));
  }
}

function drawRound(root, item, display) {
  const { r, hue, energy, n, motif } = traits(item, display);
  const colours = palette(r, hue, energy);
  const id = uniqueId("clip");
  const letters = initials(display.title ?? item.item_id);
  root.append(
    svg("clipPath", { id }, svg("circle", { cx: 50, cy: 50, r: 50 })),
    svg(
      "g",
      { "clip-path": `url(#${id})` },
      svg("rect", { width: 100, height: 100, fill: colours.ground }),
      framed(motif({ ...colours, r, n }), 0, 0, 100, 100),
      svg("circle", { cx: 50, cy: 50, r: 27, fill: colours.ground }),
      svg("text", { x: 50, y: 59, "font-size": 25, "text-anchor": "middle", fill: colours.ink, class: "cover-letters", text: letters }),
    ),
  );
}

function drawFour(root, item, display) {
  for (let i = 0; i < 4; i += 1) {
    const { r, hue, energy, n, motif } = traits(item, { ...display, artists: [`${item.item_id}/${i}`] }, `/${i}`);
    const colours = palette(r, hue, energy);
    const [x, y] = [(i % 2) * 50, Math.floor(i / 2) * 50];
    root.append(
      svg("rect", { x, y, width: 50.2, height: 50.2, fill: colours.ground }),
      framed(motif({ ...colours, r, n: Math.max(3, n - 2) }), x, y, 50, 50),
    );
  }
  const letters = initials(display.title ?? item.item_id);
  root.append(
    svg("circle", { cx: 50, cy: 50, r: 15, fill: "oklch(16% 0.02 270)" }),
    svg("text", { x: 50, y: 54.6, "font-size": 13, "text-anchor": "middle", fill: "oklch(97% 0.01 270)", class: "cover-letters", text: letters }),
  );
}

/** Draws a 100 × 100 motif into a window, keeping its proportions and cutting what stands over. */
function framed(nodes, x, y, width, height) {
  return svg("svg", { x, y, width, height, viewBox: "0 0 100 100", preserveAspectRatio: "xMidYMid slice", overflow: "hidden" }, nodes);
}
