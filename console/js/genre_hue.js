// Where a genre sits on the colour circle. Related genres are neighbours, so a page of jazz looks
// like one and a page of techno like another. Degrees of OKLCH hue.

import { hash } from "./random.js";

const OLIVE_FROM = 88;
const OLIVE_WIDTH = 44;

// The last word of a genre that is known wins, because the noun comes last ("melodic death metal", "dream pop").
const FAMILIES = [
  [15, ["metal", "hardcore", "metalcore", "grindcore", "thrash", "doom", "sludge", "horror", "war"]],
  [28, ["rock", "punk", "grunge", "garage", "emo", "shoegaze", "action", "thriller", "crime", "noir"]],
  [43, ["blues", "country", "americana", "bluegrass", "rockabilly", "western"]],
  [58, ["folk", "acoustic", "singer-songwriter", "traditional", "celtic", "documentary"]],
  [75, ["jazz", "swing", "bebop", "bossa", "nova", "big-band", "fusion", "musical"]],
  [145, ["reggae", "dub", "ska", "dancehall", "afrobeat", "afrobeats", "highlife", "world", "adventure"]],
  [164, ["latin", "salsa", "samba", "reggaeton", "cumbia", "tango", "flamenco", "mpb", "children", "animation"]],
  [188, ["ambient", "drone", "new-age", "downtempo", "chillout", "lo-fi", "lofi", "meditation", "field"]],
  [215, ["electronic", "electronica", "idm", "trip-hop", "glitch", "synthwave", "electro", "sci-fi"]],
  [245, ["techno", "trance", "minimal", "industrial", "ebm", "mystery"]],
  [272, ["house", "disco", "dance", "edm", "garage-house", "drum-and-bass", "dnb", "jungle", "dubstep", "fantasy"]],
  [300, ["soul", "funk", "r&b", "rnb", "motown", "gospel", "drama"]],
  [325, ["hip-hop", "hip", "rap", "trap", "grime", "drill"]],
  [350, ["pop", "synthpop", "k-pop", "j-pop", "britpop", "indie", "romance", "comedy"]],
  [235, ["classical", "baroque", "opera", "choral", "orchestral", "piano", "chamber", "soundtrack", "score"]],
];

const HUE_OF_WORD = new Map(FAMILIES.flatMap(([hue, words]) => words.map((word) => [word, hue])));

/** Hue of a genre or tag in degrees; an unknown one has a stable hue of its own; null has none. */
export function hueOfGenre(genre) {
  if (!genre) return null;
  const name = genre.toLowerCase().trim();
  const joined = name.replace(/\s+/g, "-");
  if (HUE_OF_WORD.has(joined)) return HUE_OF_WORD.get(joined);
  const words = name.split(/[\s/,;|'-]+/).reverse();
  for (const word of words) {
    if (HUE_OF_WORD.has(word)) return HUE_OF_WORD.get(word);
    if (word.endsWith("s") && HUE_OF_WORD.has(word.slice(0, -1))) return HUE_OF_WORD.get(word.slice(0, -1));
  }
  return anyHue(name);
}

/** A stable hue for a text, outside the olive band that turns muddy on dark grounds. */
export function anyHue(text) {
  const hue = hash(text) % (360 - OLIVE_WIDTH);
  return hue < OLIVE_FROM ? hue : hue + OLIVE_WIDTH;
}
