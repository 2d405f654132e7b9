//! What users of item vectors notice of a retraining, as trained and turned back (orthogonal Procrustes):
//! vectors of eSASRec trained on all but the last tenth of each listener's plays, then retrained on all plays
//! with another seed, with the same seed, and from the earlier weights (warm start).
//!
//! ```sh
//! cargo run --release -p segue-models --example retrain_drift -- FILE [ROUNDS]
//! ```

use segue_data::{OwnedSequences, SequencesFile};
use segue_models::sequence::esasrec::ESasRecConfig;
use segue_models::sequence::{Architecture, SequenceModel, Trainer, Training};
use segue_models::{Drift, FitInput, Rotation};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

#[allow(clippy::print_stdout)]
fn main() -> AnyResult<()> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: retrain_drift FILE [ROUNDS]")?;
    let rounds = args.next().map_or(Ok(20), |r| r.parse())?;
    let all = SequencesFile::read(file.as_ref())?.sequences;
    let mut earlier_plays = OwnedSequences { n_items: all.n_items, ..OwnedSequences::default() };
    for user in all.view().iter() {
        earlier_plays.push(user.head(user.len() - user.len().div_ceil(10)));
    }
    let earlier = train(&earlier_plays, 1, rounds, None)?;
    println!(
        "| retrained on all plays | | cosine | 10 nearest, new to new | 10 nearest, old to new | frozen probe R² |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    let retrains = [
        ("another seed", train(&all, 2, rounds, None)?),
        ("the same seed", train(&all, 1, rounds, None)?),
        ("warm start, a quarter of the rounds", train(&all, 1, rounds.div_ceil(4), Some(&earlier))?),
    ];
    for (name, model) in retrains {
        let d = model.item_vectors().d;
        let both: Vec<u32> =
            (0..model.n_items()).filter(|&i| model.is_trained(i) && earlier.is_trained(i)).collect();
        let of = |model: &SequenceModel| -> Vec<f32> {
            both.iter().flat_map(|&i| model.item_vectors().row(i).iter().copied()).collect()
        };
        let mut n_plays = vec![0_u64; all.n_items as usize];
        all.item.iter().for_each(|&i| n_plays[i as usize] += 1);
        let n_plays: Vec<u64> = both.iter().map(|&i| n_plays[i as usize]).collect();
        let (old, mut new) = (of(&earlier), of(&model));
        let as_trained = Drift::between(&old, &new, d, &n_plays);
        Rotation::onto(&new, &old, d).apply(&mut new);
        let turned = Drift::between(&old, &new, d, &n_plays);
        for (how, drift) in [("as trained", as_trained), ("turned", turned)] {
            println!(
                "| {name} | {how} | {:.3} | {:.3} | {:.3} | {:.3} (earlier vectors {:.3}) |",
                drift.cosine,
                drift.neighbours_within,
                drift.neighbours_across,
                drift.probe_after,
                drift.probe_before
            );
        }
    }
    Ok(())
}

fn train(
    plays: &OwnedSequences,
    seed: u64,
    rounds: u32,
    from: Option<&SequenceModel>,
) -> AnyResult<SequenceModel> {
    let training = Training { rounds, patience: rounds, ..Training::default() };
    let (network, objective) = ESasRecConfig { actions: false, training, ..Default::default() }.plan()?;
    let input = FitInput { seed, ..FitInput::of(plays.view()) };
    let mut trainer = Trainer::new(network, objective, &input)?;
    if let Some(earlier) = from {
        let rows: Vec<Option<u32>> = (0..plays.n_items).map(Some).collect();
        trainer.start_from(earlier, &rows)?;
    }
    while !trainer.is_done() {
        trainer.round()?;
    }
    Ok(trainer.finish())
}
