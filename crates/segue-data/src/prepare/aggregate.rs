//! Sums over the packed plays, written as they are done.

use std::path::Path;

use segue_types::Day;

use super::resolve::Resolved;
use super::write::{self, Files, PlayTables, StatFiles};
use crate::aggregates::co_listens::{self, Known, Through};
use crate::error::DataError;
use crate::progress::Progress;
use crate::sequences::Sequences;
use crate::snapshot::column::{Column, ColumnWriter};
use crate::snapshot::stats::StatBlocks;
use crate::snapshot::tables::{self, Earlier, Plays};
use crate::snapshot::{blocks, times};

/// Users whose moments are held at once.
const USERS_AT_ONCE: usize = 8_192;

/// Writes item statistics, plays by market and co-listens. Returns the statistics and the names of
/// the markets with plays.
pub(super) fn write(
    dir: &Path,
    work: &Path,
    resolved: &Resolved,
    written: &PlayTables,
    has_listened_ms: bool,
    earlier: Option<&Earlier<'_>>,
    progress: &dyn Progress,
    files: &mut Files,
) -> Result<(StatBlocks, Vec<String>), DataError> {
    let known_at = match earlier.is_some_and(|e| e.has_moved_listeners) {
        true => known_at(dir, work, resolved, written, files)?,
        false => Column::default(),
    };
    let plays = Plays {
        new: written.new_plays(),
        listened_ms: if has_listened_ms { &written.listened_ms } else { &[] },
        all: Sequences { known_at: &known_at, ..written.all() },
        item_keys: &resolved.item_keys,
        markets: &resolved.markets,
        market_of: &resolved.market_of,
    };
    let mut stats = StatFiles::create(dir)?;
    let (_, markets) = tables::by_item(plays, earlier, Some(&mut stats))?;
    let stats = stats.finish(files)?;
    let markets = write::markets(dir, &markets, files)?.with_plays(&resolved.markets);
    progress.advance(1);
    let day = co_listens::days(&stats, &resolved.item_keys);
    // Of listeners to whom nothing happened since the earlier snapshot no moments are at hand, of the
    // others the last ones.
    let is_older = |e: &Earlier<'_>| {
        let is_counted = co_listens::counted(&day, earlier).into_iter();
        is_counted.zip(&day).any(|(is, &day)| is && day < e.through && day != Day(i32::MIN))
    };
    let all = match earlier.is_some_and(is_older) {
        true => Some(self::known_at(dir, work, resolved, written, files)?),
        false => None,
    };
    let known = match &all {
        Some(known_at) => Known { offsets: &written.offsets, at: known_at },
        None => Known { offsets: plays.new.offsets, at: plays.new.known_at },
    };
    let through = Through { day: &day, known };
    write::co_listens(dir, &co_listens::top(written.all(), Some(through), earlier), files)?;
    progress.advance(1);
    Ok((stats, markets))
}

/// When all plays became known, as a column in the folder of the run.
fn known_at(
    dir: &Path,
    work: &Path,
    resolved: &Resolved,
    written: &PlayTables,
    files: &Files,
) -> Result<Column<i64>, DataError> {
    let blocks = blocks::open(dir, times::TABLE, files.keys())?;
    let mut out = ColumnWriter::create(&work.join("known-at"))?;
    for (part, users) in resolved.user_keys.chunks(USERS_AT_ONCE).enumerate() {
        let offsets = &written.offsets[part * USERS_AT_ONCE..][..users.len() + 1];
        out.write(&times::gather(&blocks, users, offsets, None, |play| play.known_at))?;
    }
    out.map()
}
