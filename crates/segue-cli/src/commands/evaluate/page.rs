//! The HTML page of an evaluation.

use segue_eval::{EvaluationReport, SlicingReport, metric};
use segue_report::{
    Axis, Bar, Bars, Bin, Calibration, Cell, Level, Line, Lines, Provenance, Report, Scatter, Section, Table,
};

use super::Evaluation;
use super::examples::Example;
use crate::measure::bytes_for_people;

/// The page: models with plots, differences between any two, slices, what was dropped, the ranker.
pub(super) fn page(found: &Evaluation) -> Report {
    let report = &found.retrieval;
    let p = &report.protocol;
    let protocol = format!(
        "{} split; seen items {}; {} bootstrap draws, {:.0} % intervals over listeners",
        report.split.kind,
        if p.filter_seen { "left out" } else { "allowed" },
        p.draws,
        100.0 * p.confidence
    );
    let from = Provenance::new(found.data.clone(), protocol, found.command.clone())
        .with("settings", found.settings.clone())
        .with("seeds", p.fit_seeds().iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
        .with("version", env!("CARGO_PKG_VERSION"));
    let page = Report::new(format!("Evaluation: {}", found.data), from);
    let mut page = match report.left_out.as_slice() {
        [] => page,
        left_out => {
            let said: Vec<String> = left_out.iter().map(|l| format!("{}: {}", l.model, l.why)).collect();
            page.banner(
                Level::Warning,
                format!("Not every model can learn from this data. {}", said.join("; ")),
            )
        }
    };
    page = page.section(models(report)).section(differences(report));
    for slicing in &report.slices {
        page = page.section(slices(report, slicing));
    }
    if !found.examples.is_empty() {
        page = page.section(examples(&found.examples));
    }
    page = page.section(split(report));
    if !found.ranker.is_empty() || found.no_ranker.is_some() {
        page = page.section(ranker(found));
    }
    page
}

fn models(report: &EvaluationReport) -> Section {
    let columns: Vec<(&str, usize)> = report
        .models
        .first()
        .map_or_else(Vec::new, |m| m.metrics.iter().map(|v| (v.metric.as_str(), v.k)).collect());
    let mut header = vec!["model".to_owned()];
    header.extend(columns.iter().map(|(name, k)| format!("{name}@{k}")));
    header.extend(["fit s", "µs per listener", "peak memory"].map(str::to_owned));
    let mut table = Table::new("Quality and cost; brackets hold the interval over listeners", header);
    for model in &report.models {
        let mut row = vec![Cell::text(model.name.clone())];
        row.extend(model.metrics.iter().map(|v| Cell::estimate(v.value, v.interval, 4)));
        row.push(Cell::estimate(model.fit_seconds, None, 2));
        row.push(Cell::estimate(model.recommend_us_per_user, None, 0));
        row.push(model.peak_memory_bytes.map_or(Cell::Missing, |b| Cell::text(bytes_for_people(b))));
        table.rows.push(row);
    }
    let mut section = Section::new("Models").table(table);
    if report.models.iter().any(|m| m.metrics.iter().any(|v| v.over_seeds.is_some())) {
        section = section.table(over_seeds(report));
    }
    for &(name, k) in &columns {
        let mut bars = Bars::new(format!("{name}@{k}"), format!("{name}@{k}"));
        if let Ok(found) = metric::find(name) {
            bars = bars.about(format!("{}.", found.about));
        }
        for model in &report.models {
            let Some(v) = report.get(&model.name, name, k) else { continue };
            let bar = Bar::new(model.name.clone(), v.value.unwrap_or(f64::NAN));
            bars = bars.bar(match v.interval {
                Some([low, high]) => bar.interval(low, high),
                None => bar,
            });
        }
        section = section.plot(bars);
    }
    if let Some(&(name, k)) = columns.first() {
        let points = report.models.iter().filter_map(|m| {
            let quality = report.get(&m.name, name, k)?.value?;
            Some((m.recommend_us_per_user?.max(1e-3).log10(), quality, m.name.clone()))
        });
        let x = Axis::new("log10 of µs per listener");
        let plot = Scatter::new("Quality and cost", x, Axis::new(format!("{name}@{k}")))
            .about("Up is better, left is cheaper.")
            .series("models", points.collect::<Vec<_>>());
        section = section.plot(plot);
    }
    section
}

fn over_seeds(report: &EvaluationReport) -> Table {
    let mut table = Table::new("From seed to seed", ["model", "metric", "mean", "values"]);
    for model in &report.models {
        for v in &model.metrics {
            if let Some(over) = &v.over_seeds {
                let values: Vec<String> =
                    over.values.iter().map(|v| Cell::estimate(*v, None, 4).to_text()).collect();
                table = table.row([
                    Cell::text(model.name.clone()),
                    Cell::text(format!("{}@{}", v.metric, v.k)),
                    Cell::estimate(v.value, over.interval, 4),
                    Cell::text(values.join(", ")),
                ]);
            }
        }
    }
    table
}

fn differences(report: &EvaluationReport) -> Section {
    let header = ["model", "minus", "metric", "difference", "p (t-test)", "p (bootstrap)", "p (Holm)"];
    let mut table = Table::new("Every model against every other, the same listeners in both", header);
    for d in &report.differences {
        let p = |p: Option<f64>| p.map_or(Cell::Missing, Cell::p_value);
        table = table.row([
            Cell::text(d.model.clone()),
            Cell::text(d.difference.baseline.clone()),
            Cell::text(format!("{}@{}", d.metric, d.k)),
            Cell::estimate(Some(d.difference.value), Some(d.difference.interval), 4),
            p(d.difference.p_value),
            p(Some(d.difference.p_value_bootstrap)),
            p(d.difference.p_value_holm),
        ]);
    }
    Section::new("Differences")
        .text("Holm's correction is over all rows of this table: below 0.05, a difference is hardly chance.")
        .table(table)
}

fn slices(report: &EvaluationReport, slicing: &SlicingReport) -> Section {
    let section = Section::new(format!("By {}", slicing.slicing));
    let Some(first) = slicing.groups.first().and_then(|g| g.numbers.first()) else {
        return section.text("No listener is in any group.");
    };
    let name = format!("{}@{}", first.metric, first.k);
    let mut header = vec!["group".to_owned(), "listeners".to_owned(), "metric".to_owned()];
    header.extend(report.models.iter().map(|m| m.name.clone()));
    let mut table = Table::new(format!("Groups of {}", slicing.slicing), header);
    for group in &slicing.groups {
        // Models come one after the other, each with the same metrics.
        let n_metrics = group.numbers.len() / report.models.len().max(1);
        for m in 0..n_metrics {
            let of_metric: Vec<_> = group.numbers.iter().skip(m).step_by(n_metrics).collect();
            let mut row = vec![
                Cell::text(group.group.clone()),
                Cell::from(group.n_users),
                Cell::text(format!("{}@{}", of_metric[0].metric, of_metric[0].k)),
            ];
            row.extend(of_metric.iter().map(|n| Cell::estimate(n.value, n.interval, 4)));
            table.rows.push(row);
        }
    }
    let mut plot = Lines::new(
        format!("{name} by {}", slicing.slicing),
        Axis::new("group, in the order of the table"),
        Axis::new(name),
    );
    for model in &report.models {
        let of_model = |(i, group): (usize, &segue_eval::SliceReport)| {
            let n = group
                .numbers
                .iter()
                .find(|n| n.model == model.name && (&n.metric, n.k) == (&first.metric, first.k))?;
            let [low, high] = n.interval.unwrap_or([f64::NAN; 2]);
            Some(((i + 1) as f64, n.value.unwrap_or(f64::NAN), low, high))
        };
        let points: Vec<(f64, f64, f64, f64)> =
            slicing.groups.iter().enumerate().filter_map(of_model).collect();
        let line = Line::new(model.name.clone(), points.iter().map(|p| (p.0, p.1)));
        plot = plot.line(line.band(points.iter().map(|p| (p.0, p.2, p.3))));
    }
    section.table(table).plot(plot)
}

fn examples(found: &[Example]) -> Section {
    let mut section = Section::new("Examples")
        .text("Listeners drawn by seed: what they played most in the train part, and what each model shows them. ✓ marks what the test part has.");
    for example in found {
        let mut header = vec!["place".to_owned(), "played most".to_owned()];
        header.extend(example.lists.iter().map(|list| list.model.clone()));
        let caption = format!("Listener {}, {} different items played", example.user, example.n_items);
        let mut table = Table::new(caption, header);
        let longest = example.lists.iter().map(|list| list.items.len()).max().unwrap_or(0);
        for place in 0..longest.max(example.history.len()) {
            let mut row = vec![Cell::from(place + 1)];
            row.push(example.history.get(place).map_or(Cell::Missing, |played| {
                Cell::text(format!("{} ({})", played.title, played.n_plays))
            }));
            row.extend(
                example.lists.iter().map(|list| {
                    list.items.get(place).map_or(Cell::Missing, |shown| Cell::text(shown.text()))
                }),
            );
            table.rows.push(row);
        }
        section = section.table(table);
    }
    section
}

fn split(report: &EvaluationReport) -> Section {
    let s = &report.split;
    let d = &s.dropped;
    let sizes = Table::new("Sizes", ["what", "count"])
        .row([Cell::text("listeners"), Cell::from(s.n_users)])
        .row([Cell::text("items"), Cell::from(s.n_items)])
        .row([Cell::text("listeners with a train play"), Cell::from(s.n_train_users)])
        .row([Cell::text("items with a train play"), Cell::from(s.n_train_items)])
        .row([Cell::text("train plays"), Cell::from(s.n_train_plays)])
        .row([Cell::text("listeners asked"), Cell::from(s.n_test_users)])
        .row([Cell::text("pairs to predict"), Cell::from(s.n_targets)]);
    let dropped = Table::new("Dropped", ["what", "count"])
        .row([Cell::text("listeners without test plays"), Cell::from(d.n_users_without_test)])
        .row([Cell::text("listeners too short to part"), Cell::from(d.n_users_too_short)])
        .row([Cell::text("listeners without history (cold)"), Cell::from(d.n_users_cold)])
        .row([
            Cell::text("listeners whose targets are unseen in training"),
            Cell::from(d.n_users_target_unseen),
        ])
        .row([
            Cell::text("listeners whose targets are in their history"),
            Cell::from(d.n_users_target_in_history),
        ])
        .row([Cell::text("targets unseen in training"), Cell::from(d.n_targets_cold)])
        .row([Cell::text("items unseen in training (cold)"), Cell::from(d.n_items_cold)])
        .row([Cell::text("targets in the history"), Cell::from(d.n_targets_in_history)])
        .row([Cell::text("plays in the gap"), Cell::from(d.n_plays_in_gap)])
        .row([Cell::text("late plays"), Cell::from(d.n_plays_late)])
        .row([Cell::text("plays after the test part"), Cell::from(d.n_plays_after_test)]);
    Section::new("Split").table(sizes).table(dropped)
}

fn ranker(found: &Evaluation) -> Section {
    let mut section = Section::new("Ranker");
    if let Some(why) = &found.no_ranker {
        section = section.text(format!("No ranker: {why}."));
    }
    for head in &found.ranker {
        let q = &head.quality;
        let bins = q.calibration.iter().map(|b| Bin {
            predicted: b.mean_probability,
            observed: b.rate,
            interval: Some(b.rate_interval),
            n: b.n_rows as u64,
        });
        let table = Table::new(format!("Head {}", head.head), ["measure", "value"])
            .row([Cell::text("rows"), Cell::from(q.n_rows)])
            .row([Cell::text("log loss"), Cell::estimate(Some(q.log_loss), Some(q.log_loss_interval), 4)])
            .row([Cell::text("log loss of the base rate"), Cell::number(q.base_log_loss, 4)])
            .row([Cell::text("AUC"), Cell::estimate(q.auc, None, 4)])
            .row([
                Cell::text("AUC within requests"),
                Cell::estimate(
                    q.auc_within_requests.as_ref().map(|w| w.mean),
                    q.auc_within_requests_interval,
                    4,
                ),
            ])
            .row([Cell::text("calibration error"), Cell::number(q.calibration_error, 4)]);
        section = section.table(table).plot(Calibration::new(format!("Calibration of {}", head.head), bins));
    }
    section
}
