//! Made-up names from small grammars: artists, albums, tracks, listeners. No real artist is meant.
//!
//! Proper names are built from syllables, titles from words. Names of artists are unique: the grammar
//! has about 10⁸ of them and a repeated one gets another syllable.

use std::collections::HashSet;

use crate::rng::Luck;

const ONSETS: &[&str] = &[
    "b", "br", "c", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "pl",
    "qu", "r", "s", "sk", "st", "sv", "t", "tr", "v", "w", "y", "z", "th",
];
const NUCLEI: &[&str] = &["a", "e", "i", "o", "u", "ae", "ai", "ea", "io", "ou", "y"];
const CODAS: &[&str] = &["", "", "", "l", "n", "r", "s", "m", "nd", "lk", "rn", "x", "th", "sk", "v"];

const ADJECTIVES: &[&str] = &[
    "Amber", "Silent", "Paper", "Hollow", "Golden", "Northern", "Electric", "Quiet", "Broken", "Distant",
    "Velvet", "Crooked", "Early", "Salt", "Second", "Burning", "Lucid", "Winter", "Neon", "Slow", "Glass",
    "Wild", "Blue", "Hidden", "Copper", "Tender", "Static", "Violet", "Last", "Open", "Feral", "Pale",
    "Magnetic", "Restless",
];
const NOUNS: &[&str] = &[
    "Harbour",
    "Engine",
    "Garden",
    "Signal",
    "Orchard",
    "Mirror",
    "Lantern",
    "Meridian",
    "Parade",
    "Tide",
    "Compass",
    "Window",
    "Satellite",
    "River",
    "Hour",
    "Staircase",
    "Letter",
    "Machine",
    "Ember",
    "Horizon",
    "Kite",
    "Anthem",
    "Station",
    "Feather",
    "Shadow",
    "Balcony",
    "Current",
    "Pilot",
    "Season",
    "Thread",
    "Echo",
    "Bridge",
    "Cinema",
];
const VERBS: &[&str] = &[
    "Follow", "Carry", "Leave", "Remember", "Hold", "Count", "Draw", "Find", "Cross", "Paint", "Borrow",
    "Wake", "Trade", "Bury", "Call", "Outrun", "Forgive", "Chase", "Answer", "Unfold",
];
const TAILS: &[&str] = &[
    "Tonight",
    "Again",
    "Until Morning",
    "for Now",
    "at Sea",
    "by Heart",
    "Underwater",
    "in July",
    "Without You",
    "After Dark",
    "on the Roof",
    "in Reverse",
    "Somewhere",
    "to the Coast",
    "Before Snow",
];
const COLLECTIVES: &[&str] = &[
    "Collective",
    "Quartet",
    "Orchestra",
    "Trio",
    "Sound System",
    "Ensemble",
    "Club",
    "Department",
    "Brothers",
];

fn pick<'a>(luck: &mut Luck, words: &[&'a str]) -> &'a str {
    words[luck.below(words.len())]
}

/// A capitalised made-up word of `n_syllables`.
pub(crate) fn word(luck: &mut Luck, n_syllables: usize) -> String {
    let mut text = String::new();
    for i in 0..n_syllables {
        text.push_str(pick(luck, ONSETS));
        text.push_str(pick(luck, NUCLEI));
        if i + 1 == n_syllables {
            text.push_str(pick(luck, CODAS));
        }
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A name for an artist that `taken` does not have yet; adds it.
pub(crate) fn artist(luck: &mut Luck, taken: &mut HashSet<String>) -> String {
    loop {
        let name = match luck.below(7) {
            0 => word(luck, 3),
            1 | 2 => format!("{} {}", word(luck, 2), word(luck, 2)),
            3 => format!("The {} {}s", word(luck, 2), pick(luck, NOUNS)),
            4 => format!("{} {}", word(luck, 2), pick(luck, NOUNS)),
            5 => format!("{} {}", pick(luck, ADJECTIVES), word(luck, 2)),
            _ => format!("{} {}", word(luck, 2), pick(luck, COLLECTIVES)),
        };
        let name = if taken.contains(&name) { format!("{name} {}", word(luck, 2)) } else { name };
        if taken.insert(name.clone()) {
            return name;
        }
    }
}

/// A title for a track or an album.
pub(crate) fn title(luck: &mut Luck) -> String {
    match luck.below(8) {
        0 => format!("{} {}", pick(luck, ADJECTIVES), pick(luck, NOUNS)),
        1 => format!("{} the {}", pick(luck, VERBS), pick(luck, NOUNS)),
        2 => format!("{} {}", pick(luck, NOUNS), pick(luck, TAILS)),
        3 => format!("{} and {}", pick(luck, NOUNS), pick(luck, NOUNS)),
        4 => word(luck, 2),
        5 => format!("{} {}", pick(luck, VERBS), pick(luck, TAILS)),
        6 => format!("{} of {}", pick(luck, NOUNS), word(luck, 2)),
        _ => format!("{} {}", pick(luck, ADJECTIVES), word(luck, 2)),
    }
}

/// A name to show for a listener: a made-up first name and an initial.
pub(crate) fn listener(luck: &mut Luck) -> String {
    let syllables = 2 + luck.below(2);
    let first = word(luck, syllables);
    let initial = char::from(b'A' + luck.below(26) as u8);
    format!("{first} {initial}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn ten_thousand_artists_have_ten_thousand_names() {
        let mut luck = Luck::new(3, 0, 0, 0, Stream::Names);
        let mut taken = HashSet::new();
        for _ in 0..10_000 {
            let name = artist(&mut luck, &mut taken);
            assert!(name.len() > 2 && name.starts_with(|c: char| c.is_uppercase()), "{name}");
        }
        assert_eq!(taken.len(), 10_000);
    }
}
