//! Item features as summed embeddings: what is known of an item besides who played it.
//!
//! ```text
//! vector of item i = own[i] + Σ over kinds k: value[k, feature_k(i)] + Σ over j: content[i, j] map[j]
//! ```
//!
//! The table that is trained holds the items' own rows first, then the rows of each kind's values, the
//! first of which stands for an unknown one, and then one row for each number of a content vector, whose
//! length is taken out (only its direction tells). Networks and losses see the sums. An item that no training
//! play holds has nothing of its own to tell: its vector is the sum of the values that training plays hold,
//! so that a new track of a known artist scores. Features of items are summed as in Hidasi et al.,
//! "Parallel Recurrent Neural Network Architectures for Feature-rich Session-based Recommendations", RecSys 2016,
//! and LightFM (Kula 2015).

use std::sync::Arc;

use rayon::prelude::*;
use segue_nn::{Embedding, Mat, matmul, simd};
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
    /// The content vector (`embedding` of the `items` table).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content: bool,
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
    content: Option<Arc<Content>>,
}

/// Content vectors and the rows they are multiplied with.
#[derive(Debug, PartialEq)]
struct Content {
    /// Rows of the table, one per number of a vector.
    rows: Vec<u32>,
    /// `[n_items, rows.len()]`, of length 1 or zeros.
    vectors: Vec<f32>,
}

impl Content {
    /// Items that `is_known` refuses have none.
    fn new(first_row: usize, n_items: usize, vectors: &[f32], is_known: impl Fn(usize) -> bool) -> Self {
        let size = vectors.len() / n_items.max(1);
        let mut vectors = vectors.to_vec();
        for (item, vector) in vectors.chunks_exact_mut(size.max(1)).enumerate() {
            let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            let scale = if length > 0.0 && is_known(item) { 1.0 / length } else { 0.0 };
            vector.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        }
        Self { rows: (first_row as u32..).take(size).collect(), vectors }
    }

    fn vector(&self, item: usize) -> &[f32] {
        &self.vectors[item * self.rows.len()..(item + 1) * self.rows.len()]
    }

    fn is_there(&self, item: usize) -> bool {
        self.vector(item).iter().any(|&x| x != 0.0)
    }

    /// Adds what an item's content is in the space of the table.
    fn add(&self, table: &Embedding, item: usize, out: &mut [f32]) {
        let d = table.d;
        let Some(&first) = self.rows.first() else { return };
        let map = &table.table[first as usize * d..];
        simd::vectorised(
            #[inline(always)]
            || {
                for (&x, row) in self.vector(item).iter().zip(map.chunks_exact(d)) {
                    simd::axpy(x, row, out);
                }
            },
        );
    }
}

impl FeatureRows {
    /// The rows of the features that are asked for and there; without any the table is as it would be.
    #[must_use]
    pub fn new(input: &FitInput<'_>, settings: ItemFeatureSettings) -> Self {
        let mut out = Self::none(input.n_items() as usize);
        let features = input.item_features;
        let is_known = |item: usize| features.is_known(item, input.until);
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
            let value =
                |(item, &v): (usize, &u32)| Some(v).filter(|&v| v != UNKNOWN_FEATURE && is_known(item));
            let values: Vec<Option<u32>> = column.iter().enumerate().map(value).collect();
            out.n_rows += 1 + values.iter().flatten().max().map_or(0, |&v| v as usize + 1);
            out.unknown.push(first);
            out.kinds.push(values.into_iter().map(|v| v.map_or(first, |v| first + 1 + v)).collect());
        }
        if settings.content && features.content.is_empty() {
            tracing::info!(feature = "content", "the data does not have this feature of items");
        } else if settings.content {
            let content = Content::new(out.n_rows, out.n_items, features.content, is_known);
            out.n_rows += content.rows.len();
            out.content = Some(Arc::new(content));
        }
        out
    }

    /// No features: items have their own rows.
    #[must_use]
    pub fn none(n_items: usize) -> Self {
        Self { n_items, n_rows: n_items, kinds: Vec::new(), unknown: Vec::new(), content: None }
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
        self.kinds.is_empty() && self.content.is_none()
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
        if let Some(content) = &self.content {
            content.add(table, item, out);
        }
    }

    /// The rows that content vectors are multiplied with; none without such vectors.
    pub(super) fn content_rows(&self) -> &[u32] {
        self.content.as_ref().map_or(&[], |content| &content.rows)
    }

    /// What gradients of some items' vectors, in parts `(items [n], gradients [n, d])`, are to these rows: fills
    /// `out` `[content_rows, d]`.
    pub(super) fn content_gradient<'a>(
        &self,
        parts: impl Iterator<Item = (&'a [u32], &'a [f32])>,
        d: usize,
        out: &mut Vec<f32>,
    ) {
        out.clear();
        let Some(content) = &self.content else { return };
        out.resize(content.rows.len() * d, 0.0);
        for (items, gradients) in parts {
            simd::vectorised(
                #[inline(always)]
                || {
                    for (&item, g) in items.iter().zip(gradients.chunks_exact(d)) {
                        let vector = content.vector(item as usize);
                        for (&x, out) in vector.iter().zip(out.chunks_exact_mut(d)) {
                            simd::axpy(x, g, out);
                        }
                    }
                },
            );
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
        if let Some(content) = &self.content
            && let Some(&first) = content.rows.first()
        {
            let at = (first as usize - self.n_items) * d;
            let (size, n) = (content.rows.len(), self.n_items);
            let vectors = Mat::new(&content.vectors, n, size).t();
            matmul(&mut values[at..at + size * d], d, false, vectors, Mat::new(d_items, n, d));
        }
    }

    /// Turns the rows of items that `is_sum` `[n_items]` from the sums they are into what such sums are made of, so
    /// that [`sums`](Self::sums) gives them again: the map of contents stays as it is; a value of each kind in
    /// turn becomes the mean of what its items still have, and an item's own row is the rest. Values that no
    /// such item holds, and rows of other items, stay as they are.
    pub fn take_apart(&self, is_sum: &[bool], table: &mut Embedding) {
        let d = table.d;
        let sums = || (0..self.n_items).filter(|&item| is_sum[item]);
        if let Some(content) = &self.content {
            let mut mapped = vec![0.0; d];
            for item in sums() {
                mapped.fill(0.0);
                content.add(table, item, &mut mapped);
                let own = &mut table.table[item * d..(item + 1) * d];
                own.iter_mut().zip(&mapped).for_each(|(own, x)| *own -= x);
            }
        }
        for rows in &self.kinds {
            let mut n_held = vec![0_u32; self.n_rows - self.n_items];
            sums().for_each(|item| n_held[rows[item] as usize - self.n_items] += 1);
            let (own, values) = table.table.split_at_mut(self.n_items * d);
            let held = |item: usize| rows[item] as usize - self.n_items;
            for (value, _) in values.chunks_exact_mut(d).zip(&n_held).filter(|(_, n)| **n > 0) {
                value.fill(0.0);
            }
            for item in sums() {
                let value = &mut values[held(item) * d..(held(item) + 1) * d];
                let share = 1.0 / n_held[held(item)] as f32;
                simd::axpy(share, &own[item * d..(item + 1) * d], value);
            }
            for item in sums() {
                let value = &values[held(item) * d..(held(item) + 1) * d];
                simd::axpy(-1.0, value, &mut own[item * d..(item + 1) * d]);
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
        let content = self.content.as_ref();
        let has_content = content.is_some_and(|c| (0..self.n_items).any(|i| counts[i] > 0 && c.is_there(i)));
        let d = table.d;
        for item in (0..self.n_items).filter(|&item| counts[item] == 0) {
            let mut values = self.kinds.iter().map(|rows| rows[item]).filter(|&row| is_held[row as usize]);
            let out = &mut vectors.table[item * d..(item + 1) * d];
            if let Some(first) = values.next() {
                out.copy_from_slice(table.row(first));
                values.for_each(|row| simd::add(table.row(row), out));
                is_known[item] = true;
            }
            if let Some(content) = self.content.as_ref().filter(|c| has_content && c.is_there(item)) {
                if !is_known[item] {
                    out.fill(0.0);
                }
                content.add(table, item, out);
                is_known[item] = true;
            }
        }
        (vectors, is_known)
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;
    use segue_nn::Counter;
    use segue_types::TimestampMs;

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

    /// Vectors of six numbers around one per artist, of different lengths; of an item of nobody known, zeros.
    fn content_of(artist: &[u32]) -> Vec<f32> {
        let draws = Counter::new(3, 3);
        let number = |item: usize, artist: u32, j: u64| match artist {
            UNKNOWN_FEATURE => 0.0,
            artist => {
                let own = draws.fork(u64::from(artist)).normal(j);
                let noise = draws.fork(100 + item as u64).normal(j);
                (own + 0.2 * noise) * (1.0 + item as f32)
            }
        };
        let items = artist.iter().enumerate();
        items.flat_map(|(item, &artist)| (0..6).map(move |j| number(item, artist, j))).collect()
    }

    fn fit<M: Model<Config: Architecture>>(settings: &str, input: &FitInput<'_>) -> M {
        let common = "d = 16\nn_blocks = 1\ndropout = 0.0\nmax_history = 6\nnegatives = { count = 16 }\n\
                      training = { rounds = 6, round_steps = 40, batch = 32, learning_rate = 0.01 }\n";
        let config = format!("{common}{settings}").parse::<toml::Table>().unwrap().try_into().unwrap();
        M::fit(&config, input).unwrap()
    }

    #[test]
    fn what_holds_only_after_the_end_of_the_train_part_is_unknown() {
        let (mut plays, artist) = world();
        plays.known_at = vec![5; plays.item.len()];
        let content = content_of(&artist);
        let mut valid_from = vec![i64::MIN; artist.len()];
        (valid_from[1], valid_from[2]) = (9, 10);
        let item_features = ItemFeatures {
            artist: &artist,
            content: &content,
            valid_from: &valid_from,
            ..ItemFeatures::default()
        };
        let input = FitInput { item_features, ..FitInput::of(plays.view()) };
        let settings = ItemFeatureSettings { artist: true, content: true, ..ItemFeatureSettings::default() };
        let rows = |until| {
            let rows = FeatureRows::new(&FitInput { until, ..input }, settings);
            let content = rows.content.as_ref().unwrap();
            [0, 1, 2].map(|item| (rows.kinds[0][item] != rows.unknown[0], content.is_there(item)))
        };
        assert_eq!(rows(None), [(true, true); 3]);
        assert_eq!(rows(Some(TimestampMs(10))), [(true, true), (true, true), (false, false)]);
        assert_eq!(rows(Some(TimestampMs(9))), [(true, true), (false, false), (false, false)]);
    }

    /// `feature` is one that tells the artist.
    fn check<M: Model<Config: Architecture> + Recommender>(settings: &str, feature: &str) {
        let (plays, artist) = world();
        let content = content_of(&artist);
        let features = ItemFeatures { artist: &artist, content: &content, ..ItemFeatures::default() };
        let input = FitInput { item_features: features, ..FitInput::of(plays.view()) };
        let ask = |model: &M, history: &[u32]| -> Vec<u32> {
            let mut out = Vec::new();
            model.recommend(&Query::of_items(history), 99, &ItemFilter::default(), &mut out).unwrap();
            out.iter().map(|s| s.item).collect()
        };
        let with: M = fit(&format!("{settings}\nitem_features = {{ {feature} = true }}"), &input);
        let without: M = fit(settings, &input);
        for liked in 0..N_ARTISTS {
            let history = [liked, liked + 8, liked + 4];
            let is_new = |item: &u32| *item >= N_KNOWN;
            let new: Vec<u32> = ask(&with, &history).into_iter().filter(is_new).collect();
            // An artist without plays says nothing, a vector that is near to others does.
            let n_new = N_ARTISTS as usize + usize::from(feature == "content");
            assert_eq!(new.len(), n_new, "{}", M::KIND);
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
        for feature in ["artist", "content"] {
            check::<SasRec>("hidden = 16\nloss = \"softmax\"", feature);
            check::<ESasRec>("hidden = 16", feature);
            check::<Hstu>("", feature);
            check::<Gru4Rec>("", feature);
        }
    }

    #[test]
    fn sums_and_their_gradients_go_to_the_rows_of_the_values() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1]]);
        let artist = [1, UNKNOWN_FEATURE, 1];
        let genre = [0, 0, UNKNOWN_FEATURE];
        let features = ItemFeatures { artist: &artist, genre: &genre, ..ItemFeatures::default() };
        let input = FitInput { item_features: features, ..FitInput::of(plays.view()) };
        let on = ItemFeatureSettings { artist: true, album: true, genre: true, content: false };
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

    #[test]
    fn gradients_of_content_are_the_transpose_of_what_it_adds() {
        let plays = OwnedSequences::from_items(5, [vec![0, 1]]);
        let (n, d, size) = (5, 3, 4);
        let draws = Counter::new(8, 8);
        let mut content: Vec<f32> = (0..(n * size) as u64).map(|i| draws.normal(i)).collect();
        content[2 * size..3 * size].fill(0.0);
        let artist = [0, 1, 0, UNKNOWN_FEATURE, 1];
        let features = ItemFeatures { artist: &artist, content: &content, ..ItemFeatures::default() };
        let input = FitInput { item_features: features, ..FitInput::of(plays.view()) };
        let on = ItemFeatureSettings { artist: true, content: true, ..ItemFeatureSettings::default() };
        let rows = FeatureRows::new(&input, on);
        assert_eq!((rows.n_rows(), rows.content_rows()), (5 + 3 + 4, &[8, 9, 10, 11][..]));
        let table = Embedding::new(rows.n_rows(), d, 1.0, 2);
        let sums = rows.sums(&table);
        let plain = |item: usize, i: usize| {
            let vector = &content[item * size..(item + 1) * size];
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-30);
            let mapped = (0..size).map(|j| vector[j] / length * table.row(8 + j as u32)[i]).sum::<f32>();
            let value = if item == 3 { 5 } else { 6 + artist[item] };
            table.row(item as u32)[i] + table.row(value)[i] + mapped
        };
        for (at, sum) in sums.table.iter().enumerate() {
            assert!((sum - plain(at / d, at % d)).abs() < 1e-5, "{at}");
        }
        // ⟨g, sums(table)⟩ = ⟨spread(g), table⟩ for a linear map and its transpose.
        let g: Vec<f32> = (0..(n * d) as u64).map(|i| draws.fork(1).normal(i)).collect();
        let mut spread = vec![f32::NAN; rows.n_rows() * d];
        rows.spread(&g, d, &mut spread);
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        assert!((product(&g, &sums.table) - product(&spread, &table.table)).abs() < 1e-4);
        // The same from parts, each item once and in any order.
        let mut parts = vec![f32::NAN; 1];
        let (ids, turned): (Vec<u32>, Vec<f32>) = ([4, 0].into(), [&g[4 * d..], &g[..d]].concat());
        rows.content_gradient(
            [(&ids[..], &turned[..]), (&[1, 2, 3], &g[d..4 * d])].into_iter(),
            d,
            &mut parts,
        );
        for (got, want) in parts.iter().zip(&spread[8 * d..]) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
        // An item without plays has what its values and its content add, if training knows such.
        let (vectors, is_known) = rows.answering(&table, &[1, 0, 1, 1, 0]);
        assert_eq!(is_known, [true, true, true, true, true]);
        for i in 0..d {
            let own_and_artist = table.row(1)[i] + table.row(7)[i];
            assert!((vectors.row(1)[i] - (sums.row(1)[i] - own_and_artist)).abs() < 1e-5);
        }
        assert_eq!(rows.answering(&table, &[0, 0, 1, 0, 0]).1, [true, false, true, false, false]);
    }
}
