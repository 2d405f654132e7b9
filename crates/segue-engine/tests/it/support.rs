//! A small world: forty tracks by eight artists, three listeners with facts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use segue_data::{OwnedSequences, Snapshot, SnapshotParts};
use segue_engine::{Engine, EngineConfig};
use segue_models::{ArtifactMeta, FitInput, artifact, fit_recommender};
use segue_pipeline::{Clock, ManualClock, Runner};
use segue_types::api::SlateRequest;
use segue_types::{Event, Feedback, FeedbackKind, Item, ItemKey, Play, Slate, TimestampMs, User};

/// 2023-11-14T22:13:20Z.
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

pub(crate) fn item(i: usize) -> Item {
    Item {
        title: Some(format!("Track {i}")),
        artist_ids: vec![format!("artist-{}", i % 8)],
        artist_names: vec![format!("Artist {}", i % 8)],
        duration_ms: Some(200_000),
        explicit: i % 10 == 3,
        release_day: Some(segue_types::Day(NOW.day().0 - i as i32 * 3)),
        ..Item::new(&format!("t{i}"))
    }
}

/// Tracks `t0` to `t39`; `ada` in SE, `bo` who gave no consent, `kid` without explicit items.
pub(crate) fn snapshot() -> Arc<Snapshot> {
    let user = |id: &str| User { user_id: id.to_owned(), market: Some("SE".to_owned()), ..User::default() };
    let parts = SnapshotParts {
        items: (0..40).map(item).collect(),
        users: vec![
            User { display_name: Some("Ada L.".to_owned()), ..user("ada") },
            User { consent: Some(false), ..user("bo") },
            User { allow_explicit: Some(false), ..user("kid") },
        ],
        sequences: OwnedSequences::from_items(40, [vec![], vec![], vec![]]),
        ..SnapshotParts::default()
    };
    Arc::new(Snapshot::from_parts(parts).unwrap())
}

/// Time advances a little with every look, and now and then by more than a stage's budget.
pub(crate) struct JumpyClock(AtomicU64);

impl JumpyClock {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Clock for JumpyClock {
    fn now_us(&self) -> u64 {
        let before = self.0.load(Ordering::SeqCst);
        let luck = before.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let step = if luck.is_multiple_of(30) { 100_003 } else { 7 + luck % 5 };
        self.0.fetch_add(step, Ordering::SeqCst) + step
    }
}

/// An engine over [`snapshot`] whose stages never run out of time.
pub(crate) fn open(home: &Path, config: EngineConfig) -> Engine {
    open_with(home, config, Arc::new(ManualClock::default()))
}

pub(crate) fn open_with(home: &Path, config: EngineConfig, clock: Arc<dyn Clock>) -> Engine {
    Engine::open_over(home, config, NOW, Runner::inline(clock), Ok(snapshot())).unwrap()
}

pub(crate) fn request(user: &str) -> SlateRequest {
    SlateRequest { user_id: Some(user.to_owned()), ..SlateRequest::default() }
}

pub(crate) fn play(id: &str, user: &str, track: usize, at_ms: i64, listened_ms: i64) -> Event {
    let end =
        if listened_ms < 180_000 { segue_types::EndReason::Next } else { segue_types::EndReason::TrackDone };
    Event::Play(Play {
        listened_ms: Some(listened_ms),
        duration_ms: Some(200_000),
        end_reason: Some(end),
        ..Play::new(id, user, &format!("t{track}"), NOW.plus_ms(at_ms))
    })
}

pub(crate) fn feedback(id: &str, user: &str, target: &str, kind: FeedbackKind, at_ms: i64) -> Event {
    Event::Feedback(Feedback {
        event_id: id.to_owned(),
        user_id: user.to_owned(),
        target_id: target.to_owned(),
        kind,
        occurred_at: NOW.plus_ms(at_ms),
        received_at: None,
        slate_id: None,
        position: None,
    })
}

pub(crate) fn shelf<'a>(slate: &'a Slate, id: &str) -> Vec<&'a str> {
    let shelf = slate.shelves.iter().find(|s| s.shelf_id == id);
    shelf.map_or(Vec::new(), |s| s.cards.iter().map(|c| c.item_id.as_str()).collect())
}

pub(crate) fn all_cards(slate: &Slate) -> Vec<&str> {
    slate.shelves.iter().flat_map(|s| &s.cards).map(|c| c.item_id.as_str()).collect()
}

/// Fits a Markov model on histories of track numbers and publishes it as `markov`.
pub(crate) fn publish_markov(home: &Path, histories: &[Vec<u32>]) -> String {
    publish_model(home, "markov", "kind = \"markov\"", histories)
}

/// Fits a model by its settings on histories of track numbers and publishes it as `name`.
pub(crate) fn publish_model(home: &Path, name: &str, settings: &str, histories: &[Vec<u32>]) -> String {
    let plays = OwnedSequences::from_items(40, histories.to_vec());
    let table: toml::Table = settings.parse().unwrap();
    let model = fit_recommender(&table, &FitInput::of(plays.view())).unwrap();
    let keys: Vec<ItemKey> = (0..40).map(|i| ItemKey::of(&format!("t{i}"))).collect();
    let artifacts = home.join("artifacts");
    let id = artifact::save(&artifacts, name, &model.parts(), &keys, &ArtifactMeta::default()).unwrap();
    artifact::publish(&artifacts, name, &id).unwrap();
    id
}
