// A small made-up world for the test double: artists, tracks and listeners, always the same.

import { createHash } from "node:crypto";

const GENRES = [
  ["indie rock", 0.68, 124], ["dream pop", 0.45, 108], ["techno", 0.86, 132], ["deep house", 0.7, 122],
  ["jazz", 0.4, 96], ["soul", 0.52, 92], ["hip hop", 0.66, 90], ["ambient", 0.14, 72],
  ["folk", 0.3, 100], ["metal", 0.94, 158], ["reggae", 0.55, 78], ["classical", 0.22, 84],
  ["salsa", 0.78, 172], ["electronica", 0.6, 116],
];
const FIRST = ["Velvet", "Northern", "Glass", "Paper", "Silver", "Quiet", "Wild", "Hollow", "Amber", "Distant", "Slow", "Cinder", "Open", "Little", "Saint", "Blue"];
const SECOND = ["Harbour", "Lights", "Arcade", "Foxes", "Orchard", "Cassette", "Parade", "Machine", "Garden", "Motel", "Choir", "Static", "Rivers", "Avenue", "Satellites", "Tigers"];
const VERB = ["Falling", "Waiting", "Running", "Dancing", "Burning", "Sleeping", "Drifting", "Leaving", "Counting", "Holding"];
const NOUN = ["the Tide", "Neon Rain", "Tomorrow", "Your Street", "Low Sun", "the Long Way", "Paper Moons", "Summer Static", "Two Rooms", "the Signal", "November", "Salt and Gold", "Morning Trains", "Half Asleep", "Open Water"];
const PEOPLE = ["Ada", "Bruno", "Chidi", "Dilara", "Emre", "Freja", "Goran", "Hana", "Ines", "Jonas", "Kaia", "Liam", "Mina", "Noor", "Otto", "Priya", "Quinn", "Rosa", "Sami", "Tove", "Ulla", "Vera", "Wren", "Xin", "Yusuf", "Zora"];
const MARKETS = ["DE", "SE", "GB", "FR", "BR", "IN", "US", "TR"];

/** A stable number in [0, 1) from anything. */
export function noise(...parts) {
  const digest = createHash("sha1").update(parts.join("/")).digest();
  return digest.readUInt32BE(0) / 2 ** 32;
}

/** Sixteen hexadecimal digits, the form of an item key. */
export function keyOf(id) {
  return createHash("sha1").update(id).digest("hex").slice(0, 16);
}

const pick = (list, ...parts) => list[Math.floor(noise(...parts) * list.length)];

export const ARTISTS = Array.from({ length: 90 }, (_, i) => {
  const genre = GENRES[i % GENRES.length];
  const name = i % 7 === 3 ? `${pick(PEOPLE, "p", i)} ${pick(SECOND, "s", i)}` : `${pick(FIRST, "f", i)} ${pick(SECOND, "s", i)}`;
  return { artist_id: `artist-${i}`, name, genre: genre[0], energy: genre[1], tempo: genre[2] };
});

export const TRACKS = Array.from({ length: 900 }, (_, i) => {
  const artist = ARTISTS[Math.floor(noise("artist", i) ** 1.4 * ARTISTS.length)];
  const kind = i % 41 === 7 ? "playlist" : i % 29 === 11 ? "album" : i % 37 === 5 ? "artist" : "track";
  const plain = `${pick(VERB, "v", i)} ${pick(NOUN, "n", i)}`;
  const title = kind === "artist" ? artist.name : kind === "playlist" ? `${artist.genre[0].toUpperCase()}${artist.genre.slice(1)} mix` : i % 19 === 4 ? `${plain} (feat. ${pick(PEOPLE, "feat", i)} ${pick(SECOND, "feat2", i)})` : plain;
  const item_id = `t-${String(i).padStart(4, "0")}`;
  return {
    item_id,
    item_key: keyOf(item_id),
    artist,
    popularity: noise("pop", i) ** 3,
    display: {
      title,
      kind,
      artists: kind === "playlist" ? ["Segue"] : [artist.name],
      album: kind === "track" ? `${pick(FIRST, "al", artist.name, i % 3)} ${pick(NOUN, "al2", artist.name, i % 3)}` : null,
      genre: artist.genre,
      duration_ms: 150_000 + Math.round(noise("d", i) * 160_000),
      explicit: noise("e", i) < 0.08,
      energy: Math.min(1, Math.max(0, artist.energy + (noise("en", i) - 0.5) * 0.4)),
      tempo_bpm: artist.tempo + (noise("bpm", i) - 0.5) * 24,
    },
  };
});

export const TRACK_BY_ID = new Map(TRACKS.map((track) => [track.item_id, track]));

export const LISTENERS = Array.from({ length: 78 }, (_, i) => ({
  user_id: `user-${String(i).padStart(3, "0")}`,
  display_name: i % 9 === 8 ? null : `${PEOPLE[i % PEOPLE.length]}${i >= PEOPLE.length ? ` ${"KLM"[Math.floor(i / PEOPLE.length)]}.` : ""}`,
  market: pick(MARKETS, "m", i),
  n_plays: Math.round(6000 * noise("plays", i) ** 2.2) + (i === 77 ? 0 : 12),
  genres: [GENRES[(i * 5) % 14][0], GENRES[(i * 3 + 4) % 14][0], GENRES[(i + 9) % 14][0]],
})).sort((a, b) => b.n_plays - a.n_plays);
