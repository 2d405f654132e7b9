//! What a retrieval model is fitted from: a snapshot or a plain benchmark file look the same here.

use segue_data::{Sequence, Sequences};
use segue_types::{Day, ItemKey, TimestampMs};

use crate::ModelError;

/// Everything a retrieval model may learn from. Parts the data lacks are empty.
#[derive(Debug, Clone, Copy)]
pub struct FitInput<'a> {
    /// Plays in known-at order (or file order for undated data).
    pub sequences: Sequences<'a>,
    /// Undated user × item counts, for data without time.
    pub profiles: Option<Profiles<'a>>,
    /// Plays per day, market and item. Without it, models count `sequences`.
    pub daily: Option<DailyPlays<'a>>,
    /// External item ids by row, `[n_items]` or empty. Some tie rules hash them.
    pub item_ids: &'a [String],
    /// Item keys by row, `[n_items]` or empty.
    pub item_keys: &'a [ItemKey],
    /// What is known of items besides plays.
    pub item_features: ItemFeatures<'a>,
    /// What is known of listeners besides plays.
    pub user_features: UserFeatures<'a>,
    /// See nothing the system knew at or after this moment.
    pub until: Option<TimestampMs>,
    /// For models that draw random numbers.
    pub seed: u64,
}

/// Stands for a feature that an item does not have.
pub const UNKNOWN_FEATURE: u32 = u32::MAX;

/// Features of items by row, each `[n_items]` numbers of values or empty; [`UNKNOWN_FEATURE`] where an item
/// has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct ItemFeatures<'a> {
    /// Main artist.
    pub artist: &'a [u32],
    /// Album.
    pub album: &'a [u32],
    /// First tag.
    pub genre: &'a [u32],
    /// Content vectors `[n_items, size]` of any size, or empty; zeros for an item that has none.
    pub content: &'a [f32],
    /// UTC milliseconds from when on an item's features hold, `i64::MIN` for always; `[n_items]` or empty.
    pub valid_from: &'a [i64],
}

impl ItemFeatures<'_> {
    /// Whether what is said of an item holds before `until`: only then may a fit with that end see it.
    #[must_use]
    pub fn is_known(&self, item: usize, until: Option<TimestampMs>) -> bool {
        until.is_none_or(|until| self.valid_from.get(item).is_none_or(|&from| from < until.0))
    }
}

/// Features of listeners by row, each `[n_users]` or empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserFeatures<'a> {
    /// ISO 3166 alpha-2; the empty name stands for an unknown market.
    pub market: &'a [String],
    /// Name of the plan; the empty name stands for an unknown one.
    pub plan: &'a [String],
    /// First year of the five in which the listener was born; 0 if unknown.
    pub birth_year: &'a [i32],
    /// UTC milliseconds from when on the features hold; `i64::MIN` for always.
    pub valid_from: &'a [i64],
}

impl<'a> UserFeatures<'a> {
    /// Market, plan and birth year of a listener as known at a moment (UTC milliseconds); nothing of facts that hold
    /// from later on.
    #[must_use]
    pub fn known_at(&self, user: usize, at: i64) -> (Option<&'a str>, Option<&'a str>, Option<i32>) {
        if self.valid_from.get(user).is_some_and(|&from| from > at) {
            return (None, None, None);
        }
        let name = |names: &'a [String]| names.get(user).map(String::as_str).filter(|name| !name.is_empty());
        let birth_year = self.birth_year.get(user).copied().filter(|&year| year != 0);
        (name(self.market), name(self.plan), birth_year)
    }
}

/// Undated counts: user row `u` owns `offsets[u]..offsets[u + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Profiles<'a> {
    /// `[n_users + 1]`.
    pub offsets: &'a [u64],
    /// `[n_entries]` item rows.
    pub item: &'a [u32],
    /// `[n_entries]` plays of the item by the user.
    pub n_plays: &'a [u64],
}

/// Plays per day, market and item: parallel columns in any order.
#[derive(Debug, Clone, Copy)]
pub struct DailyPlays<'a> {
    /// Names of the markets; the empty name stands for an unknown market.
    pub markets: &'a [String],
    /// UTC day of each row.
    pub day: &'a [Day],
    /// Index into `markets` of each row.
    pub market: &'a [u32],
    /// Item row of each row.
    pub item: &'a [u32],
    /// Plays of each row.
    pub n_plays: &'a [u32],
}

impl<'a> FitInput<'a> {
    /// Only sequences: a benchmark file or a test.
    #[must_use]
    pub fn of(sequences: Sequences<'a>) -> Self {
        Self {
            sequences,
            profiles: None,
            daily: None,
            item_ids: &[],
            item_keys: &[],
            item_features: ItemFeatures::default(),
            user_features: UserFeatures::default(),
            until: None,
            seed: 0,
        }
    }

    /// Number of item rows.
    #[must_use]
    pub fn n_items(&self) -> u32 {
        self.sequences.n_items
    }

    /// Each user's plays known before `until`, in user row order.
    pub fn users(&self) -> impl Iterator<Item = Sequence<'a>> + '_ {
        self.sequences.iter().map(|user| match self.until {
            Some(until) if self.sequences.is_dated() => user.known_before(until.0),
            _ => user,
        })
    }

    /// Checks that the parts fit together; every fit begins with this.
    ///
    /// # Errors
    /// [`ModelError::Shape`] names the part whose length or row is off; [`ModelError::NeedsDates`]
    /// if `until` is given for undated plays.
    pub fn check(&self, model: &'static str) -> Result<(), ModelError> {
        let n = self.n_items() as usize;
        let equal = |what: &str, expected: usize, got: usize| {
            if expected == got {
                Ok(())
            } else {
                Err(ModelError::Shape { what: what.to_owned(), expected, got })
            }
        };
        let rows = |what: &str, items: &[u32]| match items.iter().find(|&&i| i as usize >= n) {
            None => Ok(()),
            Some(&i) => Err(ModelError::Shape {
                what: format!("{what}: an item row at or above the number of items"),
                expected: n,
                got: i as usize,
            }),
        };
        let s = &self.sequences;
        if self.until.is_some() && !s.is_dated() && s.n_plays() > 0 {
            return Err(ModelError::NeedsDates { model });
        }
        rows("sequences", s.item)?;
        for (what, got) in [
            ("sequences: action", s.action.len()),
            ("sequences: occurred_at", s.occurred_at.len()),
            ("sequences: known_at", s.known_at.len()),
            ("sequences: session", s.session.len()),
            ("sequences: context", s.context.len()),
        ] {
            if got != 0 {
                equal(what, s.n_plays(), got)?;
            }
        }
        offsets("sequences: offsets", s.offsets, s.n_plays())?;
        for (what, got) in [("item ids", self.item_ids.len()), ("item keys", self.item_keys.len())] {
            if got != 0 {
                equal(what, n, got)?;
            }
        }
        let f = &self.item_features;
        for (what, column) in
            [("artists of items", f.artist), ("albums of items", f.album), ("genres of items", f.genre)]
        {
            if column.is_empty() {
                continue;
            }
            equal(what, n, column.len())?;
            if let Some(&got) = column.iter().find(|&&v| v != UNKNOWN_FEATURE && v as usize >= n) {
                let what = format!("{what}: a number at or above the number of items");
                return Err(ModelError::Shape { what, expected: n, got: got as usize });
            }
        }
        if !f.valid_from.is_empty() {
            equal("moments of items' facts", n, f.valid_from.len())?;
        }
        if !f.content.is_empty() {
            equal("content vectors of items", f.content.len().next_multiple_of(n.max(1)), f.content.len())?;
            if let Some(at) = f.content.iter().position(|x| !x.is_finite()) {
                let what = "content vectors of items: finite numbers before one that is not".to_owned();
                return Err(ModelError::Shape { what, expected: f.content.len(), got: at });
            }
        }
        let u = &self.user_features;
        // Undated data has profiles beside no sequences.
        let n_profiles = self.profiles.map_or(0, |p| p.offsets.len().saturating_sub(1));
        let n_users = s.n_users().max(n_profiles);
        for (what, got) in [
            ("markets of listeners", u.market.len()),
            ("plans of listeners", u.plan.len()),
            ("years of listeners' birth", u.birth_year.len()),
            ("moments of listeners' facts", u.valid_from.len()),
        ] {
            if got != 0 {
                equal(what, n_users, got)?;
            }
        }
        if let Some(p) = &self.profiles {
            rows("profiles", p.item)?;
            equal("profiles: n_plays", p.item.len(), p.n_plays.len())?;
            offsets("profiles: offsets", p.offsets, p.item.len())?;
        }
        if let Some(d) = &self.daily {
            rows("daily plays", d.item)?;
            equal("daily plays: day", d.item.len(), d.day.len())?;
            equal("daily plays: market", d.item.len(), d.market.len())?;
            equal("daily plays: n_plays", d.item.len(), d.n_plays.len())?;
            if let Some(&m) = d.market.iter().find(|&&m| m as usize >= d.markets.len()) {
                return Err(ModelError::Shape {
                    what: "daily plays: a market at or above the number of markets".to_owned(),
                    expected: d.markets.len(),
                    got: m as usize,
                });
            }
        }
        Ok(())
    }
}

fn offsets(what: &str, offsets: &[u64], n: usize) -> Result<(), ModelError> {
    let fits = offsets.first() == Some(&0) && offsets.last() == Some(&(n as u64)) && offsets.is_sorted();
    if fits {
        Ok(())
    } else {
        Err(ModelError::Shape {
            what: format!("{what}: must ascend from 0 to the number of rows"),
            expected: n,
            got: offsets.last().map_or(0, |&o| o as usize),
        })
    }
}
