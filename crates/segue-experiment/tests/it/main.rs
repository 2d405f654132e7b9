//! Whole analyses of made-up listeners whose truth is known.

use segue_experiment::analysis::{Analysis, AnalysisSpec, analyze};
use segue_experiment::exposure::ExposureLog;
use segue_experiment::metric::{MetricColumn, Observation};
use segue_stats::distribution::normal;
use segue_stats::random::Stream;

const DAY: i64 = 86_400_000;

struct World {
    n_users: u32,
    /// Share of the treatment.
    treatment: f64,
    /// Relative effect on minutes.
    lift: f64,
    seed: u64,
}

/// Listeners who enrol over ten days, differ a lot from each other and are like themselves over time.
fn run(spec: &AnalysisSpec, world: &World) -> Analysis {
    let range = spec.range_ms().unwrap();
    let mut exposures = ExposureLog::new(spec.arms.iter().map(|a| a.name.clone()).collect(), range);
    let mut rows: Vec<(String, i64, f64)> = Vec::new();
    for user in 0..world.n_users {
        let mut s = Stream::new(world.seed, u64::from(user));
        let id = format!("u{user}");
        let treated = s.next_f64() < world.treatment;
        let enrolled = range[0] + (s.next_f64() * 10.0 * DAY as f64) as i64;
        let arm = if treated { "treatment" } else { "control" };
        let market = if s.next_f64() < 0.3 { "SE" } else { "DE" };
        exposures.observe(&id, arm, Some(enrolled), Some(market), true).unwrap();
        let level = (0.8 * normal::quantile(s.next_f64())).exp() * 20.0;
        for day in -14..7_i64 {
            // One day in five without music.
            if s.next_f64() < 0.2 {
                continue;
            }
            let minutes = level * s.next_f64() * if treated && day >= 0 { 1.0 + world.lift } else { 1.0 };
            rows.push((id.clone(), enrolled + day * DAY + 1, minutes));
        }
    }
    let end = range[1];
    let mut columns: Vec<MetricColumn> =
        spec.metrics.iter().map(|m| MetricColumn::new(m, &exposures, &[])).collect();
    for (unit, at, minutes) in &rows {
        for column in &mut columns {
            let row = Observation {
                unit,
                at_ms: Some(*at),
                value: *minutes,
                denominator: 1.0,
                key: Some(if minutes.fract() < 0.3 { "abba" } else { "robyn" }),
            };
            column.observe(&row, &exposures).unwrap();
        }
    }
    analyze(spec, &exposures, &columns, end).unwrap()
}

fn spec() -> AnalysisSpec {
    AnalysisSpec::from_toml(
        r#"
        name = "known"
        starts_on = "2026-03-01"
        ends_on = "2026-03-19"
        arms = [{ name = "control" }, { name = "treatment" }]
        [[metrics]]
        name = "minutes"
        kind = "mean"
        role = "success"
        direction = "increase"
        window_days = [0, 7]
        pre_days = 14
        mde = 0.05
        [[metrics]]
        name = "minutes_per_day"
        kind = "ratio"
        role = "guardrail"
        direction = "increase"
        margin = 0.02
        window_days = [0, 7]
        [[metrics]]
        name = "long_day_p90"
        kind = "quantile"
        quantile = 0.9
        window_days = [0, 7]
        [[metrics]]
        name = "came_back"
        kind = "retention"
        window_days = [5, 6]
        [[metrics]]
        name = "gini"
        kind = "gini"
        window_days = [0, 7]
        "#,
    )
    .unwrap()
}

#[test]
fn a_true_lift_is_found_early_and_its_interval_holds_the_truth() {
    let a = run(&spec(), &World { n_users: 4_000, treatment: 0.5, lift: 0.1, seed: 1 });
    assert!(a.checks.problems.is_empty(), "{:?}", a.checks.problems);
    let comparison = &a.comparisons[0];
    let minutes = &comparison.metrics[0];
    assert!(minutes.verdict.superior && comparison.decision.action == "ship", "{:?}", comparison.decision);
    let [low, high] = minutes.lift_interval.unwrap();
    assert!(low < 0.1 && 0.1 < high, "{low} {high}");
    let rule = minutes.rule.as_ref().unwrap();
    assert!(rule.crossed_at.unwrap() < rule.looks.len(), "{:?}", rule.crossed_at);
    // What they listened to before explains most of what they listen to now.
    assert!(minutes.estimates.last().unwrap().variance_reduction.unwrap() > 0.5);
    assert!(minutes.insight.days.len() == 7 && minutes.insight.segments.len() == 2);
    assert!(minutes.insight.heterogeneity_p.unwrap() > 0.001);
    for metric in &comparison.metrics {
        assert_eq!(metric.refused, None, "{}", metric.name);
    }
    // Only listeners whose fifth day has passed count for retention.
    let retained = &comparison.metrics[3].estimates;
    assert!(retained[0].n_control + retained[0].n_treatment < 4_000);
}

#[test]
fn no_effect_ships_nothing_and_a_wrong_split_stops_everything() {
    let a = run(&spec(), &World { n_users: 3_000, treatment: 0.5, lift: 0.0, seed: 2 });
    assert_eq!(a.comparisons[0].decision.action, "do_not_ship", "{:?}", a.comparisons[0].decision);
    let a = run(&spec(), &World { n_users: 3_000, treatment: 0.4, lift: 0.1, seed: 3 });
    assert_eq!(a.comparisons[0].decision.action, "do_not_trust");
    assert!(a.checks.srm_anytime_p < 1e-6 && a.checks.problems[0].contains("split"));
}

#[test]
fn an_unfinished_experiment_without_an_answer_waits() {
    let mut spec = spec();
    spec.sequential.planned_units = Some(100_000);
    let a = run(&spec, &World { n_users: 2_000, treatment: 0.5, lift: 0.01, seed: 4 });
    assert_eq!(a.comparisons[0].decision.action, "wait", "{:?}", a.comparisons[0].decision);
}

#[test]
fn listeners_are_not_analysed_where_sessions_were_randomised() {
    let mut spec = spec();
    spec.unit = segue_experiment::Unit::Session;
    let a = run(&spec, &World { n_users: 500, treatment: 0.5, lift: 0.0, seed: 5 });
    let metrics = &a.comparisons[0].metrics;
    assert!(metrics.iter().all(|m| m.refused.as_deref().unwrap().contains("meets both arms")));
}

#[test]
fn one_listener_or_no_variance_is_a_reason_and_not_a_number() {
    let a = run(&spec(), &World { n_users: 2, treatment: 0.5, lift: 0.0, seed: 9 });
    for metric in &a.comparisons[0].metrics {
        assert!(metric.refused.is_some() || metric.estimates.iter().all(|e| e.standard_error.is_finite()));
    }
}
