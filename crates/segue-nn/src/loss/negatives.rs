//! Negatives shared by all tokens of a step, and the probability with which each was drawn.

use crate::Counter;

/// Where negatives come from: uniform draws mixed with draws by popularity.
#[derive(Debug, Clone, PartialEq)]
pub struct NegativeSampler {
    n_items: u32,
    /// Share of draws by popularity.
    popular: f32,
    /// Share of draws from the targets of the batch, which are popular items too.
    in_batch: f32,
    /// Running sums of the counts, `[n_items]`; empty if nothing is drawn by popularity.
    cumulative: Vec<u64>,
}

/// What was drawn for a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Negatives {
    /// `[k]` item rows; may repeat.
    pub ids: Vec<u32>,
    /// `[k]`: `ln(k q)`, the logarithm of how often the item is expected among `k` draws.
    pub log_expected: Vec<f32>,
}

impl NegativeSampler {
    /// Draws a share `popular` in proportion to `counts` `[n_items]`, a share `in_batch` from the
    /// targets of the batch, and the rest uniformly.
    ///
    /// # Panics
    /// If there is no item, or the shares are not within `[0, 1]` together.
    #[must_use]
    pub fn new(counts: &[u64], popular: f32, in_batch: f32) -> Self {
        assert!(!counts.is_empty(), "negatives of an empty catalogue");
        assert!(
            popular >= 0.0 && in_batch >= 0.0 && popular + in_batch <= 1.0,
            "shares {popular} and {in_batch}"
        );
        // One more than the count: an item that was never played can be drawn.
        let cumulative = counts
            .iter()
            .scan(0, |sum, &c| {
                *sum += c + 1;
                Some(*sum)
            })
            .collect();
        Self { n_items: counts.len() as u32, popular, in_batch, cumulative }
    }

    /// Fills `out` with `k` draws of `stream`; `targets` are those of the batch.
    pub fn draw(&self, stream: Counter, k: usize, targets: &[u32], out: &mut Negatives) {
        out.ids.clear();
        out.log_expected.clear();
        let total = self.cumulative[self.cumulative.len() - 1];
        for i in 0..k as u64 {
            let kind = stream.uniform(2 * i);
            let place = 2 * i + 1;
            let id = if kind < self.popular {
                let at = stream.below(place, total);
                self.cumulative.partition_point(|&c| c <= at) as u32
            } else if kind < self.popular + self.in_batch && !targets.is_empty() {
                targets[stream.below(place, targets.len() as u64) as usize]
            } else {
                stream.below(place, u64::from(self.n_items)) as u32
            };
            out.ids.push(id);
            out.log_expected.push((k as f64 * self.probability(id)).ln() as f32);
        }
    }

    /// The probability of a draw. Targets of a batch are taken to follow the counts.
    #[must_use]
    pub fn probability(&self, id: u32) -> f64 {
        let at = id as usize;
        let total = self.cumulative[self.cumulative.len() - 1];
        let count = self.cumulative[at] - if at == 0 { 0 } else { self.cumulative[at - 1] };
        let by_count = f64::from(self.popular) + f64::from(self.in_batch);
        by_count * count as f64 / total as f64 + (1.0 - by_count) / f64::from(self.n_items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_drawn_as_often_as_their_probability_says() {
        let counts = [0, 9, 90, 1];
        let sampler = NegativeSampler::new(&counts, 0.5, 0.2);
        let targets: Vec<u32> =
            (0..4_u32).flat_map(|i| std::iter::repeat_n(i, counts[i as usize] as usize + 1)).collect();
        let mut out = Negatives::default();
        let n = 200_000;
        sampler.draw(Counter::new(1, 1), n, &targets, &mut out);
        let total: f64 = (0..4).map(|i| sampler.probability(i)).sum();
        assert!((total - 1.0).abs() < 1e-9);
        for item in 0..4 {
            let share = out.ids.iter().filter(|&&i| i == item).count() as f64 / n as f64;
            assert!((share - sampler.probability(item)).abs() < 0.005, "item {item}: {share}");
        }
        let at = out.ids.iter().position(|&i| i == 2).unwrap();
        assert!((f64::from(out.log_expected[at]) - (n as f64 * sampler.probability(2)).ln()).abs() < 1e-4);
    }

    #[test]
    fn a_single_item_is_drawn_every_time() {
        let mut out = Negatives::default();
        NegativeSampler::new(&[5], 0.3, 0.3).draw(Counter::new(0, 0), 9, &[], &mut out);
        assert_eq!(out.ids, [0; 9]);
    }
}
