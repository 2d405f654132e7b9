// The shapes of covers. A motif fills a 100 × 100 square and returns its nodes.
//
// Every motif is given a drawing `d`: `r` (a Random), `n` (density, 3 slow … 9 fast, from the
// tempo), and the palette: `ground` (already painted), `one`, `two`, `three`.

import { svg } from "./dom.js";

const circle = (cx, cy, r, fill, more = {}) => svg("circle", { cx: f(cx), cy: f(cy), r: f(r), fill, ...more });
const rect = (x, y, width, height, fill, more = {}) =>
  svg("rect", { x: f(x), y: f(y), width: f(width), height: f(height), fill, ...more });
const path = (d, fill, more = {}) => svg("path", { d, fill, ...more });
const ring = (cx, cy, r, stroke, width) =>
  svg("circle", { cx: f(cx), cy: f(cy), r: f(r), fill: "none", stroke, "stroke-width": f(width) });

function f(number) {
  return Math.round(number * 100) / 100;
}

/** Rings around a point off the middle. */
function rings({ r, n, one, two, three }) {
  const cx = r.between(20, 80);
  const cy = r.between(15, 70);
  const step = 110 / (n + 3);
  const nodes = [];
  for (let i = n + 3; i >= 1; i -= 1) nodes.push(circle(cx, cy, i * step, [one, two, one, three][i % 4], { "fill-opacity": i % 2 ? 1 : 0.9 }));
  return nodes;
}

/** Quarter circles on a grid. */
function quarters({ r, n, ground, one, two, three }) {
  const cells = Math.min(5, Math.max(2, Math.round(n / 2)));
  const size = 100 / cells;
  const nodes = [];
  for (let y = 0; y < cells; y += 1) {
    for (let x = 0; x < cells; x += 1) {
      const [back, front] = r.pick([[ground, one], [one, two], [two, ground], [three, one], [ground, three], [one, ground]]);
      nodes.push(rect(x * size, y * size, size + 0.3, size + 0.3, back));
      const x0 = x * size;
      const y0 = y * size;
      const x1 = x0 + size;
      const y1 = y0 + size;
      const corner = r.integer(0, 4);
      const s = f(size);
      if (corner === 0) nodes.push(path(`M${f(x0)} ${f(y0)}H${f(x1)}A${s} ${s} 0 0 1 ${f(x0)} ${f(y1)}Z`, front));
      else if (corner === 1) nodes.push(path(`M${f(x1)} ${f(y0)}V${f(y1)}A${s} ${s} 0 0 1 ${f(x0)} ${f(y0)}Z`, front));
      else if (corner === 2) nodes.push(path(`M${f(x1)} ${f(y1)}H${f(x0)}A${s} ${s} 0 0 1 ${f(x1)} ${f(y0)}Z`, front));
      else if (corner === 3) nodes.push(path(`M${f(x0)} ${f(y1)}V${f(y0)}A${s} ${s} 0 0 1 ${f(x1)} ${f(y1)}Z`, front));
      else nodes.push(circle(x0 + size / 2, y0 + size / 2, size * 0.34, front));
    }
  }
  return nodes;
}

/** Upright bars, like the levels of a mixing desk. */
function levels({ r, n, one, two, three }) {
  const bars = n + 3;
  const gap = 100 / bars;
  const phase = r.between(0, 6.3);
  const nodes = [];
  for (let i = 0; i < bars; i += 1) {
    const wave = Math.sin(phase + (i / bars) * 6.3 * r.between(0.9, 1.1));
    const height = 30 + 22 * (wave + 1) + r.between(0, 16);
    const width = gap * 0.66;
    const colour = i % 5 === 3 ? three : i % 2 ? one : two;
    nodes.push(rect(i * gap + (gap - width) / 2, 52 - height / 2, width, height, colour, { rx: f(width / 2) }));
  }
  return nodes;
}

/** Layered waves, from far to near. */
function waves({ r, n, one, two, three }) {
  const layers = Math.min(8, n + 1);
  const nodes = [];
  const period = r.between(60, 120);
  for (let i = 0; i < layers; i += 1) {
    const base = 22 + (i * 76) / layers;
    const amplitude = r.between(5, 13);
    const shift = r.between(0, period);
    let d = `M-${f(shift)} ${f(base)}`;
    for (let x = -shift; x < 110; x += period / 2) {
      d += `q${f(period / 4)} ${f((Math.round((x + shift) / (period / 2)) % 2 ? 2 : -2) * amplitude)} ${f(period / 2)} 0`;
    }
    nodes.push(path(`${d}V110H-${f(shift + 5)}Z`, [one, two, three][i % 3], { "fill-opacity": f(0.82 + 0.18 * (i / layers)) }));
  }
  return nodes;
}

/** A sun that sinks behind stripes. */
function sun({ r, n, ground, one, two, three }) {
  const cy = r.between(42, 54);
  const radius = r.between(27, 36);
  const cx = r.between(36, 64);
  const nodes = [circle(cx, cy, radius + 9, two, { "fill-opacity": 0.55 }), circle(cx, cy, radius, one)];
  for (let i = 0; i < n; i += 1) {
    const y = cy + 2 + (i * (radius + 4)) / n;
    nodes.push(rect(0, y, 100, 0.9 + (i * 3.4) / n, i % 3 === 2 ? two : ground));
  }
  nodes.push(rect(0, cy + radius * 0.86, 100, 60, three));
  return nodes;
}

/** Dots whose size follows a slope. */
function halftone({ r, n, one, two }) {
  const cells = n + 4;
  const size = 100 / cells;
  const angle = r.between(0, 6.3);
  const [ax, ay] = [Math.cos(angle), Math.sin(angle)];
  const bend = r.between(0.6, 1.6);
  const nodes = [];
  for (let y = 0; y < cells; y += 1) {
    for (let x = 0; x < cells; x += 1) {
      const u = (x + 0.5) / cells - 0.5;
      const v = (y + 0.5) / cells - 0.5;
      const t = 0.5 + 0.5 * Math.sin((u * ax + v * ay) * 3.2 * bend + 6 * u * v);
      const radius = size * (0.06 + 0.52 * t);
      nodes.push(circle((x + 0.5) * size, (y + 0.5) * size, radius, t > 0.82 ? two : one));
    }
  }
  return nodes;
}

/** Slanted bands of unequal width. */
function bands({ r, n, one, two, three }) {
  const angle = r.pick([-45, -30, 30, 45, 60, -60]);
  const group = svg("g", { transform: `rotate(${angle} 50 50)` });
  let x = -30;
  let i = 0;
  while (x < 130) {
    const width = r.between(60, 120) / (n + 1);
    if (i % 2 === 0) group.append(rect(x, -40, width, 180, [one, two, three, one][r.integer(0, 3)]));
    x += width;
    i += 1;
  }
  return [group];
}

/** Rays from a point. */
function burst({ r, n, one, two, three }) {
  const cx = r.between(15, 85);
  const cy = r.between(40, 88);
  const rays = n * 2 + 4;
  const offset = r.between(0, 6.3);
  const nodes = [];
  for (let i = 0; i < rays; i += 2) {
    const a = offset + (i / rays) * 2 * Math.PI;
    const b = offset + ((i + 1) / rays) * 2 * Math.PI;
    nodes.push(path(`M${f(cx)} ${f(cy)}L${f(cx + 160 * Math.cos(a))} ${f(cy + 160 * Math.sin(a))}L${f(cx + 160 * Math.cos(b))} ${f(cy + 160 * Math.sin(b))}Z`, i % 4 ? one : two));
  }
  nodes.push(circle(cx, cy, r.between(11, 20), three));
  return nodes;
}

/** Large discs that overlap. */
function lenses({ r, one, two, three }) {
  const angle = r.between(0, 6.3);
  const spread = r.between(12, 16);
  const radius = r.between(22, 27);
  return [one, two, three].map((colour, i) => {
    const a = angle + (i * 2 * Math.PI) / 3;
    return circle(50 + spread * Math.cos(a), 50 + spread * Math.sin(a), radius, colour, { "fill-opacity": 0.82 });
  });
}

/** Ridgelines, one behind the other. */
function ridges({ r, n, ground, one, two }) {
  const lines = n + 5;
  const nodes = [];
  const centre = r.between(38, 62);
  for (let i = 0; i < lines; i += 1) {
    const base = 24 + (i * 66) / lines;
    const peaks = [0, 1, 2].map(() => [centre + r.between(-20, 20), r.between(5, 17), r.between(4, 9)]);
    let d = `M-4 ${f(base)}`;
    for (let x = -4; x <= 104; x += 4) {
      let y = base;
      for (const [at, height, width] of peaks) y -= height * Math.exp(-((x - at) ** 2) / (2 * width ** 2));
      d += `L${x} ${f(y)}`;
    }
    nodes.push(path(`${d}V${f(base + 14)}H-4Z`, ground, { stroke: i % 4 === 1 ? two : one, "stroke-width": 1.5, "stroke-linejoin": "round" }));
  }
  return nodes;
}

/** Rectangles split again and again. */
function blocks({ r, n, ground, one, two, three }) {
  const nodes = [];
  const split = (x, y, w, h, depth) => {
    if (depth === 0 || Math.min(w, h) < 14) {
      nodes.push(rect(x, y, w + 0.3, h + 0.3, r.pick([ground, one, two, three, one])));
      return;
    }
    const t = r.pick([0.38, 0.5, 0.62]);
    if (w > h * r.between(0.8, 1.25)) {
      split(x, y, w * t, h, depth - 1);
      split(x + w * t, y, w * (1 - t), h, depth - 1);
    } else {
      split(x, y, w, h * t, depth - 1);
      split(x, y + h * t, w, h * (1 - t), depth - 1);
    }
  };
  split(0, 0, 100, 100, Math.min(5, 2 + Math.round(n / 2.5)));
  return nodes;
}

/** Orbits with their planets. */
function orbits({ r, n, one, two, three }) {
  const cx = r.between(34, 66);
  const cy = r.between(34, 60);
  const nodes = [circle(cx, cy, r.between(8, 13), one)];
  const count = Math.max(4, n);
  for (let i = 1; i <= count; i += 1) {
    const radius = 14 + (i * 62) / count;
    nodes.push(ring(cx, cy, radius, two, 0.9));
    const a = r.between(0, 6.3);
    nodes.push(circle(cx + radius * Math.cos(a), cy + radius * Math.sin(a), r.between(2.2, 5.4), i % 2 ? three : one));
  }
  return nodes;
}

/** Nested outlines of a soft shape, like heights on a map. */
function contours({ r, n, one, two, three }) {
  const cx = r.between(35, 65);
  const cy = r.between(34, 62);
  const waves = [2, 3, 5].map((k) => [k, r.between(0.05, 0.16), r.between(0, 6.3)]);
  const count = n + 2;
  const nodes = [];
  for (let i = count; i >= 1; i -= 1) {
    const size = (i * 78) / count;
    let d = "";
    for (let step = 0; step <= 40; step += 1) {
      const a = (step / 40) * 2 * Math.PI;
      let radius = size;
      for (const [k, amount, phase] of waves) radius += size * amount * Math.sin(k * a + phase + i * 0.14);
      d += `${step ? "L" : "M"}${f(cx + radius * Math.cos(a))} ${f(cy + radius * Math.sin(a))}`;
    }
    nodes.push(path(`${d}Z`, [one, two, three, two][i % 4], { "fill-opacity": 0.94 }));
  }
  return nodes;
}

/** Peaks behind peaks. */
function peaks({ r, n, one, two, three }) {
  const nodes = [circle(r.between(24, 76), r.between(20, 34), r.between(8, 14), three)];
  for (let layer = 0; layer < 3; layer += 1) {
    const base = 42 + layer * 16;
    const count = Math.max(2, Math.round(n / 2));
    let d = "M-10 110";
    for (let i = 0; i <= count; i += 1) {
      const x = -10 + (120 * i) / count;
      d += `L${f(x)} ${f(base + r.between(6, 16))}L${f(x + 60 / count)} ${f(base - r.between(4, 18))}`;
    }
    nodes.push(path(`${d}L120 110Z`, [two, one, three][layer], { "fill-opacity": f(0.78 + layer * 0.11) }));
  }
  return nodes;
}

/** All of them, in an order that never changes: a cover's motif is chosen by its place here. */
export const MOTIFS = [rings, quarters, levels, waves, sun, halftone, bands, burst, lenses, ridges, blocks, orbits, contours, peaks];
