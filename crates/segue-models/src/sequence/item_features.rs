//! Item features as summed embeddings: what is known of an item besides who played it.
//!
//! ```text
//! vector of item i = own[i] + Σ over kinds k:  value[k, feature_k(i)]
//! ```
//!
//! The table that is trained holds the items' own rows first and then the rows of each kind's values, the
//! first of which stands for an unknown one. Networks and losses see the sums. An item that no training
//! play holds has nothing of its own to tell: its vector is the sum of the values that training plays hold,
//! so that a new track of a known artist scores. Features of items are summed as in Hidasi et al.,
//! "Parallel Recurrent Neural Network Architectures for Feature-rich Session-based Recommendations", RecSys 2016,
//! and LightFM (Kula 2015).

use rayon::prelude::*;
use segue_nn::{Embedding, simd};
use serde::{Deserialize, Serialize};

use crate::{FitInput, UNKNOWN_FEATURE};

/// Which features of items are looked at, where the data has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemFeatureSettings {
    /// The main artist.
    pub artist: bool,
    /// The album.
    pub album: bool,
    /// The first tag.
    pub genre: bool,
}

impl ItemFeatureSettings {
    /// Whether none is: then the settings of an artifact do not mention them.
    #[must_use]
    pub fn are_off(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the values of each item stand in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRows {
    n_items: usize,
    n_rows: usize,
    /// Per kind `[n_items]` rows of the table.
    kinds: Vec<Vec<u32>>,
    /// Per kind the row of an unknown value.
    unknown: Vec<u32>,
}

impl FeatureRows {
    /// The rows of the features that are asked for and there; without any the table is as it would be.
    #[must_use]
    pub fn new(input: &FitInput<'_>, settings: ItemFeatureSettings) -> Self {
        let mut out = Self::none(input.n_items() as usize);
        let features = input.item_features;
        for (feature, is_on, column) in [
            ("artist", settings.artist, features.artist),
            ("album", settings.album, features.album),
            ("genre", settings.genre, features.genre),
        ] {
            if is_on && column.is_empty() {
                tracing::info!(feature, "the data does not have this feature of items");
            }
            if !is_on || column.is_empty() {
                continue;
            }
            let first = out.n_rows as u32;
            let known = column.iter().copied().filter(|&v| v != UNKNOWN_FEATURE);
            out.n_rows += 1 + known.max().map_or(0, |v| v as usize + 1);
            out.unknown.push(first);
            out.kinds.push(
                column.iter().map(|&v| if v == UNKNOWN_FEATURE { first } else { first + 1 + v }).collect(),
            );
        }
        out
    }

    /// No features: items have their own rows.
    #[must_use]
    pub fn none(n_items: usize) -> Self {
        Self { n_items, n_rows: n_items, kinds: Vec::new(), unknown: Vec::new() }
    }

    /// Number of items.
    #[must_use]
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Rows of the table.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Whether items have nothing but their own rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Kinds of features.
    pub(super) fn n_kinds(&self) -> usize {
        self.kinds.len()
    }

    /// The rows of a kind's values for some items.
    pub(super) fn rows_of<'a>(&'a self, kind: usize, items: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        items.iter().map(move |&item| self.kinds[kind][item as usize])
    }

    /// Fills the vectors of some items, `sums` being those of all.
    pub(super) fn refresh(&self, table: &Embedding, items: impl Iterator<Item = u32>, sums: &mut Embedding) {
        let d = table.d;
        for item in items {
            let out = &mut sums.table[item as usize * d..(item as usize + 1) * d];
            self.sum(table, item as usize, out);
        }
    }

    /// The vectors of all items `[n_items, d]`.
    #[must_use]
    pub fn sums(&self, table: &Embedding) -> Embedding {
        let d = table.d;
        let mut out = table.table[..self.n_items * d].to_vec();
        if !self.is_empty() {
            out.par_chunks_mut(d).enumerate().for_each(|(item, out)| self.sum(table, item, out));
        }
        Embedding { table: out, d }
    }

    fn sum(&self, table: &Embedding, item: usize, out: &mut [f32]) {
        out.copy_from_slice(table.row(item as u32));
        for rows in &self.kinds {
            simd::add(table.row(rows[item]), out);
        }
    }

    /// Adds what the items' gradients `[n_items, d]` are to the values: fills `out` `[n_rows, d]`.
    pub(super) fn spread(&self, d_items: &[f32], d: usize, out: &mut [f32]) {
        let (own, values) = out.split_at_mut(self.n_items * d);
        own.copy_from_slice(d_items);
        values.fill(0.0);
        for rows in &self.kinds {
            for (&row, g) in rows.iter().zip(d_items.chunks_exact(d)) {
                let at = (row as usize - self.n_items) * d;
                simd::add(g, &mut values[at..at + d]);
            }
        }
    }

    /// The vectors that answer, and which items have one: those of training plays as trained, others as
    /// the sum of the known values that training plays hold. `counts` are plays in training.
    #[must_use]
    pub fn answering(&self, table: &Embedding, counts: &[u64]) -> (Embedding, Vec<bool>) {
        let mut vectors = self.sums(table);
        let mut is_known: Vec<bool> = counts.iter().map(|&c| c > 0).collect();
        let mut is_held = vec![false; self.n_rows];
        for (rows, &unknown) in self.kinds.iter().zip(&self.unknown) {
            for (&row, _) in rows.iter().zip(counts).filter(|&(&row, &c)| c > 0 && row != unknown) {
                is_held[row as usize] = true;
            }
        }
        let d = table.d;
        for item in (0..self.n_items).filter(|&item| counts[item] == 0) {
            let mut values = self.kinds.iter().map(|rows| rows[item]).filter(|&row| is_held[row as usize]);
            let out = &mut vectors.table[item * d..(item + 1) * d];
            if let Some(first) = values.next() {
                out.copy_from_slice(table.row(first));
                values.for_each(|row| simd::add(table.row(row), out));
                is_known[item] = true;
            }
        }
        (vectors, is_known)
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::registry::Model;
    use crate::sequence::{Architecture, ESasRec, Gru4Rec, Hstu, SasRec};
    use crate::{ItemFeatures, ItemFilter, Query, Recommender};

    const N_ARTISTS: u32 = 4;
    const N_KNOWN: u32 = 24;

    /// Item `i` is by artist `i % 4`; listeners stay with one artist. Items from 24 on are never played: one
    /// of each artist, one of an artist nobody plays, and one of nobody known.
    fn world() -> (OwnedSequences, Vec<u32>) {
        let users = (0..160_u32)
            .map(|u| (0..6).map(|t| (u + 4 * ((u * 7 + t * t + 3 * t) % 6)) % N_KNOWN).collect::<Vec<_>>());
        let mut artist: Vec<u32> = (0..N_KNOWN + N_ARTISTS).map(|i| i % N_ARTISTS).collect();
        artist.extend([N_ARTISTS, UNKNOWN_FEATURE]);
        (OwnedSequences::from_items(N_KNOWN + N_ARTISTS + 2, users), artist)
    }

    fn fit<M: Model<Config: Architecture>>(settings: &str, input: &FitInput<'_>) -> M {
        let common = "d = 16\nn_blocks = 1\ndropout = 0.0\nmax_history = 6\nnegatives = { count = 16 }\n\
                      training = { rounds = 6, round_steps = 40, batch = 32, learning_rate = 0.01 }\n";
        let config = format!("{common}{settings}").parse::<toml::Table>().unwrap().try_into().unwrap();
        M::fit(&config, input).unwrap()
    }

    fn check<M: Model<Config: Architecture> + Recommender>(settings: &str) {
        let (plays, artist) = world();
        let features = ItemFeatures { artist: &artist, ..ItemFeatures::default() };
        let input = FitInput { item_features: features, ..FitInput::of(plays.view()) };
        let ask = |model: &M, history: &[u32]| -> Vec<u32> {
            let mut out = Vec::new();
            model.recommend(&Query::of_items(history), 99, &ItemFilter::default(), &mut out).unwrap();
            out.iter().map(|s| s.item).collect()
        };
        let with: M = fit(&format!("{settings}\nitem_features = {{ artist = true }}"), &input);
        let without: M = fit(settings, &input);
        for liked in 0..N_ARTISTS {
            let history = [liked, liked + 8, liked + 4];
            let is_new = |item: &u32| *item >= N_KNOWN;
            let new: Vec<u32> = ask(&with, &history).into_iter().filter(is_new).collect();
            assert_eq!(new.len(), N_ARTISTS as usize, "{}: an artist without plays says nothing", M::KIND);
            assert_eq!(new[0], N_KNOWN + liked, "{}: the liked artist's new item comes first", M::KIND);
            assert!(!ask(&without, &history).iter().any(is_new), "{}", M::KIND);
        }
        let loaded =
            M::load(serde_json::from_value(with.parts().config.clone()).unwrap(), with.parts()).unwrap();
        assert_eq!(loaded.parts(), with.parts());
        assert!(without.parts().config.get("item_features").is_none());
    }

    #[test]
    fn a_new_item_of_a_liked_artist_ranks_above_those_of_strangers() {
        check::<SasRec>("hidden = 16\nloss = \"softmax\"");
        check::<ESasRec>("hidden = 16");
        check::<Hstu>("");
        check::<Gru4Rec>("");
    }

    #[test]
    fn sums_and_their_gradients_go_to_the_rows_of_the_values() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1]]);
        let artist = [1, UNKNOWN_FEATURE, 1];
        let genre = [0, 0, UNKNOWN_FEATURE];
        let features = ItemFeatures { artist: &artist, genre: &genre, ..ItemFeatures::default() };
        let input = FitInput { item_features: features, ..FitInput::of(plays.view()) };
        let on = ItemFeatureSettings { artist: true, album: true, genre: true };
        let rows = FeatureRows::new(&input, on);
        // Items 0 to 2; artists unknown, 0, 1 in rows 3 to 5; genres unknown, 0 in rows 6 and 7.
        assert_eq!(rows.n_rows(), 8);
        let table = Embedding { table: (0..8).map(|i| f32::from(1_u8 << i)).collect(), d: 1 };
        assert_eq!(rows.sums(&table).table, [1.0 + 32.0 + 128.0, 2.0 + 8.0 + 128.0, 4.0 + 32.0 + 64.0]);
        let mut spread = vec![f32::NAN; 8];
        rows.spread(&[1.0, 10.0, 100.0], 1, &mut spread);
        assert_eq!(spread, [1.0, 10.0, 100.0, 10.0, 0.0, 101.0, 100.0, 11.0]);
        // Item 2 was never played: its artist was, its genre is not known.
        let (vectors, is_known) = rows.answering(&table, &[1, 1, 0]);
        assert_eq!((vectors.table[2], is_known), (32.0, vec![true; 3]));
        assert_eq!(FeatureRows::new(&input, ItemFeatureSettings::default()).n_rows(), 3);
    }
}
