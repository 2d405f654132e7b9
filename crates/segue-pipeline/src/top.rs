//! Best first, with a cap per group. Deterministic: every propensity is 1.

use crate::diversity::GroupCap;
use crate::rng::SlateRng;
use crate::stage::{Pick, Pool, Selector};

/// Takes the best candidates in order, skipping those over the cap.
#[derive(Debug, Clone, Copy)]
pub struct TopSelector {
    /// Most cards of one group; 0 is no cap.
    pub max_per_group: u32,
}

impl Selector for TopSelector {
    fn select(&self, pool: &Pool<'_>, limit: usize, _rng: &mut SlateRng) -> Vec<Pick> {
        let mut cap = GroupCap::new(self.max_per_group);
        let mut picks = Vec::new();
        for (index, &group) in pool.groups.iter().enumerate() {
            if picks.len() == limit {
                break;
            }
            if cap.admits(group) {
                cap.choose(group);
                picks.push(Pick { index, prefix_propensity: 1.0 });
            }
        }
        picks
    }
}
