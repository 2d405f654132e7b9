//! The steps against the objective's own slope, the schedule, and planted tastes.

use segue_data::OwnedSequences;

use super::*;

/// Listeners of two tastes over `n_items`: each plays 12 of the even, or 12 of the odd, items.
fn two_tastes(n_users: u32, n_items: u32) -> OwnedSequences {
    let items = |user: u32| (0..12).map(move |n| 2 * ((draw(9, user.into(), n) % u64::from(n_items / 2)) as u32) + user % 2);
    OwnedSequences::from_items(n_items, (0..n_users).map(|user| items(user).collect()))
}

#[test]
fn a_planted_taste_is_learnt_and_a_score_is_the_sum_of_its_explanation_and_the_bias() {
    let plays = two_tastes(300, 200);
    for loss in [Loss::Bpr, Loss::Warp] {
        let config = BprConfig { loss, factors: 8, epochs: 60, ..BprConfig::default() };
        let model = Bpr::fit(&config, &FitInput::of(plays.view())).unwrap();
        let mut out = Vec::new();
        for parity in [0, 1] {
            let history: Vec<u32> = (0..8).map(|n| 2 * n * 7 % 200 + parity).collect();
            let query = Query::of_items(&history);
            model.recommend(&query, 30, &ItemFilter::default(), &mut out).unwrap();
            let right = out.iter().filter(|s| s.item % 2 == parity).count();
            assert!(right >= 29, "{loss:?}: {right} of 30");
            let why = model.explain(&query, out[0].item);
            let place = model.item.binary_search(&out[0].item).unwrap();
            let sum: f32 = why.iter().map(|c| c.amount).sum::<f32>() + model.bias[place];
            assert!((sum - out[0].score).abs() < 1e-3 * out[0].score.abs().max(1.0), "{sum} {:?}", out[0]);
            let alike = model.similar_items(parity, 20);
            let right = alike.iter().filter(|s| s.item % 2 == parity).count();
            assert!(right >= 18, "{loss:?}: {right} of 20 like {parity}");
        }
    }
}

/// With one listener and two items the step is known: its slope is that of the objective.
#[test]
fn a_step_goes_along_the_slope_of_the_objective() {
    let plays = OwnedSequences::from_items(2, [vec![0], vec![1]]);
    let input = FitInput::of(plays.view());
    let config = BprConfig { factors: 3, learning_rate: 1e-3, regularization: 0.3, ..BprConfig::default() };
    let reading = Reading {
        rows_of: RowsOf::Users,
        tf: TermFrequency::Binary,
        max_row_items: 9,
        targets: Targets::All,
    };
    let interactions = Interactions::of(&input, &reading);
    let training = Training {
        config: &config,
        plays: &interactions,
        seed: 1,
        place_of: vec![0, 1],
        n_played: 2,
        n_blocks: 1,
    };
    let before = [0.3_f32, -0.2, 0.5, 0.1, 0.7, -0.4, -0.6, 0.2, 0.9, 0.15, -0.25];
    // p, q_0, q_1, b_0, b_1
    let objective = |v: &[f64]| {
        let dot = |q: &[f64]| v[..3].iter().zip(q).map(|(p, q)| p * q).sum::<f64>();
        let x = dot(&v[3..6]) + v[9] - dot(&v[6..9]) - v[10];
        -(1.0 + (-x).exp()).ln() - 0.15 * v.iter().map(|v| v * v).sum::<f64>()
    };
    let mut p = before[..3].to_vec();
    let mut block =
        Block { place: vec![0, 1], factors: before[3..9].to_vec(), bias: before[9..].to_vec() };
    let mut random = Draws { seed: 1, stream: 1, number: 0 };
    training.step(&mut p, &mut block, 0, 0, &mut random);
    let after: Vec<f32> = p.iter().chain(&block.factors).chain(&block.bias).copied().collect();
    for at in 0..before.len() {
        let shifted = |by: f64| {
            let mut v: Vec<f64> = before.iter().map(|&v| v.into()).collect();
            v[at] += by;
            objective(&v)
        };
        let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
        let moved = f64::from(after[at] - before[at]) / 1e-3;
        assert!((moved - slope).abs() < 1e-3, "number {at}: moved {moved}, slope {slope}");
    }
}

#[test]
fn warp_weighs_by_the_draws_it_took() {
    let config = BprConfig { loss: Loss::Warp, max_draws: 5, ..BprConfig::default() };
    // Items score as their number; item 3 is the first within 1 of the positive.
    let mut next = 0;
    let draws = || {
        next += 1;
        Some(next)
    };
    let (j, weight) = choose(&config, 100, 3.5, |j| j as f32, draws).unwrap();
    assert_eq!((j, weight), (3, 33.0_f32.ln() / 99.0_f32.ln()));
    assert!(choose(&config, 100, 50.0, |_| 0.0, || Some(1)).is_none());
    assert!(choose(&config, 100, 0.0, |_| 0.0, || None).is_none());
}

#[test]
fn an_empty_history_is_answered_by_bias_and_a_listener_of_everything_too() {
    let plays = two_tastes(100, 40);
    let config = BprConfig { factors: 4, epochs: 5, ..BprConfig::default() };
    let model = Bpr::fit(&config, &FitInput::of(plays.view())).unwrap();
    let mut out = Vec::new();
    for history in [vec![], (0..40).collect::<Vec<u32>>()] {
        model.recommend(&Query::of_items(&history), 40, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out.len(), model.item.len());
        let best = out[0];
        let place = model.item.binary_search(&best.item).unwrap();
        assert_eq!(best.score, model.bias[place]);
    }
    let played: std::collections::BTreeSet<u32> = plays.item.iter().copied().collect();
    assert_eq!(model.item, played.into_iter().collect::<Vec<_>>());
}

#[test]
fn steps_that_grow_without_bound_are_a_clear_error() {
    let plays = two_tastes(50, 40);
    let config = BprConfig { learning_rate: 1e6, ..BprConfig::default() };
    let error = Bpr::fit(&config, &FitInput::of(plays.view())).unwrap_err().to_string();
    assert!(error.contains("learning_rate") && error.contains("shorter"), "{error}");
}
