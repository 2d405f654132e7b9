//! Specifications solved into what serving needs.

use std::collections::{BTreeMap, BTreeSet};

use super::bitmap::Bitmap;
use super::bucket_ranges::bucket_ranges;
use super::{Attributes, ExperimentSpec, HashFormat, HoldoutSpec, Unit, Units};
use crate::ExperimentError;
use crate::hash::{Murmur3, confidence_bucket, eppo_shard, growthbook_hash, planout_uniform};

/// Buckets of a unit: 2²⁰ = 1,048,576.
pub const BUCKETS: u32 = 1 << 20;

/// Salt of the buckets that exclusion groups and holdouts share.
const ROOM_SALT: &str = "segue-room";

/// Every experiment, ready to serve. Solve it again when a specification changes; the same specifications
/// give the same allocation on every machine.
#[derive(Debug, Clone, Default)]
pub struct Allocation {
    experiments: Vec<Experiment>,
}

/// One experiment, ready to serve.
#[derive(Debug, Clone)]
pub struct Experiment {
    spec: ExperimentSpec,
    /// Upper end of each arm in 2²⁰ths (Segue), as a fraction (the others).
    ends: Vec<f64>,
    ranges: Vec<[f64; 2]>,
    salted: Murmur3,
    /// Buckets of its unit the experiment owns; all where absent.
    owned: Option<Bitmap>,
    /// Buckets of listeners that are held out.
    held_out: Option<Bitmap>,
}

impl Allocation {
    /// Places every experiment.
    ///
    /// An experiment with exclusion groups takes `share` of the buckets, in an order of its own (by hash of
    /// its salt and the bucket), from those that no earlier experiment of its groups owns. Held-out listeners
    /// are never exposed; where the unit is the listener their buckets are not counted as room.
    ///
    /// # Errors
    /// [`ExperimentError::Spec`] for fewer than two arms, a weight, ramp or share out of range, a hash setting
    /// of 0, experiments of one exclusion group with different units; [`ExperimentError::Duplicate`];
    /// [`ExperimentError::Unknown`] for a holdout of an experiment that is not there;
    /// [`ExperimentError::NoRoom`].
    pub fn solve(specs: &[ExperimentSpec], holdouts: &[HoldoutSpec]) -> Result<Self, ExperimentError> {
        let mut names = BTreeSet::new();
        for spec in specs {
            check(spec)?;
            if !names.insert(spec.name.as_str()) {
                return Err(ExperimentError::Duplicate { what: "experiment", name: spec.name.clone() });
            }
        }
        let mut holdout_names = BTreeSet::new();
        for holdout in holdouts {
            check_share(&holdout.name, "share of a holdout", holdout.share)?;
            if !holdout_names.insert(holdout.name.as_str()) {
                return Err(ExperimentError::Duplicate { what: "holdout", name: holdout.name.clone() });
            }
            if let Some(name) = holdout.experiments.iter().find(|n| !names.contains(n.as_str())) {
                return Err(ExperimentError::Unknown {
                    what: "experiment",
                    name: name.clone(),
                    known: names.iter().copied().collect::<Vec<_>>().join(", "),
                });
            }
        }
        let holdouts: Vec<(&HoldoutSpec, Bitmap)> = holdouts.iter().map(|h| (h, held_by(h))).collect();
        let mut units: BTreeMap<&str, Unit> = BTreeMap::new();
        let mut taken: BTreeMap<&str, Bitmap> = BTreeMap::new();
        let mut experiments = Vec::with_capacity(specs.len());
        for spec in specs {
            let held_out = held_out(spec, &holdouts);
            let mut owned = None;
            if !spec.exclusion_groups.is_empty() {
                let mut closed = Bitmap::empty();
                if let (Unit::User, Some(held_out)) = (spec.unit, &held_out) {
                    closed.add(held_out);
                }
                for group in &spec.exclusion_groups {
                    if *units.entry(group).or_insert(spec.unit) != spec.unit {
                        return Err(ExperimentError::Spec {
                            experiment: spec.name.clone(),
                            what: "unit",
                            value: spec.unit.name().to_owned(),
                            rule: "experiments of one exclusion group randomise the same unit",
                        });
                    }
                    if let Some(others) = taken.get(group.as_str()) {
                        closed.add(others);
                    }
                }
                let room = place(spec, &closed)?;
                for group in &spec.exclusion_groups {
                    taken.entry(group).or_insert_with(Bitmap::empty).add(&room);
                }
                owned = Some(room);
            }
            experiments.push(Experiment::new(spec.clone(), owned, held_out));
        }
        Ok(Self { experiments })
    }

    /// The experiments, in the order of their specifications.
    #[must_use]
    pub fn experiments(&self) -> &[Experiment] {
        &self.experiments
    }

    /// One experiment by name.
    #[must_use]
    pub fn experiment(&self, name: &str) -> Option<&Experiment> {
        self.experiments.iter().find(|e| e.spec.name == name)
    }

    /// The experiments that a request takes part in, with its arm in each.
    pub fn assign_all<'s>(
        &'s self,
        units: &Units<'_>,
        attributes: &Attributes<'_>,
    ) -> impl Iterator<Item = (&'s Experiment, usize)> {
        self.experiments.iter().filter_map(move |e| e.assign(units, attributes).map(|arm| (e, arm)))
    }
}

impl Experiment {
    fn new(spec: ExperimentSpec, owned: Option<Bitmap>, held_out: Option<Bitmap>) -> Self {
        let total: f64 = spec.arms.iter().map(|a| a.weight).sum();
        let mut end = 0.0;
        let mut ends: Vec<f64> = spec
            .arms
            .iter()
            .map(|a| {
                end += a.weight;
                end / total
            })
            .collect();
        // The last arm with a weight ends at 1 whatever rounding left.
        if let Some(last) = spec.arms.iter().rposition(|a| a.weight > 0.0) {
            ends[last..].fill(1.0);
        }
        let weights: Vec<f64> = spec.arms.iter().map(|a| a.weight / total).collect();
        let ranges = bucket_ranges(weights.len(), spec.ramp, Some(&weights));
        let salt = spec.salt.as_deref().unwrap_or(&spec.name);
        let salted = Murmur3::default().then(salt.as_bytes()).then(b"|");
        Self { ends, ranges, salted, owned, held_out, spec }
    }

    /// Its specification.
    #[must_use]
    pub fn spec(&self) -> &ExperimentSpec {
        &self.spec
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Name of an arm.
    ///
    /// # Panics
    /// If `arm` is not below the number of arms.
    #[must_use]
    pub fn arm_name(&self, arm: usize) -> &str {
        &self.spec.arms[arm].name
    }

    /// The arm of a request; `None` where it is not in the experiment (see the steps in [`super`]), or
    /// lacks the unit that is randomised.
    #[must_use]
    pub fn assign(&self, units: &Units<'_>, attributes: &Attributes<'_>) -> Option<usize> {
        let unit = units.of(self.spec.unit)?;
        if !self.spec.target.matches(attributes) || self.spec.except.iter().any(|t| t.matches(attributes)) {
            return None;
        }
        if let (Some(held_out), Some(user)) = (&self.held_out, units.user)
            && held_out.contains(room_bucket(user))
        {
            return None;
        }
        if let Some(owned) = &self.owned
            && !owned.contains(room_bucket(unit))
        {
            return None;
        }
        self.pick(unit)
    }

    /// Ramp and arm of a unit.
    fn pick(&self, unit: &str) -> Option<usize> {
        let spec = &self.spec;
        let salt = spec.salt.as_deref().unwrap_or(&spec.name);
        let (ramp, arm) = match &spec.hash {
            HashFormat::Segue => {
                let [low, high] = self.salted.then(unit.as_bytes()).finish();
                (fraction(bucket(low)), fraction(bucket(high)))
            }
            HashFormat::Confidence { account, buckets } => {
                let ramp = confidence_bucket(&["MegaSalt-", account, "|", unit], 1_000_000) as f64 / 1e6;
                (ramp, confidence_bucket(&[salt, "|", unit], *buckets) as f64 / *buckets as f64)
            }
            HashFormat::Growthbook { version } => {
                let at = growthbook_hash(salt, unit, *version)?;
                return self.ranges.iter().position(|[low, high]| *low <= at && at < *high);
            }
            HashFormat::Eppo { shards } => {
                let of = |salt_part: &str| {
                    f64::from(eppo_shard(&[salt, salt_part, unit], *shards)) / f64::from(*shards)
                };
                (of("-traffic-"), of("-split-"))
            }
            HashFormat::Planout { parameter } => (
                planout_uniform(&[salt, ".ramp.", unit]),
                // A uniform of exactly 1 belongs to the last arm.
                planout_uniform(&[salt, ".", parameter, ".", unit]).min(1.0 - f64::EPSILON),
            ),
        };
        (ramp < spec.ramp).then(|| self.ends.iter().position(|&end| arm < end)).flatten()
    }
}

/// The bucket that exclusion groups and holdouts look at.
fn room_bucket(unit: &str) -> u32 {
    bucket(Murmur3::default().then(ROOM_SALT.as_bytes()).then(b"|").then(unit.as_bytes()).finish()[0])
}

/// Top 20 bits.
fn bucket(word: u64) -> u32 {
    (word >> (64 - BUCKETS.trailing_zeros())) as u32
}

fn fraction(bucket: u32) -> f64 {
    f64::from(bucket) / f64::from(BUCKETS)
}

/// All buckets in an order that belongs to `salt`: by the upper bits of a hash, ties by bucket.
fn order_of(salt: &str) -> impl Iterator<Item = u32> {
    let salted = Murmur3::default().then(salt.as_bytes());
    let low = u64::from(BUCKETS - 1);
    let mut keyed: Vec<u64> =
        (0..BUCKETS).map(|b| (salted.then(&b.to_le_bytes()).finish()[0] & !low) | u64::from(b)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(move |key| (key & low) as u32)
}

/// Buckets of listeners of one holdout.
fn held_by(holdout: &HoldoutSpec) -> Bitmap {
    let n = (holdout.share * f64::from(BUCKETS)).round() as usize;
    let mut out = Bitmap::empty();
    order_of(&holdout.name).take(n).for_each(|b| out.insert(b));
    out
}

/// Buckets of listeners that all holdouts together keep out of an experiment.
fn held_out(spec: &ExperimentSpec, holdouts: &[(&HoldoutSpec, Bitmap)]) -> Option<Bitmap> {
    let mut out: Option<Bitmap> = None;
    for (holdout, held) in holdouts {
        if holdout.experiments.is_empty() || holdout.experiments.contains(&spec.name) {
            out.get_or_insert_with(Bitmap::empty).add(held);
        }
    }
    out
}

/// `share` of the buckets that are not closed.
fn place(spec: &ExperimentSpec, closed: &Bitmap) -> Result<Bitmap, ExperimentError> {
    let wanted = (spec.share * f64::from(BUCKETS)).round() as u32;
    let free = BUCKETS - closed.len();
    if wanted > free {
        return Err(ExperimentError::NoRoom {
            experiment: spec.name.clone(),
            asked: spec.share,
            left: fraction(free),
        });
    }
    let mut owned = Bitmap::empty();
    let salt = spec.salt.as_deref().unwrap_or(&spec.name);
    order_of(salt).filter(|&b| !closed.contains(b)).take(wanted as usize).for_each(|b| owned.insert(b));
    Ok(owned)
}

fn check_share(experiment: &str, what: &'static str, value: f64) -> Result<(), ExperimentError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(ExperimentError::Spec {
            experiment: experiment.to_owned(),
            what,
            value: value.to_string(),
            rule: "it lies between 0 and 1",
        })
    }
}

fn check(spec: &ExperimentSpec) -> Result<(), ExperimentError> {
    let wrong = |what, value: String, rule| {
        Err(ExperimentError::Spec { experiment: spec.name.clone(), what, value, rule })
    };
    if spec.name.is_empty() {
        return wrong("name", "empty".to_owned(), "an experiment has a name");
    }
    if spec.arms.len() < 2 {
        return wrong("number of arms", spec.arms.len().to_string(), "there are at least two");
    }
    let mut names = BTreeSet::new();
    for arm in &spec.arms {
        if !(arm.weight >= 0.0 && arm.weight.is_finite()) {
            return wrong("weight of an arm", arm.weight.to_string(), "it is at least 0 and finite");
        }
        if !names.insert(arm.name.as_str()) {
            return Err(ExperimentError::Duplicate { what: "arm", name: arm.name.clone() });
        }
    }
    if spec.arms.iter().map(|a| a.weight).sum::<f64>() <= 0.0 {
        return wrong("sum of weights", "0".to_owned(), "at least one arm has a weight above 0");
    }
    check_share(&spec.name, "ramp", spec.ramp)?;
    check_share(&spec.name, "share", spec.share)?;
    if spec.share < 1.0 && spec.exclusion_groups.is_empty() {
        return wrong(
            "share",
            spec.share.to_string(),
            "it sets room aside within exclusion groups and there are none; use `ramp`",
        );
    }
    match &spec.hash {
        HashFormat::Confidence { buckets: 0, .. } => wrong("buckets", "0".to_owned(), "it is at least 1"),
        HashFormat::Eppo { shards: 0 } => wrong("shards", "0".to_owned(), "it is at least 1"),
        HashFormat::Growthbook { version } if !(1..=2).contains(version) => {
            wrong("hash version", version.to_string(), "GrowthBook has versions 1 and 2")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_stats::distribution::chi2;

    use super::*;
    use crate::{ArmSpec, Target};

    fn spec(name: &str, weights: &[f64]) -> ExperimentSpec {
        let arm =
            |(i, &weight): (usize, &f64)| ArmSpec { name: format!("a{i}"), weight, ..ArmSpec::default() };
        ExperimentSpec {
            name: name.to_owned(),
            arms: weights.iter().enumerate().map(arm).collect(),
            ramp: 1.0,
            share: 1.0,
            ..ExperimentSpec::default()
        }
    }

    fn arm_of(experiment: &Experiment, user: &str) -> Option<usize> {
        experiment.assign(&Units::user(user), &Attributes::default())
    }

    fn one(spec: ExperimentSpec) -> Experiment {
        Allocation::solve(&[spec], &[]).unwrap().experiments.remove(0)
    }

    fn formats() -> Vec<HashFormat> {
        vec![
            HashFormat::Segue,
            HashFormat::Confidence { account: "acme".into(), buckets: 1_000 },
            HashFormat::Growthbook { version: 1 },
            HashFormat::Growthbook { version: 2 },
            HashFormat::Eppo { shards: 10_000 },
            HashFormat::Planout { parameter: "arm".into() },
        ]
    }

    /// p-value of observed against expected counts.
    fn fit(counts: &[f64], shares: &[f64]) -> f64 {
        let n: f64 = counts.iter().sum();
        let stat: f64 = counts.iter().zip(shares).map(|(c, s)| (c - n * s).powi(2) / (n * s)).sum();
        chi2::sf(stat, (counts.len() - 1) as f64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_higher_ramp_keeps_everyone_where_they_are(
            low in 0.0..1.0_f64, more in 0.0..1.0_f64, salt in "[a-z]{1,8}", format in 0..6_usize,
        ) {
            let mut s = spec("ramped", &[0.2, 0.5, 0.3]);
            s.salt = Some(salt);
            s.hash = formats()[format].clone();
            s.ramp = low;
            let before = one(s.clone());
            s.ramp = low + (1.0 - low) * more;
            let after = one(s);
            for user in 0..500 {
                let user = format!("u{user}");
                if let Some(arm) = arm_of(&before, &user) {
                    prop_assert_eq!(arm_of(&after, &user), Some(arm));
                }
            }
        }
    }

    proptest! {
        // Each case solves two allocations of a million buckets.
        #![proptest_config(ProptestConfig::with_cases(3))]

        #[test]
        fn two_experiments_of_a_layer_never_share_a_unit(
            shares in proptest::collection::vec(0.05..0.3_f64, 3), held in 0.0..0.1_f64,
        ) {
            let specs: Vec<ExperimentSpec> = shares.iter().enumerate().map(|(i, &share)| ExperimentSpec {
                share,
                // The middle one is in both layers, the outer two in one each.
                exclusion_groups: [&["home"][..], &["home", "queue"], &["queue"]][i]
                    .iter().map(|g| (*g).to_owned()).collect(),
                ..spec(&format!("e{i}"), &[1.0, 1.0])
            }).collect();
            let holdout = HoldoutSpec { name: "2026".into(), share: held, experiments: vec![] };
            let all = Allocation::solve(&specs, std::slice::from_ref(&holdout)).unwrap();
            let mut met = [0_u32; 3];
            for user in 0..4_000 {
                let user = format!("u{user}");
                let inside: Vec<bool> = all.experiments().iter().map(|e| arm_of(e, &user).is_some()).collect();
                prop_assert!(!inside[1] || !(inside[0] || inside[2]));
                for (n, i) in met.iter_mut().zip(&inside) { *n += u32::from(*i); }
            }
            for (n, share) in met.iter().zip(&shares) {
                let sd = (share * (1.0 - share) / 4_000.0).sqrt();
                prop_assert!((f64::from(*n) / 4_000.0 - share).abs() < 5.0 * sd);
            }
            // A new experiment at the end moves nobody.
            let mut more = specs.clone();
            more.push(ExperimentSpec {
                share: 0.05, exclusion_groups: vec!["home".into()], ..spec("new", &[1.0, 1.0])
            });
            let later = Allocation::solve(&more, &[holdout]).unwrap();
            for user in 0..500 {
                let user = format!("u{user}");
                for (a, b) in all.experiments().iter().zip(later.experiments()) {
                    prop_assert_eq!(arm_of(a, &user), arm_of(b, &user));
                }
            }
        }
    }

    #[test]
    fn weights_are_met_in_every_format() {
        let weights = [0.1, 0.6, 0.3];
        for hash in formats() {
            let experiment = one(ExperimentSpec { hash: hash.clone(), ..spec("weights", &weights) });
            let mut counts = [0.0; 3];
            for user in 0..60_000 {
                counts[arm_of(&experiment, &format!("listener-{user}")).unwrap()] += 1.0;
            }
            // FNV is a weak hash of few buckets; the format is what it is.
            let weakest = if matches!(hash, HashFormat::Growthbook { .. }) { 1e-6 } else { 1e-3 };
            assert!(fit(&counts, &weights) > weakest, "{hash:?} {counts:?}");
        }
    }

    #[test]
    fn different_salts_are_independent_and_so_are_ramp_and_arm() {
        let a = one(spec("first", &[1.0, 1.0]));
        let b = one(spec("second", &[1.0, 1.0]));
        let mut ramped = spec("first", &[1.0, 1.0]);
        ramped.ramp = 0.5;
        let ramped = one(ramped);
        let (mut pairs, mut early) = ([0.0; 4], [0.0; 4]);
        for user in 0..60_000 {
            let user = format!("{user}");
            let (x, y) = (arm_of(&a, &user).unwrap(), arm_of(&b, &user).unwrap());
            pairs[2 * x + y] += 1.0;
            early[2 * x + usize::from(arm_of(&ramped, &user).is_some())] += 1.0;
        }
        assert!(fit(&pairs, &[0.25; 4]) > 1e-3, "{pairs:?}");
        assert!(fit(&early, &[0.25; 4]) > 1e-3, "{early:?}");
    }

    #[test]
    fn a_holdout_sees_no_experiment_and_a_stranger_has_no_arm() {
        let holdout = HoldoutSpec { name: "all".into(), share: 0.2, experiments: vec!["held".into()] };
        let mut session = spec("held", &[1.0, 1.0]);
        session.unit = Unit::Session;
        let all = Allocation::solve(&[session, spec("free", &[1.0, 1.0])], &[holdout]).unwrap();
        let mut out = 0;
        for user in 0..2_000 {
            let (user, session) = (format!("u{user}"), format!("s{user}"));
            let units = Units { user: Some(&user), session: Some(&session), request: None };
            let arms: Vec<_> =
                all.assign_all(&units, &Attributes::default()).map(|(e, _)| e.name()).collect();
            assert!(arms.contains(&"free"));
            out += u32::from(!arms.contains(&"held"));
        }
        assert!((340..=460).contains(&out), "{out}");
        assert_eq!(all.assign_all(&Units::default(), &Attributes::default()).count(), 0);
    }

    #[test]
    fn targets_and_exceptions_decide_who_is_eligible() {
        let mut s = spec("targeted", &[1.0, 1.0]);
        s.target = Target { market: vec!["SE".into(), "NO".into()], ..Target::default() };
        s.except = vec![Target { plan: vec!["free".into()], ..Target::default() }];
        let e = one(s);
        let at = |market, plan| {
            let attributes = Attributes { market: Some(market), plan, ..Attributes::default() };
            e.assign(&Units::user("ada"), &attributes).is_some()
        };
        assert!(at("SE", None) && at("NO", Some("premium")));
        assert!(!at("DE", None) && !at("SE", Some("free")));
    }

    #[test]
    fn specifications_that_break_a_rule_are_named() {
        let bad = |change: fn(&mut ExperimentSpec)| {
            let mut s = spec("bad", &[1.0, 1.0]);
            change(&mut s);
            Allocation::solve(&[s], &[]).unwrap_err()
        };
        assert!(bad(|s| s.arms.truncate(1)).to_string().contains("number of arms is 1"));
        assert!(bad(|s| s.arms[0].weight = -1.0).to_string().contains("weight of an arm is -1"));
        assert!(bad(|s| s.arms[0].weight = f64::NAN).to_string().contains("weight"));
        assert!(
            bad(|s| s.arms.iter_mut().for_each(|a| a.weight = 0.0)).to_string().contains("sum of weights")
        );
        assert!(bad(|s| s.ramp = 1.5).to_string().contains("ramp is 1.5"));
        assert!(bad(|s| s.share = 0.5).to_string().contains("use `ramp`"));
        assert!(matches!(bad(|s| s.arms[1].name = "a0".into()), ExperimentError::Duplicate { .. }));
        let pair = [spec("same", &[1.0, 1.0]), spec("same", &[1.0, 1.0])];
        assert!(matches!(Allocation::solve(&pair, &[]), Err(ExperimentError::Duplicate { .. })));
        let mut full = [spec("x", &[1.0, 1.0]), spec("y", &[1.0, 1.0])];
        full.iter_mut().for_each(|s| s.exclusion_groups = vec!["home".into()]);
        assert!(matches!(Allocation::solve(&full, &[]), Err(ExperimentError::NoRoom { .. })));
        full.iter_mut().for_each(|s| s.share = 0.4);
        full[1].unit = Unit::Request;
        assert!(Allocation::solve(&full, &[]).unwrap_err().to_string().contains("the same unit"));
    }

    #[test]
    fn an_experiment_reads_from_toml() {
        let s: ExperimentSpec = toml::from_str(
            r#"
            name = "quieter-home"
            ramp = 0.1
            exclusion_groups = ["home"]
            share = 0.5
            arms = [
                { name = "control" },
                { name = "quiet", weight = 2, config = { home = { temperature = 0.2 } } },
            ]
            hash = { kind = "confidence", account = "acme" }
            [target]
            market = ["SE"]
            surface = ["home"]
            app_version = ">=8.9, <9"
            "#,
        )
        .unwrap();
        assert_eq!((s.arms[0].weight, s.arms[1].weight, s.unit), (1.0, 2.0, Unit::User));
        assert_eq!(s.arms[1].config["home"]["temperature"], 0.2);
        assert_eq!(toml::from_str::<ExperimentSpec>(&toml::to_string(&s).unwrap()).unwrap(), s);
        Allocation::solve(&[s], &[]).unwrap();
    }
}
