//! `segue demo`: from nothing to a page, in one command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use segue_data::Snapshot;
use segue_data::log::{LogReader, Table};
use segue_serve::Console;
use segue_sim::{World, WorldConfig};
use segue_types::api::{
    EventsRequest, EventsResponse, ReplayResponse, SlateRequest, SlateResponse, StatusResponse, UserResponse,
    UsersResponse,
};
use segue_types::{
    Card, Event, Feedback, FeedbackKind, Impression, ItemKind, Play, StartReason, Surface, TimestampMs,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AlreadyAnswered;
use crate::Global;
use crate::commands::serve::Running;
use crate::commands::{evaluate, import, prepare, sim, train};
use crate::config::Config;
use crate::measure::{Meter, StepCost, bytes_for_people};
use crate::output::{self, Format};

/// Make a listening world (or import yours), prepare, train, evaluate, and serve it.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue demo                                             a made-up world of 2,000 listeners
  segue demo --data my_spotify_data.zip                  your own history
  segue demo --data ml-100k/ --mapping examples/ml-100k  a data set with a column mapping
  segue demo --smoke --json                              the same without waiting for anyone

A second run reuses what is there. Ctrl-C stops the server.")]
pub(crate) struct Args {
    /// Files to import instead of making a world
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Column mapping for --data
    #[arg(long, value_name = "FILE", requires = "data")]
    mapping: Option<PathBuf>,
    /// Ask the server for a few slates, send events, replay one, print a summary and end
    #[arg(long)]
    smoke: bool,
    /// Seed of the world
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Address to listen on [default: `server.listen` of segue.toml; a free port with --smoke]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

/// The summary of `--smoke`.
#[derive(Debug, Serialize)]
struct Summary {
    steps: Vec<StepCost>,
    checks: BTreeMap<&'static str, bool>,
    /// Why a check failed.
    failures: Vec<String>,
    /// Absent where the data does not allow one.
    evaluation: Option<evaluate::Evaluation>,
    no_evaluation: Option<String>,
    trained: Vec<train::Trained>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let mut meter = Meter::default();
    Config::write_first(&global.home)?;
    let config = Config::load(&global.home)?;
    let talk = |text: &str| {
        if global.format() == Format::People {
            output::line(text);
        }
    };

    meter.step("log", || fill_log(args, global))?;
    if Snapshot::open_current(&global.home).is_err() {
        let settings = prepare::configured(&config, global);
        let report = meter.step("prepare", || prepare::build(&global.home, &settings, global))?;
        if global.format() == Format::People {
            prepare::print(&report);
        }
    } else {
        talk("snapshot: reusing the current one; `segue prepare` takes in what is new");
    }
    let trained = if is_trained(&config, global) {
        talk("models: reusing the current ones; `segue train` trains them anew");
        Vec::new()
    } else {
        let trained = meter.step("train", || train::train(&config, &[], train::How::anew(0), global))?;
        if global.format() == Format::People {
            train::print(&trained);
        }
        trained
    };
    let (evaluation, no_evaluation) =
        match meter.step("evaluate", || evaluate::as_configured(&config, global)) {
            Ok(evaluation) => (Some(evaluation), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
    match (&evaluation, &no_evaluation) {
        (Some(evaluation), _) if global.format() == Format::People => evaluate::print(evaluation),
        (None, Some(why)) => talk(&format!("no evaluation: {why}")),
        _ => {}
    }

    let fallback = if args.smoke { "127.0.0.1:0" } else { config.server.listen.as_str() };
    let listen = args.listen.as_deref().unwrap_or(fallback);
    let running =
        meter.step("serve", || Running::start(&global.home, &config, listen, true, Console::default()))?;
    if !args.smoke {
        costs(&meter.steps, &talk);
        talk(&format!("\nSegue listens on {}", running.address()));
        global.say("open it in a browser; Ctrl-C stops it");
        return running.until_interrupted();
    }
    let mut checks = Checks::default();
    let artifacts = global.home.join("artifacts");
    let is_trained = |name: &str| matches!(segue_models::artifact::current(&artifacts, name), Ok(Some(_)));
    let outcome = meter.step("ask", || smoke(&running.address(), &is_trained, &mut checks));
    if let Err(error) = outcome {
        checks.note("answers", Err(error));
    }
    let stopped = meter.step("stop", || running.stop());
    checks.note("stops", stopped);
    let has_failed = !checks.failures.is_empty();
    let summary = Summary {
        steps: meter.steps,
        checks: checks.results,
        failures: checks.failures,
        evaluation,
        no_evaluation,
        trained,
    };
    match global.format() {
        Format::Json => output::json(&summary)?,
        Format::People => {
            costs(&summary.steps, &talk);
            for (name, passed) in &summary.checks {
                output::line(&format!("{} {name}", if *passed { "ok    " } else { "FAILED" }));
            }
        }
    }
    if has_failed {
        let message = format!("checks failed: {}", summary.failures.join("; "));
        return Err(AlreadyAnswered(message).into());
    }
    Ok(())
}

fn costs(steps: &[StepCost], talk: &dyn Fn(&str)) {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|s| {
            let memory = s.peak_memory_bytes.map_or_else(String::new, bytes_for_people);
            vec![s.name.clone(), format!("{:.2}", s.seconds), memory]
        })
        .collect();
    talk(&output::table_text(&["step", "seconds", "peak memory"], &rows));
}

/// Imports `--data`, or makes a world, unless the log holds something already.
fn fill_log(args: &Args, global: &Global) -> Result<()> {
    let reader = LogReader::new(&global.home);
    if reader.n_rows(Table::Plays, None)? + reader.n_rows(Table::Profiles, None)? > 0 {
        global.say("log: reusing what is there");
        return Ok(());
    }
    if let Some(data) = &args.data {
        let report = import::read(std::slice::from_ref(data), args.mapping.as_deref(), "me", false, global)?;
        if global.format() == Format::People {
            import::print(&report);
        }
        return Ok(());
    }
    let config = if args.smoke { WorldConfig::smoke(args.seed) } else { WorldConfig::demo(args.seed) };
    let summary = sim::write_world(&World::new(config)?, global)?;
    if global.format() == Format::People {
        sim::print(&summary);
    }
    Ok(())
}

fn is_trained(config: &Config, global: &Global) -> bool {
    let artifacts = global.home.join("artifacts");
    config.model.keys().any(|name| matches!(segue_models::artifact::current(&artifacts, name), Ok(Some(_))))
}

/// Named checks and why the failed ones failed.
#[derive(Debug, Default)]
struct Checks {
    results: BTreeMap<&'static str, bool>,
    failures: Vec<String>,
}

impl Checks {
    fn that(&mut self, name: &'static str, holds: bool, otherwise: impl FnOnce() -> String) {
        *self.results.entry(name).or_insert(true) &= holds;
        if !holds {
            self.failures.push(format!("{name}: {}", otherwise()));
        }
    }

    fn note(&mut self, name: &'static str, outcome: Result<()>) {
        let failure = outcome.err().map(|e| format!("{e:#}"));
        self.that(name, failure.is_none(), || failure.unwrap_or_default());
    }
}

/// A client of the running server.
struct Client<'a> {
    agent: ureq::Agent,
    address: &'a str,
}

impl Client<'_> {
    fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T> {
        let mut response =
            self.agent.get(format!("{}{route}", self.address)).call().with_context(|| route.to_owned())?;
        response.body_mut().read_json().with_context(|| route.to_owned())
    }

    fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Result<T> {
        let request = self.agent.post(format!("{}{route}", self.address));
        let mut response = request.send_json(body).with_context(|| route.to_owned())?;
        response.body_mut().read_json().with_context(|| route.to_owned())
    }
}

/// Three listeners ask, act, and ask again; one slate of each is replayed.
///
/// A model that the data does not allow was left out by `train`, with its reason: its absence is no fault.
fn smoke(address: &str, is_trained: &dyn Fn(&str) -> bool, checks: &mut Checks) -> Result<()> {
    // The server is this process: no proxy stands between.
    let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let client = Client { agent, address };
    let status: StatusResponse = client.get("/v1/status")?;
    checks.that("ready", status.is_ready, || format!("{:?}", status.models));
    let listeners: UsersResponse = client.get("/v1/users?limit=3")?;
    checks.that("has_listeners", !listeners.users.is_empty(), || "the server knows nobody".to_owned());
    let mut now = status.now;
    for (i, user) in listeners.users.iter().enumerate() {
        now = now.plus_ms(segue_types::DAY_MS);
        listener(&client, &user.user_id, i, &mut now, is_trained, checks)?;
    }
    Ok(())
}

fn listener(
    client: &Client<'_>,
    user_id: &str,
    i: usize,
    now: &mut TimestampMs,
    is_trained: &dyn Fn(&str) -> bool,
    checks: &mut Checks,
) -> Result<()> {
    let ask = |surface: &str, current: Option<&str>, tag: &str, now: TimestampMs| -> Result<SlateResponse> {
        let request = SlateRequest {
            request_id: Some(format!("smoke-{surface}-{tag}-{i}-{}", now.0)),
            user_id: Some(user_id.to_owned()),
            current_item_id: current.map(str::to_owned),
            now: Some(now),
            ..SlateRequest::default()
        };
        client.post(&format!("/v1/{surface}"), &request)
    };
    let home = ask("home", None, "first", *now)?;
    let cards: Vec<&Card> = home.slate.shelves.iter().flat_map(|s| &s.cards).collect();
    checks.that("home_has_cards", cards.len() >= 3, || format!("{user_id} got {} cards", cards.len()));
    let faults: Vec<_> =
        home.slate.degraded.iter().filter(|d| d.cause != "missing_model" || is_trained(&d.stage)).collect();
    checks.that("home_is_whole", faults.is_empty(), || format!("{faults:?}"));
    let in_range = cards.iter().all(|c| c.prefix_propensity > 0.0 && c.prefix_propensity <= 1.0);
    checks.that("propensities_are_probabilities", in_range, || format!("slate {}", home.slate.slate_id));
    let (Some(&played), Some(&hidden)) = (cards.first(), cards.last()) else { return Ok(()) };

    let began = now.plus_ms(5_000);
    let ended = began.plus_ms(200_000);
    let slate_id = &home.slate.slate_id;
    let mut events = vec![
        Event::Play(Play {
            ended_at: Some(ended),
            listened_ms: Some(200_000),
            duration_ms: Some(200_000),
            start_reason: Some(StartReason::Click),
            end_reason: Some(segue_types::EndReason::TrackDone),
            surface: Some(Surface::Home),
            slate_id: Some(slate_id.clone()),
            position: Some(played.position),
            ..Play::new(&format!("{slate_id}-play"), user_id, &played.item_id, began)
        }),
        Event::Feedback(Feedback {
            event_id: format!("{slate_id}-hide"),
            user_id: user_id.to_owned(),
            target_id: hidden.item_id.clone(),
            kind: FeedbackKind::Hide,
            occurred_at: began,
            received_at: None,
            slate_id: Some(slate_id.clone()),
            position: Some(hidden.position),
        }),
    ];
    events.extend(cards.iter().take(3).map(|card| {
        Event::Impression(Impression {
            event_id: format!("{slate_id}-shown-{}", card.position),
            user_id: user_id.to_owned(),
            item_id: card.item_id.clone(),
            slate_id: slate_id.clone(),
            shelf_id: None,
            position: card.position,
            shown_at: *now,
            received_at: None,
            visible_ms: Some(1_500),
        })
    }));
    let n_events = events.len() as u32;
    let request = EventsRequest { events, now: Some(ended) };
    let first: EventsResponse = client.post("/v1/events", &request)?;
    checks.that("events_are_accepted", first.n_accepted == n_events, || format!("{first:?}"));
    let again: EventsResponse = client.post("/v1/events", &request)?;
    let is_idempotent = again.n_accepted == 0 && again.n_duplicates == n_events;
    checks.that("events_are_idempotent", is_idempotent, || format!("{again:?}"));

    *now = ended.plus_ms(1_000);
    let user: UserResponse = client.get(&format!("/v1/users/{}", escape(user_id)))?;
    let is_recent = user.recent.first().is_some_and(|r| r.item_id == played.item_id);
    checks.that("a_play_is_the_latest", is_recent, || format!("{:?}", user.recent.first()));
    let home = ask("home", None, "second", *now)?;
    let still_there = home.slate.shelves.iter().flat_map(|s| &s.cards).any(|c| c.item_id == hidden.item_id);
    checks.that("a_hidden_item_is_gone", !still_there || hidden.item_id == played.item_id, || {
        hidden.item_id.clone()
    });

    // An artist or an album is opened, not queued behind: such a catalogue has no Now Playing.
    let sounds =
        matches!(played.display.kind, None | Some(ItemKind::Track | ItemKind::Episode | ItemKind::Chapter));
    if sounds {
        let queue = ask("now-playing", Some(&played.item_id), "queue", *now)?;
        let mut cards = queue.slate.shelves.iter().flat_map(|s| &s.cards);
        checks.that("now_playing_has_a_queue", cards.clone().count() >= 3, || {
            format!("{:?}", queue.slate.empty_reason)
        });
        checks.that("the_queue_leaves_out_what_plays", cards.all(|c| c.item_id != played.item_id), || {
            played.item_id.clone()
        });
    }

    let replay: ReplayResponse = client.post(&format!("/v1/slates/{}/replay", home.slate.slate_id), &())?;
    checks.that("a_slate_replays_byte_for_byte", replay.is_identical, || replay.differences.join(", "));
    Ok(())
}

/// Percent-encodes a path segment.
fn escape(id: &str) -> String {
    id.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
