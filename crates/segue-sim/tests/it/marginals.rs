//! Figures with strong evidence stay close to what is published.

use segue_sim::marginals::{Verdict, marginals, to_markdown};
use segue_sim::{World, WorldConfig};

/// Rows with strong evidence that the world does not meet, and why (see `docs/world.md`).
const KNOWN_TO_BE_OFF: &[&str] = &[
    // Contradicts the contexts of MS, which the world follows.
    "programmed listening (Home, radio, editorial, charts, autoplay)",
];
/// Rows that need the many plays per track of the full reference world.
const NEED_SIZE: &[&str] = &["released tracks never played", "listens of the top 7.3 % of played tracks"];

#[test]
fn figures_with_strong_evidence_are_close_except_the_ones_said_to_be_off() {
    let world = World::new(WorldConfig { n_users: 1_200, ..WorldConfig::reference(11) }).unwrap();
    let rows = marginals(&world);
    assert!(rows.len() >= 35);
    for row in rows.iter().filter(|r| r.confidence == 'H' && !NEED_SIZE.contains(&r.quantity)) {
        let expected = if KNOWN_TO_BE_OFF.contains(&row.quantity) { Verdict::Off } else { Verdict::Close };
        assert_eq!(row.verdict, expected, "{}: {} against {}", row.quantity, row.simulated, row.published);
    }
    assert!(rows.iter().all(|r| r.verdict == Verdict::Close || !r.why.is_empty()), "an off row says why");
    assert_eq!(to_markdown(&rows).lines().count(), rows.len() + 2);
}

#[test]
fn an_empty_world_has_no_figures_and_no_panic() {
    for (n_users, n_items, n_days) in [(0, 10, 3), (5, 0, 3), (5, 10, 0)] {
        let world = World::new(WorldConfig { n_users, n_items, n_days, ..WorldConfig::smoke(1) }).unwrap();
        assert!(!marginals(&world).is_empty());
    }
}
