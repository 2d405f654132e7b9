//! A training from its surroundings to its record: an earlier artifact, checkpoints on disk, progress.

use std::collections::{BTreeMap, HashMap};

use segue_types::{ItemKey, TimestampMs};
use serde::Serialize;
use serde_json::Value;

use crate::sequence::checkpoint_file::CheckpointFile;
use crate::sequence::model::SequenceModel;
use crate::sequence::network::Network;
use crate::sequence::settings::{Objective, Training};
use crate::sequence::trainer::{Checkpoint, Trainer, check_weights};
use crate::{FitInput, LoadedArtifact, ModelError, TrainingRecord, TrainingRun};

/// Trains to the end: from the earlier artifact if there is one that fits, on from the checkpoint if
/// there is one of this training; once more on all plays where the settings say so.
///
/// # Errors
/// Those of [`Trainer`], and if a checkpoint cannot be written.
pub(crate) fn train(
    network: Network,
    objective: Objective,
    settings: &impl Serialize,
    input: &FitInput<'_>,
    run: &mut TrainingRun<'_>,
) -> Result<SequenceModel, ModelError> {
    let kind = objective.model;
    let mut record = TrainingRecord::default();
    let mut since = None;
    let mut start = None;
    if let Some(artifact) = run.earlier {
        match earlier_model(&network, &objective, input, artifact) {
            Ok(earlier) => {
                record.warm_start = Some(artifact.manifest.artifact_id.clone());
                since = artifact.manifest.meta.training.as_ref().and_then(|t| t.newest_play);
                run.messages.push(earlier.told());
                start = Some(earlier);
            }
            Err(error) => {
                tracing::warn!(model = kind, %error, "the earlier artifact cannot be started from");
                run.messages.push(format!("starts from new weights: {error}"));
            }
        }
    }
    let of = identity(kind, settings, input, record.warm_start.as_deref(), run);
    let mut stage = Stage { network, objective, input, since, start, file: file(run, None, &of) };
    let mut trainer = stage.train(run)?;
    record.newest_play = trainer.newest_play();
    record.best_round = trainer.checkpoint().best.as_ref().map(|b| b.round);
    record.rounds.clone_from(&trainer.checkpoint().history);
    // Where the weights it started from were best (round 0), they stay.
    if objective.training.refit
        && let Some(rounds) = record.best_round.filter(|&round| round > 0)
    {
        if let Some(file) = &stage.file {
            // Whoever resumes finds this stage done, and its best round.
            file.write(trainer.checkpoint())?;
        }
        drop(trainer);
        stage.objective.training =
            Training { rounds, validation_share: 0.0, refit: false, ..objective.training };
        stage.file = file(run, Some(rounds), &of);
        trainer = stage.train(run)?;
        record.refitted = true;
    }
    run.record = Some(record);
    Ok(trainer.finish())
}

/// Where one stage keeps its checkpoints; the refit keeps its own.
fn file(run: &TrainingRun<'_>, refit: Option<u32>, of: &BTreeMap<String, String>) -> Option<CheckpointFile> {
    let path = &run.checkpoints.as_ref()?.path;
    let mut of = of.clone();
    let path = match refit {
        None => path.clone(),
        Some(rounds) => {
            of.insert("refit for rounds".to_owned(), rounds.to_string());
            CheckpointFile::refit(path)
        }
    };
    Some(CheckpointFile { path, of })
}

/// Rounds to an end: with plays held out, or on all of them.
struct Stage<'a> {
    network: Network,
    objective: Objective,
    input: &'a FitInput<'a>,
    since: Option<TimestampMs>,
    start: Option<EarlierModel>,
    file: Option<CheckpointFile>,
}

impl<'a> Stage<'a> {
    /// From the checkpoint on, if there is one of this training.
    fn train(&self, run: &mut TrainingRun<'_>) -> Result<Trainer<'a>, ModelError> {
        let (kind, max_rounds) = (self.objective.model, self.objective.training.rounds);
        let mut trainer = Trainer::newer(self.network.clone(), self.objective, self.input, self.since)?;
        if let Some(earlier) = &self.start {
            trainer.start_from(&earlier.model, &earlier.rows)?;
        }
        if let Some(file) = &self.file {
            match file.read(trainer.checkpoint()) {
                Ok(None) => {}
                Ok(Some(checkpoint)) => {
                    let step = checkpoint.state.step;
                    let round = checkpoint.round + 1;
                    trainer.resume(checkpoint)?;
                    if !trainer.is_done() {
                        run.messages.push(format!("resumed in round {round} after step {step}"));
                    }
                }
                Err(error) => {
                    tracing::warn!(model = kind, %error, "the checkpoint cannot be used");
                    run.messages.push(format!("starts anew, its checkpoint cannot be used: {error}"));
                }
            }
        }
        let (progress, checkpoints) = (run.progress, run.checkpoints.as_ref());
        let mut after_step = |checkpoint: &Checkpoint, n_tokens| {
            progress.advance(n_tokens);
            match (&self.file, checkpoints) {
                (Some(file), Some(checkpoints)) if (checkpoints.is_due)() => {
                    // A number that overflowed in this step would be noticed in the next one only.
                    check_weights(&self.network, &checkpoint.state, kind)?;
                    file.write(checkpoint)
                }
                _ => Ok(()),
            }
        };
        let bound = if self.objective.training.validation_share > 0.0 { "at most " } else { "" };
        while !trainer.is_done() {
            let now = trainer.checkpoint();
            let best = now.best.as_ref().map_or(String::new(), |b| format!(", best NDCG@10 {:.4}", b.ndcg));
            let stage = format!("{kind}, round {} of {bound}{max_rounds}{best}", now.round + 1);
            let done = now.part.n_tokens;
            progress.begin(&stage, Some(trainer.tokens_per_round()), "tokens");
            progress.advance(done);
            let outcome = trainer.round_with(&mut after_step);
            progress.end();
            outcome?;
        }
        Ok(trainer)
    }
}

/// The weights to start from, and where each item of the new catalogue stands in them.
struct EarlierModel {
    model: SequenceModel,
    id: String,
    rows: Vec<Option<u32>>,
    n_gone: usize,
}

impl EarlierModel {
    fn told(&self) -> String {
        let kept = self.rows.iter().flatten().count();
        let mut text = format!(
            "starts from artifact {}: {kept} items kept, {} new",
            &self.id[..self.id.len().min(12)],
            self.rows.len() - kept
        );
        if self.n_gone > 0 {
            text += &format!(", {} no longer in the catalogue", self.n_gone);
        }
        text
    }
}

/// Rows of a snapshot ascend by item key, so one new item moves others: items meet by key.
fn earlier_model(
    network: &Network,
    objective: &Objective,
    input: &FitInput<'_>,
    artifact: &LoadedArtifact,
) -> Result<EarlierModel, ModelError> {
    let kind = objective.model;
    let id = artifact.manifest.artifact_id.clone();
    if artifact.parts.kind != kind {
        return Err(artifact.parts.tensors.wrong(
            format!("an earlier artifact of kind `{kind}`"),
            format!("kind `{}`", artifact.parts.kind),
        ));
    }
    if input.item_keys.len() != input.n_items() as usize {
        return Err(ModelError::NeedsData { model: kind, what: "item keys to find earlier items by" });
    }
    let model = SequenceModel::load(network.clone(), artifact.parts.tensors.clone())?;
    let before: HashMap<ItemKey, u32> =
        artifact.item_keys.iter().zip(0..).map(|(&key, row)| (key, row)).collect();
    let rows: Vec<Option<u32>> = input.item_keys.iter().map(|key| before.get(key).copied()).collect();
    let n_gone = artifact.item_keys.len() - rows.iter().flatten().count();
    Ok(EarlierModel { model, id, rows, n_gone })
}

/// All that decides the weights: two trainings with equal identity end with equal ones.
fn identity(
    kind: &str,
    settings: &impl Serialize,
    input: &FitInput<'_>,
    warm_start: Option<&str>,
    run: &TrainingRun<'_>,
) -> BTreeMap<String, String> {
    let mut out = run.checkpoints.as_ref().map_or_else(BTreeMap::new, |c| c.of.clone());
    out.insert("kind".to_owned(), kind.to_owned());
    out.insert("seed".to_owned(), input.seed.to_string());
    out.insert("items".to_owned(), input.n_items().to_string());
    out.insert("plays".to_owned(), input.sequences.n_plays().to_string());
    if let Some(until) = input.until {
        out.insert("until".to_owned(), until.0.to_string());
    }
    if let Some(id) = warm_start {
        out.insert("warm start from".to_owned(), id.to_owned());
    }
    flatten("setting", &serde_json::to_value(settings).unwrap_or(Value::Null), &mut out);
    out
}

/// One entry per setting, so that a message names the one that differs.
fn flatten(name: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    if let Value::Object(fields) = value {
        for (field, value) in fields {
            let separator = if name == "setting" { ' ' } else { '.' };
            flatten(&format!("{name}{separator}{field}"), value, out);
        }
    } else {
        out.insert(name.to_owned(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use segue_data::OwnedSequences;

    use super::*;
    use crate::registry::Model;
    use crate::sequence::ESasRec;
    use crate::sequence::trained::Architecture;
    use crate::{ArtifactMeta, Checkpoints, Recommender, artifact};

    fn config(rounds: u32) -> <ESasRec as Model>::Config {
        let settings = format!(
            "d = 8\nn_blocks = 1\nhidden = 16\nmax_history = 6\ntraining = {{ rounds = {rounds}, round_steps = 9, batch = 16 }}"
        );
        settings.parse::<toml::Table>().unwrap().try_into().unwrap()
    }

    /// Plays of 30 listeners, one an hour; days are 24 plays.
    fn plays(n_items: u32, n_plays: u32) -> OwnedSequences {
        let users = (0..30).map(|u| (0..n_plays).map(|i| (u * 3 + i) % n_items).collect());
        let mut plays = OwnedSequences::from_items(n_items, users);
        plays.known_at = (0..30).flat_map(|_| (0..i64::from(n_plays)).map(|i| i * 3_600_000)).collect();
        plays.occurred_at = plays.known_at.clone();
        plays
    }

    #[test]
    fn a_warm_start_finds_items_by_key_learns_from_newer_plays_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<ItemKey> = (0..20).map(|i| ItemKey(1000 - i)).collect();
        let day = plays(18, 20);
        let input = FitInput { item_keys: &keys[..18], ..FitInput::of(day.view()) };
        let mut run = TrainingRun::default();
        let model = ESasRec::train(&config(2), &input, &mut run).unwrap();
        let record = run.record.unwrap();
        assert_eq!(record.newest_play.map(|t| t.0), Some(19 * 3_600_000));
        assert_eq!(record.rounds.len(), 2);
        let meta = ArtifactMeta { training: Some(record), ..ArtifactMeta::default() };
        let id = artifact::save(folder.path(), "next", &model.parts(), input.item_keys, &meta).unwrap();
        let earlier = artifact::load(&folder.path().join("next").join(&id)).unwrap();
        assert_eq!(earlier.manifest.meta, meta, "the loss curve is in the manifest");

        // Two more items, the rows the other way around, one item gone.
        let next_keys: Vec<ItemKey> = keys.iter().rev().take(19).copied().collect();
        let next = plays(19, 24);
        let input = FitInput { item_keys: &next_keys, ..FitInput::of(next.view()) };
        let mut run = TrainingRun { earlier: Some(&earlier), ..TrainingRun::default() };
        ESasRec::train(&config(1), &input, &mut run).unwrap();
        let record = run.record.unwrap();
        assert_eq!(record.warm_start.as_deref(), Some(&*id));
        assert!(run.messages[0].contains("17 items kept, 2 new, 1 no longer"), "{:?}", run.messages);
        // A window of at most 6 inputs holds the newer plays, and no other window is learnt from.
        let passes = 9_u64.div_ceil(30_u64.div_ceil(16)).max(1);
        assert!(record.rounds[0].n_tokens <= passes * 30 * 6, "{record:?}");

        let mut wider = config(1);
        wider.d = 16;
        let mut run = TrainingRun { earlier: Some(&earlier), ..TrainingRun::default() };
        ESasRec::train(&wider, &input, &mut run).unwrap();
        assert!(run.messages[0].starts_with("starts from new weights"), "{:?}", run.messages);
        assert!(
            run.messages[0].contains("expected") && run.messages[0].contains("got"),
            "{:?}",
            run.messages
        );
        assert_eq!(run.record.unwrap().warm_start, None);

        // Nothing new: nothing to learn.
        let input = FitInput { item_keys: &keys[..18], ..FitInput::of(day.view()) };
        let mut run = TrainingRun { earlier: Some(&earlier), ..TrainingRun::default() };
        let error = ESasRec::train(&config(1), &input, &mut run).unwrap_err();
        assert!(error.to_string().contains("has not seen"), "{error}");
    }

    #[test]
    fn a_refit_learns_the_held_out_plays_for_the_rounds_they_chose_and_resumes_in_either_stage() {
        let day = plays(18, 20);
        let input = FitInput::of(day.view());
        let with = |refit, rounds, validation_share| {
            let mut config = config(rounds);
            config.training = Training { refit, validation_share, ..config.training };
            config
        };
        let train = |config: &<ESasRec as Model>::Config, run: &mut TrainingRun<'_>| {
            let model = ESasRec::train(config, &input, run).unwrap();
            (model, run.record.take().unwrap(), std::mem::take(&mut run.messages))
        };
        let (_, found, _) = train(&with(false, 3, 0.5), &mut TrainingRun::default());
        let best = found.best_round.filter(|&b| b > 0).expect("three rounds learn something");
        let (refitted, record, _) = train(&with(true, 3, 0.5), &mut TrainingRun::default());
        assert!(record.refitted && !found.refitted);
        assert_eq!((record.best_round, &record.rounds), (Some(best), &found.rounds));
        // The same weights as a training that holds nothing out, told the rounds.
        assert!(with(true, 3, 0.0).plan().is_err(), "nothing tells the rounds");
        let (all, _, _) = train(&with(false, best, 0.0), &mut TrainingRun::default());
        assert_eq!(refitted.model(), all.model());

        // Killed in either stage: what is found on disk leads to the same weights.
        let first_stage = record.rounds.last().unwrap().step;
        for kill_at in [4, first_stage + 4] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("checkpoint");
            let steps = Cell::new(0);
            let files = [path.clone(), CheckpointFile::refit(&path)];
            let kept = tempfile::tempdir().unwrap();
            let kept = |file: &Path| kept.path().join(file.file_name().unwrap());
            let is_due = || {
                steps.set(steps.get() + 1);
                // What lay on the disk just after the checkpoint was written.
                if steps.get() == kill_at + 1 {
                    for file in files.iter().filter(|f| f.is_file()) {
                        std::fs::copy(file, kept(file)).unwrap();
                    }
                }
                steps.get() == kill_at
            };
            let checkpoints =
                || Some(Checkpoints { path: path.clone(), of: BTreeMap::new(), is_due: &is_due });
            let mut run = TrainingRun { checkpoints: checkpoints(), ..TrainingRun::default() };
            let (_, _, messages) = train(&with(true, 3, 0.5), &mut run);
            assert!(messages.is_empty(), "{messages:?}");
            CheckpointFile::remove(&path).unwrap();
            assert!(files.iter().all(|file| !file.exists()));
            for file in files.iter().filter(|file| kept(file).is_file()) {
                std::fs::copy(kept(file), file).unwrap();
            }
            assert_eq!(files.clone().map(|file| file.is_file()), [true, kill_at > first_stage]);
            let mut run = TrainingRun { checkpoints: checkpoints(), ..TrainingRun::default() };
            let (resumed, again, messages) = train(&with(true, 3, 0.5), &mut run);
            assert_eq!((resumed.model(), again), (refitted.model(), record.clone()));
            let step = if kill_at > first_stage { kill_at - first_stage } else { kill_at };
            assert_eq!(messages, [format!("resumed in round 1 after step {step}")]);
        }
    }

    #[test]
    fn a_training_of_other_settings_starts_anew_and_names_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let day = plays(18, 20);
        let input = FitInput::of(day.view());
        let asked = Cell::new(0);
        let is_due = || {
            asked.set(asked.get() + 1);
            asked.get() == 7
        };
        let train = |rounds| {
            let checkpoints = Checkpoints { path: path.clone(), of: BTreeMap::new(), is_due: &is_due };
            let mut run = TrainingRun { checkpoints: Some(checkpoints), ..TrainingRun::default() };
            let model = ESasRec::train(&config(rounds), &input, &mut run).unwrap();
            (model, run.messages)
        };
        let (whole, messages) = train(2);
        assert!(messages.is_empty(), "{messages:?}");
        let (resumed, messages) = train(2);
        assert_eq!(messages, ["resumed in round 1 after step 7"]);
        assert_eq!(resumed, whole);
        let (_, messages) = train(3);
        let expected = "expected a training with setting training.rounds 3, got setting training.rounds 2";
        assert!(messages[0].contains(expected), "{messages:?}");
    }
}
