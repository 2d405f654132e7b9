//! Candidates as columns: one row per item, whatever number of sources proposed it.

use std::collections::HashMap;
use std::sync::Arc;

use segue_types::ItemKey;

/// What one source proposes: parallel columns, one row per item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposals {
    /// `[n]` item keys; a key twice keeps its better row.
    pub items: Vec<ItemKey>,
    /// `[n]` scores, finite, higher is better; comparable only within this source and request.
    pub scores: Vec<f32>,
    /// `[n]` the item that explains each proposal ("because you listened to"), or empty.
    pub because: Vec<Option<ItemKey>>,
}

impl Proposals {
    /// Number of proposals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is proposed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds one proposal without an explaining item.
    pub fn push(&mut self, item: ItemKey, score: f32) {
        self.items.push(item);
        self.scores.push(score);
    }

    /// Why these columns cannot be used, if they cannot.
    pub(crate) fn defect(&self) -> Option<String> {
        let n = self.items.len();
        if self.scores.len() != n {
            return Some(format!(
                "{} scores for {n} candidates; a source gives one score per candidate",
                self.scores.len()
            ));
        }
        if !self.because.is_empty() && self.because.len() != n {
            return Some(format!("{} explanations for {n} candidates", self.because.len()));
        }
        let bad = self.scores.iter().position(|s| !s.is_finite())?;
        Some(format!("score {bad} is {}; scores are finite", self.scores[bad]))
    }
}

/// All candidates of one request.
///
/// Rows are in the order of the sources in the plan and, within a source, of their rank, so that
/// the batch does not depend on which source answered first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CandidateBatch {
    /// `[n_sources]` names, in plan order.
    pub sources: Vec<Arc<str>>,
    /// `[n]` items, each once.
    pub items: Vec<ItemKey>,
    /// `[n * n_sources]` row-major; meaningful where the rank is not 0.
    pub source_score: Vec<f32>,
    /// `[n * n_sources]` row-major, 1-based rank within the source; 0 if it did not propose the item.
    pub source_rank: Vec<u32>,
    /// `[n]` the item that explains the candidate, from its best-ranked source that gives one.
    pub because: Vec<Option<ItemKey>>,
    /// Names of the feature columns, filled by hydrators.
    pub feature_names: Vec<String>,
    /// `[n * feature_names.len()]` row-major; NaN is missing.
    pub features: Vec<f32>,
    /// Names of the ranker's heads, filled by a scorer that has them.
    pub heads: Vec<String>,
    /// `[n * heads.len()]` row-major probabilities; NaN for removed candidates.
    pub head_values: Vec<f32>,
}

impl CandidateBatch {
    /// Number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no candidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Ranks of row `row`, one per source, 0 where it was not proposed.
    #[must_use]
    pub fn ranks(&self, row: usize) -> &[u32] {
        &self.source_rank[row * self.sources.len()..(row + 1) * self.sources.len()]
    }

    /// Scores of row `row`, one per source.
    #[must_use]
    pub fn scores(&self, row: usize) -> &[f32] {
        &self.source_score[row * self.sources.len()..(row + 1) * self.sources.len()]
    }

    /// Features of row `row`.
    #[must_use]
    pub fn features(&self, row: usize) -> &[f32] {
        &self.features[row * self.feature_names.len()..(row + 1) * self.feature_names.len()]
    }

    /// The source, among those that `admit` accepts, that gave the row its best rank; the earlier
    /// in plan order on ties.
    #[must_use]
    pub fn best_source(&self, row: usize, admit: impl Fn(usize) -> bool) -> Option<(usize, u32)> {
        let ranks = self.ranks(row).iter().enumerate();
        ranks
            .filter(|&(s, &rank)| rank > 0 && admit(s))
            .map(|(s, &rank)| (s, rank))
            .min_by_key(|&(s, rank)| (rank, s))
    }

    /// The rows of `rows`, in that order, with all their columns.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        fn wide<T: Copy>(rows: &[usize], column: &[T], width: usize) -> Vec<T> {
            rows.iter().flat_map(|&r| column[r * width..(r + 1) * width].iter().copied()).collect()
        }
        Self {
            sources: self.sources.clone(),
            items: rows.iter().map(|&r| self.items[r]).collect(),
            source_score: wide(rows, &self.source_score, self.sources.len()),
            source_rank: wide(rows, &self.source_rank, self.sources.len()),
            because: rows.iter().map(|&r| self.because[r]).collect(),
            feature_names: self.feature_names.clone(),
            features: wide(rows, &self.features, self.feature_names.len()),
            heads: self.heads.clone(),
            head_values: wide(rows, &self.head_values, self.heads.len()),
        }
    }

    /// Merges what the sources proposed. Ranks are given by score, best first, ties by item key.
    #[must_use]
    pub fn merge(sources: Vec<Arc<str>>, proposals: &[Option<Proposals>]) -> Self {
        assert_eq!(sources.len(), proposals.len(), "one entry per source");
        let n_sources = sources.len();
        let mut batch = Self { sources, ..Self::default() };
        let mut row_of: HashMap<ItemKey, usize> = HashMap::new();
        let mut because_rank: Vec<u32> = Vec::new();
        for (s, proposed) in proposals.iter().enumerate() {
            let Some(p) = proposed else { continue };
            let mut order: Vec<usize> = (0..p.len()).collect();
            order.sort_by(|&a, &b| {
                p.scores[b].total_cmp(&p.scores[a]).then(p.items[a].cmp(&p.items[b])).then(a.cmp(&b))
            });
            let mut rank = 0;
            for i in order {
                let row = *row_of.entry(p.items[i]).or_insert_with(|| {
                    batch.items.push(p.items[i]);
                    batch.source_score.resize(batch.items.len() * n_sources, 0.0);
                    batch.source_rank.resize(batch.items.len() * n_sources, 0);
                    batch.because.push(None);
                    because_rank.push(u32::MAX);
                    batch.items.len() - 1
                });
                let cell = row * n_sources + s;
                if batch.source_rank[cell] != 0 {
                    continue; // the same item twice in one source: its better row came first
                }
                rank += 1;
                batch.source_rank[cell] = rank;
                batch.source_score[cell] = p.scores[i];
                if let Some(&Some(because)) = p.because.get(i)
                    && rank < because_rank[row]
                {
                    batch.because[row] = Some(because);
                    because_rank[row] = rank;
                }
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposals(rows: &[(u64, f32)]) -> Option<Proposals> {
        let mut p = Proposals::default();
        rows.iter().for_each(|&(item, score)| p.push(ItemKey(item), score));
        Some(p)
    }

    #[test]
    fn an_item_of_two_sources_is_one_row_with_two_ranks() {
        let batch = CandidateBatch::merge(
            vec!["a".into(), "b".into(), "late".into()],
            &[proposals(&[(1, 0.5), (2, 0.9)]), proposals(&[(1, 3.0), (3, 1.0)]), None],
        );
        assert_eq!(batch.items, [ItemKey(2), ItemKey(1), ItemKey(3)]);
        assert_eq!(batch.ranks(1), [2, 1, 0]);
        assert_eq!(batch.scores(1), [0.5, 3.0, 0.0]);
        assert_eq!(batch.best_source(1, |_| true), Some((1, 1)));
        assert_eq!(batch.best_source(1, |s| s == 0), Some((0, 2)));
        assert_eq!(batch.best_source(2, |s| s == 0), None);
    }

    #[test]
    fn ties_go_to_the_smaller_key_and_repeats_count_once() {
        let batch =
            CandidateBatch::merge(vec!["a".into()], &[proposals(&[(9, 1.0), (4, 1.0), (9, 0.5), (5, 0.1)])]);
        assert_eq!(batch.items, [ItemKey(4), ItemKey(9), ItemKey(5)]);
        assert_eq!(batch.source_rank, [1, 2, 3]);
    }

    #[test]
    fn a_defect_is_named_with_its_value() {
        let mut p = proposals(&[(1, f32::NAN)]).unwrap();
        assert!(p.defect().unwrap().contains("NaN"));
        p.scores.push(1.0);
        assert!(p.defect().unwrap().contains("2 scores for 1 candidates"));
    }
}
