//! The gate: no estimate leaves without having passed it.
//!
//! A log of another policy gives a number for any target policy, and most of these numbers are worth
//! nothing. The evidence types ([`BanditEvidence`](super::BanditEvidence),
//! [`SlateEvidence`](super::SlateEvidence)) keep their sums to themselves; the way out is a
//! [`FamilyJudgement`], whose [`Verdict`] owns the numbers: an [`Estimable`] can be made here only, after every
//! check has passed, and a [`Refusal`] has no number to print.

use std::fmt;

use segue_stats::summary::sum;
use serde::{Deserialize, Serialize};

use super::groups::{Functional, Groups, standard_error};
use super::interval::{IntervalKind, interval};
use crate::EvalError;

/// What an estimate has to pass. The defaults were set with `benches/ope_calibration`, which measures
/// how often a bad estimate passes and a good one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Least effective sample size `(Σw)² / Σw²`, in rounds or slates.
    pub min_effective_sample: f64,
    /// The mean weight is 1 in expectation; it may lie at most this many of its standard errors from it.
    pub max_mean_weight_z: f64,
    /// Largest standard error of the mean weight: above it the check before says nothing.
    pub max_mean_weight_error: f64,
    /// Largest share of all weight that one weight may have.
    pub max_weight_share: f64,
    /// Largest probability that the target policy does what the logging policy never does.
    pub max_unsupported_mass: f64,
    /// Estimators that are right for the same reasons may differ by at most this many standard errors
    /// of their difference.
    pub max_disagreement_z: f64,
    /// Least effective number of units that make the standard error, `(Σd²)² / Σd⁴` over the influences
    /// `d`: with fewer the interval is a guess, as with a handful of clicks.
    pub min_effective_units: f64,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            min_effective_sample: 100.0,
            max_mean_weight_z: 3.0,
            max_mean_weight_error: 0.1,
            max_weight_share: 0.05,
            max_unsupported_mass: 0.01,
            max_disagreement_z: 3.0,
            min_effective_units: 30.0,
        }
    }
}

impl GateConfig {
    /// Refuses thresholds that mean nothing.
    ///
    /// # Errors
    /// [`EvalError::Protocol`] names the first setting that is negative or not a number.
    pub fn check(&self) -> Result<(), EvalError> {
        for (setting, value) in [
            ("gate.min_effective_sample", self.min_effective_sample),
            ("gate.max_mean_weight_z", self.max_mean_weight_z),
            ("gate.max_mean_weight_error", self.max_mean_weight_error),
            ("gate.max_weight_share", self.max_weight_share),
            ("gate.max_unsupported_mass", self.max_unsupported_mass),
            ("gate.max_disagreement_z", self.max_disagreement_z),
            ("gate.min_effective_units", self.min_effective_units),
        ] {
            if value.is_nan() || value < 0.0 {
                return Err(EvalError::Protocol {
                    setting,
                    value: value.to_string(),
                    rule: "thresholds are numbers from 0 up".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntervalConfig {
    /// Which interval.
    pub kind: IntervalKind,
    /// Coverage asked for, in `(0, 1)`.
    pub confidence: f64,
    /// Resamples of the bootstrap.
    pub draws: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl Default for IntervalConfig {
    fn default() -> Self {
        Self { kind: IntervalKind::Student, confidence: 0.95, draws: 1_000, seed: 0 }
    }
}

impl IntervalConfig {
    /// Refuses settings outside their range.
    ///
    /// # Errors
    /// [`EvalError::Protocol`] names the setting.
    pub fn check(&self) -> Result<(), EvalError> {
        let bad = |setting, value: String, rule: &str| {
            Err(EvalError::Protocol { setting, value, rule: rule.to_owned() })
        };
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return bad("interval.confidence", self.confidence.to_string(), "it lies above 0 and below 1");
        }
        if self.draws == 0 {
            return bad("interval.draws", "0".to_owned(), "the bootstrap needs at least one draw");
        }
        Ok(())
    }
}

/// What the weights look like: says how far the log reaches, and nothing of rewards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightDiagnostics {
    /// Rounds, or slates.
    pub n_rounds: u64,
    /// Independent units (listeners), after sharing groups in a long log.
    pub n_units: usize,
    /// Mean weight; 1 in expectation.
    pub mean_weight: f64,
    /// Its standard error, by unit.
    pub mean_weight_error: f64,
    /// Largest weight.
    pub max_weight: f64,
    /// Share of all weight that the largest has.
    pub max_weight_share: f64,
    /// `(Σw)² / Σw²`, in rounds or slates.
    pub effective_sample_size: f64,
    /// Probability that the target policy does what the logging policy never does; `null` where
    /// the log cannot tell.
    pub unsupported_mass: Option<f64>,
}

/// One rule of the gate and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Name of the threshold in [`GateConfig`].
    pub rule: &'static str,
    /// What was measured.
    pub value: f64,
    /// The threshold.
    pub limit: f64,
    /// Whether it was passed.
    pub passed: bool,
    /// In words, for a rule that was not passed.
    pub why: Option<String>,
}

/// How much of the same log would pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum MoreData {
    /// About this many rounds (slates) in all. The low end takes the weights for bounded by what was
    /// seen, the high end lets their tail go on; `high` is absent where the log gives no hold for it.
    Rounds {
        /// At least.
        low: u64,
        /// At most.
        high: Option<u64>,
    },
    /// No amount would.
    NoneWould {
        /// What is missing.
        why: String,
    },
}

impl fmt::Display for MoreData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds { low, high: Some(high) } => write!(f, "about {low} to {high} would do"),
            Self::Rounds { low, high: None } => write!(f, "{low} or more would do, by how much is not known"),
            Self::NoneWould { why } => write!(f, "no amount of this log would do: {why}"),
        }
    }
}

/// An estimate that passed. Numbers are read through methods; only the gate makes one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GatedEstimate {
    estimator: &'static str,
    value: f64,
    standard_error: f64,
    interval: [f64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl GatedEstimate {
    /// Name of the estimator.
    #[must_use]
    pub fn estimator(&self) -> &'static str {
        self.estimator
    }

    /// Mean reward per round (slate) of the target policy.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Linearised standard error over units.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        self.standard_error
    }

    /// The interval asked for.
    #[must_use]
    pub fn interval(&self) -> [f64; 2] {
        self.interval
    }

    /// A setting that was chosen, or a caveat.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Estimates that passed every check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimable {
    /// The estimate to read first.
    headline: GatedEstimate,
    /// Target minus logging policy, paired by unit.
    difference: GatedEstimate,
    /// All estimators.
    estimates: Vec<GatedEstimate>,
}

impl Estimable {
    /// The estimate to read first.
    #[must_use]
    pub fn headline(&self) -> &GatedEstimate {
        &self.headline
    }

    /// Target minus logging policy, with the noise they share taken out.
    #[must_use]
    pub fn difference(&self) -> &GatedEstimate {
        &self.difference
    }

    /// All estimators of the family.
    #[must_use]
    pub fn estimates(&self) -> &[GatedEstimate] {
        &self.estimates
    }
}

/// Why there is no estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// Each rule that was not passed, in words.
    pub reasons: Vec<String>,
    /// What would help.
    pub more_data: MoreData,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check passed.
    Estimable(Estimable),
    /// Some did not: there is no number.
    NotEstimable(Refusal),
}

impl Verdict {
    /// The estimates, if the gate let them pass.
    #[must_use]
    pub fn estimable(&self) -> Option<&Estimable> {
        match self {
            Self::Estimable(e) => Some(e),
            Self::NotEstimable(_) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Estimable(e) => {
                let [low, high] = e.headline.interval;
                write!(f, "estimable: {} {:.6} [{low:.6}, {high:.6}]", e.headline.estimator, e.headline.value)
            }
            Self::NotEstimable(r) => write!(f, "not estimable: {}; {}", r.reasons.join("; "), r.more_data),
        }
    }
}

/// Estimators that are right under the same assumption, judged together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FamilyJudgement {
    /// Name, such as `rounds` or `prefix`.
    pub family: &'static str,
    /// What has to hold besides right propensities.
    pub assumption: &'static str,
    /// The weights.
    pub weights: WeightDiagnostics,
    /// Each rule and what was found.
    pub checks: Vec<Check>,
    /// The verdict, with the numbers if there are any.
    pub verdict: Verdict,
}

/// One estimator of a family before the gate.
pub(super) struct Candidate {
    pub(super) name: &'static str,
    pub(super) functional: Functional,
    pub(super) note: Option<String>,
    /// Whether it has to agree with the headline.
    pub(super) must_agree: bool,
}

/// What a family puts before the gate. Columns are those of `groups`.
pub(super) struct Family<'a> {
    pub(super) name: &'static str,
    pub(super) assumption: &'static str,
    /// `round` or `slate`.
    pub(super) round: &'static str,
    pub(super) groups: &'a Groups,
    pub(super) totals: &'a [f64],
    pub(super) n_rounds: f64,
    /// Columns of weights, their squares and their number.
    pub(super) weight: [usize; 3],
    pub(super) max_weight: f64,
    /// Columns of the unsupported mass and of rounds, where the log can tell.
    pub(super) unsupported: Option<(usize, usize)>,
    pub(super) candidates: Vec<Candidate>,
    /// Index of the estimate to read first.
    pub(super) headline: usize,
    /// The logging policy's own mean.
    pub(super) logged: Functional,
}

/// What a failed rule would need.
enum Needs {
    /// Rounds in all, low and high.
    Rounds(f64, f64),
    /// Nothing the log could give.
    Never(String),
}

struct Found {
    check: Check,
    needs: Option<Needs>,
}

pub(super) fn judge(
    family: &Family<'_>,
    gate: &GateConfig,
    intervals: &IntervalConfig,
) -> Result<FamilyJudgement, EvalError> {
    gate.check()?;
    intervals.check()?;
    let weights = diagnose(family);
    let influences: Vec<Vec<f64>> =
        family.candidates.iter().map(|c| c.functional.influence(family.groups, family.totals)).collect();
    let mut found = weight_rules(family, &weights, gate);
    if weights.mean_weight > 0.0 {
        found.push(agreement(family, &influences, gate));
        found.push(effective_units(family, &influences[family.headline], &weights, gate));
    }
    let failed: Vec<&Found> = found.iter().filter(|f| !f.check.passed).collect();
    let verdict = if failed.is_empty() {
        Verdict::Estimable(estimable(family, &influences, intervals)?)
    } else {
        Verdict::NotEstimable(refusal(&failed))
    };
    Ok(FamilyJudgement {
        family: family.name,
        assumption: family.assumption,
        weights,
        checks: found.into_iter().map(|f| f.check).collect(),
        verdict,
    })
}

fn diagnose(family: &Family<'_>) -> WeightDiagnostics {
    let total = |c: usize| family.totals[c];
    let [w, squares, n] = family.weight;
    let mean = Functional::ratio(w, n);
    let spread = standard_error(&mean.influence(family.groups, family.totals));
    // Rows of a slate share its fate: their effective number counts as slates.
    let per_round = family.n_rounds / total(n);
    let any = total(w) > 0.0;
    WeightDiagnostics {
        n_rounds: family.n_rounds as u64,
        n_units: family.groups.len(),
        mean_weight: mean.value(total),
        mean_weight_error: spread,
        max_weight: family.max_weight,
        max_weight_share: if any { family.max_weight / total(w) } else { 0.0 },
        effective_sample_size: if any { total(w).powi(2) / total(squares) * per_round } else { 0.0 },
        unsupported_mass: family.unsupported.map(|(u, n)| total(u) / total(n)),
    }
}

fn weight_rules(family: &Family<'_>, d: &WeightDiagnostics, gate: &GateConfig) -> Vec<Found> {
    let n = family.n_rounds;
    let round = family.round;
    let mut found = Vec::new();
    let mut rule = |rule: &'static str, value: f64, limit: f64, passed: bool, why: String, needs: Needs| {
        let (why, needs) = if passed { (None, None) } else { (Some(why), Some(needs)) };
        found.push(Found { check: Check { rule, value, limit, passed, why }, needs });
    };
    if let Some(mass) = d.unsupported_mass {
        let why = format!(
            "with probability {mass:.3} the target policy does what the logging policy never does (at most {})",
            gate.max_unsupported_mass
        );
        let never = Needs::Never("what the target policy does has to have a chance in the log".to_owned());
        rule(
            "max_unsupported_mass",
            mass,
            gate.max_unsupported_mass,
            mass <= gate.max_unsupported_mass,
            why,
            never,
        );
    }
    let off = (d.mean_weight - 1.0).abs();
    let error = d.mean_weight_error;
    let z = if off <= 1e-9 { 0.0 } else { off / error };
    let full_support = d.unsupported_mass == Some(0.0);
    let needs = if d.mean_weight < 1.0 && full_support {
        // Nothing is missing, so the weight that lacks sits in a tail not yet met.
        Needs::Rounds(2.0 * n, f64::INFINITY)
    } else if d.mean_weight < 1.0 {
        Needs::Never(format!(
            "{:.0} % of what the target policy does is not in it, or its propensities are too high",
            100.0 * (1.0 - d.mean_weight)
        ))
    } else {
        Needs::Never("its propensities are not those of the policy that chose".to_owned())
    };
    let why = format!("the weights average {:.3} ± {error:.3}, and not 1", d.mean_weight);
    rule("max_mean_weight_z", z, gate.max_mean_weight_z, z <= gate.max_mean_weight_z, why, needs);
    if d.mean_weight == 0.0 {
        return found;
    }
    // m = E[w²] / E[w]² decides both the effective sample (n / m) and the error of the mean weight.
    let [w, squares, count] = family.weight;
    let moment =
        Functional(vec![super::groups::Ratio { a: squares, b: w, share: Some((count, w)), sign: 1.0 }]);
    let m = moment.value(|c| family.totals[c]).max(1.0);
    let m_error = standard_error(&moment.influence(family.groups, family.totals));
    let (low_m, high_m) = ((m - 2.0 * m_error).max(1.0), m + 2.0 * m_error);
    let scaled = |factor: f64| Needs::Rounds(n * factor * low_m / m, n * factor * high_m / m);
    let limit = gate.max_mean_weight_error;
    let factor = (error / limit).powi(2);
    let why = format!("the mean weight is known to ± {error:.3} only (at most {limit})");
    rule("max_mean_weight_error", error, limit, error <= limit, why, scaled(factor));
    let (ess, least) = (d.effective_sample_size, gate.min_effective_sample);
    let why = format!("{n:.0} {round}s are worth {ess:.0} of the target policy's own (at least {least:.0})");
    rule("min_effective_sample", ess, least, ess >= least, why, scaled(least / ess));
    let (share, most) = (d.max_weight_share, gate.max_weight_share);
    let why = format!("one {round} has {:.1} % of all weight (at most {:.1} %)", 100.0 * share, 100.0 * most);
    rule("max_weight_share", share, most, share <= most, why, tail(n, share / most));
    found
}

/// A quantity that the tail rules: with bounded weights it falls as `1/n`, with a tail that barely has a
/// variance as `1/√n`.
fn tail(n: f64, factor: f64) -> Needs {
    Needs::Rounds(n * factor, n * factor * factor)
}

fn agreement(family: &Family<'_>, influences: &[Vec<f64>], gate: &GateConfig) -> Found {
    let value = |i: usize| family.candidates[i].functional.value(|c| family.totals[c]);
    let headline = family.headline;
    let (mut worst, mut name) = (0.0, "");
    for (i, candidate) in family.candidates.iter().enumerate() {
        if i == headline || !candidate.must_agree {
            continue;
        }
        let gap = (value(i) - value(headline)).abs();
        let difference: Vec<f64> =
            influences[i].iter().zip(&influences[headline]).map(|(a, b)| a - b).collect();
        // Sums in other orders differ in the last digits.
        let z = if gap <= 1e-9 * value(headline).abs().max(1e-300) {
            0.0
        } else {
            gap / standard_error(&difference)
        };
        if z.is_nan() || z > worst {
            (worst, name) = (z, candidate.name);
        }
    }
    let passed = worst <= gate.max_disagreement_z;
    let why = format!(
        "`{name}` and `{}` differ by {worst:.1} standard errors of their difference (at most {})",
        family.candidates[headline].name, gate.max_disagreement_z
    );
    Found {
        check: Check {
            rule: "max_disagreement_z",
            value: worst,
            limit: gate.max_disagreement_z,
            passed,
            why: (!passed).then_some(why),
        },
        needs: (!passed).then(|| {
            Needs::Never("estimators that agree where the propensities are right do not agree".to_owned())
        }),
    }
}

fn effective_units(
    family: &Family<'_>,
    influence: &[f64],
    d: &WeightDiagnostics,
    gate: &GateConfig,
) -> Found {
    let squares = sum(&influence.iter().map(|d| d * d).collect::<Vec<_>>());
    let fourths = sum(&influence.iter().map(|d| d.powi(4)).collect::<Vec<_>>());
    let n_units = d.n_units as f64;
    let total = |f: &Functional| f.value(|c| family.totals[c]);
    let nothing =
        total(&family.logged) == 0.0 && total(&family.candidates[family.headline].functional) == 0.0;
    // A constant reward has no spread that could be badly known; no reward at all says only that it is rare.
    let value = match fourths > 0.0 {
        true => squares * squares / fourths,
        false if nothing => 0.0,
        false => n_units,
    };
    let least = gate.min_effective_units;
    let passed = value >= least;
    let why = if nothing {
        "nothing was earned in the whole log".to_owned()
    } else {
        format!(
            "{value:.0} units make the whole standard error (at least {least:.0}): rewards are too rare, or a few weights too large"
        )
    };
    // Of n rounds without a reward fewer than 3 were due (the rule of three).
    let needs = match nothing {
        true => Needs::Rounds(family.n_rounds * least / 3.0, f64::INFINITY),
        false => tail(family.n_rounds, least / value),
    };
    Found {
        check: Check {
            rule: "min_effective_units",
            value,
            limit: least,
            passed,
            why: (!passed).then_some(why),
        },
        needs: (!passed).then_some(needs),
    }
}

fn refusal(failed: &[&Found]) -> Refusal {
    let reasons = failed.iter().filter_map(|f| f.check.why.clone()).collect();
    let (mut low, mut high) = (0.0_f64, 0.0_f64);
    let mut never = None;
    for needs in failed.iter().filter_map(|f| f.needs.as_ref()) {
        match needs {
            Needs::Rounds(l, h) => (low, high) = (low.max(*l), high.max(*h)),
            Needs::Never(why) => never = never.or(Some(why.clone())),
        }
    }
    let rounded = |x: f64| x.ceil() as u64;
    let more_data = match never {
        Some(why) => MoreData::NoneWould { why },
        None => {
            MoreData::Rounds { low: rounded(low), high: high.is_finite().then(|| rounded(high.max(low))) }
        }
    };
    Refusal { reasons, more_data }
}

fn estimable(
    family: &Family<'_>,
    influences: &[Vec<f64>],
    config: &IntervalConfig,
) -> Result<Estimable, EvalError> {
    let total = |c: usize| family.totals[c];
    let make = |estimator,
                functional: &Functional,
                influence: &[f64],
                note|
     -> Result<GatedEstimate, EvalError> {
        let value = functional.value(total);
        let (draws, confidence) = ((config.draws, config.seed), config.confidence);
        Ok(GatedEstimate {
            estimator,
            value,
            standard_error: standard_error(influence),
            interval: interval(config.kind, confidence, draws, functional, family.groups, value, influence)?,
            note,
        })
    };
    let mut estimates = Vec::new();
    for (candidate, influence) in family.candidates.iter().zip(influences) {
        estimates.push(make(candidate.name, &candidate.functional, influence, candidate.note.clone())?);
    }
    let headline = estimates[family.headline].clone();
    // `a − b` as one functional: the logged mean enters with its sign turned.
    let minus = family.candidates[family.headline].functional.clone().minus(&family.logged);
    let influence = minus.influence(family.groups, family.totals);
    let difference = make("difference", &minus, &influence, None)?;
    Ok(Estimable { headline, difference, estimates })
}
