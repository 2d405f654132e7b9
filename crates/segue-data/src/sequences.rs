//! Packed sequences: every listener's plays in order, as flat columns with offsets.

/// The plays of all users, packed: user row `u` owns the range `offsets[u]..offsets[u + 1]`.
///
/// Within a user, rows follow the known-at order `(known_at, event_id)`; data without dates keeps
/// the order of its file. This is what sequence and co-occurrence models train on, whether it
/// comes memory-mapped from a snapshot or from a benchmark file. Columns other than `item` are
/// empty where the data does not have them.
#[derive(Debug, Clone, Copy)]
pub struct Sequences<'a> {
    /// `[n_users + 1]`, first 0, last `item.len()`.
    pub offsets: &'a [u64],
    /// `[n_plays]`, item rows below `n_items`.
    pub item: &'a [u32],
    /// `[n_plays]` codes of [`Action`](segue_types::Action), or empty.
    pub action: &'a [u8],
    /// `[n_plays]` UTC milliseconds when playback began, or empty for undated data.
    pub occurred_at: &'a [i64],
    /// `[n_plays]` UTC milliseconds when the system knew, or empty for undated data.
    pub known_at: &'a [i64],
    /// `[n_plays]` 0-based session numbers per user, or empty.
    pub session: &'a [u32],
    /// `[n_plays]` bytes of [`PlayContext`](crate::PlayContext), or empty.
    pub context: &'a [u8],
    /// Number of item rows.
    pub n_items: u32,
}

/// One user's part of [`Sequences`]; columns the data lacks are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence<'a> {
    /// Item rows, oldest first.
    pub item: &'a [u32],
    /// Action codes.
    pub action: &'a [u8],
    /// When playback began.
    pub occurred_at: &'a [i64],
    /// When the system knew.
    pub known_at: &'a [i64],
    /// Session numbers.
    pub session: &'a [u32],
    /// Surfaces and completions.
    pub context: &'a [u8],
}

impl<'a> Sequences<'a> {
    /// Number of user rows.
    #[must_use]
    pub fn n_users(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of plays.
    #[must_use]
    pub fn n_plays(&self) -> usize {
        self.item.len()
    }

    /// Whether plays have dates.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        !self.known_at.is_empty()
    }

    /// The plays of user row `user`.
    ///
    /// # Panics
    /// If `user` is not below [`n_users`](Self::n_users).
    #[must_use]
    pub fn user(&self, user: usize) -> Sequence<'a> {
        let (from, to) = (self.offsets[user] as usize, self.offsets[user + 1] as usize);
        fn part<T>(column: &[T], from: usize, to: usize) -> &[T] {
            if column.is_empty() { column } else { &column[from..to] }
        }
        Sequence {
            item: &self.item[from..to],
            action: part(self.action, from, to),
            occurred_at: part(self.occurred_at, from, to),
            known_at: part(self.known_at, from, to),
            session: part(self.session, from, to),
            context: part(self.context, from, to),
        }
    }

    /// All users in row order.
    pub fn iter(&self) -> impl Iterator<Item = Sequence<'a>> + '_ {
        (0..self.n_users()).map(|u| self.user(u))
    }
}

impl<'a> Sequence<'a> {
    /// Number of plays.
    #[must_use]
    pub fn len(&self) -> usize {
        self.item.len()
    }

    /// Whether there is no play.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.item.is_empty()
    }

    /// The first `n` plays.
    ///
    /// # Panics
    /// If `n` is above [`len`](Self::len).
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        self.slice(0, n)
    }

    /// The last `n` plays, or all of them if there are fewer.
    #[must_use]
    pub fn tail(&self, n: usize) -> Self {
        self.slice(self.len().saturating_sub(n), self.len())
    }

    /// The plays the system knew strictly before `at` (known-at order makes this a prefix).
    #[must_use]
    pub fn known_before(&self, at: i64) -> Self {
        self.head(self.known_at.partition_point(|&t| t < at))
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        fn part<T>(column: &[T], from: usize, to: usize) -> &[T] {
            if column.is_empty() { column } else { &column[from..to] }
        }
        Self {
            item: &self.item[from..to],
            action: part(self.action, from, to),
            occurred_at: part(self.occurred_at, from, to),
            known_at: part(self.known_at, from, to),
            session: part(self.session, from, to),
            context: part(self.context, from, to),
        }
    }
}

/// Sequences that own their columns: benchmark files, splits and tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedSequences {
    /// See [`Sequences::offsets`].
    pub offsets: Vec<u64>,
    /// See [`Sequences::item`].
    pub item: Vec<u32>,
    /// See [`Sequences::action`].
    pub action: Vec<u8>,
    /// See [`Sequences::occurred_at`].
    pub occurred_at: Vec<i64>,
    /// See [`Sequences::known_at`].
    pub known_at: Vec<i64>,
    /// See [`Sequences::session`].
    pub session: Vec<u32>,
    /// See [`Sequences::context`].
    pub context: Vec<u8>,
    /// See [`Sequences::n_items`].
    pub n_items: u32,
}

impl OwnedSequences {
    /// Item sequences without dates or actions, oldest first.
    #[must_use]
    pub fn from_items(n_items: u32, users: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let mut out = Self { offsets: vec![0], n_items, ..Self::default() };
        for items in users {
            out.item.extend_from_slice(&items);
            out.offsets.push(out.item.len() as u64);
        }
        out
    }

    /// Adds a user's plays after those already here.
    pub fn push(&mut self, user: Sequence<'_>) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.item.extend_from_slice(user.item);
        self.action.extend_from_slice(user.action);
        self.occurred_at.extend_from_slice(user.occurred_at);
        self.known_at.extend_from_slice(user.known_at);
        self.session.extend_from_slice(user.session);
        self.context.extend_from_slice(user.context);
        self.offsets.push(self.item.len() as u64);
    }

    /// A view of the columns.
    #[must_use]
    pub fn view(&self) -> Sequences<'_> {
        Sequences {
            offsets: if self.offsets.is_empty() { &[0] } else { &self.offsets },
            item: &self.item,
            action: &self.action,
            occurred_at: &self.occurred_at,
            known_at: &self.known_at,
            session: &self.session,
            context: &self.context,
            n_items: self.n_items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_sees_only_their_own_plays() {
        let s = OwnedSequences::from_items(5, [vec![0, 1], vec![], vec![4]]);
        let s = s.view();
        assert_eq!(s.n_users(), 3);
        assert_eq!(s.user(0).item, [0, 1]);
        assert!(s.user(1).is_empty());
        assert_eq!(s.user(2).tail(9).item, [4]);
    }

    #[test]
    fn known_before_is_strict() {
        let s = Sequence { item: &[1, 2, 3], known_at: &[10, 20, 20], ..Sequence::default() };
        assert_eq!(s.known_before(20).item, [1]);
        assert_eq!(s.known_before(21).item, [1, 2, 3]);
    }
}
