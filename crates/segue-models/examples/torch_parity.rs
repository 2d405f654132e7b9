//! The Rust half of the parity tests of `python/segue_torch`.
//!
//! ```text
//! torch_parity write DIR    small random models with what this side computes from them
//! torch_parity check DIR    models that PyTorch wrote, with what it computed; fails above 1e-4
//! ```
//!
//! A case is a folder with an artifact (`artifact/ID/` when written here, `config.json` and
//! `model.safetensors` when PyTorch wrote it) and `computed.safetensors`: a ragged batch, the hidden
//! vectors, all logits, and for each loss its value before and after one step of training.

use std::fs;
use std::path::Path;

use segue_models::sequence::esasrec::ESasRecConfig;
use segue_models::sequence::hstu::HstuConfig;
use segue_models::sequence::network::Network;
use segue_models::sequence::sasrec::SasRecConfig;
use segue_models::sequence::settings::{Loss, Objective};
use segue_models::sequence::step::{NEGATIVES, State, Stepper};
use segue_models::sequence::windows::Batch;
use segue_models::sequence::{Architecture, SequenceModel};
use segue_models::{ArtifactMeta, ModelParts, Tensors, artifact};
use segue_nn::loss::{NegativeSampler, Negatives};
use segue_nn::{Counter, Embedding, Mat, Pass, matmul};
use segue_types::ItemKey;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const TOLERANCE: f32 = 1e-4;
const N_ITEMS: usize = 37;
const SEED: u64 = 5;
/// Windows of this length: a single event, the longest history, and others.
const LENGTHS: [usize; 6] = [5, 1, 8, 3, 1, 2];
const LOSSES: [(&str, Loss); 4] = [
    ("softmax", Loss::Softmax),
    ("sampled_softmax", Loss::SampledSoftmax),
    ("gbce", Loss::Gbce),
    ("bce", Loss::Bce),
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", folder] => write(Path::new(folder)),
        ["check", folder] => check(Path::new(folder)),
        _ => Err("usage: torch_parity write DIR | check DIR".into()),
    }
}

fn write(folder: &Path) -> Result<(), Failure> {
    let kinds: [(&str, &[&str]); 3] = [
        ("sasrec", &["learned", "rotary", "none"]),
        ("esasrec", &["learned", "rotary", "none"]),
        ("hstu", &["learned", "none", "undated"]),
    ];
    for (kind, cases) in kinds {
        for &case in cases {
            let positions = if case == "undated" { "learned" } else { case };
            let mut batch = batch();
            if kind != "hstu" || case == "undated" {
                (batch.occurred_at, batch.request_at) = (vec![], vec![]);
            }
            let case = folder.join(format!("{kind}-{case}"));
            let mut settings = json!({
                "d": 16, "n_blocks": 2, "n_heads": 2, "max_history": 8,
                "positions": positions, "dropout": 0.0,
                "negatives": { "count": 11, "popular": 0.3, "in_batch": 0.2 },
                "training": {
                    "learning_rate": 0.01, "weight_decay": 0.01, "table_decay": 0.02, "clip": 0.5, "shards": 2,
                },
            });
            if kind != "hstu" {
                settings["hidden"] = 24.into();
            }
            let (settings, network, objective) = plan(kind, settings)?;
            let (params, table) = weights(&network);
            let model = SequenceModel::new(network, params, table, vec![true; N_ITEMS]);
            let computed = compute(&model, objective, &batch, &LOSSES)?;
            let keys: Vec<ItemKey> = (0..N_ITEMS).map(|i| ItemKey::of(&format!("item {i}"))).collect();
            let parts = ModelParts { kind: kind.to_owned(), config: settings, tensors: model.tensors() };
            artifact::check(parts.clone(), keys.clone())?;
            artifact::save(&case, "artifact", &parts, &keys, &ArtifactMeta::default())?;
            fs::write(case.join("computed.safetensors"), computed.to_safetensors()?)?;
        }
    }
    Ok(())
}

fn check(folder: &Path) -> Result<(), Failure> {
    let mut cases: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    cases.sort_by_key(fs::DirEntry::file_name);
    let mut worst = 0.0_f32;
    for case in &cases {
        let (parts, keys) = artifact::load_bare(&case.path())?;
        artifact::check(parts.clone(), keys)?;
        let (_, network, objective) = plan(&parts.kind, parts.config)?;
        let model = SequenceModel::load(network, parts.tensors)?;
        let path = case.path().join("computed.safetensors");
        let mut theirs = Tensors::from_safetensors(&path, &fs::read(&path)?)?;
        let is_dated = theirs.len_of("occurred_at").is_some();
        let batch = Batch {
            offsets: theirs.take("offsets")?,
            item: theirs.take("item")?,
            action: theirs.take("action")?,
            occurred_at: if is_dated { theirs.take("occurred_at")? } else { vec![] },
            request_at: if is_dated { theirs.take("request_at")? } else { vec![] },
            target_token: theirs.take("target_token")?,
            target: theirs.take("target")?,
            ..Batch::default()
        };
        // The negatives of the sampled losses are this side's own draws.
        let mut ours = compute(&model, objective, &batch, &LOSSES[..1])?;
        for name in ["hidden", "logits", "loss.softmax"] {
            let ours: Vec<f32> = ours.take_shaped::<f32, 2>(name)?.0;
            let theirs: Vec<f32> = theirs.take_shaped::<f32, 2>(name)?.0;
            if ours.len() != theirs.len() {
                return Err(format!("{name}: expected {} numbers, got {}", ours.len(), theirs.len()).into());
            }
            let gap = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            say(
                &json!({ "case": case.file_name().to_string_lossy(), "what": name, "max_abs_difference": gap }),
            );
            // A NaN is no agreement.
            worst = if gap <= worst { worst } else { gap };
        }
    }
    if cases.is_empty() || !worst.is_finite() || worst > TOLERANCE {
        return Err(format!("{} cases, largest difference {worst}; at most {TOLERANCE}", cases.len()).into());
    }
    Ok(())
}

fn say(line: &Value) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// All settings, the network and the objective of a kind.
fn plan(kind: &str, settings: Value) -> Result<(Value, Network, Objective), Failure> {
    fn of<A: Architecture>(settings: Value) -> Result<(Value, Network, Objective), Failure> {
        let config: A = serde_json::from_value(settings)?;
        let (network, objective) = config.plan()?;
        Ok((serde_json::to_value(config)?, network, objective))
    }
    match kind {
        "sasrec" => of::<SasRecConfig>(settings),
        "esasrec" => of::<ESasRecConfig>(settings),
        "hstu" => of::<HstuConfig>(settings),
        kind => Err(format!("kind `{kind}` has no twin").into()),
    }
}

/// Weights of which none is at its beginning: biases and gains count too.
fn weights(network: &Network) -> (Vec<f32>, Embedding) {
    let draws = Counter::new(SEED, 77);
    let mut params = network.layout.init(SEED);
    for (i, w) in (0..).zip(&mut params) {
        *w += 0.1 * draws.normal(i);
    }
    (params, Embedding::new(N_ITEMS, network.config.d, 0.3, SEED))
}

/// Ragged sequences, all actions, and about three targets of four tokens.
fn batch() -> Batch {
    let draws = Counter::new(SEED, 78);
    let mut batch = Batch::default();
    let places = LENGTHS.iter().enumerate().flat_map(|(s, &n)| (0..n).map(move |place| (s, place)));
    for (token, (sequence, place)) in places.enumerate() {
        let at = 4 * token as u64;
        batch.item.push(draws.below(at, N_ITEMS as u64) as u32);
        batch.action.push(draws.below(at + 1, 7) as u8);
        // Minutes to years apart.
        let now = batch.request_at.last().copied().filter(|_| place > 0).unwrap_or(1_000_000_000);
        batch.occurred_at.push(now);
        batch.request_at.push(now + (1 << draws.below(at + 2, 27)) + draws.below(at + 3, 60) as u32);
        if draws.below(at + 2, 4) > 0 || sequence == 1 {
            batch.target_token.push(token as u32);
            batch.target.push(draws.below(at + 3, N_ITEMS as u64) as u32);
        }
    }
    for n in LENGTHS {
        batch.offsets.push(batch.offsets[batch.offsets.len() - 1] + n as u32);
    }
    batch
}

/// What both sides compute from a model and a batch.
fn compute(
    model: &SequenceModel,
    objective: Objective,
    batch: &Batch,
    losses: &[(&str, Loss)],
) -> Result<Tensors, Failure> {
    let (network, table, d) = (model.network(), model.item_vectors(), model.network().config.d);
    let pass = Pass { params: model.params(), packed: &[], offsets: &batch.offsets, noise: None };
    let (n, m) = (batch.item.len(), table.n_rows());
    let mut saved = vec![0.0; network.saved_len(&batch.offsets)];
    let mut scratch = vec![0.0; network.scratch_len(&batch.offsets)];
    let events = batch.events(0..n);
    network.forward(&pass, events, table, &mut saved, &mut scratch);
    let hidden = network.hidden(&saved, n);
    let mut logits = vec![0.0; n * m];
    matmul(&mut logits, m, false, Mat::new(hidden, n, d), Mat::new(&table.table, m, d).t());
    let mut out = Tensors::new()
        .with("offsets", &batch.offsets)
        .with("item", &batch.item)
        .with("action", &batch.action)
        .with("target_token", &batch.target_token)
        .with("target", &batch.target)
        .with_shape("hidden", &[n, d], hidden)
        .with_shape("logits", &[n, m], &logits);
    if !batch.occurred_at.is_empty() {
        out = out.with("occurred_at", &batch.occurred_at).with("request_at", &batch.request_at);
    }

    let mut counts = vec![0_u64; m];
    batch.target.iter().for_each(|&t| counts[t as usize] += 1);
    for &(name, loss) in losses {
        let objective = Objective { loss, ..objective };
        let state = State::new(network, &objective, m, SEED);
        let mut state = State { params: model.params().to_vec(), table: table.clone(), ..state };
        let mut stepper = Stepper::new(network, &objective, &counts, SEED);
        let mut values = Vec::new();
        for _ in 0..2 {
            stepper.batches.iter_mut().for_each(Batch::clear);
            deal(batch, &mut stepper.batches);
            values.push(stepper.step(&mut state, objective.training.learning_rate)?.loss as f32);
        }
        out = out.with_shape(&format!("loss.{name}"), &[1, 2], &values);
        if loss != Loss::Softmax {
            // What the two steps drew.
            let k = objective.negatives;
            let sampler = NegativeSampler::new(&counts, k.popular, k.in_batch);
            let (mut ids, mut log_expected) = (Vec::new(), Vec::new());
            for step in 0..2 {
                let targets: Vec<u32> = {
                    let mut shards = vec![Batch::default(); objective.training.shards];
                    deal(batch, &mut shards);
                    shards.iter().flat_map(|b| b.target.clone()).collect()
                };
                let mut drawn = Negatives::default();
                sampler.draw(Counter::new(SEED, NEGATIVES).fork(step), k.count, &targets, &mut drawn);
                ids.extend(drawn.ids);
                log_expected.extend(drawn.log_expected);
            }
            out = out.with_shape(&format!("negatives.{name}"), &[2, k.count], &ids).with_shape(
                &format!("log_expected.{name}"),
                &[2, k.count],
                &log_expected,
            );
        }
    }
    Ok(out)
}

/// Deals the sequences of a batch out to gradient shards.
fn deal(batch: &Batch, shards: &mut [Batch]) {
    let n_shards = shards.len();
    for (s, range) in batch.offsets.windows(2).enumerate() {
        let shard = &mut shards[s % n_shards];
        let start = shard.item.len() as u32;
        let (first, end) = (range[0] as usize, range[1] as usize);
        shard.item.extend(&batch.item[first..end]);
        shard.action.extend(&batch.action[first..end]);
        if !batch.occurred_at.is_empty() {
            shard.occurred_at.extend(&batch.occurred_at[first..end]);
            shard.request_at.extend(&batch.request_at[first..end]);
        }
        for (&token, &target) in batch.target_token.iter().zip(&batch.target) {
            if (range[0]..range[1]).contains(&token) {
                shard.target_token.push(start + token - range[0]);
                shard.target.push(target);
            }
        }
        shard.offsets.push(shard.item.len() as u32);
    }
}
