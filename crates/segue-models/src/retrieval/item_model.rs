//! What models that score by an item × item matrix share: fit, load, answer, explain.
//!
//! Such a model is its settings: how the matrix comes from the data, and how the history is weighed when
//! asked. Everything else stands here once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;

use segue_types::{ItemKey, TimestampMs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::counts::Targets;
use super::item_to_item::ItemToItem;
use super::kept_counts::KeptCounts;
use super::kernel::WeightTable;
use crate::{
    Contribution, FitInput, ItemFilter, LoadedArtifact, Model, ModelError, ModelParts, Query, Recommender,
    Scored, TrainingRecord, TrainingRun,
};

/// Settings of a model that scores by an item × item matrix: all that tells one such model from another.
pub trait ItemModelConfig:
    Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// See [`Model::KIND`].
    const KIND: &'static str;
    /// See [`Model::ABOUT`].
    const ABOUT: &'static str;
    /// See [`Model::SEARCH`].
    const SEARCH: &'static str = "";

    /// How the history is weighed. Checks every setting, so that a wrong one is refused before minutes
    /// of counting, and in an artifact too.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first setting out of its range.
    fn history(&self) -> Result<History, ModelError>;

    /// Learns the matrix. Called after [`history`](Self::history) found the settings good.
    ///
    /// # Errors
    /// If the data lacks what the model needs.
    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError>;

    /// The counts to keep, for a model that is made of nothing else, if the settings ask for it: then later plays can
    /// be added.
    fn kept(&self) -> Option<Kept<Self>> {
        None
    }
}

/// How a model is made of kept counts.
pub struct Kept<C> {
    /// Pairs of plays are counted up to this distance.
    pub(crate) window: u8,
    /// Which plays count as a pair's target.
    pub(crate) targets: Targets,
    /// The matrix, as [`ItemModelConfig::matrix`] makes it of the plays; with external item ids by row, or none.
    pub(crate) matrix: fn(&C, &KeptCounts, &[String]) -> ItemToItem,
}

/// How the plays of a history are weighed.
#[derive(Debug, Clone, PartialEq)]
pub enum History {
    /// By age; a play that occurs twice counts twice.
    ByAge(WeightTable),
    /// Each different item among this many newest plays weighs 1.
    Distinct(usize),
}

/// A model that scores by an item × item matrix: `score(a | h) = Σ_j w_j · E[h_j, a]`, and a prior if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemModel<C> {
    config: C,
    history: History,
    items: ItemToItem,
    /// What the matrix is made of, if it is kept.
    counts: Option<KeptCounts>,
}

thread_local! {
    /// Different items of the history that is asked with.
    static DISTINCT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

impl<C: ItemModelConfig> ItemModel<C> {
    /// The matrix, for tests beside a plain reference.
    #[cfg(test)]
    pub(super) fn items(&self) -> &ItemToItem {
        &self.items
    }

    /// The model of an artifact with the plays that became known after its newest.
    fn grown(config: &C, input: &FitInput<'_>, artifact: &LoadedArtifact) -> Result<Self, ModelError> {
        let (parts, meta) = (&artifact.parts, &artifact.manifest.meta);
        let wrong = |expected: &str, got: String| Err(parts.tensors.wrong(expected.to_owned(), got));
        if parts.kind != C::KIND || parts.config != serde_json::to_value(config).unwrap_or_default() {
            return wrong(
                "an earlier artifact of the same settings",
                format!("{} {}", parts.kind, parts.config),
            );
        }
        let Some(newest) = meta.training.as_ref().and_then(|t| t.newest_play) else {
            return wrong("an earlier artifact that says which play was its newest", "none".to_owned());
        };
        let row_of: HashMap<ItemKey, u32> =
            input.item_keys.iter().zip(0..).map(|(&key, row)| (key, row)).collect();
        let rows: Vec<u32> = artifact.item_keys.iter().filter_map(|key| row_of.get(key).copied()).collect();
        if rows.len() != artifact.item_keys.len() {
            let gone = artifact.item_keys.len() - rows.len();
            return wrong("a catalogue that only grew", format!("{gone} items of the artifact are gone"));
        }
        let before = Self::load(config.clone(), parts.clone())?;
        let model = before.with_plays(input, TimestampMs(newest.0.saturating_add(1)), &rows)?;
        // Plays that were erased, or moved to another moment, would still be counted.
        let counted = model.counts.as_ref().map_or(0, KeptCounts::n_plays_in_all);
        let there: u64 = input.users().map(|user| user.len() as u64).sum();
        if counted != there {
            return wrong(&format!("{there} plays, old and new"), counted.to_string());
        }
        Ok(model)
    }

    fn with_plays(&self, input: &FitInput<'_>, from: TimestampMs, rows: &[u32]) -> Result<Self, ModelError> {
        let (Some(kept), Some(counts)) = (self.config.kept(), &self.counts) else {
            return Err(ModelError::CannotAdd { model: C::KIND });
        };
        input.check(C::KIND)?;
        if !input.sequences.is_dated() && input.sequences.n_plays() > 0 {
            return Err(ModelError::NeedsDates { model: C::KIND });
        }
        let more = KeptCounts::of(C::KIND, input, kept.window, kept.targets, Some(from))?;
        let counts = counts.plus(rows, &more)?;
        let items = (kept.matrix)(&self.config, &counts, input.item_ids);
        Ok(Self { config: self.config.clone(), history: self.history.clone(), items, counts: Some(counts) })
    }
}

impl<C: ItemModelConfig> Model for ItemModel<C> {
    type Config = C;

    const KIND: &'static str = C::KIND;
    const ABOUT: &'static str = C::ABOUT;
    const SEARCH: &'static str = C::SEARCH;

    fn fit(config: &C, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let history = config.history()?;
        let (items, counts) = match config.kept() {
            None => (config.matrix(input)?, None),
            Some(kept) => {
                let counts = KeptCounts::of(C::KIND, input, kept.window, kept.targets, None)?;
                ((kept.matrix)(config, &counts, input.item_ids), Some(counts))
            }
        };
        Ok(Self { config: config.clone(), history, items, counts })
    }

    /// With an earlier artifact that kept its counts, adds the plays it has not seen; else counts all.
    fn train(config: &C, input: &FitInput<'_>, run: &mut TrainingRun<'_>) -> Result<Self, ModelError> {
        if config.kept().is_none() {
            return Self::fit(config, input);
        }
        let newest = input.users().filter_map(|user| user.known_at.iter().max().copied()).max();
        let mut record = TrainingRecord { newest_play: newest.map(TimestampMs), ..TrainingRecord::default() };
        if let Some(artifact) = run.earlier {
            match Self::grown(config, input, artifact) {
                Ok(model) => {
                    let id = &artifact.manifest.artifact_id;
                    run.messages.push(format!("adds plays to artifact {}", &id[..id.len().min(12)]));
                    record.warm_start = Some(id.clone());
                    run.record = Some(record);
                    return Ok(model);
                }
                Err(error) => {
                    tracing::warn!(model = C::KIND, %error, "plays cannot be added to the earlier artifact");
                    run.messages.push(format!("counts all plays: {error}"));
                }
            }
        }
        run.record = Some(record);
        Self::fit(config, input)
    }

    fn load(config: C, mut parts: ModelParts) -> Result<Self, ModelError> {
        let (history, items) = (config.history()?, ItemToItem::load(&mut parts.tensors)?);
        let load = |kept: Kept<C>| KeptCounts::load(items.n_items(), kept.window, &mut parts.tensors);
        let counts = config.kept().map(load).transpose()?;
        Ok(Self { config, history, items, counts })
    }
}

impl<C: ItemModelConfig> Recommender for ItemModel<C> {
    fn kind(&self) -> &'static str {
        C::KIND
    }

    fn n_items(&self) -> u32 {
        self.items.n_items()
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        match &self.history {
            History::ByAge(weights) => {
                let history = weights.weigh(query, self.n_items()).map(|(_, item, weight)| (item, weight));
                self.items.recommend(history, k, filter, out);
            }
            &History::Distinct(longest) => DISTINCT.with_borrow_mut(|items| {
                items.clear();
                items.extend(query.newest_first(self.n_items()).take(longest).map(|(_, item)| item));
                items.sort_unstable();
                items.dedup();
                self.items.recommend(items.iter().map(|&item| (item, 1.0)), k, filter, out);
            }),
        }
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let tensors = self.items.store();
        let tensors = self.counts.iter().fold(tensors, |tensors, counts| counts.store(tensors));
        ModelParts::new(C::KIND, &self.config, tensors)
    }

    fn add_plays(
        &self,
        input: &FitInput<'_>,
        from: TimestampMs,
        rows: &[u32],
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(Box::new(self.with_plays(input, from, rows)?))
    }

    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        self.items.similar_items(item, k)
    }

    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        match &self.history {
            History::ByAge(weights) => self.items.explain(weights.weigh(query, self.n_items()), item),
            &History::Distinct(longest) => {
                let mut seen = Vec::new();
                let newest = query.newest_first(self.n_items()).take(longest);
                let first_met = newest.filter(|&(_, source)| {
                    let new = !seen.contains(&source);
                    seen.push(source);
                    new
                });
                self.items.explain(first_met.map(|(at, source)| (at, source, 1.0)), item)
            }
        }
    }
}

/// Refuses a setting: `good` or [`ModelError::Config`].
pub(crate) fn check_setting(
    model: &'static str,
    good: bool,
    setting: &'static str,
    value: impl ToString,
    rule: &'static str,
) -> Result<(), ModelError> {
    if good { Ok(()) } else { Err(ModelError::Config { model, setting, value: value.to_string(), rule }) }
}
