//! The protocol: everything that decides what a number means.

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::metric::{self, Metric};
use crate::split::{Fixed, LeaveOneOut, SplitSpec};

/// How models are compared. Two reports may be put side by side if their protocols are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// What models learn from and what they have to predict.
    pub split: SplitSpec,
    /// Names of [registered metrics](crate::metric::FAMILIES).
    pub metrics: Vec<String>,
    /// Cut-offs, each at least 1: every metric is reported at each.
    pub k: Vec<usize>,
    /// Whether items of the user's history are kept out of the lists.
    pub filter_seen: bool,
    /// Which items may be recommended.
    pub candidates: Candidates,
    /// How equal scores are ordered.
    pub ties: TieRule,
    /// Seed of the holdout and of the bootstrap.
    pub seed: u64,
    /// Bootstrap draws, at least 100; published comparisons use 2,000 or more.
    pub draws: u32,
    /// Coverage of the intervals, above 0 and below 1.
    pub confidence: f64,
    /// Seeds that each model is fitted with, each once; none means [`seed`](Self::seed) alone. The
    /// split does not change with them.
    pub seeds: Vec<u64>,
    /// Groups for which numbers are given apart: `history_length`, `item_popularity`, `user_age`,
    /// `user:COLUMN` or `item:COLUMN` (see [`slices`](crate::slices)).
    pub slices: Vec<String>,
}

/// Which items may be recommended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// Items with a play in the train part.
    #[default]
    Train,
    /// All items of the data.
    All,
}

/// How equal scores are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieRule {
    /// Lowest item row first.
    #[default]
    ItemRow,
    /// Smallest SHA-256 of the external item id first; needs item ids.
    Sha256,
    /// As the model orders them: its own page states its rule. Some published tables need it.
    Model,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            split: SplitSpec::default(),
            metrics: ["recall", "ndcg", "mrr", "coverage", "novelty"].map(str::to_owned).to_vec(),
            k: vec![10],
            filter_seen: true,
            candidates: Candidates::Train,
            ties: TieRule::ItemRow,
            seed: 0,
            draws: 2_000,
            confidence: 0.95,
            seeds: Vec::new(),
            slices: Vec::new(),
        }
    }
}

impl Protocol {
    /// P-S3: leave-one-out over order-only sequences, the train catalogue, seen items filtered,
    /// each model's own rule for ties. The protocol of `spotify-research/sequential-capacity-probes`.
    #[must_use]
    pub fn p_s3() -> Self {
        Self {
            split: SplitSpec::LeaveOneOut(LeaveOneOut {}),
            metrics: vec!["ndcg".into(), "recall".into()],
            ties: TieRule::Model,
            ..Self::default()
        }
    }

    /// The part that a benchmark published is the test; recall and NDCG at 20, as NGCF and LightGCN
    /// report them.
    #[must_use]
    pub fn fixed() -> Self {
        Self {
            split: SplitSpec::Fixed(Fixed {}),
            metrics: vec!["recall".into(), "ndcg".into()],
            k: vec![20],
            ..Self::default()
        }
    }

    /// The seeds that each model is fitted with.
    #[must_use]
    pub fn fit_seeds(&self) -> Vec<u64> {
        if self.seeds.is_empty() { vec![self.seed] } else { self.seeds.clone() }
    }

    /// The metrics, looked up.
    ///
    /// # Errors
    /// [`EvalError::Protocol`] names the first setting outside its range.
    pub fn check(&self) -> Result<Vec<&'static Metric>, EvalError> {
        let fail = |setting, value: String, rule: &str| {
            Err(EvalError::Protocol { setting, value, rule: rule.to_owned() })
        };
        if self.metrics.is_empty() {
            return fail("metrics", "empty".into(), "it names at least one metric");
        }
        if self.k.is_empty() || self.k.contains(&0) {
            return fail("k", format!("{:?}", self.k), "it lists cut-offs of at least 1");
        }
        if self.draws < 100 {
            return fail(
                "draws",
                self.draws.to_string(),
                "it is the number of bootstrap draws, at least 100",
            );
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return fail(
                "confidence",
                self.confidence.to_string(),
                "it is the coverage of the intervals, above 0 and below 1",
            );
        }
        let repeated = |i: &usize| self.seeds[..*i].contains(&self.seeds[*i]);
        if let Some(i) = (0..self.seeds.len()).find(repeated) {
            return fail("seeds", format!("{} twice", self.seeds[i]), "each seed is used once");
        }
        self.metrics.iter().map(|name| metric::find(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_survives_json_and_short_forms_take_the_defaults() {
        for p in [Protocol::default(), Protocol::p_s3(), Protocol::fixed()] {
            let text = serde_json::to_string(&p).unwrap();
            assert_eq!(serde_json::from_str::<Protocol>(&text).unwrap(), p);
        }
        let short = r#"{"split": {"kind": "holdout", "share": 0.1}, "k": [5, 20]}"#;
        let p: Protocol = serde_json::from_str(short).unwrap();
        assert_eq!((p.k, p.draws, p.split.name()), (vec![5, 20], 2_000, "holdout"));
        assert!(serde_json::from_str::<Protocol>(r#"{"metric": ["ndcg"]}"#).is_err());
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let p = Protocol::default;
        for (bad, name) in [
            (Protocol { metrics: vec![], ..p() }, "metrics"),
            (Protocol { metrics: vec!["f1".into()], ..p() }, "`f1`"),
            (Protocol { k: vec![10, 0], ..p() }, "`k`"),
            (Protocol { draws: 1, ..p() }, "draws"),
            (Protocol { confidence: 1.0, ..p() }, "confidence"),
            (Protocol { seeds: vec![1, 2, 1], ..p() }, "1 twice"),
        ] {
            let message = bad.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
