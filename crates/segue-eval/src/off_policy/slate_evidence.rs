//! Evidence of logged slates: several positions each, summed as they stream by.

use super::gate::{self, Candidate, Family, FamilyJudgement, GateConfig, IntervalConfig};
use super::groups::{Functional, Groups, Ratio, standard_error};
use super::{fail, pseudo_inverse_weight};
use crate::EvalError;

/// One position of a logged slate, given the items above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlatePosition {
    /// What the item at this position earned.
    pub reward: f64,
    /// The logging policy's probability of the item here, given those above; in `(0, 1]`.
    pub propensity: f64,
    /// The target policy's probability of the same, given the same; in `[0, 1]`.
    pub target_probability: f64,
    /// Marginal probabilities of the item at this position, logging and target; absent where not known.
    pub marginal: Option<(f64, f64)>,
    /// The reward model's value of the item, and of the target policy at this position: expected reward from
    /// here on, given those above. Absent without a model.
    pub model: Option<(f64, f64)>,
    /// The target policy's probability, given those above, of items the logging policy cannot show here;
    /// absent where not known.
    pub unsupported: Option<f64>,
}

// Columns of the sums; then seven for each position.
const N: usize = 0;
const W: usize = 1;
const W2: usize = 2;
const WR: usize = 3;
const R: usize = 4;
const ROWS: usize = 5;
const P: usize = 6;
const P2: usize = 7;
const PR: usize = 8;
const M: usize = 9;
const M2: usize = 10;
const MR: usize = 11;
const L: usize = 12;
const L2: usize = 13;
const LR: usize = 14;
const CASCADE: usize = 15;
const UNSUPPORTED: usize = 16;
const FIXED: usize = 17;
const AT_N: usize = 0;
const AT_W: usize = 1;
const AT_WR: usize = 2;
const AT_P: usize = 3;
const AT_PR: usize = 4;
const AT_M: usize = 5;
const AT_MR: usize = 6;
const PER_POSITION: usize = 7;

const fn at(position: usize, column: usize) -> usize {
    FIXED + position * PER_POSITION + column
}

/// Sums of a log of slates by unit, in memory bounded by units × positions. Numbers leave it through
/// [`judge`](Self::judge) alone.
#[derive(Debug, Clone)]
pub struct SlateEvidence {
    groups: Groups,
    max_positions: usize,
    /// Largest weight of whole slates, prefixes, positions, and the pseudo-inverse.
    max_weight: [f64; 4],
    has_marginals: bool,
    has_model: bool,
    knows_support: bool,
}

impl SlateEvidence {
    /// Nothing seen yet. The first `max_units` units have sums of their own.
    #[must_use]
    pub fn new(max_units: usize, max_positions: usize) -> Self {
        Self {
            groups: Groups::new(FIXED + max_positions * PER_POSITION, max_units),
            max_positions,
            max_weight: [0.0; 4],
            has_marginals: true,
            has_model: true,
            knows_support: true,
        }
    }

    /// Slates seen.
    #[must_use]
    pub fn n_slates(&self) -> u64 {
        self.groups.n_rows()
    }

    /// Adds a slate of `unit`, positions from the top. `ends_short` is the target policy's probability,
    /// given the whole slate, of going on where the logging policy had to end; 0 where lengths agree.
    ///
    /// # Errors
    /// [`EvalError::Predictions`] names the slate, the position and the value that does not fit; the
    /// slate is not added.
    pub fn push(
        &mut self,
        unit: Option<u64>,
        positions: &[SlatePosition],
        ends_short: f64,
    ) -> Result<(), EvalError> {
        self.check(positions, ends_short)?;
        self.has_marginals &= positions.iter().all(|p| p.marginal.is_some());
        self.has_model &= positions.iter().all(|p| p.model.is_some());
        self.knows_support &= positions.iter().all(|p| p.unsupported.is_some());
        let whole: f64 = positions.iter().map(|p| p.target_probability / p.propensity).product();
        let reward: f64 = positions.iter().map(|p| p.reward).sum();
        let ratios: Vec<f64> =
            positions.iter().map(|p| p.marginal.map_or(0.0, |(logging, target)| target / logging)).collect();
        let linear = pseudo_inverse_weight(&ratios);
        self.max_weight[0] = self.max_weight[0].max(whole);
        self.max_weight[3] = self.max_weight[3].max(linear.abs());
        let sums = self.groups.row(unit);
        for (column, x) in [
            (N, 1.0),
            (W, whole),
            (W2, whole * whole),
            (WR, whole * reward),
            (R, reward),
            (L, linear),
            (L2, linear * linear),
            (LR, linear * reward),
        ] {
            sums[column] += x;
        }
        let mut before = 1.0;
        for (k, (p, &ratio)) in positions.iter().zip(&ratios).enumerate() {
            let prefix = before * p.target_probability / p.propensity;
            let (q, v) = p.model.unwrap_or((0.0, 0.0));
            for (column, x) in [
                (ROWS, 1.0),
                (P, prefix),
                (P2, prefix * prefix),
                (PR, prefix * p.reward),
                (M, ratio),
                (M2, ratio * ratio),
                (MR, ratio * p.reward),
                (CASCADE, prefix * (p.reward - q) + before * v),
                (UNSUPPORTED, before * p.unsupported.unwrap_or(0.0)),
                (at(k, AT_N), 1.0),
                (at(k, AT_W), whole),
                (at(k, AT_WR), whole * p.reward),
                (at(k, AT_P), prefix),
                (at(k, AT_PR), prefix * p.reward),
                (at(k, AT_M), ratio),
                (at(k, AT_MR), ratio * p.reward),
            ] {
                sums[column] += x;
            }
            self.max_weight[1] = self.max_weight[1].max(prefix);
            self.max_weight[2] = self.max_weight[2].max(ratio);
            before = prefix;
        }
        sums[UNSUPPORTED] += before * ends_short;
        Ok(())
    }

    fn check(&self, positions: &[SlatePosition], ends_short: f64) -> Result<(), EvalError> {
        let slate = self.groups.n_rows();
        if positions.is_empty() || positions.len() > self.max_positions {
            return fail(
                format!("number of positions of slate {slate}"),
                positions.len().to_string(),
                "a slate has at least one position and at most as many as were announced",
            );
        }
        let chance = |x: f64| (0.0..=1.0 + 1e-9).contains(&x);
        let logged = |x: f64| x > 0.0 && x <= 1.0 + 1e-9;
        for (k, p) in positions.iter().enumerate() {
            let bad = |what: &str, got: f64, rule| {
                fail(format!("{what} of slate {slate}, position {k}"), got.to_string(), rule)
            };
            if !logged(p.propensity) {
                return bad("propensity", p.propensity, "propensities are above 0 and at most 1");
            }
            if !chance(p.target_probability) {
                return bad("target probability", p.target_probability, "probabilities lie between 0 and 1");
            }
            if !p.reward.is_finite() {
                return bad("reward", p.reward, "it has to be finite");
            }
            if let Some((logging, target)) = p.marginal
                && !(logged(logging) && chance(target))
            {
                return bad("marginal probability", logging, "logging above 0, both at most 1");
            }
            if let Some((q, v)) = p.model
                && !(q.is_finite() && v.is_finite())
            {
                return bad("model value", if q.is_finite() { v } else { q }, "it has to be finite");
            }
            if let Some(u) = p.unsupported
                && !chance(u)
            {
                return bad("unsupported mass", u, "probabilities lie between 0 and 1");
            }
        }
        if !chance(ends_short) {
            return fail(
                format!("chance of going on after slate {slate}"),
                ends_short.to_string(),
                "it lies in [0, 1]",
            );
        }
        Ok(())
    }

    /// Mean reward of a slate under the logging policy, and its standard error.
    ///
    /// # Errors
    /// If there is no slate.
    pub fn logged(&self) -> Result<(f64, f64), EvalError> {
        let totals = self.some()?;
        let f = Functional::ratio(R, N);
        Ok((f.value(|c| totals[c]), standard_error(&f.influence(&self.groups, &totals))))
    }

    fn some(&self) -> Result<Vec<f64>, EvalError> {
        if self.groups.len() == 0 {
            return fail("number of slates".into(), "0".into(), "there is nothing to estimate from");
        }
        Ok(self.groups.totals())
    }

    /// What the gate says of the target policy's mean reward per slate, family by family: each rests on
    /// another assumption of how positions act on each other, and buys less variance with more of it.
    ///
    /// # Errors
    /// If there is no slate, or a setting is out of range.
    pub fn judge(
        &self,
        gate: &GateConfig,
        intervals: &IntervalConfig,
    ) -> Result<Vec<FamilyJudgement>, EvalError> {
        let totals = self.some()?;
        let candidate = |name, functional, must_agree| Candidate { name, functional, note: None, must_agree };
        let plain = |name, column| candidate(name, Functional::ratio(column, N), true);
        // Weights normalised by their mean at the same position; positions without any weight add nothing.
        let by_position = |name, reward: usize, weight: usize| {
            let ratio =
                |k| Ratio { a: at(k, reward), b: at(k, weight), share: Some((at(k, AT_N), N)), sign: 1.0 };
            let filled = (0..self.max_positions).filter(|&k| totals[at(k, weight)] > 0.0);
            candidate(name, Functional(filled.map(ratio).collect()), true)
        };
        let mut families = vec![
            (
                "whole_slate",
                "none: any position may act on any other",
                [W, W2, N],
                self.max_weight[0],
                vec![plain("standard_ips", WR), by_position("standard_snips", AT_WR, AT_W)],
            ),
            (
                "prefix",
                "a reward depends on the items at and above its position",
                [P, P2, ROWS],
                self.max_weight[1],
                vec![plain("rips", PR), by_position("snrips", AT_PR, AT_P)],
            ),
        ];
        if self.has_model {
            families[1].4.push(plain("cascade_dr", CASCADE));
        }
        if self.has_marginals {
            families.push((
                "position",
                "a reward depends on the item at its own position",
                [M, M2, ROWS],
                self.max_weight[2],
                vec![plain("independent_ips", MR), by_position("independent_snips", AT_MR, AT_M)],
            ));
            families.push((
                "linear",
                "a slate's reward is a sum over its positions, each filled independently by the logging policy",
                [L, L2, N],
                self.max_weight[3],
                vec![plain("pseudo_inverse", LR), candidate("sn_pseudo_inverse", Functional::ratio(LR, L), true)],
            ));
        }
        let judge = |(name, assumption, weight, max_weight, candidates)| {
            gate::judge(
                &Family {
                    name,
                    assumption,
                    round: "slate",
                    groups: &self.groups,
                    totals: &totals,
                    n_rounds: totals[N],
                    weight,
                    max_weight,
                    unsupported: self.knows_support.then_some((UNSUPPORTED, N)),
                    candidates,
                    headline: 1,
                    logged: Functional::ratio(R, N),
                },
                gate,
                intervals,
            )
        };
        families.into_iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{LoggedSlates, SlateWeights, cascade_doubly_robust, slate_ips, slate_snips};
    use super::*;

    const OPEN: GateConfig = GateConfig {
        min_effective_sample: 0.0,
        max_mean_weight_z: f64::INFINITY,
        max_mean_weight_error: f64::INFINITY,
        max_weight_share: f64::INFINITY,
        max_unsupported_mass: 1.0,
        max_disagreement_z: f64::INFINITY,
        min_effective_units: 0.0,
    };

    fn position(reward: f64, propensity: f64, target_probability: f64) -> SlatePosition {
        SlatePosition {
            reward,
            propensity,
            target_probability,
            marginal: None,
            model: None,
            unsupported: Some(0.0),
        }
    }

    proptest! {
        #[test]
        fn streamed_slates_give_what_the_plain_estimators_give(
            slates in prop::collection::vec(prop::collection::vec(
                (0.0_f64..1.0, 0.1_f64..1.0, 0.1_f64..1.0, 0.1_f64..1.0, 0.1_f64..1.0, 0.0_f64..1.0), 1..4), 2..20),
        ) {
            let mut evidence = SlateEvidence::new(100, 3);
            let (mut id, mut pos, mut reward) = (vec![], vec![], vec![]);
            let mut chances: [Vec<f64>; 6] = Default::default();
            let (mut q, mut v) = (vec![], vec![]);
            for (s, slate) in slates.iter().enumerate() {
                let rows: Vec<SlatePosition> = slate.iter().map(|&(r, p, e, mp, me, q)| SlatePosition {
                    marginal: Some((mp, me)), model: Some((q, 0.5 * q)), ..position(r, p, e)
                }).collect();
                evidence.push(None, &rows, 0.0).unwrap();
                let whole = rows.iter().fold((1.0, 1.0), |w, r| (w.0 * r.propensity, w.1 * r.target_probability));
                let mut prefix = (1.0, 1.0);
                for (k, r) in rows.iter().enumerate() {
                    prefix = (prefix.0 * r.propensity, prefix.1 * r.target_probability);
                    id.push(s as u64);
                    pos.push(k as u32);
                    reward.push(r.reward);
                    q.push(r.model.unwrap().0);
                    v.push(r.model.unwrap().1);
                    let m = r.marginal.unwrap();
                    for (column, x) in chances.iter_mut().zip([whole.0, whole.1, prefix.0, prefix.1, m.0, m.1]) {
                        column.push(x);
                    }
                }
            }
            let logged = LoggedSlates { slate: &id, position: &pos, reward: &reward };
            let weights = |i: usize| SlateWeights { propensity: &chances[i], target_probability: &chances[i + 1] };
            let judged = evidence.judge(&OPEN, &IntervalConfig::default()).unwrap();
            let names: Vec<&str> = judged.iter().map(|f| f.family).collect();
            prop_assert_eq!(names, ["whole_slate", "prefix", "position", "linear"]);
            for e in judged.iter().flat_map(|f| f.verdict.estimable().unwrap().estimates()) {
                let want = match e.estimator() {
                    "standard_ips" => slate_ips(&logged, &weights(0)),
                    "standard_snips" => slate_snips(&logged, &weights(0)),
                    "rips" => slate_ips(&logged, &weights(2)),
                    "snrips" => slate_snips(&logged, &weights(2)),
                    "cascade_dr" => cascade_doubly_robust(&logged, &weights(2), &q, &v),
                    "independent_ips" => slate_ips(&logged, &weights(4)),
                    "independent_snips" => slate_snips(&logged, &weights(4)),
                    _ => continue,
                }.unwrap();
                prop_assert!((e.value() - want).abs() < 1e-9 * (1.0 + want.abs()), "{}: {} {want}", e.estimator(), e.value());
            }
        }

        /// Two positions out of three items without replacement, every slate counted with its probability:
        /// rewards that depend on the items above are met by RIPS, cascade-DR (any model) and the standard estimator.
        #[test]
        fn prefix_and_whole_slate_weights_are_unbiased_under_a_cascade(
            logging in prop::collection::vec(0.1_f64..1.0, 3), target in prop::collection::vec(0.1_f64..1.0, 3),
            first in prop::collection::vec(0.0_f64..1.0, 3), second in prop::collection::vec(0.0_f64..1.0, 9),
            model in prop::collection::vec(0.0_f64..1.0, 3),
        ) {
            let given = |p: &[f64], used: Option<usize>, a: usize| {
                let total: f64 = (0..3).filter(|i| Some(*i) != used).map(|i| p[i]).sum();
                if Some(a) == used { 0.0 } else { p[a] / total }
            };
            let (mut truth, mut standard, mut rips, mut cascade) = (0.0, 0.0, 0.0, 0.0);
            for a in 0..3 {
                for b in (0..3).filter(|&b| b != a) {
                    let chance = |p: &[f64]| given(p, None, a) * given(p, Some(a), b);
                    let rows = [(None, a, first[a]), (Some(a), b, second[a * 3 + b])].map(|(used, x, reward)| {
                        let value = (0..3).map(|c| given(&target, used, c) * model[c]).sum();
                        SlatePosition {
                            model: Some((model[x], value)),
                            ..position(reward, given(&logging, used, x), given(&target, used, x))
                        }
                    });
                    truth += chance(&target) * (rows[0].reward + rows[1].reward);
                    let mut evidence = SlateEvidence::new(1, 2);
                    evidence.push(None, &rows, 0.0).unwrap();
                    for f in evidence.judge(&OPEN, &IntervalConfig::default()).unwrap() {
                        for e in f.verdict.estimable().unwrap().estimates() {
                            let x = chance(&logging) * e.value();
                            match e.estimator() {
                                "standard_ips" => standard += x,
                                "rips" => rips += x,
                                "cascade_dr" => cascade += x,
                                _ => {}
                            }
                        }
                    }
                }
            }
            for (name, x) in [("standard", standard), ("rips", rips), ("cascade", cascade)] {
                prop_assert!((x - truth).abs() < 1e-9, "{name}: {x} {truth}");
            }
        }
    }

    #[test]
    fn items_that_cannot_be_logged_close_the_gate_for_good() {
        let mut evidence = SlateEvidence::new(10_000, 2);
        for i in 0..2_000_u32 {
            let r = f64::from(i % 2);
            let second = SlatePosition { unsupported: Some(0.5), ..position(r, 0.5, 0.25) };
            evidence.push(None, &[position(r, 0.5, 0.5), second], 0.0).unwrap();
        }
        for family in evidence.judge(&GateConfig::default(), &IntervalConfig::default()).unwrap() {
            assert_eq!(family.weights.unsupported_mass, Some(0.5));
            assert!(family.verdict.to_string().contains("no amount"), "{}", family.verdict);
        }
    }

    #[test]
    fn bad_slates_are_named_and_not_added() {
        let mut evidence = SlateEvidence::new(10, 2);
        let good = position(1.0, 0.5, 0.5);
        for (bad, word) in [
            (vec![], "number of positions"),
            (vec![good; 3], "number of positions"),
            (vec![good, position(1.0, 0.0, 0.5)], "propensity of slate 0, position 1"),
            (vec![position(1.0, 0.5, -0.1)], "target probability"),
            (vec![position(f64::NAN, 0.5, 0.1)], "reward of slate 0"),
            (vec![SlatePosition { marginal: Some((0.0, 0.5)), ..good }], "marginal"),
            (vec![SlatePosition { model: Some((f64::NAN, 0.5)), ..good }], "model"),
            (vec![SlatePosition { unsupported: Some(1.5), ..good }], "unsupported"),
        ] {
            let message = evidence.push(None, &bad, 0.0).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        assert!(evidence.push(None, &[good], 2.0).is_err());
        assert_eq!(evidence.n_slates(), 0);
        assert!(evidence.judge(&GateConfig::default(), &IntervalConfig::default()).is_err());
    }
}
