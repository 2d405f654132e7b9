//! Evidence of logged rounds: one action each, summed as it streams by.

use segue_stats::distribution::student_t;

use super::gate::{self, Candidate, Family, FamilyJudgement, GateConfig, IntervalConfig};
use super::groups::{Functional, Groups, standard_error};
use super::selection::slope_of;
use super::{LoggedRounds, Weighting, fail};
use crate::EvalError;

/// Limits tried for clipped weights and thresholds tried for SWITCH-DR; SLOPE chooses.
pub const LIMITS: [f64; 6] = [2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
/// `λ` tried for optimistic shrinkage.
pub const LAMBDAS: [f64; 6] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5];
/// `g` tried for sub-Gaussian weights.
pub const SUB_GAUSSIAN: [f64; 4] = [0.001, 0.01, 0.05, 0.2];

/// One logged round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// What the shown action earned.
    pub reward: f64,
    /// The logging policy's probability of it, in `(0, 1]`.
    pub propensity: f64,
    /// The target policy's probability of it, in `[0, 1]`.
    pub target_probability: f64,
    /// The reward model's value of the shown action and of the target policy here, `q(x, a)` and
    /// `Σ_a π_e(a|x) q(x, a)`; absent for all rounds or for none.
    pub model: Option<(f64, f64)>,
    /// The target policy's probability of actions that the logging policy never takes here; absent where
    /// the log cannot tell.
    pub unsupported: Option<f64>,
}

// Columns of the sums.
const N: usize = 0;
const W: usize = 1;
const W2: usize = 2;
const R: usize = 3;
const WR: usize = 4;
const V: usize = 5;
const WD: usize = 6;
const UNSUPPORTED: usize = 7;
const CLIP: usize = 8;
const SWITCH: usize = CLIP + LIMITS.len();
const SHRINK: usize = SWITCH + LIMITS.len();
const SG_IPS: usize = SHRINK + LAMBDAS.len();
const SG_DR: usize = SG_IPS + SUB_GAUSSIAN.len();
const N_COLUMNS: usize = SG_DR + SUB_GAUSSIAN.len();

/// Sums of a log of rounds by unit, in memory bounded by `max_units`. Numbers leave it through
/// [`judge`](Self::judge) alone.
#[derive(Debug, Clone)]
pub struct BanditEvidence {
    groups: Groups,
    max_weight: f64,
    has_model: Option<bool>,
    knows_support: bool,
}

impl BanditEvidence {
    /// Nothing seen yet. The first `max_units` units have sums of their own.
    #[must_use]
    pub fn new(max_units: usize) -> Self {
        Self {
            groups: Groups::new(N_COLUMNS, max_units),
            max_weight: 0.0,
            has_model: None,
            knows_support: true,
        }
    }

    /// Evidence of columns in memory, every round a unit of its own.
    ///
    /// # Errors
    /// As [`push`](Self::push), and if the columns differ in length.
    pub fn of(rounds: &LoggedRounds<'_>, has_model: bool) -> Result<Self, EvalError> {
        rounds.weights()?;
        let mut evidence = Self::new(rounds.reward.len());
        for i in 0..rounds.reward.len() {
            evidence.push(
                None,
                &Round {
                    reward: rounds.reward[i],
                    propensity: rounds.propensity[i],
                    target_probability: rounds.target_probability[i],
                    model: has_model.then(|| (rounds.model_reward[i], rounds.model_value[i])),
                    unsupported: None,
                },
            )?;
        }
        Ok(evidence)
    }

    /// Rounds seen.
    #[must_use]
    pub fn n_rounds(&self) -> u64 {
        self.groups.n_rows()
    }

    /// Adds a round of `unit`; without one the round stands alone.
    ///
    /// # Errors
    /// [`EvalError::Predictions`] names the round and the value that does not fit; the round is not
    /// added.
    pub fn push(&mut self, unit: Option<u64>, round: &Round) -> Result<(), EvalError> {
        self.check(round)?;
        let Round { reward: r, propensity, target_probability, model, unsupported } = *round;
        let w = target_probability / propensity;
        let (q, v) = model.unwrap_or((0.0, 0.0));
        let d = r - q;
        self.has_model = Some(model.is_some());
        self.knows_support &= unsupported.is_some();
        self.max_weight = self.max_weight.max(w);
        let sums = self.groups.row(unit);
        for (column, x) in [(N, 1.0), (W, w), (W2, w * w), (R, r), (WR, w * r), (V, v), (WD, w * d)] {
            sums[column] += x;
        }
        sums[UNSUPPORTED] += unsupported.unwrap_or(0.0);
        for (i, &limit) in LIMITS.iter().enumerate() {
            sums[CLIP + i] += Weighting::Clip(limit).apply(w) * r;
            sums[SWITCH + i] += Weighting::Switch(limit).apply(w) * d;
        }
        for (i, &lambda) in LAMBDAS.iter().enumerate() {
            sums[SHRINK + i] += Weighting::Shrink(lambda).apply(w) * d;
        }
        for (i, &g) in SUB_GAUSSIAN.iter().enumerate() {
            let tamed = Weighting::SubGaussian(g).apply(w);
            sums[SG_IPS + i] += tamed * r;
            sums[SG_DR + i] += tamed * d;
        }
        Ok(())
    }

    fn check(&self, round: &Round) -> Result<(), EvalError> {
        let row = self.groups.n_rows();
        let bad = |what: &str, got: f64, rule| fail(format!("{what} of round {row}"), got.to_string(), rule);
        if !(round.propensity > 0.0 && round.propensity <= 1.0) {
            return bad("propensity", round.propensity, "propensities are above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&round.target_probability) {
            return bad("target probability", round.target_probability, "probabilities lie between 0 and 1");
        }
        if !round.reward.is_finite() {
            return bad("reward", round.reward, "it has to be finite");
        }
        if let Some((q, v)) = round.model
            && !(q.is_finite() && v.is_finite())
        {
            return bad("model value", if q.is_finite() { v } else { q }, "it has to be finite");
        }
        if let Some(u) = round.unsupported
            && !(0.0..=1.0 + 1e-9).contains(&u)
        {
            return bad("unsupported mass", u, "probabilities lie between 0 and 1");
        }
        if self.has_model.is_some_and(|has| has != round.model.is_some()) {
            return fail(
                format!("model value of round {row}"),
                "absent".into(),
                "all rounds have one, or none",
            );
        }
        Ok(())
    }

    /// Mean reward of the logging policy and its standard error: what the log says without any weight.
    ///
    /// # Errors
    /// If there is no round.
    pub fn logged(&self) -> Result<(f64, f64), EvalError> {
        let totals = self.some()?;
        let f = Functional::ratio(R, N);
        Ok((f.value(|c| totals[c]), standard_error(&f.influence(&self.groups, &totals))))
    }

    fn some(&self) -> Result<Vec<f64>, EvalError> {
        if self.groups.len() == 0 {
            return fail("number of rounds".into(), "0".into(), "there is nothing to estimate from");
        }
        Ok(self.groups.totals())
    }

    /// What the gate says of the target policy's mean reward. The headline is SNDR where there is a reward
    /// model, else SNIPS; weights are tamed as SLOPE chooses.
    ///
    /// # Errors
    /// If there is no round, or a setting is out of range.
    pub fn judge(&self, gate: &GateConfig, intervals: &IntervalConfig) -> Result<FamilyJudgement, EvalError> {
        let totals = self.some()?;
        let has_model = self.has_model == Some(true);
        let candidates = self.candidates(&totals, has_model);
        let headline = candidates.iter().position(|c| c.name == if has_model { "sndr" } else { "snips" });
        gate::judge(
            &Family {
                name: "rounds",
                assumption: "the logged propensities are right",
                round: "round",
                groups: &self.groups,
                totals: &totals,
                n_rounds: totals[N],
                weight: [W, W2, N],
                max_weight: self.max_weight,
                unsupported: self.knows_support.then_some((UNSUPPORTED, N)),
                candidates,
                headline: headline.unwrap_or(0),
                logged: Functional::ratio(R, N),
            },
            gate,
            intervals,
        )
    }

    fn candidates(&self, totals: &[f64], has_model: bool) -> Vec<Candidate> {
        let plain = |name, functional| Candidate { name, functional, note: None, must_agree: true };
        let dr = |correction| Functional::ratio(V, N).plus(correction, N);
        let mut out = vec![
            plain("ips", Functional::ratio(WR, N)),
            self.tamed("clipped_ips", "limit", &LIMITS, totals, |i| Functional::ratio(CLIP + i, N)),
            self.tamed("sg_ips", "g", &SUB_GAUSSIAN, totals, |i| Functional::ratio(SG_IPS + i, N)),
            plain("snips", Functional::ratio(WR, W)),
        ];
        if has_model {
            out.extend([
                Candidate {
                    name: "dm",
                    functional: Functional::ratio(V, N),
                    note: Some("the reward model's word; its interval knows nothing of its bias".to_owned()),
                    must_agree: false,
                },
                plain("dr", dr(WD)),
                plain("sndr", Functional::ratio(V, N).plus(WD, W)),
                self.tamed("switch_dr", "threshold", &LIMITS, totals, |i| dr(SWITCH + i)),
                self.tamed("dr_os", "lambda", &LAMBDAS, totals, |i| dr(SHRINK + i)),
                self.tamed("sg_dr", "g", &SUB_GAUSSIAN, totals, |i| dr(SG_DR + i)),
            ]);
        }
        out
    }

    /// The estimator of a grid that SLOPE chooses.
    fn tamed(
        &self,
        name: &'static str,
        setting: &str,
        grid: &[f64],
        totals: &[f64],
        of: impl Fn(usize) -> Functional,
    ) -> Candidate {
        let degrees = self.groups.len().saturating_sub(1).max(1) as f64;
        let t = student_t::upper_quantile(0.05, degrees);
        let found = (0..grid.len())
            .map(|i| {
                let f = of(i);
                (t * standard_error(&f.influence(&self.groups, totals)), i, f.value(|c| totals[c]))
            })
            .collect();
        let (chosen, _) = slope_of(found);
        Candidate {
            name,
            functional: of(chosen),
            note: Some(format!("{setting} {}", grid[chosen])),
            must_agree: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Verdict, direct, doubly_robust, ips, self_normalised_doubly_robust, slope, snips};
    use super::*;

    const OPEN: GateConfig = GateConfig {
        min_effective_sample: 0.0,
        max_mean_weight_z: f64::INFINITY,
        max_mean_weight_error: f64::INFINITY,
        max_weight_share: 1.0,
        max_unsupported_mass: 1.0,
        max_disagreement_z: f64::INFINITY,
        min_effective_units: 0.0,
    };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
    }

    proptest! {
        /// The streamed sums give what the plain estimators give column by column.
        #[test]
        fn streamed_estimates_equal_the_plain_ones(
            rows in prop::collection::vec((0.0_f64..2.0, 0.05_f64..1.0, 0.05_f64..1.0, 0.0_f64..1.0, 0.0_f64..1.0), 3..60),
        ) {
            let column = |f: fn(&(f64, f64, f64, f64, f64)) -> f64| rows.iter().map(f).collect::<Vec<f64>>();
            let (reward, propensity, target) = (column(|r| r.0), column(|r| r.1), column(|r| r.2));
            let (q, v) = (column(|r| r.3), column(|r| r.4));
            let rounds = LoggedRounds {
                reward: &reward, propensity: &propensity, target_probability: &target, model_reward: &q, model_value: &v,
            };
            let judged = BanditEvidence::of(&rounds, true).unwrap().judge(&OPEN, &IntervalConfig::default()).unwrap();
            let estimable = judged.verdict.estimable().unwrap();
            let n = rows.len() as f64;
            let slope_at = |w: &[Weighting]| slope(&rounds, w).unwrap().value;
            let grid = |make: fn(f64) -> Weighting, values: &[f64]| values.iter().map(|&x| make(x)).collect::<Vec<_>>();
            for e in estimable.estimates() {
                let (want, spread) = match e.estimator() {
                    "ips" => { let e = ips(&rounds, Weighting::Plain).unwrap(); (e.value, Some(e.standard_error)) }
                    // The plain one divides by n, the streamed one by n − 1.
                    "snips" => { let e = snips(&rounds).unwrap(); (e.value, Some(e.standard_error * (n / (n - 1.0)).sqrt())) }
                    "dm" => (direct(&rounds).unwrap().value, None),
                    "dr" => { let e = doubly_robust(&rounds, Weighting::Plain).unwrap(); (e.value, Some(e.standard_error)) }
                    "sndr" => { let e = self_normalised_doubly_robust(&rounds).unwrap(); (e.value, Some(e.standard_error)) }
                    "switch_dr" => (slope_at(&grid(Weighting::Switch, &LIMITS)), None),
                    "dr_os" => (slope_at(&grid(Weighting::Shrink, &LAMBDAS)), None),
                    "sg_dr" => (slope_at(&grid(Weighting::SubGaussian, &SUB_GAUSSIAN)), None),
                    "clipped_ips" | "sg_ips" => {
                        let zero = vec![0.0; rows.len()];
                        let bare = LoggedRounds { model_reward: &zero, model_value: &zero, ..rounds };
                        let (make, values): (fn(f64) -> Weighting, &[f64]) = if e.estimator() == "sg_ips" {
                            (Weighting::SubGaussian, &SUB_GAUSSIAN)
                        } else {
                            (Weighting::Clip, &LIMITS)
                        };
                        (slope(&bare, &grid(make, values)).unwrap().value, None)
                    }
                    other => panic!("{other} has no reference here"),
                };
                prop_assert!(close(e.value(), want), "{}: {} {want}", e.estimator(), e.value());
                if let Some(spread) = spread {
                    prop_assert!(close(e.standard_error(), spread), "{}: {} {spread}", e.estimator(), e.standard_error());
                }
            }
            prop_assert!(close(estimable.difference().value(), estimable.headline().value() - reward.iter().sum::<f64>() / n));
        }

        /// A bandit small enough to count every outcome with its probability: IPS and DR are right on average
        /// whatever the reward model says, and shifting the reward shifts SNIPS and SNDR alone.
        #[test]
        fn ips_and_dr_are_unbiased_over_all_outcomes(
            logging in prop::collection::vec(0.1_f64..1.0, 3), target in prop::collection::vec(0.0_f64..1.0, 3),
            win in prop::collection::vec(0.0_f64..1.0, 3), model in prop::collection::vec(0.0_f64..1.0, 3),
        ) {
            let share = |x: &[f64]| { let t: f64 = x.iter().sum(); x.iter().map(|v| v / t).collect::<Vec<f64>>() };
            prop_assume!(target.iter().sum::<f64>() > 0.1);
            let (logging, target) = (share(&logging), share(&target));
            let truth: f64 = target.iter().zip(&win).map(|(p, m)| p * m).sum();
            let v: f64 = target.iter().zip(&model).map(|(p, q)| p * q).sum();
            // Two rounds: nine pairs of actions, four pairs of rewards.
            let (mut mean_ips, mut mean_dr, mut mass) = (0.0, 0.0, 0.0);
            for outcome in 0..36 {
                let (a, r) = ([outcome % 3, outcome / 3 % 3], [outcome / 9 % 2, outcome / 18]);
                let chance: f64 = (0..2).map(|i| logging[a[i]] * if r[i] == 1 { win[a[i]] } else { 1.0 - win[a[i]] }).product();
                let column = |x: &[f64]| a.iter().map(|&a| x[a]).collect::<Vec<f64>>();
                let rounds = LoggedRounds {
                    reward: &[r[0] as f64, r[1] as f64], propensity: &column(&logging),
                    target_probability: &column(&target), model_reward: &column(&model), model_value: &[v, v],
                };
                mean_ips += chance * ips(&rounds, Weighting::Plain).unwrap().value;
                mean_dr += chance * doubly_robust(&rounds, Weighting::Plain).unwrap().value;
                mass += chance;
            }
            prop_assert!(close(mass, 1.0) && close(mean_ips, truth) && close(mean_dr, truth));
        }

        #[test]
        fn self_normalised_estimates_move_with_the_reward(
            rows in prop::collection::vec((0.0_f64..2.0, 0.1_f64..1.0, 0.1_f64..1.0), 2..40), shift in -5.0_f64..5.0, scale in 0.1_f64..3.0,
        ) {
            let of = |shift: f64, scale: f64| {
                let mut evidence = BanditEvidence::new(100);
                for &(r, p, e) in &rows {
                    evidence.push(None, &Round { reward: scale * r + shift, propensity: p, target_probability: e, model: None, unsupported: None }).unwrap();
                }
                let judged = evidence.judge(&OPEN, &IntervalConfig::default()).unwrap();
                let e = judged.verdict.estimable().unwrap().headline().clone();
                (e.value(), e.standard_error())
            };
            let ((value, error), (moved, moved_error)) = (of(0.0, 1.0), of(shift, scale));
            prop_assert!((scale * value + shift - moved).abs() < 1e-9);
            prop_assert!((scale * error - moved_error).abs() < 1e-9);
        }
    }

    fn round(reward: f64, propensity: f64, target_probability: f64) -> Round {
        Round { reward, propensity, target_probability, model: None, unsupported: None }
    }

    fn refused(evidence: &BanditEvidence) -> String {
        let judged = evidence.judge(&GateConfig::default(), &IntervalConfig::default()).unwrap();
        assert!(judged.verdict.estimable().is_none(), "{:?}", judged.verdict);
        let json = serde_json::to_string(&judged.verdict).unwrap();
        assert!(!json.contains("\"value\""), "a refusal has no number: {json}");
        judged.verdict.to_string()
    }

    #[test]
    fn the_gate_says_why_and_how_much_would_do() {
        // One listener with a single round.
        let mut one = BanditEvidence::new(10);
        one.push(None, &round(1.0, 0.5, 0.5)).unwrap();
        assert!(refused(&one).contains("1 rounds are worth 1"), "{}", refused(&one));
        // Weights of 0.5 throughout: half of the target policy is missing.
        let mut half = BanditEvidence::new(10_000);
        (0..1_000).for_each(|i| half.push(None, &round(f64::from(i % 2), 0.5, 0.25)).unwrap());
        assert!(refused(&half).contains("no amount of this log would do"), "{}", refused(&half));
        // No overlap at all.
        let mut none = BanditEvidence::new(10_000);
        (0..1_000).for_each(|_| none.push(None, &round(1.0, 0.5, 0.0)).unwrap());
        assert!(refused(&none).contains("100 %"), "{}", refused(&none));
        // Support that is known to be missing.
        let mut missing = BanditEvidence::new(10_000);
        (0..1_000).for_each(|_| {
            missing.push(None, &Round { unsupported: Some(0.2), ..round(1.0, 0.5, 0.5) }).unwrap()
        });
        assert!(refused(&missing).contains("never does"), "{}", refused(&missing));
        // Right on average, too few: half of the rounds have weight 2.
        let mut few = BanditEvidence::new(10_000);
        (0..60).for_each(|i| few.push(None, &round(f64::from(i % 3), 0.5, f64::from(i % 2))).unwrap());
        let judged = few.judge(&GateConfig::default(), &IntervalConfig::default()).unwrap();
        let Verdict::NotEstimable(refusal) = judged.verdict else { panic!("{:?}", judged.verdict) };
        let super::super::MoreData::Rounds { low, high: Some(high) } = refusal.more_data else {
            panic!("{:?}", refusal.more_data)
        };
        // 30 of 60 are effective; 100 are asked for.
        assert!(low <= 200 && (200..400).contains(&high), "{low} {high}");
        // Nothing earned: no interval of zero width, but a rate that the log is too short for.
        let mut poor = BanditEvidence::new(10_000);
        (0..1_000).for_each(|_| poor.push(None, &round(0.0, 0.5, 0.5)).unwrap());
        assert!(refused(&poor).contains("nothing was earned") && refused(&poor).contains("10000 or more"));
    }

    #[test]
    fn a_log_of_the_target_policy_itself_passes_with_the_plain_mean() {
        let mut evidence = BanditEvidence::new(10_000);
        (0..1_000).for_each(|i| evidence.push(None, &round(f64::from(i % 4), 0.25, 0.25)).unwrap());
        let judged = evidence.judge(&GateConfig::default(), &IntervalConfig::default()).unwrap();
        let e = judged.verdict.estimable().unwrap();
        assert!(close(e.headline().value(), 1.5));
        assert!(e.difference().value().abs() < 1e-12 && e.difference().standard_error() < 1e-12);
        assert!(judged.verdict.to_string().starts_with("estimable: snips 1.5"));
    }

    #[test]
    fn constant_rewards_are_known_without_error() {
        let mut evidence = BanditEvidence::new(10_000);
        (0..1_000).for_each(|i| evidence.push(None, &round(3.0, 0.5, f64::from(1 + i % 2) / 3.0)).unwrap());
        let judged = evidence.judge(&GateConfig::default(), &IntervalConfig::default()).unwrap();
        let [low, high] = judged.verdict.estimable().unwrap().headline().interval();
        assert!(close(low, 3.0) && close(high, 3.0), "{low} {high}");
    }

    #[test]
    fn bad_rounds_are_named_and_not_added() {
        let mut evidence = BanditEvidence::new(10);
        evidence.push(None, &round(1.0, 0.5, 0.5)).unwrap();
        for (bad, word) in [
            (round(1.0, 0.0, 0.5), "propensity of round 1 is 0"),
            (round(1.0, -0.1, 0.5), "propensity of round 1 is -0.1"),
            (round(1.0, f64::NAN, 0.5), "propensity"),
            (round(1.0, 0.5, 1.5), "target probability of round 1"),
            (round(f64::NAN, 0.5, 0.5), "reward of round 1 is NaN"),
            (Round { model: Some((0.0, f64::INFINITY)), ..round(1.0, 0.5, 0.5) }, "model value"),
            (Round { model: Some((0.0, 0.0)), ..round(1.0, 0.5, 0.5) }, "all rounds have one"),
            (Round { unsupported: Some(2.0), ..round(1.0, 0.5, 0.5) }, "unsupported"),
        ] {
            let message = evidence.push(None, &bad).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        assert_eq!(evidence.n_rounds(), 1);
        assert!(BanditEvidence::new(10).judge(&GateConfig::default(), &IntervalConfig::default()).is_err());
        let nonsense = GateConfig { max_weight_share: f64::NAN, ..GateConfig::default() };
        assert!(evidence.judge(&nonsense, &IntervalConfig::default()).is_err());
        let nonsense = IntervalConfig { confidence: 1.0, ..IntervalConfig::default() };
        assert!(evidence.judge(&GateConfig::default(), &nonsense).is_err());
    }

    #[test]
    fn rounds_of_one_listener_count_as_one() {
        let mut apart = BanditEvidence::new(1_000);
        let mut together = BanditEvidence::new(1_000);
        for i in 0..400_u64 {
            // Four equal rounds per listener.
            let r = round(f64::from((i / 4 % 2) as u8), 0.5, 0.5);
            apart.push(None, &r).unwrap();
            together.push(Some(i / 4), &r).unwrap();
        }
        let (a, t) = (apart.logged().unwrap(), together.logged().unwrap());
        assert!(close(a.0, t.0));
        assert!((t.1 / a.1 - 2.0).abs() < 0.02, "{} {}", t.1, a.1);
    }
}
