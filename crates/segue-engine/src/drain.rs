//! Draining: closed segments of the write-ahead log and the slate spool become parts of the log.
//!
//! A segment is written under a name of its own and replaces what an interrupted attempt may have
//! left, and is removed only when its part is on disk: each event reaches the log once. (If the
//! whole state folder is lost after a drain and clients send again, `prepare` deduplicates by
//! event id.)

use segue_data::log::{LogError, LogWriter, WriterOptions};
use segue_types::{Day, Event, Item, SlateRecord, TimestampMs};

use crate::engine::Parts;
use crate::error::EngineError;
use crate::journal::{self, Entry};
use crate::slates;
use crate::wal::read_segment;

/// Drains all closed segments, after closing the current ones if asked to. Returns the number of
/// events and of slates.
pub(crate) fn drain(parts: &Parts, current_too: bool) -> Result<(u64, u64), EngineError> {
    let _one_at_a_time = parts.draining.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut n_events = 0;
    for (first, next) in parts.journal.close(current_too)? {
        if first < next {
            n_events += events(parts, first)?;
        }
        parts.journal.remove(first)?;
    }
    let mut n_slates = 0;
    for (first, next) in parts.slates.close(current_too)? {
        let places = if first < next { slates(parts, first)? } else { Vec::new() };
        n_slates += places.len() as u64;
        parts.slates.drained(first, next, &places)?;
    }
    Ok((n_events, n_slates))
}

fn writer(parts: &Parts) -> Result<(LogWriter, impl Fn(LogError) -> EngineError + '_), EngineError> {
    let fault = |e: LogError| EngineError::store(parts.home.join("log"), e);
    let writer = LogWriter::new(&parts.home, "engine", WriterOptions::default()).map_err(fault)?;
    Ok((writer, fault))
}

fn events(parts: &Parts, first: u64) -> Result<u64, EngineError> {
    let mut events: Vec<Event> = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    let mut bad = None;
    read_segment(&*parts.storage, journal::PREFIX, first, |offset, payload| {
        match serde_json::from_slice(payload) {
            Ok(Entry::Event(event)) => events.push(event),
            Ok(Entry::Item(item)) => items.push(item),
            Err(e) => bad = Some(format!("record {offset} of the write-ahead log: {e}")),
        }
    })
    .map_err(|e| EngineError::store("state", e))?;
    if let Some(message) = bad {
        return Err(EngineError::store("state", message));
    }
    let (mut writer, fault) = writer(parts)?;
    writer.write_events(&events).map_err(&fault)?;
    writer.write(&items).map_err(&fault)?;
    let latest = events.iter().map(Event::known_at);
    let written_at = latest.chain(items.iter().filter_map(|i| i.valid_from)).max();
    let id = format!("{:016x}-e{first:x}", parts.token);
    writer.finish(positive(written_at), &id, true).map_err(&fault)?;
    Ok(events.len() as u64)
}

fn slates(parts: &Parts, first: u64) -> Result<Vec<(String, Day, Option<String>)>, EngineError> {
    let (mut writer, fault) = writer(parts)?;
    let mut places = Vec::new();
    let mut written_at = None;
    let mut problem = None;
    read_segment(&*parts.storage, slates::PREFIX, first, |offset, payload| {
        let text = String::from_utf8_lossy(payload).into_owned();
        match serde_json::from_str::<SlateRecord>(&text) {
            Ok(record) => {
                written_at = written_at.max(Some(record.now));
                places.push((record.slate.slate_id.clone(), record.now.day(), record.slate.user_id.clone()));
                if let Err(e) = writer.write_slate(&record, text) {
                    problem = Some(fault(e));
                }
            }
            Err(e) => problem = Some(EngineError::store("state", format!("slate record {offset}: {e}"))),
        }
    })
    .map_err(|e| EngineError::store("state", e))?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let id = format!("{:016x}-s{first:x}", parts.token);
    writer.finish(positive(written_at), &id, true).map_err(&fault)?;
    Ok(places)
}

/// Part names begin with a moment, which has to be a number without a sign.
fn positive(at: Option<TimestampMs>) -> TimestampMs {
    at.unwrap_or_default().max(TimestampMs(0))
}
