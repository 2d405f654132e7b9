//! What is evaluated on: ordered plays or undated profiles, with external ids where they are known.

use segue_data::{OwnedSequences, Sequence, Sequences};
use segue_models::{ItemFeatures, UserFeatures};

use crate::EvalError;

/// Undated counts of all users, packed: user row `u` owns the range `offsets[u]..offsets[u + 1]`.
///
/// Within a user every item appears once; the order of items carries no meaning.
#[derive(Debug, Clone, Copy)]
pub struct Profiles<'a> {
    /// `[n_users + 1]`, first 0, last `item.len()`.
    pub offsets: &'a [u64],
    /// `[n_entries]`, item rows below `n_items`.
    pub item: &'a [u32],
    /// `[n_entries]` plays of that item by that user, at least 1.
    pub n_plays: &'a [u64],
    /// Number of item rows.
    pub n_items: u32,
}

impl<'a> Profiles<'a> {
    /// Number of user rows.
    #[must_use]
    pub fn n_users(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Item rows of user row `user`.
    ///
    /// # Panics
    /// If `user` is not below [`n_users`](Self::n_users).
    #[must_use]
    pub fn user(&self, user: usize) -> &'a [u32] {
        &self.item[self.offsets[user] as usize..self.offsets[user + 1] as usize]
    }

    /// The same entries as sequences without dates. Their order carries no meaning: only models
    /// that ignore order may be fitted on this view.
    #[must_use]
    pub fn as_unordered_sequences(&self) -> Sequences<'a> {
        Sequences {
            offsets: self.offsets,
            item: self.item,
            action: &[],
            occurred_at: &[],
            known_at: &[],
            session: &[],
            context: &[],
            n_items: self.n_items,
        }
    }
}

/// Profiles that own their columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedProfiles {
    /// See [`Profiles::offsets`].
    pub offsets: Vec<u64>,
    /// See [`Profiles::item`].
    pub item: Vec<u32>,
    /// See [`Profiles::n_plays`].
    pub n_plays: Vec<u64>,
    /// See [`Profiles::n_items`].
    pub n_items: u32,
}

impl OwnedProfiles {
    /// Profiles from each user's `(item row, plays)` pairs.
    #[must_use]
    pub fn from_counts(n_items: u32, users: impl IntoIterator<Item = Vec<(u32, u64)>>) -> Self {
        let mut out = Self { offsets: vec![0], n_items, ..Self::default() };
        for entries in users {
            for (item, n_plays) in entries {
                out.item.push(item);
                out.n_plays.push(n_plays);
            }
            out.offsets.push(out.item.len() as u64);
        }
        out
    }

    /// A view of the columns.
    #[must_use]
    pub fn view(&self) -> Profiles<'_> {
        Profiles {
            offsets: if self.offsets.is_empty() { &[0] } else { &self.offsets },
            item: &self.item,
            n_plays: &self.n_plays,
            n_items: self.n_items,
        }
    }
}

/// Plays in order, or profiles without.
#[derive(Debug, Clone, Copy)]
pub enum Plays<'a> {
    /// Each user's plays in known-at order, dated or not.
    Sequences(Sequences<'a>),
    /// Undated, unordered counts.
    Profiles(Profiles<'a>),
}

impl<'a> Plays<'a> {
    /// Number of user rows.
    #[must_use]
    pub fn n_users(&self) -> usize {
        match self {
            Self::Sequences(s) => s.n_users(),
            Self::Profiles(p) => p.n_users(),
        }
    }

    /// Number of item rows.
    #[must_use]
    pub fn n_items(&self) -> u32 {
        match self {
            Self::Sequences(s) => s.n_items,
            Self::Profiles(p) => p.n_items,
        }
    }

    /// Number of plays, or of entries of profiles.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Sequences(s) => s.item.len(),
            Self::Profiles(p) => p.item.len(),
        }
    }

    /// What user row `user` played: in order for sequences, in no meaningful order for profiles.
    ///
    /// # Panics
    /// If `user` is not below [`n_users`](Self::n_users).
    #[must_use]
    pub fn user(&self, user: usize) -> Sequence<'a> {
        match self {
            Self::Sequences(s) => s.user(user),
            Self::Profiles(p) => Sequence { item: p.user(user), ..Sequence::default() },
        }
    }

    /// Whether plays have dates.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        matches!(self, Self::Sequences(s) if s.is_dated())
    }
}

/// Plays or profiles that own their columns: the train part of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedPlays {
    /// See [`Plays::Sequences`].
    Sequences(OwnedSequences),
    /// See [`Plays::Profiles`].
    Profiles(OwnedProfiles),
}

impl OwnedPlays {
    /// A view of the columns.
    #[must_use]
    pub fn view(&self) -> Plays<'_> {
        match self {
            Self::Sequences(s) => Plays::Sequences(s.view()),
            Self::Profiles(p) => Plays::Profiles(p.view()),
        }
    }
}

impl<'a> From<Plays<'a>> for Dataset<'a> {
    fn from(plays: Plays<'a>) -> Self {
        Self {
            plays,
            user_ids: None,
            item_ids: None,
            test: None,
            user_columns: &[],
            item_columns: &[],
            item_tags: None,
            item_features: ItemFeatures::default(),
            user_features: UserFeatures::default(),
        }
    }
}

/// A column of facts about users or items: what a slice groups by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name, such as `market`.
    pub name: String,
    /// `[n_users]` or `[n_items]` values; absent where unknown.
    pub values: Vec<Option<String>>,
}

/// Tags (genres, moods) of items, packed: item row `i` owns the range `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemTags {
    /// `[n_items + 1]`, first 0, last `tag.len()`.
    pub offsets: Vec<u64>,
    /// `[n_entries]` tag numbers, each once per item, ascending.
    pub tag: Vec<u32>,
}

impl ItemTags {
    /// Tags from the words of each item; a word twice counts once. Numbers follow first appearance.
    pub fn from_words<'w, W: IntoIterator<Item = &'w str>>(items: impl IntoIterator<Item = W>) -> Self {
        let mut numbers = std::collections::HashMap::new();
        let mut out = Self { offsets: vec![0], tag: Vec::new() };
        for words in items {
            let from = out.tag.len();
            for word in words {
                let next = numbers.len() as u32;
                out.tag.push(*numbers.entry(word).or_insert(next));
            }
            let mut own = out.tag.split_off(from);
            own.sort_unstable();
            own.dedup();
            out.tag.append(&mut own);
            out.offsets.push(out.tag.len() as u64);
        }
        out
    }

    /// Tags of an item row.
    ///
    /// # Panics
    /// If `item` is not below the number of items.
    #[must_use]
    pub fn of(&self, item: u32) -> &[u32] {
        &self.tag[self.offsets[item as usize] as usize..self.offsets[item as usize + 1] as usize]
    }
}

/// The data of one evaluation. `Dataset::from(plays)` has nothing but plays; the rest is set by
/// name: `Dataset { item_ids: Some(&ids), ..Dataset::from(plays) }`.
#[derive(Debug, Clone, Copy)]
pub struct Dataset<'a> {
    /// What users played.
    pub plays: Plays<'a>,
    /// `[n_users]` external ids by user row, if known: messages and recommendation files use them.
    pub user_ids: Option<&'a [String]>,
    /// `[n_items]` external ids by item row, if known: as above, and ties by SHA-256.
    pub item_ids: Option<&'a [String]>,
    /// The test part of split `fixed`, with the user and item rows of `plays`.
    pub test: Option<Profiles<'a>>,
    /// Facts about users by which numbers may be sliced.
    pub user_columns: &'a [Column],
    /// Facts about items by which numbers may be sliced.
    pub item_columns: &'a [Column],
    /// Tags of items: calibration and tag diversity need them.
    pub item_tags: Option<&'a ItemTags>,
    /// What models may know of items besides plays.
    pub item_features: ItemFeatures<'a>,
    /// What models may know of users besides plays, and what a query tells of who asks.
    pub user_features: UserFeatures<'a>,
}

impl<'a> From<Sequences<'a>> for Dataset<'a> {
    fn from(sequences: Sequences<'a>) -> Self {
        Plays::Sequences(sequences).into()
    }
}

impl<'a> From<Profiles<'a>> for Dataset<'a> {
    fn from(profiles: Profiles<'a>) -> Self {
        Plays::Profiles(profiles).into()
    }
}

impl Dataset<'_> {
    /// Checks that columns fit together, so that later code may index without doubt.
    ///
    /// # Errors
    /// [`EvalError::Data`] names the first column or value that does not fit.
    pub fn check(&self) -> Result<(), EvalError> {
        let fail = |what: String, got: String, rule| Err(EvalError::Data { what, got, rule });
        let (offsets, item, n_items) = match &self.plays {
            Plays::Sequences(s) => (s.offsets, s.item, s.n_items),
            Plays::Profiles(p) => (p.offsets, p.item, p.n_items),
        };
        if offsets.first() != Some(&0) || offsets.last() != Some(&(item.len() as u64)) {
            return fail(
                "offsets".into(),
                format!("{:?}..{:?} for {} rows", offsets.first(), offsets.last(), item.len()),
                "they begin at 0 and end at the number of rows",
            );
        }
        if let Some(u) = offsets.windows(2).position(|w| w[0] > w[1]) {
            return fail(format!("offset of user row {u}"), format!("{}", offsets[u]), "offsets never fall");
        }
        if let Some(i) = item.iter().position(|&i| i >= n_items) {
            return fail(
                format!("item of row {i}"),
                format!("{} in a catalogue of {n_items}", item[i]),
                "item rows are below the size of the catalogue",
            );
        }
        let column = |name: &str, len: usize| {
            if len == 0 || len == item.len() {
                Ok(())
            } else {
                fail(
                    format!("length of `{name}`"),
                    format!("{len} for {} rows", item.len()),
                    "a column has a value per row, or none at all",
                )
            }
        };
        match &self.plays {
            Plays::Sequences(s) => {
                column("action", s.action.len())?;
                column("occurred_at", s.occurred_at.len())?;
                column("known_at", s.known_at.len())?;
                column("session", s.session.len())?;
                column("context", s.context.len())?;
                if s.is_dated()
                    && let Some(u) = (0..s.n_users()).find(|&u| !s.user(u).known_at.is_sorted())
                {
                    return fail(
                        format!("`known_at` of user {}", self.user_name(u)),
                        "out of order".into(),
                        "a user's plays follow the order in which they became known",
                    );
                }
            }
            Plays::Profiles(p) => {
                if p.n_plays.len() != item.len() {
                    return fail(
                        "length of `n_plays`".into(),
                        format!("{} for {} rows", p.n_plays.len(), item.len()),
                        "a profile says how often each item was played",
                    );
                }
            }
        }
        self.check_test()?;
        self.check_facts()?;
        for (name, ids, n) in
            [("user_ids", self.user_ids, self.plays.n_users()), ("item_ids", self.item_ids, n_items as usize)]
        {
            if let Some(ids) = ids
                && ids.len() != n
            {
                return fail(
                    format!("length of `{name}`"),
                    format!("{} for {n} rows", ids.len()),
                    "one id per row",
                );
            }
        }
        Ok(())
    }

    fn check_test(&self) -> Result<(), EvalError> {
        let Some(test) = self.test else { return Ok(()) };
        let fail = |what: &str, got: String, rule| Err(EvalError::Data { what: what.to_owned(), got, rule });
        let n_users = self.plays.n_users();
        if test.n_users() != n_users {
            let got = format!("{} users for {n_users}", test.n_users());
            return fail("test part", got, "train and test part have the same user rows");
        }
        if test.offsets.first() != Some(&0)
            || test.offsets.last() != Some(&(test.item.len() as u64))
            || !test.offsets.is_sorted()
        {
            return fail(
                "test part",
                "with offsets that do not fit".into(),
                "offsets run from 0 to the number of rows",
            );
        }
        let n_items = self.plays.n_items();
        match test.item.iter().find(|&&i| i >= n_items) {
            Some(i) => fail(
                "test part",
                format!("item row {i} of {n_items}"),
                "train and test part have the same item rows",
            ),
            None => Ok(()),
        }
    }

    fn check_facts(&self) -> Result<(), EvalError> {
        let n_items = self.plays.n_items() as usize;
        let users = self.user_columns.iter().map(|c| ("user", c, self.plays.n_users()));
        let items = self.item_columns.iter().map(|c| ("item", c, n_items));
        for (of, column, n) in users.chain(items) {
            if column.values.len() != n {
                return Err(EvalError::Data {
                    what: format!("length of {of} column `{}`", column.name),
                    got: format!("{} for {n} rows", column.values.len()),
                    rule: "a column has a value per row",
                });
            }
        }
        if let Some(tags) = self.item_tags
            && (tags.offsets.len() != n_items + 1
                || tags.offsets.last() != Some(&(tags.tag.len() as u64))
                || !tags.offsets.is_sorted())
        {
            return Err(EvalError::Data {
                what: "offsets of the item tags".into(),
                got: format!("{} for {n_items} items", tags.offsets.len()),
                rule: "they run from 0 to the number of tags, one more than there are items",
            });
        }
        Ok(())
    }

    /// The external id of a user row, or `row N` where ids are not known.
    #[must_use]
    pub fn user_name(&self, user: usize) -> String {
        name(self.user_ids, user)
    }

    /// The external id of an item row, or `row N` where ids are not known.
    #[must_use]
    pub fn item_name(&self, item: u32) -> String {
        name(self.item_ids, item as usize)
    }
}

fn name(ids: Option<&[String]>, row: usize) -> String {
    ids.and_then(|ids| ids.get(row)).map_or_else(|| format!("row {row}"), |id| format!("`{id}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let good = OwnedSequences::from_items(3, [vec![0, 1], vec![2]]);
        assert!(Dataset::from(good.view()).check().is_ok());

        let mut bad = good.clone();
        bad.item[1] = 3;
        let message = Dataset::from(bad.view()).check().unwrap_err().to_string();
        assert!(message.contains("3 in a catalogue of 3"), "{message}");

        let mut bad = good.clone();
        bad.known_at = vec![5, 4, 0];
        let message = Dataset::from(bad.view()).check().unwrap_err().to_string();
        assert!(message.contains("row 0"), "{message}");

        let mut bad = good.clone();
        bad.action = vec![1];
        assert!(Dataset::from(bad.view()).check().unwrap_err().to_string().contains("action"));

        let mut bad = good;
        bad.offsets = vec![0, 3, 2, 3];
        assert!(Dataset::from(bad.view()).check().is_err());
    }

    #[test]
    fn profiles_are_seen_as_sequences_without_dates() {
        let p = OwnedProfiles::from_counts(4, [vec![(3, 2), (1, 9)], vec![]]);
        let s = p.view().as_unordered_sequences();
        assert_eq!(s.user(0).item, [3, 1]);
        assert!(!s.is_dated());
    }
}
