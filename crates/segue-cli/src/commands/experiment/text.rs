//! An analysis for a terminal.

use segue_experiment::analysis::{Analysis, MetricResult};
use segue_report::p_value;

use crate::output::{line, table};

pub(super) fn print(analysis: &Analysis) {
    let arms: Vec<Vec<String>> = analysis
        .arms
        .iter()
        .map(|a| vec![a.name.clone(), a.n_units.to_string(), format!("{:.2} %", 100.0 * a.planned_share)])
        .collect();
    table(&["arm", "units", "planned"], &arms);
    let c = &analysis.checks;
    line(&format!(
        "split: p = {} (any look: {}); {} of {} units met several arms",
        p_value(c.srm_p),
        p_value(c.srm_anytime_p),
        c.exposures.n_mixed,
        c.exposures.n_units
    ));
    for problem in &c.problems {
        line(&format!("problem: {problem}"));
    }
    for comparison in &analysis.comparisons {
        line("");
        line(&format!("{} against {}", comparison.arm, analysis.arms[0].name));
        let rows: Vec<Vec<String>> = comparison.metrics.iter().map(row).collect();
        table(
            &["metric", "role", "control", "treatment", "lift", "interval", "p", "verdict", "power"],
            &rows,
        );
        line(&format!("decision: {}", comparison.decision.action.replace('_', " ")));
        for reason in &comparison.decision.reasons {
            line(&format!("  - {reason}"));
        }
    }
}

fn row(m: &MetricResult) -> Vec<String> {
    let role = word(&m.role);
    let (Some(rule), None) = (&m.rule, &m.refused) else {
        let why = m.refused.clone().unwrap_or_default();
        return vec![m.name.clone(), role, String::new(), String::new(), String::new(), why];
    };
    let look = &rule.looks[rule.crossed_at.unwrap_or(rule.looks.len() - 1)];
    let estimate = m.estimates.iter().find(|e| e.at_ms == look.at_ms);
    let percent = |v: f64| format!("{:+.2} %", 100.0 * v);
    vec![
        m.name.clone(),
        role,
        estimate.map_or_else(String::new, |e| format!("{:.4}", e.control)),
        estimate.map_or_else(String::new, |e| format!("{:.4}", e.treatment)),
        m.lift.map_or_else(|| format!("{:+.4}", look.effect), percent),
        m.lift_interval.map_or_else(
            || format!("[{:+.4}, {:+.4}]", look.interval[0], look.interval[1]),
            |[a, b]| format!("[{}, {}]", percent(a), percent(b)),
        ),
        p_value(rule.p_value),
        m.verdict.word().to_owned(),
        m.power.map_or_else(String::new, |p| format!("{:.2}", p[1])),
    ]
}

/// The name of an enumeration's value as it is written in TOML.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
