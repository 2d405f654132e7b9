//! Counts of who follows whom that an artifact keeps, so that later plays can be added to a model.
//!
//! `N_d[b, a]` counts how often a user's play of `b` is followed `d` plays later by `a`. Whole numbers add up exactly: a
//! model of the counts of some days with those of a later day added is the model of all days, bit by bit. A pair belongs
//! to the day on which its second play became known.

use rayon::prelude::*;
use segue_types::TimestampMs;

use super::counts::{Followers, OrderedPlays, Targets, add, take_row};
use crate::sparse::Csr;
use crate::{FitInput, ModelError, Tensors};

/// All `N_d[b, a]` above 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptCounts {
    n_users: u64,
    /// `[n_items]` plays of each item, skipped ones too.
    n_plays: Vec<u64>,
    /// `[n_items + 1]` into the columns below, by source.
    offsets: Vec<u64>,
    /// `[n_entries]` ascending within a source.
    distance: Vec<u8>,
    /// `[n_entries]` ascending within a source and distance.
    target: Vec<u32>,
    /// `[n_entries]` above 0.
    n: Vec<u32>,
}

/// One source's entries: distance, target, number.
type Entries = Vec<(u8, u32, u32)>;

impl KeptCounts {
    /// Counts all plays, or those known at or after `from`.
    pub(crate) fn of(
        model: &'static str,
        input: &FitInput<'_>,
        window: u8,
        targets: Targets,
        from: Option<TimestampMs>,
    ) -> Result<Self, ModelError> {
        let plays = match from {
            None => OrderedPlays::index(model, input, targets)?,
            Some(from) => OrderedPlays::index_since(model, input, targets, from, window.into())?,
        };
        let n_items = input.n_items();
        let scratch = || (vec![0_u32; n_items as usize], Vec::new());
        let rows: Vec<Entries> = (0..n_items)
            .into_par_iter()
            .map_init(scratch, |(count, counted), source| {
                let mut out = Entries::new();
                plays.each_follower(source, window, count, counted, |d, target, n| out.push((d, target, n)));
                out.sort_unstable();
                out
            })
            .collect();
        let n_plays = (0..n_items).map(|item| plays.n_plays(item)).collect();
        Ok(Self::from_rows(plays.n_users(), n_plays, rows.iter().map(Vec::as_slice)))
    }

    /// Plays counted, skipped ones too.
    pub(crate) fn n_plays_in_all(&self) -> u64 {
        self.n_plays.iter().sum()
    }

    fn from_rows<'r>(
        n_users: u64,
        n_plays: Vec<u64>,
        rows: impl Iterator<Item = &'r [(u8, u32, u32)]>,
    ) -> Self {
        let mut out =
            Self { n_users, n_plays, offsets: vec![0], distance: vec![], target: vec![], n: vec![] };
        for row in rows {
            out.distance.extend(row.iter().map(|e| e.0));
            out.target.extend(row.iter().map(|e| e.1));
            out.n.extend(row.iter().map(|e| e.2));
            out.offsets.push(out.n.len() as u64);
        }
        out
    }

    fn row(&self, source: u32) -> std::ops::Range<usize> {
        self.offsets[source as usize] as usize..self.offsets[source as usize + 1] as usize
    }

    /// These counts in another catalogue, where item `i` is `rows[i]`, with `more` of that catalogue added.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if `rows` does not lead each item to a row of its own.
    pub(crate) fn plus(&self, rows: &[u32], more: &Self) -> Result<Self, ModelError> {
        let n_items = more.n_plays.len();
        let wrong = |what: &str, expected, got| ModelError::Shape { what: what.to_owned(), expected, got };
        if rows.len() != self.n_plays.len() {
            return Err(wrong("rows of the items of a model", self.n_plays.len(), rows.len()));
        }
        let mut source_of = vec![u32::MAX; n_items];
        for (item, &row) in (0..).zip(rows) {
            match source_of.get_mut(row as usize) {
                Some(slot) if *slot == u32::MAX => *slot = item,
                _ => {
                    let what = "rows of the items of a model: one twice or beyond the catalogue";
                    return Err(wrong(what, n_items, row as usize));
                }
            }
        }
        let mut n_plays = more.n_plays.clone();
        for (&row, n) in rows.iter().zip(&self.n_plays) {
            n_plays[row as usize] = n_plays[row as usize].saturating_add(*n);
        }
        let merged: Vec<Entries> = (0..n_items as u32)
            .into_par_iter()
            .map(|source| {
                let own = more.row(source).map(|at| (more.distance[at], more.target[at], more.n[at]));
                let mut all: Entries = own.collect();
                if source_of[source as usize] != u32::MAX {
                    let before = self.row(source_of[source as usize]);
                    all.extend(
                        before.map(|at| (self.distance[at], rows[self.target[at] as usize], self.n[at])),
                    );
                }
                all.sort_unstable();
                all.dedup_by(|next, first| {
                    let same = (next.0, next.1) == (first.0, first.1);
                    if same {
                        first.2 = first.2.saturating_add(next.2);
                    }
                    same
                });
                all
            })
            .collect();
        Ok(Self::from_rows(
            self.n_users.saturating_add(more.n_users),
            n_plays,
            merged.iter().map(Vec::as_slice),
        ))
    }

    /// Six tensors `count.*`.
    pub(crate) fn store(&self, tensors: Tensors) -> Tensors {
        tensors
            .with("count.users", &[self.n_users])
            .with("count.plays", &self.n_plays)
            .with("count.offsets", &self.offsets)
            .with("count.distance", &self.distance)
            .with("count.target", &self.target)
            .with("count.n", &self.n)
    }

    /// Reads and checks what [`store`](Self::store) wrote.
    pub(crate) fn load(n_items: u32, window: u8, tensors: &mut Tensors) -> Result<Self, ModelError> {
        let n_users: Vec<u64> = tensors.take_len("count.users", 1)?;
        let n_plays: Vec<u64> = tensors.take_len("count.plays", n_items as usize)?;
        let offsets: Vec<u64> = tensors.take_len("count.offsets", n_items as usize + 1)?;
        let n: Vec<u32> = tensors.take("count.n")?;
        let target = tensors.take_below("count.target", n.len(), n_items)?;
        let distance: Vec<u8> = tensors.take_len("count.distance", n.len())?;
        let ends = offsets[0] == 0 && offsets[n_items as usize] == n.len() as u64 && offsets.is_sorted();
        if !ends {
            let got = format!("{} to {}", offsets[0], offsets[n_items as usize]);
            return Err(tensors.wrong(format!("`count.offsets` ascending from 0 to {}", n.len()), got));
        }
        let out = Self { n_users: n_users[0], n_plays, offsets, distance, target, n };
        let in_order = |source: u32| {
            let row = out.row(source);
            row.clone()
                .zip(row.skip(1))
                .all(|(a, b)| (out.distance[a], out.target[a]) < (out.distance[b], out.target[b]))
        };
        if let Some(row) = (0..n_items).find(|&source| !in_order(source)) {
            let want = "`count` ascending by distance and target in a row".to_owned();
            return Err(tensors.wrong(want, format!("row {row} out of order")));
        }
        if let Some(d) = out.distance.iter().find(|&&d| d == 0 || d > window) {
            return Err(tensors.wrong(format!("`count.distance` from 1 to {window}"), d.to_string()));
        }
        Ok(out)
    }
}

impl Followers for KeptCounts {
    fn n_items(&self) -> u32 {
        self.n_plays.len() as u32
    }

    fn n_users(&self) -> u64 {
        self.n_users
    }

    fn n_plays(&self, item: u32) -> u64 {
        self.n_plays[item as usize]
    }

    fn offset_counts(&self, weight: &[f32], finish: impl Fn(u32, &mut Vec<(u32, f32)>) + Sync + Send) -> Csr {
        let scratch = || (vec![0.0_f32; self.n_plays.len()], Vec::new());
        Csr::build(self.n_items(), scratch, |(sum, summed), source, out| {
            for at in self.row(source) {
                let weight = weight.get(usize::from(self.distance[at]) - 1).copied().unwrap_or(0.0);
                add(sum, summed, self.target[at], weight * self.n[at] as f32);
            }
            take_row(sum, summed, out);
            finish(source, out);
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;

    proptest! {
        /// Users whose plays are all old, all new, or both; a catalogue that grows and is renumbered.
        #[test]
        fn old_and_new_counts_add_up_to_those_of_a_whole_count(
            users in prop::collection::vec((prop::collection::vec(0_u32..6, 0..12), 0_usize..12), 0..7),
            window in 1_u8..5,
            weight in prop::collection::vec(0.0_f32..1.0, 5),
        ) {
            let rows = [4_u32, 0, 6, 2, 5, 1];
            let dated = |n_items, users: Vec<Vec<u32>>, n_old: &[usize]| {
                let known_at = users.iter().zip(n_old)
                    .flat_map(|(plays, &old)| (0..plays.len()).map(move |at| i64::from(at >= old) * 10)).collect();
                OwnedSequences { known_at, ..OwnedSequences::from_items(n_items, users) }
            };
            let n_old: Vec<usize> = users.iter().map(|u| u.1).collect();
            let all_new: Vec<usize> = vec![0; users.len()];
            let before = users.iter().map(|(plays, old)| plays[..(*old).min(plays.len())].to_vec()).collect();
            let after = users.iter().map(|(plays, _)| plays.iter().map(|&i| rows[i as usize]).collect()).collect();
            let (before, after) = (dated(6, before, &all_new), dated(7, after, &n_old));
            let count = |plays: &OwnedSequences, from| {
                KeptCounts::of("test", &FitInput::of(plays.view()), window, Targets::All, from).unwrap()
            };
            let whole = count(&after, None);
            let sum = count(&before, None).plus(&rows, &count(&after, Some(TimestampMs(5)))).unwrap();
            prop_assert_eq!(&sum, &whole);
            let plays = OrderedPlays::index("test", &FitInput::of(after.view()), Targets::All).unwrap();
            let weight = &weight[..window.into()];
            prop_assert_eq!(whole.offset_counts(weight, |_, _| {}), plays.offset_counts(weight, |_, _| {}));
            let mut stored = whole.store(Tensors::new());
            prop_assert_eq!(KeptCounts::load(7, window, &mut stored).unwrap(), whole);
        }
    }

    #[test]
    fn rows_that_are_no_map_into_the_catalogue_are_refused() {
        let plays = OwnedSequences::from_items(2, [vec![0, 1]]);
        let counts = KeptCounts::of("test", &FitInput::of(plays.view()), 1, Targets::All, None).unwrap();
        for rows in [&[0_u32][..], &[0, 0], &[0, 2]] {
            assert!(counts.plus(rows, &counts).is_err(), "{rows:?}");
        }
    }
}
