//! Whole evaluations: against a plain reference, over threads, and between models.

use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use segue_data::OwnedSequences;
use segue_eval::{
    Candidates, Dataset, EvaluationReport, FitAndRecommend, Fitted, GlobalTime, NoObserver, Observer,
    Progress, Protocol, SplitSpec, TieRule, Train, evaluate,
};
use segue_models::{ItemFeatures, ItemFilter, ModelError, Query, Scored, UserFeatures};
use segue_types::TimestampMs;
use sha2::{Digest, Sha256};

use crate::support::{ByScore, protocol, run, value};

/// NDCG@k and Recall@k of leave-one-out, written down plainly: score every item, sort, look.
fn plain(
    users: &[Vec<u32>],
    n_items: u32,
    k: usize,
    score: impl Fn(usize, u32) -> f32,
) -> Option<(f64, f64)> {
    let mut in_train = vec![false; n_items as usize];
    for user in users {
        let n = if user.len() >= 2 { user.len() - 1 } else { user.len() };
        for &item in &user[..n] {
            in_train[item as usize] = true;
        }
    }
    let (mut ndcg, mut recall, mut n) = (0.0, 0.0, 0.0);
    for (u, user) in users.iter().enumerate() {
        let Some((&target, history)) = user.split_last() else { continue };
        if history.is_empty() || !in_train[target as usize] || history.contains(&target) {
            continue;
        }
        let mut ranked: Vec<u32> =
            (0..n_items).filter(|&i| in_train[i as usize] && !history.contains(&i)).collect();
        ranked.sort_by(|&a, &b| score(u, b).partial_cmp(&score(u, a)).unwrap().then(a.cmp(&b)));
        n += 1.0;
        if let Some(at) = ranked.iter().take(k).position(|&i| i == target) {
            recall += 1.0;
            ndcg += 1.0 / ((at + 2) as f64).log2();
        }
    }
    (n > 0.0).then(|| (ndcg / n, recall / n))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_evaluator_agrees_with_scoring_and_sorting_everything(
        users in proptest::collection::vec(proptest::collection::vec(0..12_u32, 0..6), 1..20),
        k in 1..8_usize,
        salt in 0..1000_u32,
    ) {
        // Few distinct scores, so that ties are everywhere.
        let score = move |user: usize, item: u32| ((user as u32 * 7 + item * 13 + salt) % 4) as f32;
        let data = OwnedSequences::from_items(12, users.clone());
        let report = run(&protocol(&["ndcg", "recall"], &[k]), data.view(), &ByScore(score));
        match plain(&users, 12, k, score) {
            None => prop_assert!(report.is_err()),
            Some((ndcg, recall)) => {
                let report = report.unwrap();
                prop_assert!((value(&report, "ndcg", k) - ndcg).abs() < 1e-12);
                prop_assert!((value(&report, "recall", k) - recall).abs() < 1e-12);
            }
        }
    }
}

fn ring(n_users: u32) -> OwnedSequences {
    OwnedSequences::from_items(
        50,
        (0..n_users).map(|u| (0..5 + u % 3).map(|i| (u * 7 + i * i) % 50).collect()),
    )
}

fn two_models(data: &OwnedSequences) -> EvaluationReport {
    let p = protocol(&["ndcg", "recall", "coverage", "novelty"], &[5, 10]);
    let (a, b) = (ByScore(|_, i| -(i as f32)), ByScore(|u, i| ((u as u32 + i) % 9) as f32));
    evaluate(&p, &Dataset::from(data.view()), &[("a", &a), ("b", &b)], &NoObserver).unwrap()
}

#[test]
fn the_number_of_threads_changes_no_byte_of_a_report() {
    let data = ring(300);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| two_models(&data))).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
    let back: EvaluationReport = serde_json::from_str(&one).unwrap();
    assert_eq!(back.protocol, two_models(&data).protocol);
    assert_eq!(back.models.len(), 2);
}

#[test]
fn differences_are_paired_with_the_first_model() {
    let report = two_models(&ring(300));
    for metric in ["ndcg", "recall", "novelty"] {
        for k in [5, 10] {
            let (a, b) = (report.get("a", metric, k).unwrap(), report.get("b", metric, k).unwrap());
            assert!(a.difference.is_none());
            let d = b.difference.as_ref().unwrap();
            assert!((d.value - (b.value.unwrap() - a.value.unwrap())).abs() < 1e-12);
            assert!(d.interval[0] <= d.value + 1e-12 && d.value <= d.interval[1] + 1e-12);
            let [low, high] = a.interval.unwrap();
            // Novelty is the same for every user here, so its interval is a point up to rounding.
            assert!(low - 1e-12 <= a.value.unwrap() && a.value.unwrap() <= high + 1e-12);
            assert!(d.p_value_holm.unwrap() >= d.p_value.unwrap());
            assert_eq!(d.baseline, "a");
        }
    }
    let coverage = report.get("b", "coverage", 5).unwrap();
    assert!(coverage.interval.is_none() && coverage.difference.is_none());
}

#[test]
fn a_model_against_itself_differs_by_nothing() {
    let data = ring(100);
    let (a, b) = (ByScore(|u, i| ((u as u32 + i) % 5) as f32), ByScore(|u, i| ((u as u32 + i) % 5) as f32));
    let p = protocol(&["ndcg"], &[10]);
    let report = evaluate(&p, &Dataset::from(data.view()), &[("a", &a), ("b", &b)], &NoObserver).unwrap();
    let d = report.get("b", "ndcg", 10).unwrap().difference.clone().unwrap();
    assert_eq!((d.value, d.interval, d.p_value), (0.0, [0.0, 0.0], Some(1.0)));
}

#[test]
fn ties_follow_the_hash_of_the_external_id_when_asked() {
    let data = OwnedSequences::from_items(6, (0..6).map(|u| vec![(u + 1) % 6, u]));
    let ids: Vec<String> = (0..6).map(|i| format!("track-{i}")).collect();
    let view = data.view();
    let dataset = Dataset { item_ids: Some(&ids), ..Dataset::from(view) };
    let p = Protocol { ties: TieRule::Sha256, ..protocol(&["mrr"], &[6]) };
    let report = evaluate(&p, &dataset, &[("m", &ByScore(|_, _| 0.0))], &NoObserver).unwrap();
    let hash = |i: u32| <[u8; 32]>::from(Sha256::digest(format!("track-{i}").as_bytes()));
    let by_hand: f64 = (0..6)
        .map(|u| {
            let above = (0..6).filter(|&i| i != (u + 1) % 6 && hash(i) < hash(u)).count();
            1.0 / (above + 1) as f64
        })
        .sum::<f64>()
        / 6.0;
    assert!((value(&report, "mrr", 6) - by_hand).abs() < 1e-12);

    let error = run(&p, view, &ByScore(|_, _| 0.0)).unwrap_err();
    assert!(error.to_string().contains("item_row"), "{error}");
}

#[test]
fn candidates_are_the_train_catalogue_unless_all_are_asked_for() {
    // Item 3 is only ever a target, so it has no train play.
    let data = OwnedSequences::from_items(4, [vec![0, 1], vec![1, 2], vec![2, 0], vec![0, 3]]);
    let p = protocol(&["mrr", "coverage"], &[4]);
    let by_row = ByScore(|_, item| item as f32);
    let train = run(&p, data.view(), &by_row).unwrap();
    assert_eq!((train.split.n_train_items, train.split.dropped.n_items_cold), (3, 1));
    assert_eq!(value(&train, "coverage", 4), 1.0);
    let all = run(&Protocol { candidates: Candidates::All, ..p }, data.view(), &by_row).unwrap();
    assert!(value(&all, "mrr", 4) < value(&train, "mrr", 4), "item 3 is now ranked first by this model");
}

#[test]
fn the_observer_gives_the_clock_and_sees_the_end() {
    struct Watch(Mutex<Vec<String>>);
    impl Observer for Watch {
        fn clock(&self) -> Option<Duration> {
            Some(Duration::from_millis(5))
        }
        fn progress(&self, progress: Progress<'_>) {
            self.0.lock().unwrap().push(format!("{progress:?}"));
        }
    }
    let data = ring(100);
    let watch = Watch(Mutex::new(Vec::new()));
    let dataset = Dataset::from(data.view());
    let report =
        evaluate(&protocol(&["ndcg"], &[5]), &dataset, &[("m", &ByScore(|_, _| 0.0))], &watch).unwrap();
    assert_eq!(
        (report.models[0].fit_seconds, report.models[0].recommend_us_per_user),
        (Some(0.0), Some(0.0))
    );
    let n = report.split.n_test_users;
    let seen = watch.0.into_inner().unwrap();
    assert!(seen.iter().any(|s| s.contains(&format!("n_done: {n}, n_users: {n}"))), "{seen:?}");
    assert_eq!(
        run(&protocol(&["ndcg"], &[5]), data.view(), &ByScore(|_, _| 0.0)).unwrap().models[0].fit_seconds,
        None
    );
}

/// Recommends the artist's items to those who are told to live in the artist's market.
struct ByFacts;

struct FittedByFacts(Vec<u32>);

impl FitAndRecommend for ByFacts {
    fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FittedByFacts(train.fit_input(0).item_features.artist.to_vec())))
    }
}

impl Fitted for FittedByFacts {
    fn recommend(
        &self,
        _user: usize,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        let artist = query.market.map_or(9, |market| u32::from(market == "DE"));
        let items = (0..self.0.len() as u32).filter(|&i| filter.admits(i) && self.0[i as usize] == artist);
        out.extend(items.take(k).map(|item| Scored { item, score: 1.0 }));
        Ok(())
    }
}

#[test]
fn models_see_the_facts_of_items_and_are_told_those_of_who_asks_by_then() {
    // Each listener plays one artist's three items, the last after the split.
    let users = (0..40_u32).map(|u| [0, 2, 4].map(|i| (i + u / 2 * 2) % 6 + u % 2).to_vec());
    let known_at = (0..120).map(|play| if play % 3 < 2 { play % 3 } else { 10 }).collect();
    let data = OwnedSequences { known_at, ..OwnedSequences::from_items(6, users) };
    let artist = [0, 1, 0, 1, 0, 1];
    let market: Vec<String> = (0..40).map(|u| ["SE", "DE"][u % 2].to_owned()).collect();
    let of = |valid_from: &[i64]| {
        let dataset = Dataset {
            item_features: ItemFeatures { artist: &artist, ..ItemFeatures::default() },
            user_features: UserFeatures { market: &market, valid_from, ..UserFeatures::default() },
            ..Dataset::from(data.view())
        };
        let p = Protocol {
            split: SplitSpec::GlobalTime(GlobalTime {
                test_start: Some(TimestampMs(5)),
                ..GlobalTime::default()
            }),
            ..protocol(&["recall"], &[2])
        };
        value(&evaluate(&p, &dataset, &[("m", &ByFacts)], &NoObserver).unwrap(), "recall", 2)
    };
    assert_eq!(of(&[]), 1.0);
    assert_eq!(of(&[i64::MIN; 40]), of(&[]));
    assert_eq!(of(&[1_000; 40]), 0.0, "who moves in later is a stranger");
}
