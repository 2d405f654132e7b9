//! What serves now: a snapshot, model artifacts and the configuration, as one immutable value.
//!
//! A request takes the deployment once and keeps it, so it never sees half of a swap. Loading a new
//! one reuses what has not changed and keeps the last good model where the new one cannot be read.

use std::path::Path;
use std::sync::Arc;

use segue_data::{FeatureSchema, Snapshot};
use segue_models::{KeyedRecommender, Ranker, artifact};
use segue_pipeline::{FilterStage, HydratorStage, Plan, ScorerStage, SourceStage};
use segue_types::ItemKey;
use segue_types::api::ModelStatus;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{EngineConfig, ShelfConfig};
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

/// Everything that decides how requests are answered, besides the listener and the catalogue.
pub struct Deployment {
    /// Hash of the configuration, the snapshot id and the artifact ids.
    pub id: String,
    /// The configuration.
    pub config: EngineConfig,
    /// Prepared data; `None` before the first `prepare`.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Columns of the ranker's features.
    pub features: FeatureSchema,
    /// Home.
    pub home: SurfacePlan,
    /// Now Playing.
    pub now_playing: SurfacePlan,
    models: Vec<Slot<KeyedRecommender>>,
    ranker: Option<Slot<dyn Ranker>>,
    /// What loading found, in words.
    pub notes: Vec<String>,
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

impl Deployment {
    /// Loads what `artifacts/*/current` names around `snapshot`. Never fails: what cannot be
    /// loaded is kept from `previous` or left out, and [`models`](Self::models) says so.
    #[must_use]
    pub fn load(
        home: &Path,
        config: &EngineConfig,
        snapshot: Option<Arc<Snapshot>>,
        previous: Option<&Self>,
    ) -> Self {
        let artifacts = home.join("artifacts");
        let queue = std::slice::from_ref(&config.surface.now_playing.queue);
        let home_plan = surface(&config.surface.home.shelf, &config.surface.home.filters, config);
        let queue_plan = surface(queue, &config.surface.now_playing.filters, config);
        let mut names: Vec<&str> = Vec::new();
        for stage in home_plan.plan.sources.iter().chain(&queue_plan.plan.sources) {
            if !registry::is_builtin_source(&stage.name) && !names.contains(&&*stage.name) {
                names.push(&stage.name);
            }
        }
        let models: Vec<Slot<KeyedRecommender>> = names
            .iter()
            .map(|name| {
                let before = previous.and_then(|p| p.models.iter().find(|m| m.name == *name));
                load_slot(&artifacts, name, before, load_recommender)
            })
            .collect();
        let ranker = (!config.ranker.artifact.is_empty()).then(|| {
            let before = previous.and_then(|p| p.ranker.as_ref());
            load_slot(&artifacts, &config.ranker.artifact, before, load_ranker)
        });
        let mut sources: Vec<String> = Vec::new();
        for stage in home_plan.plan.sources.iter().chain(&queue_plan.plan.sources) {
            if !sources.iter().any(|s| **s == *stage.name) {
                sources.push(stage.name.to_string());
            }
        }
        let mut identity = serde_json::to_string(config).unwrap_or_default();
        identity.push_str(snapshot.as_ref().map_or("", |s| s.id()));
        for (name, id) in models.iter().map(|m| (&m.name, &m.artifact_id)) {
            identity.push_str(&format!("\n{name}={id}"));
        }
        identity.push_str(&format!("\nranker={}", ranker.as_ref().map_or("", |r| &r.artifact_id)));
        let id = format!("{:016x}", xxh3_64(identity.as_bytes()));
        let mut deployment = Self {
            id,
            config: config.clone(),
            snapshot,
            features: FeatureSchema::new(&sources),
            home: home_plan,
            now_playing: queue_plan,
            models,
            ranker,
            notes: Vec::new(),
        };
        for m in deployment.models() {
            if let Some(detail) = &m.detail {
                tracing::warn!(model = m.name, status = m.status, detail, "model not as configured");
                deployment.notes.push(format!("model `{}`: {}: {detail}", m.name, m.status));
            }
        }
        deployment
    }

    /// A retrieval model by its name.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn model(&self, name: &str) -> Result<&Arc<KeyedRecommender>, String> {
        let slot = self.models.iter().find(|m| m.name == name);
        let slot = slot.ok_or_else(|| format!("no surface names a model `{name}`"))?;
        slot.model.as_ref().ok_or_else(|| slot.detail.clone().unwrap_or_default())
    }

    /// The ranker.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn ranker(&self) -> Result<&Arc<dyn Ranker>, String> {
        let slot = self.ranker.as_ref().ok_or("no ranker is configured")?;
        slot.model.as_ref().ok_or_else(|| slot.detail.clone().unwrap_or_default())
    }

    /// Neighbours of an item, best first, and the name of the model that knows them: the first in
    /// configuration order that has any, else the snapshot's co-listens.
    #[must_use]
    pub fn similar(&self, item: ItemKey, k: usize) -> Option<(&str, Vec<(ItemKey, f32)>)> {
        for slot in &self.models {
            if let Some(model) = &slot.model {
                let neighbours = model.similar_items(item, k);
                if !neighbours.is_empty() {
                    return Some((&slot.name, neighbours.into_iter().map(|s| (s.item, s.score)).collect()));
                }
            }
        }
        let snapshot = self.snapshot.as_deref()?;
        let row = snapshot.item_row(item)?;
        let heard = snapshot.co_listens(row).take(k);
        let heard: Vec<_> = heard.map(|c| (snapshot.item_key(c.item), c.count as f32)).collect();
        (!heard.is_empty()).then_some(("co_listens", heard))
    }

    /// What became of every configured model.
    #[must_use]
    pub fn models(&self) -> Vec<ModelStatus> {
        fn status<M: ?Sized>(slot: &Slot<M>) -> ModelStatus {
            ModelStatus {
                name: slot.name.clone(),
                kind: slot.kind.clone(),
                artifact_id: slot.artifact_id.clone(),
                status: slot.status.to_owned(),
                detail: slot.detail.clone(),
            }
        }
        self.models.iter().map(status).chain(self.ranker.iter().map(status)).collect()
    }
}
