//! The answer of `segue ope`: rows for the terminal and a page.

use anyhow::Result;
use segue_eval::off_policy::{FamilyJudgement, Judgement, Verdict};
use segue_report::{Bar, Bars, Cell, Level, Provenance, Report, Section, Table};

/// Header of the terminal's table.
pub(crate) const HEADER: [&str; 8] = [
    "target",
    "family",
    "verdict",
    "estimate",
    "interval",
    "minus logged",
    "effective sample",
    "unsupported",
];

/// One row per target and family.
pub(crate) fn rows(judgement: &Judgement) -> Vec<Vec<String>> {
    judgement.families.iter().map(|family| row(judgement, family)).collect()
}

fn row(judgement: &Judgement, family: &FamilyJudgement) -> Vec<String> {
    let range = |[low, high]: [f64; 2]| format!("{low:.5} to {high:.5}");
    let (verdict, estimate, interval, difference) = match &family.verdict {
        Verdict::Estimable(e) => (
            format!("estimable ({})", e.headline().estimator()),
            format!("{:.5}", e.headline().value()),
            range(e.headline().interval()),
            range(e.difference().interval()),
        ),
        Verdict::NotEstimable(_) => ("not estimable".to_owned(), String::new(), String::new(), String::new()),
    };
    vec![
        judgement.target.clone(),
        family.family.to_owned(),
        verdict,
        estimate,
        interval,
        difference,
        format!("{:.0}", family.weights.effective_sample_size),
        family.weights.unsupported_mass.map_or("not known".to_owned(), |m| format!("{m:.4}")),
    ]
}

/// Why there is no estimate, one line per refusal.
pub(crate) fn refusals(judgement: &Judgement) -> Vec<String> {
    let of = |family: &FamilyJudgement| match &family.verdict {
        Verdict::Estimable(_) => None,
        refused => Some(format!("{}, {}: {refused}", judgement.target, family.family)),
    };
    judgement.families.iter().filter_map(of).collect()
}

/// A page that opens offline.
pub(crate) fn html(judgements: &[&Judgement], data: &str, command: &str) -> Result<String> {
    let n_passed =
        judgements.iter().filter(|j| j.families.iter().any(|f| f.verdict.estimable().is_some())).count();
    let (level, text) = if n_passed == judgements.len() {
        (Level::Ok, "Every target policy can be estimated from this log under some assumption.".to_owned())
    } else {
        (
            Level::Warning,
            format!("{n_passed} of {} target policies can be estimated from this log.", judgements.len()),
        )
    };
    let mut report =
        Report::new("Off-policy evaluation", Provenance::new(data, "docs/off-policy.md", command))
            .banner(level, text);
    for judgement in judgements {
        report = report.section(section(judgement));
    }
    Ok(report.to_html()?)
}

fn section(judgement: &Judgement) -> Section {
    let mut section = Section::new(judgement.target.clone()).text(format!(
        "{} rounds or slates; the logging policy itself earned {:.5} ± {:.5} (standard error).",
        judgement.n_rounds, judgement.logged_mean, judgement.logged_standard_error
    ));
    let mut bars = Bars::new(format!("{}: estimates that passed", judgement.target), "mean reward")
        .reference(judgement.logged_mean, "logging policy");
    let mut any = false;
    for family in &judgement.families {
        section =
            section.text(format!("{} (assumes: {}): {}", family.family, family.assumption, family.verdict));
        if let Some(e) = family.verdict.estimable() {
            let mut table =
                Table::new(format!("{}: estimates", family.family), ["estimator", "mean reward", "note"]);
            for estimate in e.estimates() {
                let [low, high] = estimate.interval();
                table = table.row([
                    Cell::text(estimate.estimator()),
                    Cell::interval(estimate.value(), low, high, 5),
                    Cell::text(estimate.note().unwrap_or_default()),
                ]);
                bars = bars.bar(
                    Bar::new(format!("{} {}", family.family, estimate.estimator()), estimate.value())
                        .interval(low, high),
                );
                any = true;
            }
            section = section.table(table);
        }
        let mut checks = Table::new(
            format!("{}: what the gate found", family.family),
            ["rule", "found", "limit", "passed"],
        );
        for check in &family.checks {
            checks = checks.row([
                Cell::text(check.rule),
                Cell::number(check.value, 4),
                Cell::number(check.limit, 4),
                Cell::text(if check.passed { "yes" } else { "no" }),
            ]);
        }
        section = section.table(checks);
    }
    if any { section.plot(bars) } else { section }
}
