//! Sums over the packed plays, written as they are done.

use std::path::Path;

use super::resolve::Resolved;
use super::write::{self, Files, InteractionFiles, StatFiles, map};
use crate::aggregates::co_listens;
use crate::error::DataError;
use crate::progress::Progress;
use crate::sequences::Sequences;
use crate::snapshot::StatColumns;
use crate::snapshot::column::Column;
use crate::snapshot::tables::{self, Earlier};

/// Users whose interactions are held at once.
const USERS_AT_ONCE: usize = 2_048;

/// Writes interactions, item statistics, plays by market and co-listens. Returns the statistics
/// and the names of the markets with plays.
pub(super) fn write(
    dir: &Path,
    resolved: &Resolved,
    has_listened_ms: bool,
    earlier: Option<&Earlier<'_>>,
    progress: &dyn Progress,
    files: &mut Files,
) -> Result<(StatColumns, Vec<String>), DataError> {
    let offsets: Column<u64> = map(dir, "plays/offsets.u64")?;
    let item: Column<u32> = map(dir, "plays/item.u32")?;
    let action: Column<u8> = map(dir, "plays/action.u8")?;
    let occurred_at: Column<i64> = map(dir, "plays/occurred_at.i64")?;
    let known_at: Column<i64> = map(dir, "plays/known_at.i64")?;
    let session: Column<u32> = map(dir, "plays/session.u32")?;
    let listened: Column<u32> = map(dir, "plays/listened_ms.u32")?;
    let listened: &[u32] = if has_listened_ms { &listened } else { &[] };
    let plays = Sequences {
        offsets: &offsets,
        item: &item,
        action: &action,
        occurred_at: &occurred_at,
        known_at: &known_at,
        session: &session,
        n_items: resolved.items.len() as u32,
    };
    let mut interactions = InteractionFiles::create(dir)?;
    for from in (0..plays.n_users()).step_by(USERS_AT_ONCE) {
        let users = from..(from + USERS_AT_ONCE).min(plays.n_users());
        for part in tables::interactions(plays, listened, earlier, users) {
            interactions.push(&part)?;
        }
    }
    interactions.finish(dir, files)?;
    progress.advance(1);
    let mut stats = StatFiles::create(dir)?;
    let (names, market_of) = (&resolved.markets, &resolved.market_of);
    let (summed, markets) = tables::by_item(plays, listened, names, market_of, earlier, Some(&mut stats))?;
    let stats = stats.finish(dir, summed.offsets, files)?;
    write::markets(dir, &markets, files)?;
    progress.advance(1);
    write::co_listens(dir, &co_listens::top(plays, earlier), files)?;
    progress.advance(1);
    Ok((stats, markets.names))
}
