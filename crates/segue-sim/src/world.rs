//! The world: configuration, catalogue, attention, and the stream of its log.

use rayon::prelude::*;
use segue_types::{Day, Feedback, Impression, Item, Play, User, UserKey};
use serde::Serialize;

use crate::SimError;
use crate::attention::Attention;
use crate::catalogue::Catalogue;
use crate::choice::Chooser;
use crate::config::WorldConfig;
use crate::listener::Listener;
use crate::session::{Life, plain_home};
use crate::tape::Tape;

/// Hash buckets listeners are ordered by, so that a partitioned log is written bucket by bucket.
pub const N_BUCKETS: u32 = 256;
/// Plays per batch aimed at; bounds the memory of generation.
const BATCH_PLAYS: f64 = 40_000.0;

/// Events of some listeners, each listener's in one piece and in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventBatch {
    /// Plays.
    pub plays: Vec<Play>,
    /// Explicit acts.
    pub feedback: Vec<Feedback>,
    /// Cards of the fictional Home that came on screen.
    pub impressions: Vec<Impression>,
}

/// Where a world's log goes. Calls come one at a time: items, users, then events, in a fixed order.
pub trait WorldSink: Send {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes a batch of items.
    ///
    /// # Errors
    /// Ends the generation.
    fn items(&mut self, items: Vec<Item>) -> Result<(), Self::Error>;

    /// Takes a batch of users.
    ///
    /// # Errors
    /// Ends the generation.
    fn users(&mut self, users: Vec<User>) -> Result<(), Self::Error>;

    /// Takes a batch of events.
    ///
    /// # Errors
    /// Ends the generation.
    fn events(&mut self, batch: EventBatch) -> Result<(), Self::Error>;

    /// Called after each batch with the listeners done so far.
    fn progress(&mut self, n_done: u32, n_users: u32) {
        let _ = (n_done, n_users);
    }
}

/// What was generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WorldSummary {
    /// Tracks.
    pub n_items: u64,
    /// Listeners.
    pub n_users: u64,
    /// Plays.
    pub n_plays: u64,
    /// Explicit acts.
    pub n_feedback: u64,
    /// Impressions.
    pub n_impressions: u64,
}

/// A world. Making it builds the catalogue; listeners and their days are made as they are asked for.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    catalogue: Catalogue,
    attention: Attention,
}

impl World {
    /// Makes the catalogue and the tables of attention.
    ///
    /// # Errors
    /// [`SimError::Config`] if a field breaks its rule.
    pub fn new(config: WorldConfig) -> Result<Self, SimError> {
        config.validate()?;
        let catalogue = Catalogue::new(&config);
        let attention = Attention::new(&config, &catalogue);
        Ok(Self { config, catalogue, attention })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The catalogue.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The tables of attention.
    #[must_use]
    pub fn attention(&self) -> &Attention {
        &self.attention
    }

    /// A listener, `user` in `0..n_users`.
    #[must_use]
    pub fn listener(&self, user: u32) -> Listener {
        Listener::new(&self.config, &self.catalogue, &self.attention, user)
    }

    /// The facts a service knows of a listener.
    #[must_use]
    pub fn user(&self, user: u32) -> User {
        self.listener(user).facts(&self.config)
    }

    /// How a listener chooses by themself.
    #[must_use]
    pub fn chooser<'a>(&'a self, listener: &'a Listener) -> Chooser<'a> {
        Chooser { catalogue: &self.catalogue, attention: &self.attention, listener }
    }

    /// What a listener did in the whole log.
    #[must_use]
    pub fn tape(&self, user: u32) -> Tape {
        Life::new(self, user).tape()
    }

    /// The shelves of the fictional Home on a day.
    #[must_use]
    pub fn plain_home(&self, day: Day) -> Vec<Vec<u32>> {
        plain_home(self, day)
    }

    /// Listeners in the order of the log: by hash bucket, then by index.
    #[must_use]
    pub fn users_in_log_order(&self) -> Vec<u32> {
        let mut users: Vec<(u32, u32)> = (0..self.config.n_users)
            .map(|u| (UserKey::of(&Listener::user_id(u)).bucket(N_BUCKETS), u))
            .collect();
        users.sort_unstable();
        users.into_iter().map(|u| u.1).collect()
    }

    /// Streams the whole log to a sink: the same calls in the same order for any number of threads.
    ///
    /// Generation runs in rayon's current pool, one wave of batches (one per thread) ahead of the sink;
    /// memory is bounded by two waves.
    ///
    /// # Errors
    /// [`SimError::Sink`] with the sink's error; nothing more is generated after it.
    pub fn generate<S: WorldSink>(&self, sink: &mut S) -> Result<WorldSummary, SimError> {
        let failed = |table| move |e: S::Error| SimError::Sink { table, source: Box::new(e) };
        let mut summary = WorldSummary::default();
        let items: Vec<u32> = (0..self.config.n_items).collect();
        for chunk in items.chunks(10_000) {
            let rows: Vec<Item> = chunk.par_iter().map(|&i| self.catalogue.item(i)).collect();
            summary.n_items += rows.len() as u64;
            sink.items(rows).map_err(failed("items"))?;
        }
        let users = self.users_in_log_order();
        for chunk in users.chunks(10_000) {
            let rows: Vec<User> = chunk.par_iter().map(|&u| self.user(u)).collect();
            summary.n_users += rows.len() as u64;
            sink.users(rows).map_err(failed("users"))?;
        }
        let plays_per_user = (self.config.mean_plays_per_day * f64::from(self.config.n_days)).max(1.0);
        let users_per_batch = ((BATCH_PLAYS / plays_per_user) as usize).clamp(1, 4_096);
        let batches: Vec<&[u32]> = users.chunks(users_per_batch).collect();
        let mut waves = batches.chunks(rayon::current_num_threads().max(1));
        let make = |wave: Option<&[&[u32]]>| -> Vec<EventBatch> {
            wave.map_or_else(Vec::new, |w| w.par_iter().map(|users| self.batch(users)).collect())
        };
        let mut n_done = 0;
        let mut ready = make(waves.next());
        while !ready.is_empty() {
            let next = waves.next();
            // The sink takes one wave while the pool makes the next.
            let (taken, made) = rayon::join(
                || {
                    for batch in ready {
                        n_done = (n_done + users_per_batch).min(users.len());
                        take(sink, batch, &mut summary)?;
                        sink.progress(n_done as u32, users.len() as u32);
                    }
                    Ok(())
                },
                || make(next),
            );
            taken.map_err(failed("events"))?;
            ready = made;
        }
        Ok(summary)
    }

    fn batch(&self, users: &[u32]) -> EventBatch {
        let mut batch = EventBatch::default();
        for &user in users {
            let tape = self.tape(user);
            batch.plays.extend(tape.play_events(&self.catalogue, user));
            batch.feedback.extend(tape.feedback_events(&self.catalogue, user));
            batch.impressions.extend(tape.impression_events(user));
        }
        batch
    }
}

fn take<S: WorldSink>(sink: &mut S, batch: EventBatch, summary: &mut WorldSummary) -> Result<(), S::Error> {
    summary.n_plays += batch.plays.len() as u64;
    summary.n_feedback += batch.feedback.len() as u64;
    summary.n_impressions += batch.impressions.len() as u64;
    sink.events(batch)
}
