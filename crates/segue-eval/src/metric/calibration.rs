//! Calibration: whether a list has the listener's own mix of genres.

use super::{Compute, Metric, Ranking};
use crate::data::ItemTags;

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "calibration_kl",
    about: "KL divergence of the tag mix of the top k from that of the history, nats; 0 is calibrated",
    compute: Compute::PerUser(calibration_kl),
}];

/// Share of the history's mix that is blended into the list's, so that a missing tag is not infinite.
const ALPHA: f64 = 0.01;

/// `Σ_g p(g) ln(p(g) / q̃(g))`, `q̃ = (1 − α) q + α p`, `α = 0.01`: `p` is the tag mix of the items of
/// the history, `q` that of the list; an item with `n` tags gives each `1/n`, items without tags count
/// in neither. NaN where history or list has no tagged item.
///
/// Source: Steck, "Calibrated Recommendations", RecSys 2018, equations 2 to 5 with equal weights.
fn calibration_kl(r: &Ranking<'_>) -> f64 {
    let Some(tags) = r.catalogue.tags else { return f64::NAN };
    let (own, list) = (mix_of(tags, r.history), mix_of(tags, r.top));
    if own.is_empty() || list.is_empty() {
        return f64::NAN;
    }
    own.iter()
        .map(|&(tag, p)| {
            let q = list.binary_search_by_key(&tag, |m| m.0).map_or(0.0, |at| list[at].1);
            p * (p / ((1.0 - ALPHA) * q + ALPHA * p)).ln()
        })
        .sum()
}

/// `(tag, share)` of a set of items, tags ascending, shares adding up to 1; empty without tagged items.
fn mix_of(tags: &ItemTags, items: &[u32]) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> = Vec::new();
    let mut n_tagged = 0.0;
    for &item in items {
        let own = tags.of(item);
        if !own.is_empty() {
            n_tagged += 1.0;
            all.extend(own.iter().map(|&tag| (tag, 1.0 / own.len() as f64)));
        }
    }
    all.sort_by_key(|t| t.0);
    all.chunk_by(|a, b| a.0 == b.0)
        .map(|same| (same[0].0, same.iter().map(|t| t.1).sum::<f64>() / n_tagged))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn the_same_mix_is_calibrated_and_another_is_not() {
        // Even items are `a`, odd ones `b`, item 4 is both, item 9 has no tag.
        is(value("calibration_kl", &[2, 5], 2, &[9], &[0, 1]), 0.0);
        is(value("calibration_kl", &[4], 1, &[9], &[0, 1]), 0.0);
        // p = (a 1/2, b 1/2), q = (a 1): q̃ = (.995, .005).
        let want = 0.5 * (0.5_f64 / 0.995).ln() + 0.5 * (0.5_f64 / 0.005).ln();
        is(value("calibration_kl", &[2, 6, 9], 3, &[9], &[0, 1]), want);
        // p = (a 3/4, b 1/4) from items 0 and 4, q = (b 1).
        let want = 0.75 * (0.75_f64 / 0.0075).ln() + 0.25 * (0.25_f64 / 0.9925).ln();
        is(value("calibration_kl", &[1], 1, &[9], &[0, 4]), want);
    }

    #[test]
    fn without_tags_it_is_not_defined() {
        assert!(value("calibration_kl", &[9], 1, &[1], &[0]).is_nan());
        assert!(value("calibration_kl", &[0], 1, &[1], &[9]).is_nan());
        assert!(value("calibration_kl", &[], 1, &[1], &[0]).is_nan());
    }
}
