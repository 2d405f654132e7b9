//! The feature folds, one per file, and the one list they are registered in.
//!
//! To add a fold: write `folds/NAME.rs`, add its line to `folds!` below, and put a table into
//! `tests/tables/NAME.txt` (`SEGUE_REFILL=1` fills in what it gives).

pub mod decayed;

use segue_types::TimestampMs;

use crate::codec::{Put, Take};
use crate::enrich::Enriched;
use crate::fold::{Fold, ItemContext};

/// Declares the modules and [`FoldStates`] from one line per fold: one state each, in order.
macro_rules! folds {
    ($($(#[$doc:meta])* $field:ident: $fold:ident),+ $(,)?) => {
        $(
            pub mod $field;
            pub use $field::$fold;
        )+

        /// The states of all folds of one listener.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct FoldStates {
            $($(#[$doc])* pub $field: <$fold as Fold>::State,)+
        }

        impl FoldStates {
            /// Upper bound of the encoded states in bytes.
            pub const MAX_BYTES: usize = 0 $(+ 6 + <$fold as Fold>::MAX_BYTES)+;

            /// Names of the columns [`read`](Self::read) writes, in order.
            #[must_use]
            pub fn columns() -> Vec<&'static str> {
                [$(<$fold as Fold>::COLUMNS),+].concat()
            }

            /// Names and versions of the folds, in order.
            #[must_use]
            pub fn versions() -> Vec<(&'static str, u16)> {
                vec![$((<$fold as Fold>::NAME, <$fold as Fold>::VERSION)),+]
            }

            /// Per fold its name, version and columns, in order.
            #[must_use]
            pub fn registry() -> Vec<(&'static str, u16, &'static [&'static str])> {
                vec![$((<$fold as Fold>::NAME, <$fold as Fold>::VERSION, <$fold as Fold>::COLUMNS)),+]
            }

            /// The canonical bytes of each fold's state, in order.
            #[must_use]
            pub fn encode_each(&self) -> Vec<Vec<u8>> {
                vec![$({
                    let mut out = Vec::new();
                    <$fold as Fold>::encode(&self.$field, &mut out);
                    out
                }),+]
            }

            /// Reads what [`encode_each`](Self::encode_each) gave; `None` if a part is not a state
            /// of its fold's version.
            #[must_use]
            pub fn decode_each(parts: &[Vec<u8>]) -> Option<Self> {
                let mut parts = parts.iter();
                $(let $field = <$fold as Fold>::decode(parts.next()?)?;)+
                parts.next().is_none().then_some(Self { $($field),+ })
            }

            /// Takes one event into account.
            pub fn update(&mut self, event: &Enriched) {
                $(<$fold as Fold>::update(&mut self.$field, event);)+
            }

            /// Writes every fold's columns as of `as_of`.
            ///
            /// # Panics
            /// If `row` is shorter than [`columns`](Self::columns).
            pub fn read(&self, item: Option<&ItemContext>, as_of: TimestampMs, row: &mut [f32]) {
                let mut at = 0;
                $(
                    let n = <$fold as Fold>::COLUMNS.len();
                    <$fold as Fold>::read(&self.$field, item, as_of, &mut row[at..at + n]);
                    at += n;
                )+
                let _ = at;
            }

            /// Appends the canonical bytes: per fold its version, length and state.
            pub(crate) fn encode(&self, out: &mut Vec<u8>) {
                $({
                    out.put_u16(<$fold as Fold>::VERSION);
                    let length_at = out.len();
                    out.put_u32(0);
                    <$fold as Fold>::encode(&self.$field, out);
                    let n = (out.len() - length_at - 4) as u32;
                    out[length_at..length_at + 4].copy_from_slice(&n.to_le_bytes());
                })+
            }

            /// Reads what `encode` wrote.
            pub(crate) fn decode(t: &mut Take<'_>) -> Option<Self> {
                $(
                    let version = t.u16()?;
                    let n = t.u32()? as usize;
                    let bytes = t.bytes(n)?;
                    if version != <$fold as Fold>::VERSION || n > <$fold as Fold>::MAX_BYTES {
                        return None;
                    }
                    let $field = <$fold as Fold>::decode(bytes)?;
                )+
                Some(Self { $($field),+ })
            }
        }
    };
}

folds! {
    /// Per user×item and user×artist.
    interactions: Interactions,
    /// The last plays in order.
    recent_plays: RecentPlays,
    /// Activity, shares and session.
    user_features: UserFeatures,
    /// Plays by tag.
    tag_affinity: TagAffinity,
}
