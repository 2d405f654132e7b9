//! Slices: the same numbers for groups of users, or for groups of the items to predict.
//!
//! | name | groups |
//! |---|---|
//! | `history_length` | plays in the history when asked: 1–5, 6–10, 11–20, 21–50, 51–100, more |
//! | `user_age` | new (first play known less than 28 days before the moment asked at) or old; dated data |
//! | `item_popularity` | tenths of the train items by train users, the most popular first |
//! | `user:COLUMN` | values of a column of users, such as `user:market` |
//! | `item:COLUMN` | values of a column of items |
//!
//! Groups of users part the users. Groups of items part each user's targets: a user counts in every
//! group in which they have one, and accuracy is that of finding those. A column's rare values (all
//! but the [`MAX_GROUPS`] most frequent) are one group, unknown values another.

use std::collections::HashMap;

use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
use segue_stats::random::mix;
use segue_types::DAY_MS;

use crate::EvalError;
use crate::compare::{Asked, mean};
use crate::data::{Column as Facts, Dataset};
use crate::evaluate::{Column, is_per_user};
use crate::protocol::Protocol;
use crate::report::{SliceNumber, SliceReport, SlicingReport};
use crate::split::Split;

/// Values of a column that are groups of their own.
pub const MAX_GROUPS: usize = 20;
/// A user is new for this many days.
const NEW_DAYS: i64 = 28;
/// Upper ends of the groups by length of history.
const LENGTHS: [usize; 5] = [5, 10, 20, 50, 100];

/// Groups of one slicing, settled for one split.
#[derive(Debug)]
pub(crate) struct Slicing {
    name: String,
    labels: Vec<String>,
    pub(crate) groups: Groups,
}

/// Which group a case or a target belongs to.
#[derive(Debug)]
pub(crate) enum Groups {
    /// `[n_cases]` group of each case.
    Cases(Vec<u16>),
    /// `[n_items]` group of each item row.
    Items(Vec<u16>),
}

/// Looks up slicings by name.
///
/// # Errors
/// [`EvalError::Protocol`] with the names that exist, [`EvalError::NeedsDates`] for `user_age` on
/// undated data.
pub(crate) fn resolve(
    names: &[String],
    data: &Dataset<'_>,
    split: &Split<'_>,
) -> Result<Vec<Slicing>, EvalError> {
    names
        .iter()
        .map(|name| {
            let (labels, groups) = match name.as_str() {
                "history_length" => by_history(split),
                "user_age" => by_age(data, split)?,
                "item_popularity" => by_popularity(split),
                other => by_column(other, data, split)?,
            };
            Ok(Slicing { name: name.clone(), labels, groups })
        })
        .collect()
}

fn by_history(split: &Split<'_>) -> (Vec<String>, Groups) {
    let mut labels = Vec::new();
    let mut from = 1;
    for to in LENGTHS {
        labels.push(format!("{from}–{to}"));
        from = to + 1;
    }
    labels.push(format!("{from} and more"));
    let of = |case| LENGTHS.partition_point(|&to| to < split.history(case).len()) as u16;
    (labels, Groups::Cases((0..split.n_cases()).map(of).collect()))
}

fn by_age(data: &Dataset<'_>, split: &Split<'_>) -> Result<(Vec<String>, Groups), EvalError> {
    let Some(now) = split.now.filter(|_| data.plays.is_dated()) else {
        return Err(EvalError::Protocol {
            setting: "slices",
            value: "`user_age`".into(),
            rule: "it needs the moment users are asked at, so a split by time of dated plays".into(),
        });
    };
    let of = |case| {
        let first = split.history(case).known_at.first().copied().unwrap_or(now.0);
        u16::from(now.0.saturating_sub(first) >= NEW_DAYS * DAY_MS)
    };
    let labels = vec![format!("new (under {NEW_DAYS} days)"), "old".to_owned()];
    Ok((labels, Groups::Cases((0..split.n_cases()).map(of).collect())))
}

fn by_popularity(split: &Split<'_>) -> (Vec<String>, Groups) {
    let n_users = &split.n_train_users;
    let mut order: Vec<u32> = (0..n_users.len() as u32).filter(|&i| n_users[i as usize] > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(n_users[i as usize]), i));
    let mut group = vec![9_u16; n_users.len()];
    for (place, &item) in order.iter().enumerate() {
        group[item as usize] = (10 * place / order.len()) as u16;
    }
    let labels = (1..=10).map(|d| match d {
        1 => "1 (most popular)".to_owned(),
        10 => "10 (least popular)".to_owned(),
        d => d.to_string(),
    });
    (labels.collect(), Groups::Items(group))
}

fn by_column(name: &str, data: &Dataset<'_>, split: &Split<'_>) -> Result<(Vec<String>, Groups), EvalError> {
    let find = |columns: &[Facts], wanted: &str| columns.iter().position(|c| c.name == wanted);
    if let Some(at) = name.strip_prefix("user:").and_then(|n| find(data.user_columns, n)) {
        let values = &data.user_columns[at].values;
        let of_case = |case: usize| values[split.user(case)].as_deref();
        let (labels, groups) = number((0..split.n_cases()).map(of_case));
        return Ok((labels, Groups::Cases(groups)));
    }
    if let Some(at) = name.strip_prefix("item:").and_then(|n| find(data.item_columns, n)) {
        let (labels, groups) = number(data.item_columns[at].values.iter().map(Option::as_deref));
        return Ok((labels, Groups::Items(groups)));
    }
    let mut known: Vec<String> =
        ["history_length", "user_age", "item_popularity"].map(str::to_owned).to_vec();
    known.extend(data.user_columns.iter().map(|c| format!("user:{}", c.name)));
    known.extend(data.item_columns.iter().map(|c| format!("item:{}", c.name)));
    Err(EvalError::Protocol {
        setting: "slices",
        value: format!("`{name}`"),
        rule: format!("for this data they are {}", known.join(", ")),
    })
}

/// Groups of values: the most frequent first, ties by name, then the rest, then the unknown.
fn number<'v>(values: impl Iterator<Item = Option<&'v str>> + Clone) -> (Vec<String>, Vec<u16>) {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for value in values.clone().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let mut order: Vec<(&str, u64)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    order.truncate(MAX_GROUPS);
    let group_of: HashMap<&str, u16> = order.iter().zip(0..).map(|(o, group)| (o.0, group)).collect();
    let (other, unknown) = (order.len() as u16, order.len() as u16 + 1);
    let groups = values.map(|v| v.map_or(unknown, |v| group_of.get(v).copied().unwrap_or(other))).collect();
    let mut labels: Vec<String> = order.iter().map(|o| o.0.to_owned()).collect();
    labels.extend(["(other)".to_owned(), "(unknown)".to_owned()]);
    (labels, groups)
}

/// Numbers of every group of every slicing.
pub(crate) fn report(
    protocol: &Protocol,
    columns: &[Column],
    slicings: &[Slicing],
    asked: &[Asked],
) -> Result<Vec<SlicingReport>, EvalError> {
    let per_user: Vec<usize> = (0..columns.len()).filter(|&c| is_per_user(&columns[c])).collect();
    let mut out = Vec::with_capacity(slicings.len());
    for (s, slicing) in slicings.iter().enumerate() {
        let mut groups = Vec::new();
        for (label, group) in slicing.labels.iter().zip(0_u16..) {
            // [models × per-user columns][users of the group]
            let values: Vec<Vec<f64>> = asked
                .iter()
                .flat_map(|model| {
                    let parts: Vec<&Vec<f64>> = model
                        .parts
                        .iter()
                        .filter(|p| p.slicing == s && p.group == group)
                        .map(|p| &p.values)
                        .collect();
                    let of = |(p, &c): (usize, &usize)| match &slicing.groups {
                        Groups::Cases(of_case) => of_case
                            .iter()
                            .zip(&model.values[c])
                            .filter(|(g, _)| **g == group)
                            .map(|(_, v)| *v)
                            .collect(),
                        Groups::Items(_) => parts.iter().map(|values| values[p]).collect(),
                    };
                    per_user.iter().enumerate().map(of).collect::<Vec<Vec<f64>>>()
                })
                .collect();
            let n_users = values.first().map_or(0, Vec::len);
            if n_users == 0 {
                continue;
            }
            let seed = mix(protocol.seed ^ 0x511C ^ ((s as u64) << 32 | u64::from(group)));
            let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
            let draws = bootstrap_means(&views, protocol.draws as usize, seed)?;
            let numbers = values
                .iter()
                .zip(&draws)
                .enumerate()
                .map(|(i, (values, draws))| {
                    let (metric, k) = &columns[per_user[i % per_user.len()]];
                    SliceNumber {
                        model: asked[i / per_user.len()].name.clone(),
                        metric: metric.name.to_owned(),
                        k: *k,
                        n_users: values.iter().filter(|v| !v.is_nan()).count(),
                        value: mean(values),
                        interval: percentile_interval(draws, protocol.confidence).ok(),
                    }
                })
                .collect();
            groups.push(SliceReport { group: label.clone(), n_users, numbers });
        }
        out.push(SlicingReport { slicing: slicing.name.clone(), groups });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_ordered_by_how_frequent_they_are() {
        let values = [Some("se"), Some("no"), None, Some("no"), Some("dk")];
        let (labels, groups) = number(values.into_iter());
        assert_eq!(labels, ["no", "dk", "se", "(other)", "(unknown)"]);
        assert_eq!(groups, [2, 0, 4, 0, 1]);
    }

    #[test]
    fn rare_values_share_a_group() {
        let names: Vec<String> = (0..30).map(|i| format!("v{i:02}")).collect();
        let (labels, groups) = number(names.iter().map(|n| Some(n.as_str())));
        assert_eq!(labels.len(), MAX_GROUPS + 2);
        assert_eq!(groups.iter().filter(|g| usize::from(**g) == MAX_GROUPS).count(), 10);
    }
}
