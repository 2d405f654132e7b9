//! Item vectors and the best items for many listeners at once: the common core of factor models.
//!
//! Vectors are padded with zeros to a multiple of 32, their *width*. 8 listeners × 32 items at a time are screened:
//! in bytes where the processor multiplies those faster ([`screen`]), else in `f32`. What may be among
//! the best `k` is then scored, always by the same [`dot`]: the list is exact, and the same bit by bit on any
//! processor, alone or among others.
//!
//! Items are scanned by falling length of their vectors. No score exceeds the product of both lengths
//! (Cauchy-Schwarz), so once that is below the worst of the best `k`, the rest need not be looked at.

use rayon::prelude::*;

use crate::linalg::screen;
use crate::linalg::tile::{self, Factor, LANES, ROWS};
use crate::linalg::vector::dot;
use crate::top_k::TopK;
use crate::{ItemFilter, ModelError, Scored, Tensors};

/// Listeners who share a pass over the items. Each block of items stays in the first-level cache for all of them, so
/// that the items come from memory once for many.
const GROUP: usize = 16 * ROWS;

/// One vector per item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Factors {
    n_items: u32,
    /// Numbers per item as the model has them.
    n_factors: usize,
    /// `[n_items, width]` row-major; columns from `n_factors` on are zero.
    rows: Vec<f32>,
    /// Items by falling length of their vectors, ties by row.
    order: Vec<u32>,
    /// The vectors in that order.
    scanned: Scanned,
    /// `[n_items / 32]` no vector of the panel is longer.
    reach: Vec<f32>,
}

/// Item vectors in the order of the scan, in panels of 32.
#[derive(Debug, Clone, PartialEq)]
enum Scanned {
    /// `[n_items, width]`, and the same in bytes to screen with.
    Bytes(Vec<f32>, screen::Items),
    /// `[n_items / 32][width][32]`.
    Floats(Vec<f32>),
}

impl Default for Scanned {
    fn default() -> Self {
        Self::Floats(Vec::new())
    }
}

/// The length of vectors of `n_factors` numbers with their padding.
#[must_use]
pub fn padded(n_factors: usize) -> usize {
    n_factors.next_multiple_of(LANES)
}

impl Factors {
    /// From `rows`, `[n_items, padded(n_factors)]`, whose padding is zero.
    ///
    /// # Panics
    /// If `rows` is not whole.
    #[must_use]
    pub fn new(n_factors: usize, rows: Vec<f32>) -> Self {
        Self::scanned_in(n_factors, rows, screen::is_fast())
    }

    fn scanned_in(n_factors: usize, rows: Vec<f32>, bytes: bool) -> Self {
        let width = padded(n_factors);
        assert!(
            n_factors > 0 && rows.len().is_multiple_of(width),
            "{} values in rows of {width}",
            rows.len()
        );
        let lengths: Vec<f32> = rows.par_chunks_exact(width).map(length).collect();
        let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| lengths[b as usize].total_cmp(&lengths[a as usize]).then(a.cmp(&b)));
        let reach = order.chunks(LANES).map(|items| lengths[items[0] as usize]).collect();
        let mut scanned = if bytes {
            Scanned::Bytes(Vec::with_capacity(rows.len()), screen::Items::new(width))
        } else {
            Scanned::Floats(Vec::with_capacity(rows.len().next_multiple_of(LANES * width)))
        };
        let mut panel = Vec::with_capacity(LANES * width);
        for items in order.chunks(LANES) {
            panel.clear();
            items.iter().for_each(|&item| panel.extend_from_slice(&rows[item as usize * width..][..width]));
            match &mut scanned {
                Scanned::Bytes(rows, bytes) => {
                    rows.extend_from_slice(&panel);
                    bytes.push(&panel);
                }
                Scanned::Floats(panels) => tile::pack_panel(&panel, width, width, panels),
            }
        }
        Self { n_items: lengths.len() as u32, n_factors, rows, order, scanned, reach }
    }

    /// Number of items.
    #[must_use]
    pub fn n_items(&self) -> u32 {
        self.n_items
    }

    /// Numbers per item as the model has them.
    #[must_use]
    pub fn n_factors(&self) -> usize {
        self.n_factors
    }

    /// Length of a vector with its padding.
    #[must_use]
    pub fn width(&self) -> usize {
        padded(self.n_factors)
    }

    /// All vectors, `[n_items, width]`.
    #[must_use]
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The vector of an item, `[width]`.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn row(&self, item: u32) -> &[f32] {
        &self.rows[item as usize * self.width()..][..self.width()]
    }

    /// Fills `out` with the best `k` items for one listener's vector, `[width]`; ties by item row.
    ///
    /// # Panics
    /// If the vector has another length.
    pub fn top_k(&self, user: &[f32], k: usize, filter: &ItemFilter<'_>, out: &mut Vec<Scored>) {
        assert_eq!(user.len(), self.width(), "a listener's vector is as long as an item's");
        let mut best = [TopK::default()];
        self.scan(user, k, &[*filter], &mut best);
        out.clear();
        let [mut best] = best;
        best.finish(|item| item, out);
    }

    /// The best `k` items for each of many listeners, `users` `[n, width]` row-major with a filter each, in parallel.
    ///
    /// # Panics
    /// If `users` does not have a row for each filter.
    #[must_use]
    pub fn top_k_batch(&self, users: &[f32], k: usize, filters: &[ItemFilter<'_>]) -> Vec<Vec<Scored>> {
        let width = self.width();
        assert_eq!(users.len(), filters.len() * width, "one vector and one filter per listener");
        let groups: Vec<Vec<Vec<Scored>>> = users
            .par_chunks(GROUP * width)
            .zip(filters.par_chunks(GROUP))
            .map_init(Vec::new, |best, (users, filters)| {
                best.resize_with(filters.len(), TopK::default);
                self.scan(users, k, filters, best);
                best.iter_mut()
                    .map(|best| {
                        let mut out = Vec::new();
                        best.finish(|item| item, &mut out);
                        out
                    })
                    .collect()
            })
            .collect();
        groups.into_iter().flatten().collect()
    }

    /// Offers to every listener of a group the items that may be among the best.
    fn scan(&self, users: &[f32], k: usize, filters: &[ItemFilter<'_>], best: &mut [TopK]) {
        let width = self.width();
        let parts: Vec<Listeners<'_>> =
            users.chunks(ROWS * width).map(|users| self.listeners(users)).collect();
        best.iter_mut().for_each(|best| best.reset(k.min(self.n_items as usize)));
        for (at, (items, &reach)) in self.order.chunks(LANES).zip(&self.reach).enumerate() {
            // The last panel may be filled up with items that do not exist.
            let exist = u32::MAX >> (LANES - items.len());
            let mut any = false;
            for ((part, filters), best) in parts.iter().zip(filters.chunks(ROWS)).zip(best.chunks_mut(ROWS)) {
                let mut floor = [f32::INFINITY; ROWS];
                for ((floor, best), length) in floor.iter_mut().zip(&*best).zip(&part.lengths) {
                    *floor = best.floor_score();
                    // Items are not in the order of ties: a score equal to the worst may still be taken.
                    // Longer than any rounding of the sums; what is not a number is not skipped.
                    if length * reach * (1.0 + 1e-4) < *floor {
                        *floor = f32::INFINITY;
                    }
                }
                if floor == [f32::INFINITY; ROWS] {
                    continue;
                }
                any = true;
                let may_reach = self.may_reach(part, at, reach, &floor);
                let users = part.users.chunks_exact(width);
                for (((may_reach, user), best), filter) in may_reach.iter().zip(users).zip(best).zip(filters)
                {
                    let mut good = may_reach & exist;
                    while good != 0 {
                        let lane = good.trailing_zeros() as usize;
                        good &= good - 1;
                        let item = items[lane];
                        let score = dot(user, self.scanned_row(at * LANES + lane, item));
                        if score >= best.floor_score() && filter.admits(item) {
                            best.offer(score, item);
                        }
                    }
                }
            }
            if !any {
                return; // and what follows is shorter
            }
        }
    }

    /// Up to 8 listeners in the form that items are screened with.
    fn listeners<'a>(&self, users: &'a [f32]) -> Listeners<'a> {
        let width = self.width();
        let form = match &self.scanned {
            Scanned::Bytes(..) => Form::Bytes(screen::Listeners::new(users, width)),
            Scanned::Floats(_) => {
                let mut packed = Vec::with_capacity(ROWS * width);
                tile::pack_rows(users, width, width, &mut packed);
                Form::Floats(packed)
            }
        };
        Listeners { users, lengths: users.chunks_exact(width).map(length).collect(), form }
    }

    /// Of each listener the items of a panel that may reach the listener's floor.
    fn may_reach(&self, part: &Listeners<'_>, panel: usize, reach: f32, floor: &[f32; ROWS]) -> [u32; ROWS] {
        let width = self.width();
        match (&self.scanned, &part.form) {
            (Scanned::Bytes(_, items), Form::Bytes(listeners)) => {
                screen::may_reach(listeners, items, panel, floor)
            }
            (Scanned::Floats(panels), Form::Floats(rows)) => {
                // Sums of another order than those of `dot`: both are within this of the product.
                let rounding = (width + 64) as f32 * f32::EPSILON * reach;
                let mut below = *floor;
                for (floor, length) in below.iter_mut().zip(&part.lengths) {
                    *floor = (*floor - rounding * length).next_down();
                }
                let panel = Factor { values: &panels[panel * LANES * width..], stride: LANES };
                let rows = Factor { values: rows, stride: ROWS };
                tile::product_above(width, rows, panel, &below, &mut [[0.0; LANES]; ROWS])
            }
            _ => unreachable!("listeners have the form that `listeners` gave them"),
        }
    }

    /// The vector of an item at its place in the scan.
    fn scanned_row(&self, place: usize, item: u32) -> &[f32] {
        match &self.scanned {
            Scanned::Bytes(rows, _) => &rows[place * self.width()..][..self.width()],
            Scanned::Floats(_) => self.row(item),
        }
    }

    /// The items whose vectors point most in the direction of that of `item`: cosine, ties by item row.
    #[must_use]
    pub fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let mut out = Vec::new();
        if item >= self.n_items {
            return out;
        }
        let norm_of = |row: &[f32]| dot(row, row).sqrt();
        let row = self.row(item);
        let norm = norm_of(row);
        let mut best = TopK::default();
        best.reset(k.min(self.n_items as usize));
        for (other, other_row) in (0..).zip(self.rows.chunks_exact(self.width())) {
            // A vector of zeros points nowhere: the quotient is not finite and is not taken.
            if other != item {
                best.offer(dot(row, other_row) / (norm * norm_of(other_row)), other);
            }
        }
        best.finish(|item| item, &mut out);
        out
    }

    /// One tensor: `NAME`, the vectors one after the other, `n_factors` numbers each.
    pub(crate) fn store(&self, name: &str, tensors: Tensors) -> Tensors {
        let plain: Vec<f32> =
            self.rows.chunks_exact(self.width()).flat_map(|row| &row[..self.n_factors]).copied().collect();
        tensors.with(name, &plain)
    }

    /// Reads what [`store`](Self::store) wrote.
    pub(crate) fn load(name: &str, n_factors: usize, tensors: &mut Tensors) -> Result<Self, ModelError> {
        let values: Vec<f32> = tensors.take(name)?;
        let n_items = values.len() / n_factors;
        if !values.len().is_multiple_of(n_factors) || u32::try_from(n_items).is_err() {
            let want = format!("`{name}` of fewer than 2^32 vectors of {n_factors} numbers");
            return Err(tensors.wrong(want, format!("{} numbers", values.len())));
        }
        // The square of the length has to be finite, or products of vectors are not.
        let finite = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().is_finite();
        if let Some(at) = values.chunks(n_factors).position(|row| !finite(row)) {
            let want = format!("vectors of finite length in `{name}`");
            return Err(tensors.wrong(want, format!("another in row {at}")));
        }
        let width = padded(n_factors);
        let mut rows = vec![0.0; n_items * width];
        for (row, values) in rows.chunks_exact_mut(width).zip(values.chunks_exact(n_factors)) {
            row[..n_factors].copy_from_slice(values);
        }
        Ok(Self::new(n_factors, rows))
    }
}

/// Up to 8 listeners who are scanned for together.
struct Listeners<'a> {
    /// `[n, width]`.
    users: &'a [f32],
    /// `[n]`, from above.
    lengths: Vec<f32>,
    form: Form,
}

/// As [`Scanned`].
enum Form {
    Bytes(screen::Listeners),
    /// Rows of a tile.
    Floats(Vec<f32>),
}

/// The length of a vector, from above.
fn length(vector: &[f32]) -> f32 {
    let square: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (square.sqrt() as f32).next_up()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_nn::Counter;

    use super::*;

    proptest! {
        /// Small whole numbers: every sum is exact, so the plain reference has the same scores and ties.
        #[test]
        fn the_lists_of_many_are_those_of_a_full_sort_for_each(
            n_items in 0_usize..100,
            n_users in 0_usize..70,
            n_factors in 1_usize..40,
            seed in any::<u32>(),
            k in 0_usize..30,
            exclude in prop::collection::btree_set(0_u32..110, 0..20),
            allow in prop::option::of([any::<u64>(), any::<u64>()]),
        ) {
            let width = padded(n_factors);
            let value = |i: usize| if i % width < n_factors {
                f32::from(((i as u32).wrapping_mul(seed | 1) >> 13) as u8 % 5) - 2.0
            } else {
                0.0
            };
            let rows: Vec<f32> = (0..n_items * width).map(value).collect();
            let factors = Factors::scanned_in(n_factors, rows.clone(), true);
            let in_floats = Factors::scanned_in(n_factors, rows, false);
            let users: Vec<f32> = (0..n_users * width).map(|i| value(i + 7 * width)).collect();
            let exclude: Vec<u32> = exclude.into_iter().collect();
            let filter = ItemFilter { exclude: &exclude, allow: allow.as_ref().map(<[u64; 2]>::as_slice) };
            let got = factors.top_k_batch(&users, k, &vec![filter; n_users]);
            prop_assert_eq!(got.len(), n_users);
            prop_assert_eq!(&got, &in_floats.top_k_batch(&users, k, &vec![filter; n_users]));
            for (user, got) in users.chunks_exact(width).zip(&got) {
                let mut want: Vec<Scored> = (0..n_items as u32).filter(|&i| filter.admits(i)).map(|item| {
                    let score = factors.row(item).iter().zip(user).map(|(a, b)| a * b).sum::<f32>() + 0.0;
                    Scored { item, score }
                }).collect();
                want.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
                want.truncate(k);
                prop_assert_eq!(got, &want);
                let mut alone = Vec::new();
                factors.top_k(user, k, &filter, &mut alone);
                prop_assert_eq!(got, &alone);
            }
            let mut tensors = factors.store("item", Tensors::new());
            prop_assert_eq!(Factors::load("item", n_factors, &mut tensors).unwrap().rows, factors.rows);
        }
    }

    proptest! {
        /// Numbers of any size, where the order of a sum matters to its last digit.
        #[test]
        fn lists_are_the_same_bits_however_items_are_screened(
            n_items in 1_usize..200,
            n_factors in 1_usize..70,
            seed in any::<u64>(),
            k in 1_usize..20,
        ) {
            let width = padded(n_factors);
            let draws = Counter::new(seed, 1);
            let value = |i: usize| if i % width < n_factors { draws.normal(i as u64) } else { 0.0 };
            let rows: Vec<f32> = (0..n_items * width).map(value).collect();
            let users: Vec<f32> = (0..9 * width).map(|i| value(i + n_items * width)).collect();
            let lists = |bytes| {
                let factors = Factors::scanned_in(n_factors, rows.clone(), bytes);
                factors.top_k_batch(&users, k, &[ItemFilter::default(); 9])
            };
            let got = lists(true);
            prop_assert_eq!(&got, &lists(false));
            for (user, got) in users.chunks_exact(width).zip(&got) {
                let mut want: Vec<Scored> = (0..).zip(rows.chunks_exact(width))
                    .map(|(item, row)| Scored { item, score: dot(user, row) }).collect();
                want.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
                want.truncate(k);
                prop_assert_eq!(got, &want);
            }
        }
    }

    #[test]
    fn similar_items_point_the_same_way_whatever_their_length() {
        let mut rows = vec![0.0; 4 * 32];
        for (item, [x, y]) in [[1.0, 0.0], [0.0, 2.0], [9.0, 1.0], [0.0, 0.0]].into_iter().enumerate() {
            rows[item * 32] = x;
            rows[item * 32 + 1] = y;
        }
        let factors = Factors::new(2, rows);
        let items: Vec<u32> = factors.similar_items(0, 9).iter().map(|s| s.item).collect();
        assert_eq!(items, [2, 1]); // nothing is like the item without a direction
        assert!(factors.similar_items(4, 9).is_empty());
    }
}
