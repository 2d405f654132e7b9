//! One decision of many metrics: ship, do not ship, or wait.
//!
//! The rule of Schultzberg, Ankargren & Frånberg, "Risk-aware product decisions in A/B tests with multiple
//! metrics" (2024): ship if at least one success metric is superior, every guardrail is non-inferior, nothing
//! deteriorates and the checks of quality pass. Alpha is split over success metrics only, since a guardrail can
//! but stop a launch; power is raised for guardrails, since all of them have to pass.

use serde::Serialize;

use super::analyze::{Checks, MetricResult};
use crate::metric::Role;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `ship`, `do_not_ship`, `wait` or `do_not_trust`.
    pub action: &'static str,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

/// Decides.
#[must_use]
pub fn decide(checks: &Checks, metrics: &[MetricResult]) -> Decision {
    let mut reasons = checks.problems.clone();
    if !reasons.is_empty() {
        return Decision { action: "do_not_trust", reasons };
    }
    let known = |role: Role| metrics.iter().filter(move |m| m.role == role);
    let mut stop = false;
    for m in metrics.iter().filter(|m| m.verdict.deteriorated) {
        stop = true;
        reasons.push(format!("`{}` is worse: {}", m.name, m.interval_text()));
    }
    let superior: Vec<&MetricResult> = known(Role::Success).filter(|m| m.verdict.superior).collect();
    for m in &superior {
        reasons.push(format!("`{}` is better: {}", m.name, m.interval_text()));
    }
    let mut open = false;
    let mut failed = false;
    for m in known(Role::Guardrail).filter(|m| !m.verdict.non_inferior) {
        let what = m.refused.clone().unwrap_or_else(|| m.interval_text());
        reasons.push(format!("guardrail `{}` is not shown to be within its margin: {what}", m.name));
        (open, failed) = (open || !m.is_final(), failed || m.is_final());
    }
    if superior.is_empty() && known(Role::Success).count() > 0 {
        let waiting = known(Role::Success).any(|m| !m.is_final());
        reasons.push(if waiting {
            "no success metric is superior yet and the planned sample is not reached".to_owned()
        } else {
            "no success metric is superior at the planned sample".to_owned()
        });
        (open, failed) = (open || waiting, failed || !waiting);
    }
    if known(Role::Success).count() == 0 {
        reasons.push("there is no success metric: nothing can be shipped on this experiment".to_owned());
        failed = true;
    }
    for m in metrics.iter().filter(|m| m.role == Role::Success && m.refused.is_some()) {
        reasons.push(format!("`{}` has no answer: {}", m.name, m.refused.as_deref().unwrap_or_default()));
    }
    let action = match (stop, open, failed) {
        (true, ..) | (false, false, true) => "do_not_ship",
        (false, true, _) => "wait",
        (false, false, false) => "ship",
    };
    if action == "ship" {
        reasons.push("every guardrail is within its margin and nothing is worse".to_owned());
    }
    Decision { action, reasons }
}
