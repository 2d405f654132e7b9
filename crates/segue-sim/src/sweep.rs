//! How a conclusion changes over the range of the parameters that nobody has published.
//!
//! The conclusion is that knowing a listener's genres beats the chart. For each parameter at a low and a
//! high value the same listeners use both policies ([`crate::policy`]) and the difference in true utility
//! per session is estimated, paired by listener.

use serde::Serialize;

use crate::SimError;
use crate::client::{SessionsConfig, run_sessions_with};
use crate::config::{Behaviour, WorldConfig};
use crate::policy::{Knowledge, ReferencePolicy};
use crate::world::World;

/// One setting of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepRow {
    /// Name of the parameter; `defaults` for the first row.
    pub parameter: &'static str,
    /// Its value.
    pub value: f64,
    /// True utility per session under the chart, in minutes.
    pub chart_min: f64,
    /// The same under the listener's genres.
    pub genres_min: f64,
    /// Mean over listeners of the paired difference, in minutes.
    pub difference_min: f64,
    /// Its standard error.
    pub standard_error_min: f64,
    /// Listeners in the pairs.
    pub n_users: usize,
}

type Setter = fn(&mut Behaviour, f64);

/// Parameters without a published value, with the range they are swept over.
const PARAMETERS: &[(&str, [f64; 2], Setter)] = &[
    ("visible_cards", [2.0, 6.0], |b, v| b.visible_cards = v as u32),
    ("examine_visible", [0.5, 1.0], |b, v| b.examine_visible = v),
    ("scroll_card", [0.3, 0.9], |b, v| b.scroll_card = v),
    ("scroll_shelf", [0.2, 0.9], |b, v| b.scroll_shelf = v),
    ("autoplay", [0.1, 0.9], |b, v| b.autoplay = v),
    ("offline_share", [0.0, 0.2], |b, v| b.offline_share = v),
    ("release_half_life_days", [10.0, 180.0], |b, v| b.release_half_life_days = v),
    ("dark_share", [0.05, 0.5], |b, v| b.dark_share = v),
    ("skip_cost_min", [0.0, 1.0], |b, v| b.skip_cost_min = v),
];

/// Runs the sweep: `base` at its defaults, then each parameter at both ends of its range.
///
/// # Errors
/// [`SimError::Config`] if `base` or `sessions` breaks a rule.
pub fn sweep(base: &WorldConfig, sessions: &SessionsConfig) -> Result<Vec<SweepRow>, SimError> {
    let mut rows = vec![row("defaults", f64::NAN, base.clone(), sessions)?];
    for &(parameter, range, set) in PARAMETERS {
        for value in range {
            let mut config = base.clone();
            set(&mut config.behaviour, value);
            rows.push(row(parameter, value, config, sessions)?);
        }
    }
    Ok(rows)
}

fn row(
    parameter: &'static str,
    value: f64,
    config: WorldConfig,
    sessions: &SessionsConfig,
) -> Result<SweepRow, SimError> {
    let world = World::new(config)?;
    let under = |knowledge| {
        let policy = ReferencePolicy::new(&world, knowledge, sessions.n_users, sessions.from);
        run_sessions_with(&world, &policy, sessions)
    };
    let (chart, genres) = (under(Knowledge::Chart)?, under(Knowledge::Genres)?);
    let differences = chart.paired_differences(&genres);
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(SweepRow {
        parameter,
        value,
        chart_min: chart.utility_per_session().unwrap_or(f64::NAN),
        genres_min: genres.utility_per_session().unwrap_or(f64::NAN),
        difference_min: mean,
        standard_error_min: (variance / n).sqrt(),
        n_users: differences.len(),
    })
}

/// The rows as a Markdown table.
#[must_use]
pub fn to_markdown(rows: &[SweepRow]) -> String {
    let mut out = String::from(
        "| parameter | value | chart, min | genres, min | difference, min | ± 1.96 standard errors |\n|---|---|---|---|---|---|\n",
    );
    for r in rows {
        let value = if r.value.is_finite() { r.value.to_string() } else { "–".to_owned() };
        out.push_str(&format!(
            "| `{}` | {value} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            r.parameter,
            r.chart_min,
            r.genres_min,
            r.difference_min,
            1.96 * r.standard_error_min
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_every_parameter_is_a_valid_configuration() {
        for &(parameter, range, set) in PARAMETERS {
            for value in range {
                let mut config = WorldConfig::smoke(1);
                set(&mut config.behaviour, value);
                assert_ne!(config.behaviour, Behaviour::default(), "{parameter} at {value} changes nothing");
                config.validate().unwrap();
            }
        }
    }

    #[test]
    fn a_sweep_has_a_row_per_setting() {
        let base = WorldConfig { n_users: 20, n_items: 400, n_days: 5, ..WorldConfig::smoke(1) };
        let sessions =
            SessionsConfig { n_users: 20, from: base.end_day(), n_days: 2, ..SessionsConfig::default() };
        let rows = sweep(&base, &sessions).unwrap();
        assert_eq!(rows.len(), 1 + 2 * PARAMETERS.len());
        assert_eq!(to_markdown(&rows).lines().count(), rows.len() + 2);
    }
}
