//! Configuration of what the engine serves: surfaces, shelves, the ranker, budgets, durability.
//!
//! Every field has a default, unknown fields are refused, and [`EngineConfig::check`] is run at
//! start so that a mistake is found before the first request.

use segue_experiment::{ExperimentSpec, HoldoutSpec};
use serde::de::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::EngineError;

/// The part of `segue.toml` the engine reads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// `[surface.home]` and `[surface.now_playing]`.
    pub surface: SurfacesConfig,
    /// `[ranker]`: the model that scores candidates.
    pub ranker: RankerConfig,
    /// `[serving]`: budgets, threads, sampling.
    pub serving: ServingConfig,
    /// `[state]`: write-ahead log and user-state store.
    pub state: StateConfig,
    /// `[[experiment]]`: experiments that run while they stand here. `segue experiment start`
    /// adds others without a restart (`docs/experiments.md`).
    #[schema(value_type = Vec<Object>)]
    pub experiment: Vec<ExperimentSpec>,
    /// `[[holdout]]`: shares of listeners kept out of experiments.
    #[schema(value_type = Vec<Object>)]
    pub holdout: Vec<HoldoutSpec>,
}

/// The surfaces that are served.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SurfacesConfig {
    /// Home.
    pub home: HomeConfig,
    /// Now Playing.
    pub now_playing: NowPlayingConfig,
}

/// `[surface.home]`: shelves from top to bottom, as `[[surface.home.shelf]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HomeConfig {
    /// Shelves, composed in this order; an item is shown once per page.
    pub shelf: Vec<ShelfConfig>,
    /// Filters every candidate of the page passes, in order. The protecting filters (`market`,
    /// `explicit`, `hidden`, `consent`) always run, named here or not.
    pub filters: Vec<String>,
}

/// `[surface.now_playing]`: the queue behind the current item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NowPlayingConfig {
    /// The queue is one shelf. What is not said stays as it is by default.
    #[serde(deserialize_with = "over_default_queue")]
    pub queue: ShelfConfig,
    /// As for Home.
    pub filters: Vec<String>,
}

/// One titled row: where its candidates come from and how they are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShelfConfig {
    /// Stable id: letters, digits and `_`. Clients and reports refer to it.
    pub id: String,
    /// Title as shown. `{because}` becomes the title of the item the shelf is built on.
    pub title: String,
    /// Why this shelf is here, in words.
    pub why: String,
    /// Sources, by name: a built-in source, or the name of a model artifact in `artifacts/`.
    pub sources: Vec<String>,
    /// Filters of this shelf alone, after those of the surface.
    pub filters: Vec<String>,
    /// Most cards, 1 to 100.
    pub limit: u32,
    /// A shelf with fewer cards is left out.
    pub min_cards: u32,
    /// Most cards with the same main artist; 0 is no cap.
    pub max_per_artist: u32,
    /// `top` (best first) or `explore` (seeded draws with logged propensities).
    pub selector: String,
    /// `explore`: temperature of the softmax over scores in `[0, 1]`, above 0.
    pub temperature: f64,
    /// `explore`: share of uniform choice at each position, in `[0, 1]`.
    pub epsilon: f64,
    /// `explore`: how many of the best candidates may be drawn, 1 to 500.
    pub pool: u32,
}

impl Default for ShelfConfig {
    fn default() -> Self {
        Self {
            id: String::new(),
            title: String::new(),
            why: String::new(),
            sources: Vec::new(),
            filters: Vec::new(),
            limit: 12,
            min_cards: 1,
            max_per_artist: 2,
            selector: "top".to_owned(),
            temperature: 0.1,
            epsilon: 0.05,
            pool: 50,
        }
    }
}

/// A queue whose fields that are not given are those of the default queue.
fn over_default_queue<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ShelfConfig, D::Error> {
    let given = toml::Table::deserialize(from)?;
    let mut queue = toml::Table::try_from(NowPlayingConfig::default().queue).map_err(D::Error::custom)?;
    queue.extend(given);
    queue.try_into().map_err(D::Error::custom)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&s| s.to_owned()).collect()
}

impl Default for HomeConfig {
    fn default() -> Self {
        let discovery = || names(&["recently_played"]);
        Self {
            filters: names(&["market", "explicit", "hidden", "consent"]),
            shelf: vec![
                ShelfConfig {
                    id: "jump_back_in".to_owned(),
                    title: "Jump back in".to_owned(),
                    why: "What you listened to lately".to_owned(),
                    sources: names(&["recent"]),
                    limit: 8,
                    max_per_artist: 3,
                    ..ShelfConfig::default()
                },
                ShelfConfig {
                    id: "made_for_you".to_owned(),
                    title: "Made for you".to_owned(),
                    why: "Chosen from what listeners with your history play next".to_owned(),
                    sources: names(&["markov", "rules", "neighbours", "knn", "popularity", "popular"]),
                    filters: discovery(),
                    selector: "explore".to_owned(),
                    ..ShelfConfig::default()
                },
                ShelfConfig {
                    id: "because".to_owned(),
                    title: "Because you listened to {because}".to_owned(),
                    why: "Often heard together with it".to_owned(),
                    sources: names(&["similar"]),
                    filters: discovery(),
                    min_cards: 3,
                    ..ShelfConfig::default()
                },
                ShelfConfig {
                    id: "new_from_artists".to_owned(),
                    title: "New from artists you love".to_owned(),
                    why: "Released lately by artists you play most".to_owned(),
                    sources: names(&["new_releases"]),
                    max_per_artist: 3,
                    ..ShelfConfig::default()
                },
                ShelfConfig {
                    id: "popular".to_owned(),
                    title: "Popular near you".to_owned(),
                    why: "What your market plays most".to_owned(),
                    sources: names(&["popular"]),
                    ..ShelfConfig::default()
                },
            ],
        }
    }
}

impl Default for NowPlayingConfig {
    fn default() -> Self {
        Self {
            filters: names(&["market", "explicit", "hidden", "consent", "already_playing"]),
            queue: ShelfConfig {
                id: "queue".to_owned(),
                title: "Up next".to_owned(),
                why: "Goes on from what plays now".to_owned(),
                sources: names(&["markov", "rules", "neighbours", "knn", "similar", "popular"]),
                limit: 20,
                selector: "explore".to_owned(),
                ..ShelfConfig::default()
            },
        }
    }
}

/// `[ranker]`: which artifact scores candidates, and what its heads are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RankerConfig {
    /// Name of the artifact in `artifacts/`; empty serves blended source ranks.
    pub artifact: String,
    /// Head name and weight. A candidate's score is the weighted mean of its heads, in `[0, 1]`.
    /// Heads the artifact lacks are left out of the mean.
    pub heads: Vec<HeadWeight>,
}

/// What one head of the ranker is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadWeight {
    /// Name, such as `stream`.
    pub head: String,
    /// At least 0.
    pub weight: f64,
}

impl Default for RankerConfig {
    fn default() -> Self {
        Self {
            artifact: "ranker".to_owned(),
            heads: vec![
                HeadWeight { head: "stream".to_owned(), weight: 1.0 },
                HeadWeight { head: "completion".to_owned(), weight: 0.5 },
            ],
        }
    }
}

/// `[serving]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServingConfig {
    /// Candidates asked of each source per request, 1 to 1,000.
    pub candidates_per_source: u32,
    /// Milliseconds a source may take; it is left out of the slate after that.
    pub source_budget_ms: u64,
    /// Milliseconds for feature hydration.
    pub hydrate_budget_ms: u64,
    /// Milliseconds for the ranker.
    pub score_budget_ms: u64,
    /// Threads that run sources, 1 to 256; 0 runs them one after another on the caller's thread.
    pub source_threads: u32,
    /// Share of requests whose candidates are kept in the slate record, in `(0, 1]`. The cards,
    /// scores of the pools and propensities are always kept.
    pub candidate_sampling_rate: f64,
    /// Days after its release that an item counts as new.
    pub new_release_days: u32,
    /// Hours that `recently_played` looks back.
    pub recently_played_hours: u32,
    /// Half-life in days of the popularity the server keeps itself.
    pub popularity_half_life_days: f64,
}

impl Default for ServingConfig {
    fn default() -> Self {
        Self {
            candidates_per_source: 100,
            source_budget_ms: 60,
            hydrate_budget_ms: 60,
            score_budget_ms: 60,
            source_threads: 4,
            candidate_sampling_rate: 1.0,
            new_release_days: 60,
            recently_played_hours: 72,
            popularity_half_life_days: 7.0,
        }
    }
}

/// `[state]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Bytes after which a write-ahead log segment is closed and can be drained.
    pub segment_bytes: u64,
    /// The store is brought up to date and synced after this many events.
    pub checkpoint_events: u32,
    /// An event id is recognised as a duplicate among at least this many latest events.
    pub dedupe_horizon_events: u32,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { segment_bytes: 32 << 20, checkpoint_events: 20_000, dedupe_horizon_events: 500_000 }
    }
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    setting: String,
    value: T,
    least: T,
    most: T,
    rule: &'static str,
) -> Result<(), EngineError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(EngineError::Config { setting, value: value.to_string(), rule: rule.to_owned() })
    }
}

impl ShelfConfig {
    fn check(&self, at: &str) -> Result<(), EngineError> {
        let setting = |name: &str| format!("{at}.{name}");
        let bad = |name: &str, value: &str, rule: &str| {
            Err(EngineError::Config {
                setting: setting(name),
                value: value.to_owned(),
                rule: rule.to_owned(),
            })
        };
        if self.id.is_empty() || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return bad("id", &self.id, "a shelf id is one or more letters, digits or `_`");
        }
        if self.sources.is_empty() {
            return bad("sources", "[]", "a shelf needs at least one source; `popular` is always there");
        }
        for (i, source) in self.sources.iter().enumerate() {
            if self.sources[..i].contains(source) {
                return bad("sources", source, "a shelf names each source once");
            }
        }
        in_range(setting("limit"), self.limit, 1, 100, "cards on the shelf, 1 to 100")?;
        in_range(setting("pool"), self.pool, 1, 500, "candidates that may be drawn, 1 to 500")?;
        in_range(setting("epsilon"), self.epsilon, 0.0, 1.0, "a share in [0, 1]")?;
        in_range(setting("temperature"), self.temperature, 1e-6, 1e6, "above 0; scores lie in [0, 1]")?;
        crate::registry::check_shelf(self, at)
    }
}

impl EngineConfig {
    /// Checks every value and every name of a stage.
    ///
    /// # Errors
    /// [`EngineError::Config`] with the setting, its value and the rule.
    pub fn check(&self) -> Result<(), EngineError> {
        let home = &self.surface.home;
        for (i, shelf) in home.shelf.iter().enumerate() {
            shelf.check(&format!("surface.home.shelf[{i}]"))?;
            if home.shelf[..i].iter().any(|other| other.id == shelf.id) {
                return Err(EngineError::Config {
                    setting: format!("surface.home.shelf[{i}].id"),
                    value: shelf.id.clone(),
                    rule: "shelf ids are unique on a page".to_owned(),
                });
            }
        }
        self.surface.now_playing.queue.check("surface.now_playing.queue")?;
        crate::registry::check_filters(&home.filters, "surface.home.filters")?;
        crate::registry::check_filters(&self.surface.now_playing.filters, "surface.now_playing.filters")?;
        let s = &self.serving;
        in_range(
            "serving.candidates_per_source".to_owned(),
            s.candidates_per_source,
            1,
            1_000,
            "1 to 1,000 candidates per source",
        )?;
        in_range("serving.source_threads".to_owned(), s.source_threads, 0, 256, "0 to 256 threads")?;
        in_range(
            "serving.candidate_sampling_rate".to_owned(),
            s.candidate_sampling_rate,
            1e-6,
            1.0,
            "a share in (0, 1]; off-policy evaluation divides by it",
        )?;
        in_range(
            "serving.popularity_half_life_days".to_owned(),
            s.popularity_half_life_days,
            0.5,
            10_000.0,
            "days, 0.5 to 10,000",
        )?;
        in_range(
            "state.segment_bytes".to_owned(),
            self.state.segment_bytes,
            4_096,
            1 << 32,
            "bytes per segment, 4 KiB to 4 GiB",
        )?;
        in_range(
            "state.checkpoint_events".to_owned(),
            self.state.checkpoint_events,
            1,
            10_000_000,
            "events between checkpoints, at least 1",
        )?;
        in_range(
            "state.dedupe_horizon_events".to_owned(),
            self.state.dedupe_horizon_events,
            1_000,
            100_000_000,
            "latest events whose ids are remembered, at least 1,000",
        )?;
        for head in &self.ranker.heads {
            in_range(format!("ranker.heads.{}", head.head), head.weight, 0.0, 1e6, "a weight of at least 0")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        match toml::from_str::<EngineConfig>(text) {
            Err(e) => e.to_string(),
            Ok(config) => config.check().expect_err("the configuration is wrong").to_string(),
        }
    }

    #[test]
    fn the_defaults_pass_their_own_check() {
        EngineConfig::default().check().unwrap();
    }

    #[test]
    fn the_defaults_survive_toml() {
        let text = toml::to_string(&EngineConfig::default()).unwrap();
        assert_eq!(toml::from_str::<EngineConfig>(&text).unwrap(), EngineConfig::default());
    }

    #[test]
    fn a_mistake_names_the_setting_the_value_and_the_rule() {
        let shelf =
            |extra: &str| format!("[[surface.home.shelf]]\nid = \"a\"\nsources = [\"popular\"]\n{extra}\n");
        assert!(message(&shelf("limit = 0")).contains("`surface.home.shelf[0].limit` is 0"));
        assert!(message(&shelf("selector = \"best\"")).contains("`best`"));
        assert!(message(&shelf("filters = [\"nsfw\"]")).contains("nsfw"));
        assert!(message(&shelf("epsilon = 2.0")).contains("a share in [0, 1]"));
        assert!(message(&shelf("lmit = 3")).contains("lmit"));
        assert!(message(&(shelf("") + &shelf(""))).contains("unique"));
        assert!(message("[serving]\ncandidate_sampling_rate = 0.0").contains("divides"));
        assert!(message("[[surface.home.shelf]]\nid = \"a\"").contains("at least one source"));
    }

    #[test]
    fn a_queue_keeps_what_is_not_said_of_it() {
        let text = "[surface.now_playing.queue]\nsources = [\"popular\"]\n";
        let queue = toml::from_str::<EngineConfig>(text).unwrap().surface.now_playing.queue;
        assert_eq!(queue, ShelfConfig { sources: names(&["popular"]), ..NowPlayingConfig::default().queue });
        assert!(message("[surface.now_playing.queue]\nlmit = 3").contains("lmit"));
    }

    #[test]
    fn a_model_becomes_a_source_by_its_name() {
        let text = "[[surface.home.shelf]]\nid = \"a\"\nsources = [\"trending\"]\n";
        toml::from_str::<EngineConfig>(text).unwrap().check().unwrap();
    }
}
