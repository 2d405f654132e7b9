//! The page `docs/world.md`: the world beside published figures, and what its guesses are worth.

use crate::client::SessionsConfig;
use crate::config::{Behaviour, WorldConfig};
use crate::marginals::{SOURCES, Verdict, marginals, to_markdown};
use crate::world::World;
use crate::{SimError, sweep};

/// Writes the page. `command` is what regenerates it, `reference` the world that is compared (meant:
/// [`WorldConfig::reference`]) and `small` the one of the sweep (meant: [`WorldConfig::demo`]).
///
/// # Errors
/// [`SimError::Config`] if a configuration breaks a rule.
pub fn page(command: &str, reference: &WorldConfig, small: &WorldConfig) -> Result<String, SimError> {
    let rows = marginals(&World::new(reference.clone())?);
    let close = |confidence: Option<char>| {
        let of = |r: &&crate::marginals::Marginal| confidence.is_none_or(|c| r.confidence == c);
        let n = rows.iter().filter(of).count();
        (rows.iter().filter(of).filter(|r| r.verdict == Verdict::Close).count(), n)
    };
    let (strong, n_strong) = close(Some('H'));
    let (all, n_all) = close(None);
    let sessions = SessionsConfig {
        n_users: small.n_users.min(600),
        from: small.end_day(),
        n_days: 10,
        ..SessionsConfig::default()
    };
    let swept = sweep::sweep(small, &sessions)?;
    let mut out = format!(
        "# The simulated world beside real listening\n\n\
         This page is generated: `{command}`.\n\n\
         `segue-sim` makes listeners whose true preferences are known. Below, figures of its log are computed with \
         the definition and the filter of each source. *Close* means within 15 % of the published number, or \
         within .03 for a share. Of the figures with strong evidence (H) {strong} of {n_strong} are close; of all \
         {all} of {n_all}. The defaults were fitted to these figures, on this world: close means that the model can \
         meet them together, not that it predicted them.\n\n\
         World compared: {} listeners, {} tracks, {} days, {} plays per listener and day on average, seed {}.\n\n",
        reference.n_users, reference.n_items, reference.n_days, reference.mean_plays_per_day, reference.seed
    );
    out.push_str(&to_markdown(&rows));
    out.push_str("\n## Sources\n\n");
    for (name, source) in SOURCES {
        out.push_str(&format!("- **{name}**: {source}\n"));
    }
    out.push_str(&format!(
        "\n## What nobody has published\n\n\
         Examination by position, autoplay, delays of offline plays, the half-life of releases and the cost of a \
         skip are parameters (`Behaviour`). The table says how one conclusion, that knowing a listener's genres beats \
         the chart in true utility per session, changes over their range: {} listeners, {} days, the same sessions \
         under both.\n\n",
        sessions.n_users, sessions.n_days
    ));
    out.push_str(&sweep::to_markdown(&swept));
    out.push_str("\nDefaults:\n\n```json\n");
    out.push_str(&serde_json::to_string_pretty(&Behaviour::default()).unwrap_or_default());
    out.push_str("\n```\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_section_and_names_its_command() {
        let config = WorldConfig { n_users: 10, n_items: 200, n_days: 3, ..WorldConfig::smoke(1) };
        let text = page("segue world", &config, &config).unwrap();
        for part in ["`segue world`", "## Sources", "## What nobody has published", "| `autoplay` | 0.9 |"] {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text, page("segue world", &config, &config).unwrap());
    }
}
