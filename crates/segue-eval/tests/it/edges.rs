//! Odd inputs get a clear answer, never a panic.

use segue_data::OwnedSequences;
use segue_eval::{EvalError, OwnedProfiles, Protocol, model};
use segue_models::{Scored, recommender_kind};

use crate::support::{Always, ByScore, protocol, run, value};

#[test]
fn an_empty_split_says_what_the_data_lacks() {
    for users in [vec![], vec![vec![]], vec![vec![0]]] {
        let data = OwnedSequences::from_items(1, users);
        let error = run(&protocol(&["ndcg"], &[10]), data.view(), &ByScore(|_, _| 0.0)).unwrap_err();
        assert!(matches!(error, EvalError::EmptySplit { .. }), "{error}");
    }
}

#[test]
fn a_log_of_one_user_has_nobody_to_learn_from() {
    let data = OwnedSequences::from_items(5, [vec![0, 1, 2, 3, 4]]);
    let error = run(&protocol(&["ndcg"], &[10]), data.view(), &ByScore(|_, _| 0.0)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("1 users whose targets are unseen in training"), "{message}");

    // With repeats allowed the same listener can be tested on their own past.
    let data = OwnedSequences::from_items(2, [vec![0, 1, 0]]);
    let repeats = Protocol { filter_seen: false, ..protocol(&["recall", "repeat_share"], &[1]) };
    let report = run(&repeats, data.view(), &ByScore(|_, item| -(item as f32))).unwrap();
    assert_eq!((value(&report, "recall", 1), value(&report, "repeat_share", 1)), (1.0, 1.0));
}

#[test]
fn a_catalogue_of_one_item_is_ranked() {
    let data = OwnedSequences::from_items(1, [vec![0, 0], vec![0, 0, 0]]);
    let seen = run(&protocol(&["ndcg"], &[10]), data.view(), &ByScore(|_, _| 1.0)).unwrap_err();
    assert!(matches!(seen, EvalError::EmptySplit { .. }), "{seen}");
    let repeats = Protocol { filter_seen: false, ..protocol(&["ndcg", "coverage", "novelty"], &[10]) };
    let report = run(&repeats, data.view(), &ByScore(|_, _| 1.0)).unwrap();
    assert_eq!((value(&report, "ndcg", 10), value(&report, "coverage", 10)), (1.0, 1.0));
    assert_eq!(value(&report, "novelty", 10), 0.0);
}

#[test]
fn all_equal_scores_are_ordered_by_the_stated_rule() {
    // 40 items, one target each. The model breaks ties by descending row, the protocol by ascending.
    let data = OwnedSequences::from_items(40, (0..40).map(|u| vec![(u + 1) % 40, u]));
    let report = run(&protocol(&["recall"], &[10]), data.view(), &ByScore(|_, _| 0.5)).unwrap();
    // Users 0..10 have a target among rows 0..10; one more row is admitted where a low row was seen.
    let by_hand = (0..40_u32)
        .filter(|&u| (0..40).filter(|&i| i != (u + 1) % 40).take(10).any(|i| i == u))
        .count() as f64
        / 40.0;
    assert_eq!(value(&report, "recall", 10), by_hand);
    assert_eq!(report.models[0].metrics[0].n_users, 40);

    // Half of the catalogue is tied above the other half, across the cut-off.
    let halves = ByScore(|_, item| if item >= 20 { 1.0 } else { 0.0 });
    let report = run(&protocol(&["recall"], &[3]), data.view(), &halves).unwrap();
    let by_hand = (0..40_u32)
        .filter(|&u| (20..40).filter(|&i| i != (u + 1) % 40).take(3).any(|i| i == u))
        .count() as f64
        / 40.0;
    assert_eq!(value(&report, "recall", 3), by_hand);
}

#[test]
fn a_score_that_is_not_finite_names_model_and_user() {
    let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 2], vec![2, 0], vec![0, 1, 2]]);
    for bad in [f32::NAN, f32::INFINITY] {
        let scores = ByScore(move |user, item| if user == 2 && item == 1 { bad } else { 0.0 });
        let error = run(&protocol(&["ndcg"], &[10]), data.view(), &scores).unwrap_err();
        assert!(matches!(error, EvalError::NotFinite { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("model `m`") && message.contains("user row 2"), "{message}");
    }
}

#[test]
fn k_larger_than_the_catalogue_returns_the_catalogue() {
    let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 2], vec![2, 0]]);
    let report =
        run(&protocol(&["recall", "precision", "coverage"], &[1_000_000]), data.view(), &ByScore(|_, _| 0.0))
            .unwrap();
    assert_eq!((value(&report, "recall", 1_000_000), value(&report, "coverage", 1_000_000)), (1.0, 1.0));
    assert_eq!(value(&report, "precision", 1_000_000), 1e-6);
}

#[test]
fn a_breach_of_contract_names_what_was_returned() {
    let data = OwnedSequences::from_items(4, [vec![0, 1], vec![0, 2], vec![0, 1], vec![0, 2], vec![1, 2, 0]]);
    let scored = |items: &[(u32, f32)]| items.iter().map(|&(item, score)| Scored { item, score }).collect();
    for (list, word) in [
        (vec![(1, 1.0), (1, 1.0)], "item row 1 twice"),
        (vec![(9, 1.0)], "item row 9"),
        (vec![(0, 1.0)], "filter"),
        (vec![(3, 1.0)], "filter"), // no train play: outside the candidates
        (vec![(1, 0.0), (2, 1.0)], "comes first"),
    ] {
        let error = run(&protocol(&["ndcg"], &[5]), data.view(), &Always(scored(&list))).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let long = Always(scored(&[(1, 1.0), (2, 1.0), (0, 0.0)]));
    let error = run(&protocol(&["ndcg"], &[1]), data.view(), &long).unwrap_err();
    assert!(error.to_string().contains("3 items for k = 2"), "{error}");
}

#[test]
fn an_empty_list_is_an_answer() {
    let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 2], vec![2, 0]]);
    let report =
        run(&protocol(&["recall", "novelty", "coverage", "ndcg"], &[5]), data.view(), &Always(vec![]))
            .unwrap();
    assert_eq!((value(&report, "recall", 5), value(&report, "coverage", 5)), (0.0, 0.0));
    assert!(value(&report, "ndcg", 5).is_sign_positive(), "nothing found is 0, not -0");
    assert_eq!(report.models[0].n_users_unanswered, 3);
    let novelty = report.get("m", "novelty", 5).unwrap();
    assert_eq!((novelty.value, novelty.interval, novelty.n_users), (None, None, 0));
}

#[test]
fn a_model_that_needs_order_refuses_profiles_by_name() {
    let profiles =
        OwnedProfiles::from_counts(9, (0..9_u32).map(|u| (0..6).map(|i| ((u + i) % 9, 1)).collect()));
    let markov = model(|train| recommender_kind("markov")?.fit(&Default::default(), &train.fit_input(0)));
    let holdout =
        Protocol { split: segue_eval::SplitSpec::Holdout(Default::default()), ..protocol(&["ndcg"], &[3]) };
    let error = run(&holdout, profiles.view(), &markov).unwrap_err();
    assert!(matches!(error, EvalError::Fit { .. }), "{error}");
    assert!(error.to_string().contains("markov"), "{error}");
    assert!(run(&holdout, profiles.view(), &ByScore(|_, item| item as f32)).is_ok());
}

#[test]
fn models_need_names_of_their_own() {
    let data = OwnedSequences::from_items(2, [vec![0, 1], vec![1, 0]]);
    let m = ByScore(|_, _| 0.0);
    let p = protocol(&["ndcg"], &[1]);
    let dataset = segue_eval::Dataset::from(data.view());
    let error =
        segue_eval::evaluate(&p, &dataset, &[("a", &m), ("a", &m)], &segue_eval::NoObserver).unwrap_err();
    assert!(error.to_string().contains("`a` twice"), "{error}");
    let error = segue_eval::evaluate(&p, &dataset, &[], &segue_eval::NoObserver).unwrap_err();
    assert!(error.to_string().contains("at least one"), "{error}");
}
