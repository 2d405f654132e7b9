//! What serves now: a snapshot, model artifacts and the configuration, as one immutable value.
//!
//! A request takes its deployment once and keeps it, so it never sees half of a swap. Loading anew
//! reuses what has not changed and keeps the last good model where the new one cannot be read.
//!
//! [`Deployments`] is the server's own deployment and one more for every combination of experiment
//! arms that changes it. All of them share one set of models, so an arm costs no second copy.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use segue_data::{FeatureSchema, Snapshot};
use segue_experiment::{Attributes, Units};
use segue_models::{KeyedRecommender, Ranker, artifact};
use segue_pipeline::{FilterStage, HydratorStage, Plan, ScorerStage, SourceStage};
use segue_types::api::{ExperimentStatus, ModelStatus};
use segue_types::{ItemKey, Surface};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{EngineConfig, ShelfConfig};
use crate::experiments::{self, Assigned, Experiments};
use crate::query::Query;
use crate::registry;
use crate::scorers::blend::BlendScorer;
use crate::scorers::features::FeatureHydrator;
use crate::scorers::ranker::RankerScorer;

/// A retrieval model of a deployment, or why there is none.
struct Slot<M: ?Sized> {
    name: String,
    artifact_id: String,
    kind: String,
    status: &'static str,
    detail: Option<String>,
    model: Option<Arc<M>>,
}

impl<M: ?Sized> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            artifact_id: self.artifact_id.clone(),
            kind: self.kind.clone(),
            status: self.status,
            detail: self.detail.clone(),
            model: self.model.clone(),
        }
    }
}

/// One shelf of a surface, assembled.
pub struct ShelfPlan {
    /// Its configuration.
    pub config: ShelfConfig,
    /// `[n_sources of the plan]` whether the shelf takes candidates of this source.
    pub takes: Vec<bool>,
    /// Filters of this shelf alone.
    pub filters: Vec<FilterStage<Query>>,
}

/// One surface, assembled.
pub struct SurfacePlan {
    /// The stages all shelves share.
    pub plan: Plan<Query>,
    /// Shelves from top to bottom.
    pub shelves: Vec<ShelfPlan>,
}

/// Every model that some deployment names, loaded once.
pub struct Models {
    retrieval: Vec<Slot<KeyedRecommender>>,
    rankers: Vec<Slot<dyn Ranker>>,
}

/// Everything that decides how requests are answered, besides the listener and the catalogue.
pub struct Deployment {
    /// Hash of the configuration, the snapshot id and the artifact ids.
    pub id: String,
    /// The configuration.
    pub config: EngineConfig,
    /// Prepared data; `None` before the first `prepare`.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Columns of the ranker's features: the same in every deployment of a server.
    pub features: FeatureSchema,
    /// Home.
    pub home: SurfacePlan,
    /// Now Playing.
    pub now_playing: SurfacePlan,
    /// Names of the retrieval models its surfaces ask, in order of first mention.
    names: Vec<String>,
    models: Arc<Models>,
}

/// The server's deployment, and those of experiment arms.
pub struct Deployments {
    /// Without any arm.
    pub base: Arc<Deployment>,
    /// What loading found, in words.
    pub notes: Vec<String>,
    experiments: Experiments,
    /// Every source any deployment names: the columns of the ranker's features.
    sources: Vec<String>,
    /// Deployments of combinations of arms that were asked for.
    variants: Mutex<HashMap<Vec<Assigned>, Arc<Deployment>>>,
}

fn load_slot<M: ?Sized>(
    artifacts: &Path,
    name: &str,
    previous: Option<&Slot<M>>,
    load: impl FnOnce(&Path) -> Result<(Arc<M>, String), String>,
) -> Slot<M> {
    let failed = |artifact_id: String, status: &'static str, detail: String| match previous {
        Some(good) if good.model.is_some() => {
            Slot { status: "kept_previous", detail: Some(detail), ..good.clone() }
        }
        _ => Slot {
            name: name.to_owned(),
            artifact_id,
            kind: String::new(),
            status,
            detail: Some(detail),
            model: None,
        },
    };
    let folder = match artifact::current(artifacts, name) {
        Ok(Some(folder)) => folder,
        Ok(None) => {
            let detail =
                format!("no artifact is published as `{name}`; `segue train` makes and publishes it");
            return failed(String::new(), "missing", detail);
        }
        Err(e) => return failed(String::new(), "corrupt", e.to_string()),
    };
    let artifact_id = folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    if let Some(same) = previous.filter(|p| p.model.is_some() && p.artifact_id == artifact_id) {
        return Slot { status: "serving", detail: None, ..same.clone() };
    }
    match load(&folder) {
        Ok((model, kind)) => Slot {
            name: name.to_owned(),
            artifact_id,
            kind,
            status: "serving",
            detail: None,
            model: Some(model),
        },
        Err(detail) => failed(artifact_id, "corrupt", detail),
    }
}

fn load_ranker(folder: &Path) -> Result<(Arc<dyn Ranker>, String), String> {
    let loaded = artifact::load(folder).map_err(|e| e.to_string())?;
    let ranker = segue_models::load_ranker(loaded.parts).map_err(|e| e.to_string())?;
    let kind = ranker.kind().to_owned();
    Ok((ranker.into(), kind))
}

fn load_recommender(folder: &Path) -> Result<(Arc<KeyedRecommender>, String), String> {
    let model = KeyedRecommender::load(folder).map_err(|e| e.to_string())?;
    let kind = model.model().kind().to_owned();
    Ok((Arc::new(model), kind))
}

fn surface(shelves: &[ShelfConfig], filters: &[String], config: &EngineConfig) -> SurfacePlan {
    let serving = &config.serving;
    let mut names: Vec<&str> = Vec::new();
    for name in shelves.iter().flat_map(|shelf| &shelf.sources) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let budget = |ms: u64| ms.saturating_mul(1_000);
    let sources = names
        .iter()
        .map(|name| {
            let stage = registry::make_source(name, serving);
            SourceStage::new(name, stage, budget(serving.source_budget_ms))
        })
        .collect();
    let mut scorers: Vec<ScorerStage<Query>> = Vec::new();
    let mut hydrators = Vec::new();
    if !config.ranker.artifact.is_empty() {
        hydrators.push(HydratorStage {
            name: "features".into(),
            stage: Arc::new(FeatureHydrator),
            budget_us: budget(serving.hydrate_budget_ms),
        });
        scorers.push(ScorerStage {
            name: config.ranker.artifact.as_str().into(),
            stage: Arc::new(RankerScorer { heads: config.ranker.heads.clone() }),
            budget_us: budget(serving.score_budget_ms),
        });
    }
    scorers.push(ScorerStage {
        name: "blend".into(),
        stage: Arc::new(BlendScorer),
        budget_us: budget(serving.score_budget_ms),
    });
    let shelves = shelves
        .iter()
        .map(|shelf| ShelfPlan {
            config: shelf.clone(),
            takes: names.iter().map(|name| shelf.sources.iter().any(|s| s == name)).collect(),
            filters: registry::make_filters(&shelf.filters, false, serving),
        })
        .collect();
    let filters = registry::make_filters(filters, true, serving);
    SurfacePlan { plan: Plan { sources, filters, hydrators, scorers }, shelves }
}

/// The surfaces' sources in order of first mention, Home before Now Playing.
fn sources_of(config: &EngineConfig) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let shelves = config.surface.home.shelf.iter().chain([&config.surface.now_playing.queue]);
    for name in shelves.flat_map(|shelf| &shelf.sources) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

impl Models {
    /// Loads what `artifacts/*/current` names. Never fails: what cannot be loaded is kept from
    /// `previous` or left out, and its status says so.
    fn load(home: &Path, sources: &[String], rankers: &[String], previous: Option<&Self>) -> Self {
        let artifacts = home.join("artifacts");
        let retrieval = sources.iter().filter(|name| !registry::is_builtin_source(name)).map(|name| {
            let before = previous.and_then(|p| p.retrieval.iter().find(|m| m.name == *name));
            load_slot(&artifacts, name, before, load_recommender)
        });
        let rankers = rankers.iter().map(|name| {
            let before = previous.and_then(|p| p.rankers.iter().find(|m| m.name == *name));
            load_slot(&artifacts, name, before, load_ranker)
        });
        Self { retrieval: retrieval.collect(), rankers: rankers.collect() }
    }

    /// What became of every model.
    fn status(&self) -> Vec<ModelStatus> {
        fn status<M: ?Sized>(slot: &Slot<M>) -> ModelStatus {
            ModelStatus {
                name: slot.name.clone(),
                kind: slot.kind.clone(),
                artifact_id: slot.artifact_id.clone(),
                status: slot.status.to_owned(),
                detail: slot.detail.clone(),
            }
        }
        self.retrieval.iter().map(status).chain(self.rankers.iter().map(status)).collect()
    }
}

impl Deployments {
    /// Loads what `artifacts/*/current` and `experiments/` name around `snapshot`. Never fails:
    /// what cannot be loaded is kept from `previous` or left out, and [`notes`](Self::notes) and
    /// [`models`](Self::models) say so.
    #[must_use]
    pub fn load(
        home: &Path,
        config: &EngineConfig,
        snapshot: Option<Arc<Snapshot>>,
        previous: Option<&Self>,
    ) -> Self {
        let (files, mut notes) = experiments::read_folder(home);
        let experiments = Experiments::solve(config, &files);
        notes.extend(experiments.notes());
        let mut sources = sources_of(config);
        let mut rankers =
            Vec::from_iter((!config.ranker.artifact.is_empty()).then(|| config.ranker.artifact.clone()));
        for arm in experiments.running_arms() {
            let Ok(config) = experiments.configuration(config, &[arm]) else { continue };
            for name in sources_of(&config) {
                if !sources.contains(&name) {
                    sources.push(name);
                }
            }
            if !config.ranker.artifact.is_empty() && !rankers.contains(&config.ranker.artifact) {
                rankers.push(config.ranker.artifact);
            }
        }
        let before = previous.map(|p| &*p.base.models);
        let models = Arc::new(Models::load(home, &sources, &rankers, before));
        for m in models.status() {
            if let Some(detail) = &m.detail {
                tracing::warn!(model = m.name, status = m.status, detail, "model not as configured");
                notes.push(format!("model `{}`: {}: {detail}", m.name, m.status));
            }
        }
        let base = Arc::new(Deployment::assemble(config, snapshot, &sources, models));
        Self { base, notes, experiments, sources, variants: Mutex::default() }
    }

    /// The deployment of a request, and the arms that could have changed its slate as
    /// `experiment=arm`.
    #[must_use]
    pub fn of_request(
        &self,
        surface: Surface,
        units: &Units<'_>,
        attributes: &Attributes<'_>,
    ) -> (Arc<Deployment>, Vec<String>) {
        let assigned: Vec<Assigned> = self.experiments.assign(surface, units, attributes).collect();
        let labels = assigned.iter().map(|&arm| self.experiments.label(arm)).collect();
        (self.of_assigned(assigned), labels)
    }

    /// The deployment of recorded arms; an arm that is no more changes nothing.
    #[must_use]
    pub fn of_arms(&self, labels: &[String]) -> Arc<Deployment> {
        self.of_assigned(labels.iter().filter_map(|label| self.experiments.find(label)).collect())
    }

    fn of_assigned(&self, mut arms: Vec<Assigned>) -> Arc<Deployment> {
        arms.retain(|&arm| self.experiments.changes(arm));
        if arms.is_empty() {
            return Arc::clone(&self.base);
        }
        let mut variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(variant) = variants.get(&arms) {
            return Arc::clone(variant);
        }
        // Each arm alone was checked, and arms that can meet change different settings.
        let variant = match self.experiments.configuration(&self.base.config, &arms) {
            Ok(config) => Arc::new(Deployment::assemble(
                &config,
                self.base.snapshot.clone(),
                &self.sources,
                Arc::clone(&self.base.models),
            )),
            Err(e) => {
                tracing::error!(error = e, "arms do not go together; they change nothing");
                Arc::clone(&self.base)
            }
        };
        variants.insert(arms, Arc::clone(&variant));
        variant
    }

    /// What became of every model.
    #[must_use]
    pub fn models(&self) -> Vec<ModelStatus> {
        self.base.models.status()
    }

    /// The experiments.
    #[must_use]
    pub fn experiments(&self, home: &Path) -> Vec<ExperimentStatus> {
        self.experiments.status(home, |arm| self.of_assigned(vec![arm]).id.clone())
    }
}

impl Deployment {
    fn assemble(
        config: &EngineConfig,
        snapshot: Option<Arc<Snapshot>>,
        sources: &[String],
        models: Arc<Models>,
    ) -> Self {
        let queue = std::slice::from_ref(&config.surface.now_playing.queue);
        let mut names = sources_of(config);
        names.retain(|name| !registry::is_builtin_source(name));
        // Experiments stand beside a deployment, not in it: a ramp changes no slate by itself.
        let own = EngineConfig { experiment: Vec::new(), holdout: Vec::new(), ..config.clone() };
        let mut identity = serde_json::to_string(&own).unwrap_or_default();
        identity.push_str(snapshot.as_ref().map_or("", |s| s.id()));
        for slot in names.iter().filter_map(|name| models.retrieval.iter().find(|m| m.name == *name)) {
            identity.push_str(&format!("\n{}={}", slot.name, slot.artifact_id));
        }
        let ranker = models.rankers.iter().find(|m| m.name == config.ranker.artifact);
        identity.push_str(&format!("\nranker={}", ranker.map_or("", |r| &r.artifact_id)));
        Self {
            id: format!("{:016x}", xxh3_64(identity.as_bytes())),
            snapshot,
            features: FeatureSchema::new(sources),
            home: surface(&config.surface.home.shelf, &config.surface.home.filters, config),
            now_playing: surface(queue, &config.surface.now_playing.filters, config),
            names,
            config: own,
            models,
        }
    }

    /// A retrieval model by its name.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn model(&self, name: &str) -> Result<&Arc<KeyedRecommender>, String> {
        let slot = self.models.retrieval.iter().find(|m| m.name == name);
        let slot = slot.ok_or_else(|| format!("no surface names a model `{name}`"))?;
        slot.model.as_ref().ok_or_else(|| slot.detail.clone().unwrap_or_default())
    }

    /// The ranker.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn ranker(&self) -> Result<&Arc<dyn Ranker>, String> {
        let slot = self.models.rankers.iter().find(|m| m.name == self.config.ranker.artifact);
        let slot = slot.ok_or("no ranker is configured")?;
        slot.model.as_ref().ok_or_else(|| slot.detail.clone().unwrap_or_default())
    }

    /// Neighbours of an item, best first, and the name of the model that knows them: the first in
    /// configuration order that has any, else the snapshot's co-listens.
    #[must_use]
    pub fn similar(&self, item: ItemKey, k: usize) -> Option<(&str, Vec<(ItemKey, f32)>)> {
        for name in &self.names {
            let Ok(model) = self.model(name) else { continue };
            let neighbours = model.similar_items(item, k);
            if !neighbours.is_empty() {
                return Some((name, neighbours.into_iter().map(|s| (s.item, s.score)).collect()));
            }
        }
        let snapshot = self.snapshot.as_deref()?;
        let row = snapshot.item_row(item)?;
        let heard = snapshot.co_listens(row).take(k);
        let heard: Vec<_> = heard.map(|c| (snapshot.item_key(c.item), c.count as f32)).collect();
        (!heard.is_empty()).then_some(("co_listens", heard))
    }
}
