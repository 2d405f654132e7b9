//! Listeners' states: as of a recent day, and the events since.
//!
//! A state is thousands of bytes of which a day changes a few. Writing each anew with each
//! snapshot would cost what all listeners have, not what a day brought. So a snapshot holds
//! - `states/class-K.bin`: states as of a day that class K moves on every [`N_CLASSES`] days, each
//!   class on another day; in between, snapshots share the file;
//! - `states/day=DAY.bin`: the events since, accepted and with the facts they met, a file per day.
//!
//! [`States::of`] folds the events of a listener onto the state, with the folds that made it.

use std::collections::BTreeMap;
use std::path::Path;

use segue_types::{Day, ItemKey, UserKey};

use super::by_key::{ByKey, Cursor};
use crate::catalogue::ItemFacts;
use crate::codec::{Put, Take};
use crate::enrich::Enricher;
use crate::error::DataError;
use crate::log::N_BUCKETS;
use crate::prepare::record::Record;
use crate::user_state::UserState;

/// Days between two states of one class, and number of classes.
pub(crate) const N_CLASSES: u32 = 8;

/// The class of a listener's bucket.
pub(crate) fn class_of(bucket: u32) -> u32 {
    bucket % N_CLASSES
}

/// The day through which states of a class go, given the last day that is closed.
pub(crate) fn class_day(class: u32, closed: Day) -> Day {
    let back = (i64::from(closed.0) - i64::from(class)).rem_euclid(i64::from(N_CLASSES));
    Day(i32::try_from(i64::from(closed.0) - back).unwrap_or(i32::MIN))
}

/// The first day whose events are kept: the day after the oldest class.
pub(crate) fn first_kept_day(closed: Day) -> Day {
    Day(closed.0.saturating_sub(N_CLASSES as i32 - 2))
}

/// File of a class, within the folder.
pub(crate) fn class_name(class: u32) -> String {
    format!("states/class-{class}.bin")
}

/// File of a day's events, within the folder.
pub(crate) fn day_name(day: Day) -> String {
    format!("states/day={}.bin", day.to_iso())
}

/// The day of a [`day_name`].
pub(crate) fn day_of_name(name: &str) -> Option<Day> {
    Day::from_iso(name.strip_prefix("states/day=")?.strip_suffix(".bin")?)
}

/// Bytes of one event.
const EVENT_BYTES: usize = Record::BYTES - 8 + 8 + 3 * 8;

/// Appends an event with its item's key and the facts it met.
pub(crate) fn put_event(record: &Record, item: ItemKey, facts: &ItemFacts, out: &mut Vec<u8>) {
    record.encode_without_rows(out);
    out.put_u64(item.0);
    out.put_u64(facts.artist);
    out.put_u64(facts.tag);
    out.put_i64(facts.duration_ms.unwrap_or(i64::MIN));
}

/// Folds a listener's events of a day, as [`put_event`] wrote them; `None` for other bytes.
pub(crate) fn fold_events(state: &mut UserState, user: UserKey, bytes: &[u8]) -> Option<()> {
    let events = bytes.chunks_exact(EVENT_BYTES);
    if !events.remainder().is_empty() {
        return None;
    }
    for event in events {
        let mut t = Take(event);
        let record = Record::decode_without_rows(&mut t)?;
        let item = ItemKey(t.u64()?);
        let (artist, tag, duration_ms) = (t.u64()?, t.u64()?, t.i64()?);
        let duration_ms = Some(duration_ms).filter(|&ms| ms != i64::MIN);
        let facts = ItemFacts { artist, tag, duration_ms, release_day: None };
        let raw = record.raw(user, item)?;
        let event = Enricher.enrich_new(&mut state.enricher, &raw, &facts).ok()?;
        state.folds.update(&event);
    }
    Some(())
}

/// The states of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct States {
    /// The last day that is closed.
    closed: Day,
    classes: Vec<ByKey>,
    days: BTreeMap<Day, ByKey>,
}

impl States {
    /// Maps the files of a snapshot.
    pub(crate) fn open<'a>(
        dir: &Path,
        closed: Day,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<Self, DataError> {
        let classes = (0..N_CLASSES).map(|class| ByKey::open(&dir.join(class_name(class))));
        let classes = classes.collect::<Result<_, _>>()?;
        let days = names.filter_map(|name| Some((day_of_name(name)?, dir.join(name))));
        let days =
            days.map(|(day, path)| Ok((day, ByKey::open(&path)?))).collect::<Result<_, DataError>>()?;
        Ok(Self { closed, classes, days })
    }

    /// The state of a listener after all events; `None` if nothing is known of it.
    pub(crate) fn of(&self, user: UserKey) -> Option<UserState> {
        let kept = self.from(user.bucket(N_BUCKETS), user, Day(i32::MAX)).get(user);
        if kept.is_empty() {
            return None;
        }
        let mut state = kept.state()?;
        for (_, events) in kept.days {
            fold_events(&mut state, user, events)?;
        }
        Some(state)
    }

    /// Reads listeners of a bucket in ascending order from `first` on, with events through a day.
    pub(crate) fn from(&self, bucket: u32, first: UserKey, through: Day) -> StateCursor<'_> {
        let class = class_of(bucket);
        let after = class_day(class, self.closed);
        let days = self.days.iter().filter(|(day, _)| **day > after && **day <= through);
        StateCursor {
            class: self.classes.get(class as usize).map(|file| file.from(first.0)),
            days: days.map(|(&day, file)| (day, file.from(first.0))).collect(),
        }
    }
}

/// A place in the files of one bucket's states.
#[derive(Debug)]
pub(crate) struct StateCursor<'a> {
    class: Option<Cursor<'a>>,
    days: Vec<(Day, Cursor<'a>)>,
}

impl<'a> StateCursor<'a> {
    /// What is kept of a listener. Keys ascend from call to call.
    pub(crate) fn get(&mut self, user: UserKey) -> Kept<'a> {
        let of_day = |(day, file): &mut (Day, Cursor<'a>)| {
            let events = file.get(user.0);
            (!events.is_empty()).then_some((*day, events))
        };
        Kept {
            state: self.class.as_mut().map_or(&[], |file| file.get(user.0)),
            days: self.days.iter_mut().filter_map(of_day).collect(),
        }
    }
}

/// What is kept of one listener: an encoded state, empty if nothing was known then, and later
/// events by day.
#[derive(Debug, Default)]
pub(crate) struct Kept<'a> {
    pub(crate) state: &'a [u8],
    pub(crate) days: Vec<(Day, &'a [u8])>,
}

impl Kept<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.state.is_empty() && self.days.is_empty()
    }

    /// The state before the kept events; `None` for bytes of another version.
    pub(crate) fn state(&self) -> Option<UserState> {
        if self.state.is_empty() { Some(UserState::default()) } else { UserState::decode(self.state) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_one_class_moves_on_and_events_since_the_oldest_are_kept() {
        for closed in [-9, 0, 5, 19_732] {
            let closed = Day(closed);
            let days: Vec<i32> = (0..N_CLASSES).map(|c| class_day(c, closed).0).collect();
            let mut sorted = days.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (closed.0 - 7..=closed.0).collect::<Vec<_>>());
            assert_eq!(first_kept_day(closed).0, sorted[0] + 1);
            let next = Day(closed.0 + 1);
            assert_eq!((0..N_CLASSES).filter(|&c| class_day(c, next).0 != days[c as usize]).count(), 1);
        }
        assert_eq!(class_day(3, Day(i32::MIN)), Day(i32::MIN));
        assert_eq!(day_of_name(&day_name(Day(19_732))), Some(Day(19_732)));
    }
}
