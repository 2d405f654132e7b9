//! Where a play was started and how much of it was heard, in one byte.

use segue_types::Surface;

/// Surface and completion of a play.
///
/// ```
/// use segue_data::PlayContext;
/// use segue_types::Surface;
///
/// let context = PlayContext::of(Some(Surface::Radio), Some(50_000), Some(200_000));
/// assert_eq!((context.surface(), context.completion()), (usize::from(Surface::Radio.code()), 3));
/// assert_eq!(PlayContext::of(None, None, None), PlayContext::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayContext(u8);

impl PlayContext {
    /// Values of [`surface`](Self::surface).
    pub const N_SURFACES: usize = 16;
    /// Values of [`completion`](Self::completion).
    pub const N_COMPLETIONS: usize = 8;
    /// Upper ends of the shares of an item's duration that completions 1 to 6 stand for.
    pub const COMPLETION_BELOW: [f64; 6] = [0.05, 0.15, 0.3, 0.5, 0.7, 0.9];
    /// Marks the first play of a session, in a snapshot's file.
    const SESSION_START: u8 = 0x80;

    /// The context of a play; times in milliseconds.
    #[must_use]
    pub fn of(surface: Option<Surface>, listened_ms: Option<i64>, duration_ms: Option<i64>) -> Self {
        let share = match (listened_ms, duration_ms) {
            (Some(listened), Some(duration)) if duration > 0 => Some(listened as f64 / duration as f64),
            _ => None,
        };
        let bucket = |share| 1 + Self::COMPLETION_BELOW.iter().take_while(|&&end| share >= end).count() as u8;
        Self(surface.map_or(0, |s| s.code() & 15) | share.map_or(0, bucket) << 4)
    }

    /// From the byte of a column; every byte is one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// As the byte of a column.
    #[must_use]
    pub fn byte(self) -> u8 {
        self.0
    }

    /// The code of the [`Surface`], 0 if unknown; below [`N_SURFACES`](Self::N_SURFACES).
    #[must_use]
    pub fn surface(self) -> usize {
        usize::from(self.0 & 15)
    }

    /// Which share of the item was heard: 0 if unknown, 1 to 6 by [`COMPLETION_BELOW`](Self::COMPLETION_BELOW), 7 from the
    /// last end on.
    #[must_use]
    pub fn completion(self) -> usize {
        usize::from(self.0 >> 4 & 7)
    }

    /// Whether the play is the first of its session. Only snapshots' columns say so.
    #[must_use]
    pub fn starts_session(self) -> bool {
        self.0 & Self::SESSION_START != 0
    }

    /// The same play as the first of its session or not.
    #[must_use]
    pub fn with_start(self, starts_session: bool) -> Self {
        let rest = self.0 & !Self::SESSION_START;
        Self(if starts_session { rest | Self::SESSION_START } else { rest })
    }
}

/// Marks where `sessions`, numbers of one listener's sessions in the order of plays, begin.
pub(crate) fn mark_sessions(contexts: &mut [u8], sessions: &[u32]) {
    let mut last = None;
    for (context, session) in contexts.iter_mut().zip(sessions) {
        *context = PlayContext(*context).with_start(last != Some(session)).byte();
        last = Some(session);
    }
}

/// Numbers of sessions, 0-based for each listener, from the marks. `offsets` are the listeners'.
pub(crate) fn sessions(contexts: &[u8], offsets: &[u64], out: &mut [u32]) {
    let first = offsets.first().copied().unwrap_or(0);
    for user in offsets.windows(2) {
        let mut n = 0_u32;
        let contexts = &contexts[user[0] as usize..user[1] as usize];
        let out = &mut out[(user[0] - first) as usize..(user[1] - first) as usize];
        for (out, &byte) in out.iter_mut().zip(contexts) {
            n += u32::from(PlayContext(byte).starts_session());
            *out = n.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fall_into_buckets_whose_last_is_a_completion() {
        let of = |listened| PlayContext::of(None, Some(listened), Some(100)).completion();
        assert_eq!(
            [0, 4, 5, 14, 15, 29, 30, 49, 50, 69, 70, 89, 90, 300].map(of),
            [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
        );
        assert_eq!(PlayContext::of(Some(Surface::Home), Some(5), None).completion(), 0);
        assert_eq!(PlayContext::of(Some(Surface::Other), Some(5), Some(1)).surface(), 9);
    }

    #[test]
    fn sessions_come_back_from_their_marks() {
        let mut contexts = vec![0x25; 6];
        mark_sessions(&mut contexts[..4], &[0, 0, 1, 2]);
        mark_sessions(&mut contexts[4..], &[0, 1]);
        let mut numbers = [9; 6];
        sessions(&contexts, &[0, 4, 4, 6], &mut numbers);
        assert_eq!(numbers, [0, 0, 1, 2, 0, 1]);
        sessions(&contexts, &[4, 6], &mut numbers[..2]);
        assert_eq!(numbers, [0, 1, 1, 2, 0, 1], "listeners from the second on");
        assert!(contexts.iter().all(|&c| PlayContext::from_byte(c).with_start(false).byte() == 0x25));
    }
}
