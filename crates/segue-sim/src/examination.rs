//! What of a slate is on screen and what is looked at, by position.
//!
//! The first shelf is always reached, each further one by scrolling down. Of a shelf the first
//! `visible_cards` are on screen; more come by scrolling along. A card on screen is looked at with
//! `examine_visible`. Which positions are looked at does not depend on what stands there, so it is the
//! same under two policies. No source gives these numbers: they are parameters of
//! [`crate::config::Behaviour`].

use crate::config::Behaviour;
use crate::rng::{Luck, Stream};

/// A card that came on screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnScreen {
    /// 0-based shelf.
    pub shelf: usize,
    /// 0-based card within the shelf.
    pub card: usize,
    /// Whether the listener looked at it; only then it can be chosen.
    pub looked_at: bool,
}

/// What came on screen of shelves with `shelf_lens` cards, from top to bottom and left to right.
///
/// `visit` distinguishes several looks within one session.
#[must_use]
pub fn examine(
    behaviour: &Behaviour,
    seed: u64,
    user: u32,
    session_ms: i64,
    visit: u64,
    shelf_lens: &[usize],
) -> Vec<OnScreen> {
    let mut out = Vec::new();
    for (shelf, &len) in shelf_lens.iter().enumerate() {
        let key = visit * 1_000 + shelf as u64;
        let luck = &mut Luck::new(seed, u64::from(user), session_ms, key, Stream::Examination);
        let reached = luck.chance(behaviour.scroll_shelf);
        if shelf > 0 && !reached {
            break;
        }
        for card in 0..len {
            let (u_scroll, u_look) = (luck.uniform(), luck.uniform());
            if card >= behaviour.visible_cards as usize && u_scroll >= behaviour.scroll_card {
                break;
            }
            out.push(OnScreen { shelf, card, looked_at: u_look < behaviour.examine_visible });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examination_falls_with_position_and_the_visible_cards_of_the_first_shelf_are_always_on_screen() {
        let behaviour = Behaviour::default();
        let mut looked = [[0_u32; 12]; 3];
        for session in 0..4_000 {
            let seen = examine(&behaviour, 1, 2, session, 0, &[12, 12, 12]);
            assert_eq!(seen.iter().filter(|s| s.shelf == 0 && s.card < 3).count(), 3);
            seen.iter().filter(|s| s.looked_at).for_each(|s| looked[s.shelf][s.card] += 1);
        }
        assert!(looked[0][0] > looked[1][0] && looked[1][0] > looked[2][0]);
        assert!(looked[0][2] > looked[0][5] && looked[0][5] > looked[0][11], "{looked:?}");
        assert!((3_500..3_700).contains(&looked[0][0]), "{}", looked[0][0]);
    }

    #[test]
    fn a_longer_slate_does_not_change_what_is_looked_at_above() {
        let behaviour = Behaviour::default();
        let short = examine(&behaviour, 1, 2, 77, 0, &[5, 5]);
        let long = examine(&behaviour, 1, 2, 77, 0, &[5, 5, 5, 5]);
        assert_eq!(long[..short.len()], short[..]);
        assert!(examine(&behaviour, 1, 2, 77, 0, &[]).is_empty());
    }
}
