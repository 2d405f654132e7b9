//! Every case of every file of a folder of test vectors (`experiment-vectors`), one line per method.
//!
//! The folder is `$SEGUE_DATA/experiment-vectors`, else `shared/data` beside the repository; without
//! it the test says so and returns. A number matches when `|got − want| ≤ abs + rel |want|`; all else
//! matches exactly. Methods without a line in [`METHODS`] are counted and named, not passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use segue_stats::StatsError;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::asymptotic_cs::{Side, asymptotic_cs, asymptotic_cs_one_sided, sequential_two_sample};
use segue_stats::bayesian_effect::{NormalPrior, bayesian_normal_effect};
use segue_stats::calibrated_rerank::calibrated_rerank;
use segue_stats::cuped::{CovariateSums, cuped};
use segue_stats::exposure_distribution::{exposure_distribution, group_shares};
use segue_stats::gaussian_best_arm::{allocation, probability_best};
use segue_stats::group_sequential::{Sides, Spending, group_sequential_bounds, sequential_adjusted_alpha};
use segue_stats::impatient_bandit::{NoiseEstimator, Trace, TracePrior, progressive_posterior};
use segue_stats::interleaving::{Team, credit, interleaving_preference, team_draft};
use segue_stats::linear_bandit::LinearBandit;
use segue_stats::mean_lower_bounds::mean_lower_bounds;
use segue_stats::msprt::{msprt_normal, msprt_path};
use segue_stats::multi_metric_decision::{DecisionMetric, Direction, Sharing, multi_metric_decision};
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

type Method = fn(&Value) -> Result<Value, StatsError>;

/// What is covered: file name without ending → how to run one case.
const METHODS: &[(&str, Method)] = &[
    ("achieved_power", |i| {
        let power = achieved_power(f(i, "mde"), f(i, "variance"), f(i, "alpha"), f(i, "n1"), f(i, "n2"))?;
        Ok(json!({ "power": power }))
    }),
    ("asymptotic_confidence_sequence", |i| {
        let c = asymptotic_cs(f(i, "estimate"), f(i, "se"), f(i, "n"), f(i, "alpha"), f(i, "n_tune"))?;
        Ok(json!({
            "rho": c.rho, "halfwidth": c.half_width, "ci_lower": c.interval[0], "ci_upper": c.interval[1],
            "log_e_value": c.log_e_value, "p_value": c.p_value, "width_ratio_to_fixed": c.width_ratio_to_fixed,
        }))
    }),
    ("asymptotic_confidence_sequence_one_sided", |i| {
        let side = if s(i, "side") == "greater" { Side::Greater } else { Side::Lesser };
        let (estimate, se, n) = (f(i, "estimate"), f(i, "se"), f(i, "n"));
        let c = asymptotic_cs_one_sided(estimate, se, n, f(i, "alpha"), f(i, "n_tune"), side)?;
        Ok(json!({
            "rho": c.rho, "halfwidth": c.half_width,
            "ci_lower": number(c.interval[0]), "ci_upper": number(c.interval[1]),
        }))
    }),
    ("bayesian_normal_effect", |i| {
        let (c, t) = ArmSums::pair(&arm(&i["control"]), &arm(&i["treatment"]))?;
        let prior = NormalPrior { mean: f(&i["prior"], "mean"), variance: f(&i["prior"], "variance") };
        let inverse = i["inverse"] == json!(true);
        let p = bayesian_normal_effect(&c, &t, is_relative(i), prior, f(i, "alpha"), inverse)?;
        Ok(json!({
            "posterior_mean": p.mean, "posterior_sd": p.sd, "chance_to_win": p.chance_to_win,
            "ci_lower": p.interval[0], "ci_upper": p.interval[1],
            "risk": [p.risk_control, p.risk_treatment],
        }))
    }),
    ("bootstrap_quantile_index_ci", |i| {
        let [lower, upper] = quantile_index_ci(u(i, "n"), f(i, "nu"), f(i, "alpha"))?;
        let at = |k: u64| if i["y"].is_null() { k as f64 } else { floats(&i["y"])[k as usize - 1] };
        Ok(json!({ "lower_index": lower, "upper_index": upper, "lower": at(lower), "upper": at(upper) }))
    }),
    ("calibrated_rerank", |i| {
        let items = array(&i["items"]);
        let scores: Vec<f64> = items.iter().map(|x| f(x, "score")).collect();
        let genres: Vec<Vec<f64>> = items.iter().map(|x| floats(&x["genres"])).collect();
        let (k, lambda, smoothing) = (u(i, "k") as usize, f(i, "lambda"), f(i, "alpha_smooth"));
        let c = calibrated_rerank(&floats(&i["p"]), &scores, &genres, k, lambda, smoothing)?;
        Ok(json!({
            "order": c.order, "objective_path": c.objective, "q": c.genres, "kl": c.kl, "hellinger": c.hellinger,
        }))
    }),
    ("cuped", |i| {
        let sums = |v: &Value| CovariateSums {
            n: u(v, "n"),
            y: f(v, "y_sum"),
            y_sq: f(v, "y_sum_sq"),
            x: f(v, "x_sum"),
            x_sq: f(v, "x_sum_sq"),
            xy: f(v, "xy_sum"),
        };
        let c = cuped(&sums(&i["control"]), &sums(&i["treatment"]), f(i, "alpha"))?;
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
    ("exposure_distribution", |i| {
        let exposure = floats(&i["exposure"]);
        let names = array(&i["group"]);
        let groups: Vec<&str> = names.iter().map(|g| g.as_str().unwrap()).collect();
        let d = exposure_distribution(&exposure)?;
        let shares: BTreeMap<String, f64> = group_shares(&exposure, &groups)?.into_iter().collect();
        Ok(json!({
            "gini": d.gini, "entropy": d.entropy, "effective_number": d.effective_number,
            "coverage": d.coverage, "top1_share": d.top_share, "group_share": shares,
        }))
    }),
    ("gaussian_best_arm", |i| {
        let p = probability_best(&floats(&i["mean"]), &floats(&i["sd"]))?;
        Ok(json!({ "allocation": allocation(&p, f(i, "floor"))?, "p_best": p }))
    }),
    ("group_sequential_bounds", |i| {
        let spending = match s(i, "spending") {
            "obf" => Spending::ObrienFleming,
            "pocock" => Spending::Pocock,
            "power" => Spending::Power(f(i, "rho")),
            "hsd" => Spending::HwangShihDeCani(f(i, "gamma")),
            other => panic!("spending `{other}` is not known to this test"),
        };
        let times = floats(&i["information_times"]);
        let b = group_sequential_bounds(&times, f(i, "alpha"), sides(i), spending)?;
        Ok(json!({ "z_bounds": b.z, "cumulative_alpha_one_side": b.spent_one_side }))
    }),
    ("impatient_bandit_posterior", |i| {
        let prior = TracePrior {
            mean: floats(&i["prior_mean"]),
            covariance: matrix(&i["prior_cov"]),
            noise: matrix(&i["noise_cov"]),
        };
        let traces: Vec<Trace> = array(&i["observations"])
            .iter()
            .map(|o| Trace { activity: floats(&o["trace"]), start: o["start"].as_i64().unwrap() })
            .collect();
        let estimator = match s(i, "estimator") {
            "fixed" => NoiseEstimator::Fixed,
            "regularized" => NoiseEstimator::Regularized,
            other => panic!("estimator `{other}` is not known to this test"),
        };
        let b = progressive_posterior(&prior, &traces, i["t"].as_i64().unwrap(), estimator)?;
        Ok(json!({ "mean": b.mean, "variance": b.variance }))
    }),
    ("interleaving_preference", |i| {
        let p = interleaving_preference(u(i, "wins"), u(i, "losses"), u(i, "ties"))?;
        Ok(json!({ "delta": p.delta, "p_value": p.p_value }))
    }),
    ("linear_bandit", |i| {
        let rows = matrix(&i["x"]);
        let mut bandit = LinearBandit::new(rows[0].len(), f(i, "lambda"))?;
        for (x, r) in rows.iter().zip(floats(&i["reward"])) {
            bandit.observe(x, r)?;
        }
        let (mut ucb, mut variance) = (Vec::new(), Vec::new());
        for query in matrix(&i["query"]) {
            ucb.push(bandit.ucb(&query, f(i, "alpha"))?);
            variance.push(f(i, "sigma2") * bandit.uncertainty(&query)?);
        }
        Ok(json!({ "theta": bandit.theta(), "ucb": ucb, "score_variance": variance }))
    }),
    ("msprt_normal", |i| {
        let m = msprt_normal(f(i, "estimate"), f(i, "variance"), f(i, "null"), f(i, "tau2"), f(i, "alpha"))?;
        Ok(json!({ "log_e_value": m.log_e_value, "p_value": m.p_value, "halfwidth": m.half_width }))
    }),
    ("msprt_path", |i| {
        let (estimates, variances) = (floats(&i["estimates"]), floats(&i["variances"]));
        let p = msprt_path(&estimates, &variances, f(i, "tau2"), f(i, "alpha"))?;
        Ok(json!({ "p_path": p.p_values, "ci_path": p.intervals, "stop_index": p.stop }))
    }),
    ("multi_metric_decision", |i| {
        let inputs = array(&i["metrics"]);
        let metrics: Vec<DecisionMetric> = inputs
            .iter()
            .map(|m| DecisionMetric {
                control: arm(&m["control"]),
                treatment: arm(&m["treatment"]),
                direction: m["direction"].as_str().map(direction),
                margin: m["nim"].as_f64(),
            })
            .collect();
        let sharing = match s(i, "correction") {
            "bonferroni" => Sharing::Bonferroni,
            "bonferroni-do-not-count-non-inferiority" => Sharing::SuccessOnly,
            "spot-1-bonferroni" => Sharing::SuccessOnlyTwoSided,
            other => panic!("correction `{other}` is not known to this test"),
        };
        let decisions = multi_metric_decision(&metrics, f(i, "alpha"), f(i, "power"), sharing)?;
        let by_name: serde_json::Map<String, Value> = inputs
            .iter()
            .zip(decisions)
            .map(|(m, d)| {
                let out = json!({
                    "diff": d.difference, "null": d.null, "p_value": d.p_value,
                    "adjusted_alpha": d.adjusted_alpha, "adjusted_power": d.adjusted_power,
                    "adjusted_ci_lower": number(d.interval[0]), "adjusted_ci_upper": number(d.interval[1]),
                    "significant": d.significant, "passes": d.passes,
                });
                (s(m, "name").to_owned(), out)
            })
            .collect();
        Ok(json!({ "metrics": by_name }))
    }),
    ("multiple_testing", |i| {
        let p = floats(&i["p_values"]);
        let mut out = serde_json::Map::new();
        for (name, correction) in Correction::ALL {
            let a = adjust(&p, correction, f(i, "alpha"))?;
            out.insert(name.to_owned(), json!({ "reject": a.rejected, "adjusted_p": a.p_values }));
        }
        Ok(Value::Object(out))
    }),
    ("one_sided_simultaneous_ci", |i| {
        let b =
            one_sided_simultaneous_ci(&floats(&i["z"]), f(i, "alpha"), Correction::named(s(i, "method"))?)?;
        Ok(json!({ "reject": b.rejected, "lower": b.lower }))
    }),
    ("ope_lower_bounds", |i| {
        let b = mean_lower_bounds(&floats(&i["x"]), i["x_max"].as_f64(), f(i, "delta"))?;
        Ok(json!({ "hoeffding": b.hoeffding, "bernstein": b.bernstein, "student": b.student }))
    }),
    ("quantile_metric", |i| {
        let clustered = i["clustered"] == json!(true);
        let sums = |v: &Value| QuantileSums {
            n: u(v, "n"),
            n_star: u(v, "n_star"),
            quantile: f(v, "quantile"),
            lower: f(v, "lower"),
            upper: f(v, "upper"),
            clusters: clustered.then(|| ClusterSums {
                n_clusters: u(v, "n_clusters"),
                below: f(v, "main_sum"),
                below_sq: f(v, "main_sum_squares"),
                size: f(v, "denominator_sum"),
                size_sq: f(v, "denominator_sum_squares"),
                product: f(v, "main_denominator_sum_product"),
            }),
        };
        let (control, treatment) = (sums(&i["control"]), sums(&i["treatment"]));
        let e = quantile_metric(&control, &treatment, f(i, "nu"), f(i, "alpha"), is_relative(i))?;
        Ok(json!({
            "variance_control": e.control.variance, "variance_treatment": e.treatment.variance,
            "effect": e.effect, "se": e.standard_error, "p_value": e.p_value,
            "ci_lower": e.interval[0], "ci_upper": e.interval[1],
        }))
    }),
    ("ratio_metric_delta", |i| {
        let sums = |v: &Value| RatioSums {
            n: u(v, "n"),
            numerator: f(v, "num_sum"),
            numerator_sq: f(v, "num_sum_sq"),
            denominator: f(v, "den_sum"),
            denominator_sq: f(v, "den_sum_sq"),
            product: f(v, "num_den_sum"),
        };
        let e = ratio_metric(&sums(&i["control"]), &sums(&i["treatment"]), f(i, "alpha"), is_relative(i))?;
        Ok(json!({
            "ratio_control": e.control.mean, "ratio_treatment": e.treatment.mean,
            "unit_variance_control": e.control.variance, "unit_variance_treatment": e.treatment.variance,
            "effect": e.effect, "se": e.standard_error, "dof": e.dof, "p_value": e.p_value,
            "ci_lower": e.interval[0], "ci_upper": e.interval[1],
        }))
    }),
    ("relative_lift", |i| {
        let (c, t) = ArmSums::pair(&arm(&i["control"]), &arm(&i["treatment"]))?;
        let r = relative_lift(&c, &t, f(i, "alpha"))?;
        Ok(json!({
            "lift": r.lift, "se": r.standard_error, "dof": r.dof, "p_value": r.p_value,
            "ci_lower": r.interval[0], "ci_upper": r.interval[1],
            "fieller_lower": r.fieller.map(|f| f[0]), "fieller_upper": r.fieller.map(|f| f[1]),
        }))
    }),
    ("required_sample_size", |i| {
        let target = match (i["nim_relative"].as_f64(), i["direction"].as_str()) {
            (Some(nim), _) => Target::NonInferiority(nim),
            (None, None) => Target::Change(f(i, "mde_relative")),
            (None, Some("increase")) => Target::Increase(f(i, "mde_relative")),
            (None, Some(_)) => Target::Decrease(f(i, "mde_relative")),
        };
        let (weights, binary) = (floats(&i["weights"]), i["binary"] == json!(true));
        let weights = [weights[0], weights[1]];
        let (mean, variance) = (f(i, "mean"), f(i, "variance"));
        let n = required_sample_size(mean, variance, binary, target, weights, f(i, "alpha"), f(i, "power"))?;
        Ok(json!({
            "z_alpha": n.z_alpha, "z_power": n.z_power, "n_treatment": n.n_treatment, "total": n.total,
        }))
    }),
    ("segment_heterogeneity", |i| {
        let h = segment_heterogeneity(&floats(&i["effects"]), &floats(&i["ses"]))?;
        Ok(json!({
            "pooled": h.pooled, "Q": h.q, "dof": h.dof, "p_value": h.p_value, "i2": h.i2,
            "segment_z": h.segment_z, "segment_p_bonferroni": h.segment_p_bonferroni,
        }))
    }),
    ("sequential_adjusted_alpha", |i| {
        let sample: Vec<u64> = array(&i["cumulative_sample"]).iter().map(|n| n.as_u64().unwrap()).collect();
        let comparisons = u(i, "comparisons") as u32;
        let a =
            sequential_adjusted_alpha(&sample, u(i, "expected_total"), f(i, "alpha"), sides(i), comparisons)?;
        Ok(json!({ "adjusted_alpha": a }))
    }),
    ("sequential_srm", |i| {
        let increments: Vec<Vec<u64>> = array(&i["increments"])
            .iter()
            .map(|look| array(look).iter().map(|n| n.as_u64().unwrap()).collect())
            .collect();
        let looks = sequential_srm(&increments, &floats(&i["theta0"]), f(i, "concentration"))?;
        let looks: Vec<Value> =
            looks.iter().map(|l| json!({ "log_bf": l.log_bayes_factor, "p": l.p_value })).collect();
        Ok(json!({ "looks": looks }))
    }),
    ("sequential_two_sample", |i| {
        let (control, treatment) = (arm(&i["control"]), arm(&i["treatment"]));
        let e = sequential_two_sample(&control, &treatment, f(i, "alpha"), f(i, "n_tune"), is_relative(i))?;
        Ok(json!({
            "effect": e.effect, "se": e.standard_error, "p_value": e.sequence.p_value,
            "ci_lower": e.sequence.interval[0], "ci_upper": e.sequence.interval[1],
        }))
    }),
    ("srm_chi2", |i| {
        let counts: Vec<u64> = array(&i["counts"]).iter().map(|n| n.as_u64().unwrap()).collect();
        let r = srm_chi2(&counts, &floats(&i["weights"]))?;
        Ok(json!({ "chi2": r.chi2, "dof": r.dof, "p_value": r.p_value }))
    }),
    ("surrogate_index", |i| {
        let x = surrogate_index(
            &matrix(&i["surrogates_hist"]),
            &floats(&i["outcome_hist"]),
            &matrix(&i["surrogates_control"]),
            &matrix(&i["surrogates_treatment"]),
        )?;
        Ok(json!({
            "coefficients": x.coefficients, "r2": x.r2, "index_mean_control": x.control_mean,
            "index_mean_treatment": x.treatment_mean, "effect": x.effect, "se": x.standard_error,
        }))
    }),
    ("team_draft_interleaving", |i| {
        let ranking = |v: &Value| -> Vec<u64> { array(v).iter().map(|n| n.as_u64().unwrap()).collect() };
        let coins: Vec<bool> = array(&i["coins"]).iter().map(|c| c.as_u64() == Some(1)).collect();
        let d =
            team_draft(&ranking(&i["ranking_a"]), &ranking(&i["ranking_b"]), &coins, u(i, "length") as usize);
        let rewarded: Vec<usize> =
            array(&i["rewarded_positions"]).iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let (a, b) = credit(&d.teams, &rewarded)?;
        let teams: Vec<&str> = d.teams.iter().map(|t| if *t == Team::A { "A" } else { "B" }).collect();
        Ok(json!({
            "list": d.items, "team": teams, "coins_used": d.n_coins, "credit_a": a, "credit_b": b,
            "outcome": (a as i64 - b as i64).signum(),
        }))
    }),
    ("two_proportion_chi2", |i| {
        let arm = |v: &Value| (u(v, "successes"), u(v, "n"));
        let t = two_proportion_chi2(arm(&i["control"]), arm(&i["treatment"]), f(i, "alpha"))?;
        Ok(json!({
            "diff": t.difference, "chi2": t.chi2, "p_value": t.p_value,
            "ci_lower": t.interval[0], "ci_upper": t.interval[1],
        }))
    }),
    ("two_sample_z", |i| difference(i, two_sample_z)),
    ("welch_t", |i| difference(i, welch_t)),
];

type TestFn = fn(&Moments, &Moments, f64, f64, Alternative) -> Result<DifferenceTest, StatsError>;

fn difference(i: &Value, test: TestFn) -> Result<Value, StatsError> {
    let (c, t) = ArmSums::pair(&arm(&i["control"]), &arm(&i["treatment"]))?;
    let alternative = match s(i, "alternative") {
        "two-sided" => Alternative::TwoSided,
        "larger" => Alternative::Larger,
        "smaller" => Alternative::Smaller,
        other => panic!("alternative `{other}` is not known to this test"),
    };
    let d = test(&c, &t, f(i, "null"), f(i, "alpha"), alternative)?;
    Ok(json!({
        "variance_control": c.variance, "variance_treatment": t.variance,
        "diff": d.difference, "se": d.standard_error, "statistic": d.statistic, "p_value": d.p_value,
        "ci_lower": number(d.interval[0]), "ci_upper": number(d.interval[1]), "dof": number(d.dof),
    }))
}

/// Methods of the published folder that this crate does not hold, with the number of their cases.
/// Hashing and assignment wait for an experiment crate; the off-policy estimators are in `segue-eval`,
/// whose own tests read their files.
const NOT_COVERED: &[(&str, usize)] = &[
    ("bucket_ranges", 9),
    ("hash_confidence", 4),
    ("hash_eppo", 2),
    ("hash_growthbook", 10),
    ("hash_planout", 2),
    ("ope_hyperparameter_selection", 1),
    ("ope_open_bandit", 5),
    ("ope_slate", 2),
    ("ope_tiny", 2),
];

#[test]
fn every_case_of_every_covered_method_matches() {
    let root = std::env::var_os("SEGUE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join("experiment-vectors");
    if !folder.is_dir() {
        eprintln!("skipped: {} not found", folder.display());
        return;
    }
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|e| {
            e.unwrap().file_name().to_str().and_then(|n| n.strip_suffix(".json")).map(str::to_owned)
        })
        .collect();
    names.sort();
    let (mut passed, mut failures, mut not_covered) = (0, Vec::new(), Vec::new());
    for name in &names {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let cases = array(&file["cases"]);
        let Some((_, run)) = METHODS.iter().find(|(m, _)| m == name) else {
            eprintln!("{name}: {} not covered", cases.len());
            not_covered.push((name.as_str(), cases.len()));
            continue;
        };
        let before = failures.len();
        for case in &cases {
            let mut wrong = Vec::new();
            match run(&case["input"]) {
                Ok(got) => compare("", &got, &case["expected"], &case["tol"], &mut wrong),
                Err(error) => wrong.push(error.to_string()),
            }
            if wrong.is_empty() {
                passed += 1;
            } else {
                failures.push(format!("{}: {}", case["id"], wrong.join("; ")));
            }
        }
        let failed = failures.len() - before;
        eprintln!("{name}: {} passed, {failed} failed", cases.len() - failed);
    }
    let left: usize = not_covered.iter().map(|(_, n)| n).sum();
    eprintln!("{passed} passed, {} failed, {left} not covered", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(not_covered, NOT_COVERED, "the list of what is not covered is part of the test");
    for (method, _) in METHODS {
        assert!(names.iter().any(|n| n == method), "`{method}` has no file in {}", folder.display());
    }
}

#[test]
fn the_comparison_finds_what_differs() {
    let tol = json!({ "rel": 1e-9, "abs": 1e-12 });
    let wrong = |got: Value, want: Value| {
        let mut wrong = Vec::new();
        compare("", &got, &want, &tol, &mut wrong);
        wrong.len()
    };
    assert_eq!(wrong(json!({ "p": 1.0, "more": 2 }), json!({ "p": 1.000_000_000_1 })), 0);
    assert_eq!(wrong(json!({ "p": 1.0 }), json!({ "p": 1.000_001 })), 1);
    assert_eq!(wrong(json!({ "p": 1e-43 }), json!({ "p": 0.0 })), 0, "below the absolute tolerance");
    assert_eq!(wrong(json!({}), json!({ "p": 1.0 })), 1);
    assert_eq!(wrong(json!([1, 2]), json!([1, 2, 3])), 1);
    assert_eq!(wrong(json!({ "n": 3 }), json!({ "n": 2 })), 1);
    assert_eq!(wrong(json!({ "r": [true, "inf"] }), json!({ "r": [false, "-inf"] })), 2);
    assert_eq!(wrong(json!({ "r": null }), json!({ "r": 4 })), 1);
}

/// Every field of `want` in `got`, numbers within the tolerance.
fn compare(path: &str, got: &Value, want: &Value, tol: &Value, wrong: &mut Vec<String>) {
    match want {
        Value::Object(fields) => {
            for (key, want) in fields {
                compare(&format!("{path}.{key}"), &got[key.as_str()], want, tol, wrong);
            }
        }
        Value::Array(items) if got.as_array().is_some_and(|g| g.len() == items.len()) => {
            for (at, want) in items.iter().enumerate() {
                compare(&format!("{path}[{at}]"), &got[at], want, tol, wrong);
            }
        }
        Value::Number(number) if !(number.is_u64() && got.is_u64()) => {
            let want = number.as_f64().unwrap();
            let limit = f(tol, "abs") + f(tol, "rel") * want.abs();
            if !got.as_f64().is_some_and(|got| (got - want).abs() <= limit) {
                wrong.push(format!("{path} is {got}, not {want}"));
            }
        }
        _ if got == want => {}
        _ => wrong.push(format!("{path} is {got}, not {want}")),
    }
}

/// A number as JSON holds it: infinite ends are strings.
fn number(v: f64) -> Value {
    if v == f64::INFINITY {
        json!("inf")
    } else if v == f64::NEG_INFINITY {
        json!("-inf")
    } else {
        json!(v)
    }
}

fn f(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or_else(|| panic!("`{key}` is not a number in {v}"))
}

fn u(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap_or_else(|| panic!("`{key}` is not a count in {v}"))
}

fn s<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("`{key}` is not text in {v}"))
}

fn array(v: &Value) -> Vec<Value> {
    v.as_array().cloned().unwrap_or_else(|| panic!("not a list: {v}"))
}

fn floats(v: &Value) -> Vec<f64> {
    array(v).iter().map(|x| x.as_f64().unwrap()).collect()
}

fn matrix(v: &Value) -> Vec<Vec<f64>> {
    array(v).iter().map(floats).collect()
}

fn arm(v: &Value) -> ArmSums {
    ArmSums { n: u(v, "n"), sum: f(v, "sum"), sum_sq: f(v, "sum_sq") }
}

fn is_relative(v: &Value) -> bool {
    s(v, "difference_type") == "relative"
}

fn sides(v: &Value) -> Sides {
    if u(v, "sides") == 2 { Sides::Two } else { Sides::One }
}

fn direction(text: &str) -> Direction {
    if text == "increase" { Direction::Increase } else { Direction::Decrease }
}
