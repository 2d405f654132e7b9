//! The tables for people.

use segue_eval::{EvaluationReport, SlicingReport};

use super::Evaluation;
use super::examples::Example;
use super::ranker::HeadQuality;
use crate::measure::bytes_for_people;
use crate::output;

/// Prints everything an evaluation found.
pub(crate) fn print(found: &Evaluation) {
    let report = &found.retrieval;
    let split = &report.split;
    output::line(&format!(
        "split {}: {} train plays, {} listeners asked, {} items; seen items {}",
        split.kind,
        split.n_train_plays,
        split.n_test_users,
        split.n_train_items,
        if report.protocol.filter_seen { "left out" } else { "allowed" },
    ));
    output::line(&format!("not asked or not predictable: {}", split.dropped));
    models(report);
    for left_out in &report.left_out {
        output::line(&format!("{} left out: {}", left_out.model, left_out.why));
    }
    differences(report);
    for slicing in &report.slices {
        slices(report, slicing);
    }
    found.examples.iter().for_each(example);
    if !found.ranker.is_empty() {
        ranker(&found.ranker);
    }
    if let Some(why) = &found.no_ranker {
        output::line(&format!("no ranker: {why}"));
    }
}

fn estimate(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match (value, interval) {
        (Some(value), Some([low, high])) => format!("{value:.4} [{low:.4}, {high:.4}]"),
        (Some(value), None) => format!("{value:.4}"),
        (None, _) => "–".to_owned(),
    }
}

fn models(report: &EvaluationReport) {
    let mut header = vec!["model".to_owned()];
    if let Some(first) = report.models.first() {
        header.extend(first.metrics.iter().map(|m| format!("{}@{}", m.metric, m.k)));
    }
    header.extend(["fit s", "µs/listener", "peak memory"].map(str::to_owned));
    let rows: Vec<Vec<String>> = report
        .models
        .iter()
        .map(|m| {
            let mut row = vec![m.name.clone()];
            row.extend(m.metrics.iter().map(|v| estimate(v.value, v.interval)));
            row.push(m.fit_seconds.map_or_else(String::new, |s| format!("{s:.2}")));
            row.push(m.recommend_us_per_user.map_or_else(String::new, |us| format!("{us:.0}")));
            row.push(m.peak_memory_bytes.map_or_else(String::new, bytes_for_people));
            row
        })
        .collect();
    output::table(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    for model in &report.models {
        for metric in &model.metrics {
            // Models without chance say the same with every seed.
            let over = metric.over_seeds.as_ref();
            if let Some(over) = over.filter(|o| o.values.windows(2).any(|w| w[0] != w[1])) {
                let values: Vec<String> = over.values.iter().map(|v| estimate(*v, None)).collect();
                let mean = estimate(metric.value, over.interval);
                output::line(&format!(
                    "{} {}@{} over seeds: {mean} ({})",
                    model.name,
                    metric.metric,
                    metric.k,
                    values.join(", ")
                ));
            }
        }
    }
}

/// Every model against the first, for the first metric; JSON and the page have all pairs and metrics.
fn differences(report: &EvaluationReport) {
    let Some(first) = report.models.first().and_then(|m| m.metrics.first()) else { return };
    let rows: Vec<Vec<String>> = report
        .models
        .iter()
        .filter_map(|model| {
            let d = report.get(&model.name, &first.metric, first.k)?.difference.as_ref()?;
            let p = |p: Option<f64>| p.map_or_else(|| "–".to_owned(), segue_report::p_value);
            let value = format!("{:+.4} [{:+.4}, {:+.4}]", d.value, d.interval[0], d.interval[1]);
            Some(vec![model.name.clone(), value, p(d.p_value), p(d.p_value_holm)])
        })
        .collect();
    if !rows.is_empty() {
        let against = format!("{}@{} against {}", first.metric, first.k, report.models[0].name);
        output::table(&["model", &against, "p (t-test)", "p (Holm)"], &rows);
    }
}

fn slices(report: &EvaluationReport, slicing: &SlicingReport) {
    let Some(first) = slicing.groups.first().and_then(|g| g.numbers.first()) else { return };
    let mut header = vec![slicing.slicing.clone(), "listeners".to_owned()];
    header.extend(report.models.iter().map(|m| format!("{} {}@{}", m.name, first.metric, first.k)));
    let rows: Vec<Vec<String>> = slicing
        .groups
        .iter()
        .map(|group| {
            let own = group.numbers.iter().filter(|n| (&n.metric, n.k) == (&first.metric, first.k));
            let mut row = vec![group.group.clone(), group.n_users.to_string()];
            row.extend(own.map(|n| estimate(n.value, n.interval)));
            row
        })
        .collect();
    output::table(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
}

/// A listener, one line per model.
fn example(example: &Example) {
    let history: Vec<String> =
        example.history.iter().map(|played| format!("{} ({})", played.title, played.n_plays)).collect();
    output::line(&format!("listener {} played {}", example.user, history.join(", ")));
    let rows: Vec<Vec<String>> = example
        .lists
        .iter()
        .map(|list| {
            let shown: Vec<String> = list.items.iter().map(super::examples::Shown::text).collect();
            vec![list.model.clone(), shown.join(", ")]
        })
        .collect();
    output::table(&["model", "shows (✓: in the test part)"], &rows);
}

fn ranker(heads: &[HeadQuality]) {
    let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
    let rows: Vec<Vec<String>> = heads
        .iter()
        .map(|h| {
            let q = &h.quality;
            vec![
                h.head.clone(),
                q.n_rows.to_string(),
                format!("{:.4}", q.log_loss),
                format!("{:.4}", q.base_log_loss),
                number(q.auc),
                number(q.auc_within_requests.as_ref().map(|w| w.mean)),
                format!("{:.4}", q.calibration_error),
            ]
        })
        .collect();
    let header = [
        "ranker head",
        "rows",
        "log loss",
        "of the base rate",
        "AUC",
        "AUC within request",
        "calibration error",
    ];
    output::table(&header, &rows);
}
