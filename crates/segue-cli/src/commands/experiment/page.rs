//! An analysis as one page.

use segue_experiment::analysis::{Analysis, AnalysisSpec, Comparison, MetricResult};
use segue_report::{Axis, Cell, Level, Line, Lines, Provenance, Report, Section, Table};
use segue_stats::multi_metric_decision::Direction;
use segue_types::{DAY_MS, TimestampMs};

use super::text::word;

pub(super) fn page(spec: &AnalysisSpec, analysis: &Analysis, command: &str) -> Report {
    let tally = analysis.checks.exposures;
    let provenance = Provenance::new(
        format!("{} exposure rows, {} units", tally.n_rows, tally.n_units),
        format!(
            "{}; two-sided error {:.4} per test; looks every {} h",
            word(&analysis.rule).replace('_', "-"),
            analysis.alpha_per_test,
            spec.sequential.look_hours
        ),
        command,
    )
    .with("version", env!("CARGO_PKG_VERSION"));
    let mut report = Report::new(format!("Experiment {}", analysis.name), provenance);
    let (level, text) = headline(analysis);
    report = report.banner(level, text);
    if !spec.hypothesis.is_empty() {
        report = report.section(Section::new("Question").text(spec.hypothesis.clone()));
    }
    report = report.section(quality(analysis));
    for comparison in &analysis.comparisons {
        report = report.section(summary(analysis, comparison));
        for metric in comparison.metrics.iter().filter(|m| m.refused.is_none()) {
            report = report.section(detail(spec, comparison, metric));
        }
    }
    report
}

fn headline(analysis: &Analysis) -> (Level, String) {
    if let Some(problem) = analysis.checks.problems.first() {
        return (Level::Stop, format!("Do not act on these numbers: {problem}."));
    }
    let words: Vec<String> = analysis
        .comparisons
        .iter()
        .map(|c| format!("{}: {}", c.arm, c.decision.action.replace('_', " ")))
        .collect();
    let ships = analysis.comparisons.iter().any(|c| c.decision.action == "ship");
    (if ships { Level::Ok } else { Level::Warning }, words.join("; "))
}

fn quality(analysis: &Analysis) -> Section {
    let mut arms = Table::new("Units per arm", ["arm", "units", "planned share"]);
    for a in &analysis.arms {
        arms = arms.row([Cell::text(&a.name), Cell::Count(a.n_units), Cell::percent(a.planned_share, 2)]);
    }
    let c = &analysis.checks;
    let t = c.exposures;
    let mut checks = Table::new("Checks", ["check", "value"])
        .row([Cell::text("sample ratio, at the end: p"), Cell::p_value(c.srm_p)])
        .row([Cell::text("sample ratio, valid at every look: p"), Cell::p_value(c.srm_anytime_p)])
        .row([Cell::text("units that met several arms"), Cell::Count(t.n_mixed)])
        .row([Cell::text("rows outside the days"), Cell::Count(t.n_outside)])
        .row([Cell::text("rows not triggered"), Cell::Count(t.n_not_triggered)]);
    for p in &c.pre_period {
        checks = checks.row([
            Cell::text(format!("{} before exposure, {}: p", p.metric, p.arm)),
            Cell::p_value(p.p_value),
        ]);
    }
    let mut section = Section::new("Quality").table(arms).table(checks);
    for problem in &c.problems {
        section = section.text(problem.clone());
    }
    section
}

fn summary(analysis: &Analysis, comparison: &Comparison) -> Section {
    let mut table = Table::new(
        "Relative lift at the deciding look; intervals are valid under the rule",
        ["metric", "role", "lift, %", "p", "verdict", "power at the end"],
    );
    for m in &comparison.metrics {
        let percent = |v: f64| 100.0 * v;
        let lift = match (&m.refused, m.lift, m.lift_interval) {
            (None, Some(lift), Some(i)) => Cell::interval(percent(lift), percent(i[0]), percent(i[1]), 2),
            _ => Cell::Missing,
        };
        table = table.row([
            Cell::text(&m.name),
            Cell::text(word(&m.role)),
            lift,
            m.rule.as_ref().map_or(Cell::Missing, |r| Cell::p_value(r.p_value)),
            Cell::text(m.refused.clone().unwrap_or_else(|| m.verdict.word().to_owned())),
            m.power.map_or(Cell::Missing, |p| Cell::number(p[1], 2)),
        ]);
    }
    let title = format!("{} against {}", comparison.arm, analysis.arms[0].name);
    let decision = comparison.decision.action.replace('_', " ");
    let mut section = Section::new(title).text(format!("Decision: {decision}.")).table(table);
    for reason in &comparison.decision.reasons {
        section = section.text(format!("– {reason}"));
    }
    section
}

fn detail(spec: &AnalysisSpec, comparison: &Comparison, m: &MetricResult) -> Section {
    let mut section = Section::new(format!("{}: {}", comparison.arm, m.name));
    if !m.about.is_empty() {
        section = section.text(m.about.clone());
    }
    let Some(rule) = &m.rule else { return section };
    let first = rule.looks.first().map_or(0, |l| l.at_ms);
    let day = |at: i64| (at - first) as f64 / DAY_MS as f64;
    let mut effect = Lines::new(
        "Effect over time",
        Axis::new("days since the first look"),
        Axis::new("treatment minus control"),
    )
    .about("The band is valid at every look under the rule; where it leaves 0 the test may stop.")
    .line(
        Line::new("effect", rule.looks.iter().map(|l| (day(l.at_ms), l.effect)))
            .band(rule.looks.iter().map(|l| (day(l.at_ms), l.interval[0], l.interval[1]))),
    )
    .reference(0.0, "no effect");
    if let Some(margin) = m.margin {
        // The margin lies on the bad side of 0.
        let less_is_better =
            spec.metrics.iter().any(|s| s.name == m.name && s.direction == Some(Direction::Decrease));
        let bad = if less_is_better { margin } else { -margin };
        effect = effect.reference(bad, "margin");
    }
    let upper = rule.looks.iter().map(|l| (day(l.at_ms), l.boundary));
    let lower = rule.looks.iter().map(|l| (day(l.at_ms), -l.boundary));
    let z = Lines::new("z against its boundary", Axis::new("days since the first look"), Axis::new("z"))
        .about("Effect over its standard error, and what it is compared with at each look.")
        .line(Line::new("z", rule.looks.iter().map(|l| (day(l.at_ms), l.z))))
        .line(Line::new("upper boundary", upper))
        .line(Line::new("lower boundary", lower));
    section = section.plot(effect).plot(z);
    let mut facts = Table::new("At the deciding look", ["what", "value"]);
    let look = &rule.looks[rule.crossed_at.unwrap_or(rule.looks.len() - 1)];
    facts = facts
        .row([Cell::text("day"), Cell::text(TimestampMs(look.at_ms).day().to_iso())])
        .row([Cell::text("units"), Cell::Count(look.n_units)])
        .row([Cell::text("share of the planned units"), Cell::percent(look.information, 1)])
        .row([
            Cell::text("effect, interval of the rule"),
            Cell::interval(look.effect, look.interval[0], look.interval[1], 5),
        ]);
    if let Some(a) = &rule.after_stopping {
        facts = facts.row([
            Cell::text("median-unbiased effect, stagewise interval"),
            Cell::interval(a.median_unbiased, a.interval[0], a.interval[1], 5),
        ]);
    }
    if let Some([low, high]) = m.fieller {
        facts = facts.row([
            Cell::text("relative lift, Fieller, %"),
            Cell::text(format!("[{:.2}, {:.2}]", 100.0 * low, 100.0 * high)),
        ]);
    }
    if let Some(v) = m.estimates.last().and_then(|e| e.variance_reduction) {
        facts = facts.row([Cell::text("variance removed by the covariate"), Cell::percent(v, 1)]);
    }
    if let Some([now, end, conditional]) = m.power {
        facts = facts.row([
            Cell::text("power for the planned effect: now, at the end, given the data"),
            Cell::text(format!("{now:.2}, {end:.2}, {conditional:.2}")),
        ]);
    }
    if let Some(b) = &m.insight.bayes {
        facts = facts.row([Cell::text("chance to win, prior N(0, 5 %)"), Cell::percent(b.chance_to_win, 1)]);
    }
    if let Some(p) = m.insight.novelty_p {
        facts = facts.row([Cell::text("effect constant over days since exposure: p"), Cell::number(p, 4)]);
    }
    if let Some(p) = m.insight.heterogeneity_p {
        facts = facts.row([Cell::text("effect the same in all segments: p"), Cell::number(p, 4)]);
    }
    section = section.table(facts);
    if !m.insight.days.is_empty() {
        let days = &m.insight.days;
        section = section.plot(
            Lines::new(
                "Effect by day since exposure",
                Axis::new("day"),
                Axis::new("treatment minus control"),
            )
            .line(
                Line::new("effect", days.iter().map(|d| (d.day as f64, d.effect)))
                    .band(days.iter().map(|d| (d.day as f64, d.interval[0], d.interval[1]))),
            )
            .reference(0.0, "no effect"),
        );
    }
    if !m.insight.segments.is_empty() {
        let mut table =
            Table::new("Segments", ["segment", "units", "effect", "standard error", "p against the rest"]);
        for s in &m.insight.segments {
            table = table.row([
                Cell::text(&s.segment),
                Cell::Count(s.n_units),
                Cell::number(s.effect, 4),
                Cell::number(s.standard_error, 4),
                Cell::p_value(s.p_value),
            ]);
        }
        section = section.table(table);
    }
    section
}
