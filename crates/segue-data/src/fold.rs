//! Folds: what depends on one listener's events in order.
//!
//! A fold sees the events of one listener in the order the system came to know them,
//! `(known_at, event key)`, after [`enrich`](crate::enrich). The same code runs offline in
//! `prepare` and online in the server's user state, so training and serving cannot disagree.
//! Folds never read each other. They are registered in one list, [`folds`](crate::folds).

use segue_types::TimestampMs;

use crate::enrich::Enriched;

/// A feature fold over one listener's enriched events.
///
/// # Contract
/// - `update` is called once per event, in known-at order; it must not look at the clock.
/// - `read` may be called at any `as_of` not before the last update. Decay happens here, so a
///   state does not change by getting older.
/// - `State` stays under [`MAX_BYTES`](Fold::MAX_BYTES) whatever the history; drop the oldest.
/// - `encode` writes one canonical byte string per state: equal states, equal bytes. Bumping the
///   layout means bumping [`VERSION`](Fold::VERSION); an unknown version is rebuilt from the log.
/// - `decode` takes any bytes without a panic.
pub trait Fold: Send + Sync + 'static {
    /// What is kept per listener.
    type State: Default + Clone + PartialEq + Send + std::fmt::Debug;

    /// Stable name; its golden files and test tables carry it.
    const NAME: &'static str;
    /// Version of the state's byte layout.
    const VERSION: u16;
    /// Upper bound of an encoded state in bytes.
    const MAX_BYTES: usize;
    /// Names of the columns `read` writes, in order. `user.` columns do not depend on the item.
    const COLUMNS: &'static [&'static str];

    /// Takes one event into account.
    fn update(state: &mut Self::State, event: &Enriched);

    /// Writes [`COLUMNS`](Fold::COLUMNS) as of `as_of` into `row`; missing is NaN.
    /// `item` is the candidate the row is about; columns about it are NaN where it is absent.
    fn read(state: &Self::State, item: Option<&ItemContext>, as_of: TimestampMs, row: &mut [f32]);

    /// Appends the canonical bytes of `state`.
    fn encode(state: &Self::State, out: &mut Vec<u8>);

    /// Reads what `encode` wrote; `None` if the bytes are not a state of this version.
    fn decode(bytes: &[u8]) -> Option<Self::State>;
}

/// What a fold may know of the candidate item a feature row is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItemContext {
    /// Key of the item.
    pub item: segue_types::ItemKey,
    /// Key of its main artist, 0 if unknown.
    pub artist: u64,
    /// Key of its first tag, 0 if unknown.
    pub tag: u64,
}
