//! The statistics of `segue-stats` and the formats of `segue-experiment`, one line per method.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use segue_experiment::assignment::bucket_ranges;
use segue_experiment::hash::{confidence_bucket, eppo_shard, growthbook_hash, planout_hash, planout_uniform};
use segue_stats::StatsError;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::asymptotic_cs::{Side, asymptotic_cs, asymptotic_cs_one_sided, sequential_two_sample};
use segue_stats::bayesian_effect::{NormalPrior, bayesian_normal_effect};
use segue_stats::calibrated_rerank::calibrated_rerank;
use segue_stats::cuped::{CovariateSums, cuped};
use segue_stats::exposure_distribution::{exposure_distribution, group_shares};
use segue_stats::gaussian_best_arm::{allocation, probability_best};
use segue_stats::group_sequential::{Spending, group_sequential_bounds, sequential_adjusted_alpha};
use segue_stats::impatient_bandit::{NoiseEstimator, Trace, TracePrior, progressive_posterior};
use segue_stats::interleaving::{Team, credit, interleaving_preference, team_draft};
use segue_stats::linear_bandit::LinearBandit;
use segue_stats::mean_lower_bounds::mean_lower_bounds;
use segue_stats::msprt::{msprt_normal, msprt_path};
use segue_stats::multi_metric_decision::{DecisionMetric, Sharing, multi_metric_decision};
use segue_stats::multiple_testing::{Correction, adjust};
use segue_stats::quantile_index_ci::quantile_index_ci;
use segue_stats::quantile_metric::{ClusterSums, QuantileSums, quantile_metric};
use segue_stats::ratio_metric::{RatioSums, ratio_metric};
use segue_stats::relative_lift::relative_lift;
use segue_stats::sample_size::{Target, achieved_power, required_sample_size};
use segue_stats::segment_heterogeneity::segment_heterogeneity;
use segue_stats::simultaneous_ci::one_sided_simultaneous_ci;
use segue_stats::srm::{sequential_srm, srm_chi2};
use segue_stats::surrogate_index::surrogate_index;
use segue_stats::two_proportion_chi2::two_proportion_chi2;
use segue_stats::two_sample_z::{DifferenceTest, two_sample_z};
use segue_stats::welch_t::welch_t;
use serde_json::{Value, json};

use super::Method;
use super::input::{
    arm, array, counts, direction, each, f, floats, int, is_relative, matrix, number, s, sides, u,
};

/// File name without ending → how to run one case.
pub(super) const METHODS: &[(&str, Method)] = &[
    ("achieved_power", |i, _| {
        let power =
            achieved_power(f(i, "mde")?, f(i, "variance")?, f(i, "alpha")?, f(i, "n1")?, f(i, "n2")?)?;
        Ok(json!({ "power": power }))
    }),
    ("asymptotic_confidence_sequence", |i, _| {
        let c = asymptotic_cs(f(i, "estimate")?, f(i, "se")?, f(i, "n")?, f(i, "alpha")?, f(i, "n_tune")?)?;
        Ok(json!({
            "rho": c.rho, "halfwidth": c.half_width, "ci_lower": c.interval[0], "ci_upper": c.interval[1],
            "log_e_value": c.log_e_value, "p_value": c.p_value, "width_ratio_to_fixed": c.width_ratio_to_fixed,
        }))
    }),
    ("asymptotic_confidence_sequence_one_sided", |i, _| {
        let side = if s(i, "side")? == "greater" { Side::Greater } else { Side::Lesser };
        let (estimate, se, n) = (f(i, "estimate")?, f(i, "se")?, f(i, "n")?);
        let c = asymptotic_cs_one_sided(estimate, se, n, f(i, "alpha")?, f(i, "n_tune")?, side)?;
        Ok(json!({
            "rho": c.rho, "halfwidth": c.half_width,
            "ci_lower": number(c.interval[0]), "ci_upper": number(c.interval[1]),
        }))
    }),
    ("bayesian_normal_effect", |i, _| {
        let (c, t) = ArmSums::pair(&arm(&i["control"])?, &arm(&i["treatment"])?)?;
        let prior = NormalPrior { mean: f(&i["prior"], "mean")?, variance: f(&i["prior"], "variance")? };
        let inverse = i["inverse"] == json!(true);
        let p = bayesian_normal_effect(&c, &t, is_relative(i)?, prior, f(i, "alpha")?, inverse)?;
        Ok(json!({
            "posterior_mean": p.mean, "posterior_sd": p.sd, "chance_to_win": p.chance_to_win,
            "ci_lower": p.interval[0], "ci_upper": p.interval[1],
            "risk": [p.risk_control, p.risk_treatment],
        }))
    }),
    ("bootstrap_quantile_index_ci", |i, _| {
        let [lower, upper] = quantile_index_ci(u(i, "n")?, f(i, "nu")?, f(i, "alpha")?)?;
        let values = if i["y"].is_null() { Vec::new() } else { floats(&i["y"])? };
        let at = |k: u64| values.get(k as usize - 1).copied().unwrap_or(k as f64);
        Ok(json!({ "lower_index": lower, "upper_index": upper, "lower": at(lower), "upper": at(upper) }))
    }),
    ("bucket_ranges", |i, _| {
        let weights = if i["weights"].is_null() { None } else { Some(floats(&i["weights"])?) };
        let ranges = bucket_ranges(u(i, "variations")? as usize, f(i, "coverage")?, weights.as_deref());
        Ok(json!({ "ranges": ranges }))
    }),
    ("calibrated_rerank", |i, _| {
        let items = array(&i["items"])?;
        let scores: Vec<f64> = each(items, |x| f(x, "score"))?;
        let genres: Vec<Vec<f64>> = each(items, |x| floats(&x["genres"]))?;
        let (k, lambda, smoothing) = (u(i, "k")? as usize, f(i, "lambda")?, f(i, "alpha_smooth")?);
        let c = calibrated_rerank(&floats(&i["p"])?, &scores, &genres, k, lambda, smoothing)?;
        Ok(json!({
            "order": c.order, "objective_path": c.objective, "q": c.genres, "kl": c.kl, "hellinger": c.hellinger,
        }))
    }),
    ("cuped", |i, _| {
        let sums = |v: &Value| {
            anyhow::Ok(CovariateSums {
                n: u(v, "n")?,
                y: f(v, "y_sum")?,
                y_sq: f(v, "y_sum_sq")?,
                x: f(v, "x_sum")?,
                x_sq: f(v, "x_sum_sq")?,
                xy: f(v, "xy_sum")?,
            })
        };
        let c = cuped(&sums(&i["control"])?, &sums(&i["treatment"])?, f(i, "alpha")?)?;
        Ok(json!({
            "theta": c.theta,
            "adjusted_mean_control_uncentred": c.control_mean,
            "adjusted_mean_treatment_uncentred": c.treatment_mean,
            "diff": c.difference, "se": c.standard_error,
            "unadjusted_diff": c.unadjusted_difference, "unadjusted_se": c.unadjusted_standard_error,
            "variance_reduction": c.variance_reduction, "dof": c.dof, "p_value": c.p_value,
            "ci_lower": c.interval[0], "ci_upper": c.interval[1],
            "relative": { "lift": c.lift, "se": c.lift_standard_error },
        }))
    }),
    ("exposure_distribution", |i, _| {
        let exposure = floats(&i["exposure"])?;
        let names = array(&i["group"])?;
        let groups: Vec<&str> = each(names, |g| g.as_str().context("a group is text"))?;
        let d = exposure_distribution(&exposure)?;
        let shares: BTreeMap<String, f64> = group_shares(&exposure, &groups)?.into_iter().collect();
        Ok(json!({
            "gini": d.gini, "entropy": d.entropy, "effective_number": d.effective_number,
            "coverage": d.coverage, "top1_share": d.top_share, "group_share": shares,
        }))
    }),
    ("gaussian_best_arm", |i, _| {
        let p = probability_best(&floats(&i["mean"])?, &floats(&i["sd"])?)?;
        Ok(json!({ "allocation": allocation(&p, f(i, "floor")?)?, "p_best": p }))
    }),
    ("group_sequential_bounds", |i, _| {
        let spending = match s(i, "spending")? {
            "obf" => Spending::ObrienFleming,
            "pocock" => Spending::Pocock,
            "power" => Spending::Power(f(i, "rho")?),
            "hsd" => Spending::HwangShihDeCani(f(i, "gamma")?),
            other => bail!("spending `{other}` is not known"),
        };
        let times = floats(&i["information_times"])?;
        let b = group_sequential_bounds(&times, f(i, "alpha")?, sides(i)?, spending)?;
        Ok(json!({ "z_bounds": b.z, "cumulative_alpha_one_side": b.spent_one_side }))
    }),
    ("hash_confidence", |i, _| {
        let buckets = u(i, "buckets")?;
        anyhow::ensure!(buckets > 0, "`buckets` is 0; there is at least one");
        Ok(json!({ "bucket": confidence_bucket(&[s(i, "key")?], buckets) }))
    }),
    ("hash_eppo", |i, _| {
        let shards = u32::try_from(u(i, "shards")?)?;
        anyhow::ensure!(shards > 0, "`shards` is 0; there is at least one");
        Ok(json!({ "shard": eppo_shard(&[s(i, "key")?], shards) }))
    }),
    ("hash_growthbook", |i, _| {
        let version = u32::try_from(u(i, "version")?)?;
        Ok(json!({ "hash": growthbook_hash(s(i, "seed")?, s(i, "value")?, version) }))
    }),
    ("hash_planout", |i, _| {
        let key = s(i, "key")?;
        Ok(json!({ "h": planout_hash(&[key]).to_string(), "uniform": planout_uniform(&[key]) }))
    }),
    ("impatient_bandit_posterior", |i, _| {
        let prior = TracePrior {
            mean: floats(&i["prior_mean"])?,
            covariance: matrix(&i["prior_cov"])?,
            noise: matrix(&i["noise_cov"])?,
        };
        let traces: Vec<Trace> = each(array(&i["observations"])?, |o| {
            Ok(Trace { activity: floats(&o["trace"])?, start: int(o, "start")? })
        })?;
        let estimator = match s(i, "estimator")? {
            "fixed" => NoiseEstimator::Fixed,
            "regularized" => NoiseEstimator::Regularized,
            other => bail!("estimator `{other}` is not known"),
        };
        let b = progressive_posterior(&prior, &traces, int(i, "t")?, estimator)?;
        Ok(json!({ "mean": b.mean, "variance": b.variance }))
    }),
    ("interleaving_preference", |i, _| {
        let p = interleaving_preference(u(i, "wins")?, u(i, "losses")?, u(i, "ties")?)?;
        Ok(json!({ "delta": p.delta, "p_value": p.p_value }))
    }),
    ("linear_bandit", |i, _| {
        let rows = matrix(&i["x"])?;
        let mut bandit = LinearBandit::new(rows.first().context("`x` has no rows")?.len(), f(i, "lambda")?)?;
        for (x, r) in rows.iter().zip(floats(&i["reward"])?) {
            bandit.observe(x, r)?;
        }
        let (mut ucb, mut variance) = (Vec::new(), Vec::new());
        for query in matrix(&i["query"])? {
            ucb.push(bandit.ucb(&query, f(i, "alpha")?)?);
            variance.push(f(i, "sigma2")? * bandit.uncertainty(&query)?);
        }
        Ok(json!({ "theta": bandit.theta(), "ucb": ucb, "score_variance": variance }))
    }),
    ("msprt_normal", |i, _| {
        let m =
            msprt_normal(f(i, "estimate")?, f(i, "variance")?, f(i, "null")?, f(i, "tau2")?, f(i, "alpha")?)?;
        Ok(json!({ "log_e_value": m.log_e_value, "p_value": m.p_value, "halfwidth": m.half_width }))
    }),
    ("msprt_path", |i, _| {
        let (estimates, variances) = (floats(&i["estimates"])?, floats(&i["variances"])?);
        let p = msprt_path(&estimates, &variances, f(i, "tau2")?, f(i, "alpha")?)?;
        Ok(json!({ "p_path": p.p_values, "ci_path": p.intervals, "stop_index": p.stop }))
    }),
    ("multi_metric_decision", |i, _| {
        let inputs = array(&i["metrics"])?;
        let metrics: Vec<DecisionMetric> = each(inputs, |m| {
            Ok(DecisionMetric {
                control: arm(&m["control"])?,
                treatment: arm(&m["treatment"])?,
                direction: m["direction"].as_str().map(direction),
                margin: m["nim"].as_f64(),
            })
        })?;
        let sharing = match s(i, "correction")? {
            "bonferroni" => Sharing::Bonferroni,
            "bonferroni-do-not-count-non-inferiority" => Sharing::SuccessOnly,
            "spot-1-bonferroni" => Sharing::SuccessOnlyTwoSided,
            other => bail!("correction `{other}` is not known"),
        };
        let decisions = multi_metric_decision(&metrics, f(i, "alpha")?, f(i, "power")?, sharing)?;
        let mut by_name = serde_json::Map::new();
        for (m, d) in inputs.iter().zip(decisions) {
            let out = json!({
                "diff": d.difference, "null": d.null, "p_value": d.p_value,
                "adjusted_alpha": d.adjusted_alpha, "adjusted_power": d.adjusted_power,
                "adjusted_ci_lower": number(d.interval[0]), "adjusted_ci_upper": number(d.interval[1]),
                "significant": d.significant, "passes": d.passes,
            });
            by_name.insert(s(m, "name")?.to_owned(), out);
        }
        Ok(json!({ "metrics": by_name }))
    }),
    ("multiple_testing", |i, _| {
        let p = floats(&i["p_values"])?;
        let mut out = serde_json::Map::new();
        for (name, correction) in Correction::ALL {
            let a = adjust(&p, correction, f(i, "alpha")?)?;
            out.insert(name.to_owned(), json!({ "reject": a.rejected, "adjusted_p": a.p_values }));
        }
        Ok(Value::Object(out))
    }),
    ("one_sided_simultaneous_ci", |i, _| {
        let b = one_sided_simultaneous_ci(
            &floats(&i["z"])?,
            f(i, "alpha")?,
            Correction::named(s(i, "method")?)?,
        )?;
        Ok(json!({ "reject": b.rejected, "lower": b.lower }))
    }),
    ("ope_lower_bounds", |i, _| {
        let b = mean_lower_bounds(&floats(&i["x"])?, i["x_max"].as_f64(), f(i, "delta")?)?;
        Ok(json!({ "hoeffding": b.hoeffding, "bernstein": b.bernstein, "student": b.student }))
    }),
    ("quantile_metric", |i, _| {
        let clustered = i["clustered"] == json!(true);
        let sums = |v: &Value| {
            anyhow::Ok(QuantileSums {
                n: u(v, "n")?,
                n_star: u(v, "n_star")?,
                quantile: f(v, "quantile")?,
                lower: f(v, "lower")?,
                upper: f(v, "upper")?,
                clusters: if clustered {
                    Some(ClusterSums {
                        n_clusters: u(v, "n_clusters")?,
                        below: f(v, "main_sum")?,
                        below_sq: f(v, "main_sum_squares")?,
                        size: f(v, "denominator_sum")?,
                        size_sq: f(v, "denominator_sum_squares")?,
                        product: f(v, "main_denominator_sum_product")?,
                    })
                } else {
                    None
                },
            })
        };
        let (control, treatment) = (sums(&i["control"])?, sums(&i["treatment"])?);
        let e = quantile_metric(&control, &treatment, f(i, "nu")?, f(i, "alpha")?, is_relative(i)?)?;
        Ok(json!({
            "variance_control": e.control.variance, "variance_treatment": e.treatment.variance,
            "effect": e.effect, "se": e.standard_error, "p_value": e.p_value,
            "ci_lower": e.interval[0], "ci_upper": e.interval[1],
        }))
    }),
    ("ratio_metric_delta", |i, _| {
        let sums = |v: &Value| {
            anyhow::Ok(RatioSums {
                n: u(v, "n")?,
                numerator: f(v, "num_sum")?,
                numerator_sq: f(v, "num_sum_sq")?,
                denominator: f(v, "den_sum")?,
                denominator_sq: f(v, "den_sum_sq")?,
                product: f(v, "num_den_sum")?,
            })
        };
        let e =
            ratio_metric(&sums(&i["control"])?, &sums(&i["treatment"])?, f(i, "alpha")?, is_relative(i)?)?;
        Ok(json!({
            "ratio_control": e.control.mean, "ratio_treatment": e.treatment.mean,
            "unit_variance_control": e.control.variance, "unit_variance_treatment": e.treatment.variance,
            "effect": e.effect, "se": e.standard_error, "dof": e.dof, "p_value": e.p_value,
            "ci_lower": e.interval[0], "ci_upper": e.interval[1],
        }))
    }),
    ("relative_lift", |i, _| {
        let (c, t) = ArmSums::pair(&arm(&i["control"])?, &arm(&i["treatment"])?)?;
        let r = relative_lift(&c, &t, f(i, "alpha")?)?;
        Ok(json!({
            "lift": r.lift, "se": r.standard_error, "dof": r.dof, "p_value": r.p_value,
            "ci_lower": r.interval[0], "ci_upper": r.interval[1],
            "fieller_lower": r.fieller.map(|f| f[0]), "fieller_upper": r.fieller.map(|f| f[1]),
        }))
    }),
    ("required_sample_size", |i, _| {
        let target = match (i["nim_relative"].as_f64(), i["direction"].as_str()) {
            (Some(nim), _) => Target::NonInferiority(nim),
            (None, None) => Target::Change(f(i, "mde_relative")?),
            (None, Some("increase")) => Target::Increase(f(i, "mde_relative")?),
            (None, Some(_)) => Target::Decrease(f(i, "mde_relative")?),
        };
        let (weights, binary) = (floats(&i["weights"])?, i["binary"] == json!(true));
        let weights = [weights[0], weights[1]];
        let (mean, variance) = (f(i, "mean")?, f(i, "variance")?);
        let n =
            required_sample_size(mean, variance, binary, target, weights, f(i, "alpha")?, f(i, "power")?)?;
        Ok(json!({
            "z_alpha": n.z_alpha, "z_power": n.z_power, "n_treatment": n.n_treatment, "total": n.total,
        }))
    }),
    ("segment_heterogeneity", |i, _| {
        let h = segment_heterogeneity(&floats(&i["effects"])?, &floats(&i["ses"])?)?;
        Ok(json!({
            "pooled": h.pooled, "Q": h.q, "dof": h.dof, "p_value": h.p_value, "i2": h.i2,
            "segment_z": h.segment_z, "segment_p_bonferroni": h.segment_p_bonferroni,
        }))
    }),
    ("sequential_adjusted_alpha", |i, _| {
        let sample = counts(&i["cumulative_sample"])?;
        let comparisons = u(i, "comparisons")? as u32;
        let a = sequential_adjusted_alpha(
            &sample,
            u(i, "expected_total")?,
            f(i, "alpha")?,
            sides(i)?,
            comparisons,
        )?;
        Ok(json!({ "adjusted_alpha": a }))
    }),
    ("sequential_srm", |i, _| {
        let increments: Vec<Vec<u64>> = each(array(&i["increments"])?, counts)?;
        let looks = sequential_srm(&increments, &floats(&i["theta0"])?, f(i, "concentration")?)?;
        let looks: Vec<Value> =
            looks.iter().map(|l| json!({ "log_bf": l.log_bayes_factor, "p": l.p_value })).collect();
        Ok(json!({ "looks": looks }))
    }),
    ("sequential_two_sample", |i, _| {
        let (control, treatment) = (arm(&i["control"])?, arm(&i["treatment"])?);
        let e =
            sequential_two_sample(&control, &treatment, f(i, "alpha")?, f(i, "n_tune")?, is_relative(i)?)?;
        Ok(json!({
            "effect": e.effect, "se": e.standard_error, "p_value": e.sequence.p_value,
            "ci_lower": e.sequence.interval[0], "ci_upper": e.sequence.interval[1],
        }))
    }),
    ("srm_chi2", |i, _| {
        let r = srm_chi2(&counts(&i["counts"])?, &floats(&i["weights"])?)?;
        Ok(json!({ "chi2": r.chi2, "dof": r.dof, "p_value": r.p_value }))
    }),
    ("surrogate_index", |i, _| {
        let x = surrogate_index(
            &matrix(&i["surrogates_hist"])?,
            &floats(&i["outcome_hist"])?,
            &matrix(&i["surrogates_control"])?,
            &matrix(&i["surrogates_treatment"])?,
        )?;
        Ok(json!({
            "coefficients": x.coefficients, "r2": x.r2, "index_mean_control": x.control_mean,
            "index_mean_treatment": x.treatment_mean, "effect": x.effect, "se": x.standard_error,
        }))
    }),
    ("team_draft_interleaving", |i, _| {
        let coins: Vec<bool> = array(&i["coins"])?.iter().map(|c| c.as_u64() == Some(1)).collect();
        let d = team_draft(
            &counts(&i["ranking_a"])?,
            &counts(&i["ranking_b"])?,
            &coins,
            u(i, "length")? as usize,
        );
        let rewarded: Vec<usize> =
            counts(&i["rewarded_positions"])?.into_iter().map(|n| n as usize).collect();
        let (a, b) = credit(&d.teams, &rewarded)?;
        let teams: Vec<&str> = d.teams.iter().map(|t| if *t == Team::A { "A" } else { "B" }).collect();
        Ok(json!({
            "list": d.items, "team": teams, "coins_used": d.n_coins, "credit_a": a, "credit_b": b,
            "outcome": (a as i64 - b as i64).signum(),
        }))
    }),
    ("two_proportion_chi2", |i, _| {
        let arm = |v: &Value| anyhow::Ok((u(v, "successes")?, u(v, "n")?));
        let t = two_proportion_chi2(arm(&i["control"])?, arm(&i["treatment"])?, f(i, "alpha")?)?;
        Ok(json!({
            "diff": t.difference, "chi2": t.chi2, "p_value": t.p_value,
            "ci_lower": t.interval[0], "ci_upper": t.interval[1],
        }))
    }),
    ("two_sample_z", |i, _| difference(i, two_sample_z)),
    ("welch_t", |i, _| difference(i, welch_t)),
];

type TestFn = fn(&Moments, &Moments, f64, f64, Alternative) -> Result<DifferenceTest, StatsError>;

fn difference(i: &Value, test: TestFn) -> Result<Value> {
    let (c, t) = ArmSums::pair(&arm(&i["control"])?, &arm(&i["treatment"])?)?;
    let alternative = match s(i, "alternative")? {
        "two-sided" => Alternative::TwoSided,
        "larger" => Alternative::Larger,
        "smaller" => Alternative::Smaller,
        other => bail!("alternative `{other}` is not known"),
    };
    let d = test(&c, &t, f(i, "null")?, f(i, "alpha")?, alternative)?;
    Ok(json!({
        "variance_control": c.variance, "variance_treatment": t.variance,
        "diff": d.difference, "se": d.standard_error, "statistic": d.statistic, "p_value": d.p_value,
        "ci_lower": number(d.interval[0]), "ci_upper": number(d.interval[1]), "dof": number(d.dof),
    }))
}
