//! Numbers apart: by group, by seed, and between any two models.

use segue_data::OwnedSequences;
use segue_eval::{
    Column, Dataset, EvalError, EvaluationReport, FitAndRecommend, Fitted, GlobalTime, NoObserver, Observer,
    OwnedProfiles, Protocol, SplitSpec, Train, evaluate, model,
};
use segue_models::{ItemFilter, ModelError, Query, Scored, recommender_kind};

use crate::support::{ByScore, protocol};

/// 120 users with histories of 2 to 31 plays over 40 items.
fn log() -> OwnedSequences {
    OwnedSequences::from_items(
        40,
        (0..120_u32).map(|u| (0..3 + u % 30).map(|i| (u * 11 + i * 7) % 40).collect()),
    )
}

fn two(protocol: &Protocol, data: &Dataset<'_>) -> Result<EvaluationReport, EvalError> {
    let (a, b) = (ByScore(|_, i| -(i as f32)), ByScore(|u, i| ((u as u32 + i) % 9) as f32));
    evaluate(protocol, data, &[("a", &a), ("b", &b)], &NoObserver)
}

#[test]
fn groups_part_the_users_and_their_means_add_up() {
    let data = log();
    let columns = [Column {
        name: "market".into(),
        values: (0..120).map(|u| (u % 4 != 0).then(|| ["no", "se", "dk"][u % 3].to_owned())).collect(),
    }];
    let dataset = Dataset { user_columns: &columns, ..Dataset::from(data.view()) };
    let p = Protocol {
        slices: ["history_length", "item_popularity", "user:market"].map(str::to_owned).to_vec(),
        ..protocol(&["ndcg", "coverage", "recall"], &[5, 10])
    };
    let report = two(&p, &dataset).unwrap();
    assert_eq!(report.slices.len(), 3);
    for slicing in &report.slices {
        // Every user has one target here, so groups of targets part the users too.
        let n: usize = slicing.groups.iter().map(|g| g.n_users).sum();
        assert_eq!(n, report.split.n_test_users, "{}", slicing.slicing);
        for (name, metric, k) in [("a", "ndcg", 5), ("b", "recall", 10)] {
            let of_group = |g: &segue_eval::SliceReport| {
                let number =
                    g.numbers.iter().find(|n| n.model == name && n.metric == metric && n.k == k).unwrap();
                let [low, high] = number.interval.unwrap();
                let value = number.value.unwrap();
                assert!(low <= value + 1e-12 && value <= high + 1e-12);
                value * number.n_users as f64
            };
            let mean = slicing.groups.iter().map(of_group).sum::<f64>() / n as f64;
            let all = report.get(name, metric, k).unwrap().value.unwrap();
            assert!((mean - all).abs() < 1e-12, "{} {mean} {all}", slicing.slicing);
        }
        assert!(slicing.groups.iter().all(|g| g.numbers.len() == 2 * 4), "coverage is of all users together");
    }
    let names = |at: usize| report.slices[at].groups.iter().map(|g| g.group.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["1–5", "6–10", "11–20", "21–50"]);
    assert!(names(2).contains(&"(unknown)") && names(2).contains(&"se"));
}

#[test]
fn a_target_counts_in_the_group_of_its_item() {
    // Item 0 is the most popular, item 9 the least. The model always recommends item 0.
    let mut users: Vec<Vec<u32>> = (0..10_u32).map(|i| (0..=i).collect()).collect();
    users.push(vec![9, 0]);
    let data = OwnedSequences::from_items(10, users);
    let dataset = Dataset::from(data.view());
    let p = Protocol { slices: vec!["item_popularity".into()], ..protocol(&["recall"], &[1]) };
    let popular = ByScore(|_, item| -(item as f32));
    let report = evaluate(&p, &dataset, &[("m", &popular)], &NoObserver).unwrap();
    let best = report.slices[0].groups.iter().find(|g| g.group.starts_with("1 ")).unwrap();
    assert_eq!((best.n_users, best.numbers[0].value), (1, Some(1.0)));
}

#[test]
fn new_and_old_users_are_told_apart_by_their_first_play() {
    const DAY: i64 = 86_400_000;
    // Users 0 and 1 began on day 0, user 2 on day 90; all play items 0 and 1 and are tested on day 100.
    let mut data = OwnedSequences::from_items(3, [vec![0, 1, 2], vec![2, 0, 1], vec![1, 2, 0]]);
    data.known_at = [0, 1, 100, 0, 1, 100, 90, 91, 100].map(|d| d * DAY).to_vec();
    data.occurred_at.clone_from(&data.known_at);
    let split = SplitSpec::GlobalTime(GlobalTime { test_days: 1.0, ..GlobalTime::default() });
    let p = Protocol { split, slices: vec!["user_age".into()], ..protocol(&["recall"], &[1]) };
    let report = two(&p, &Dataset::from(data.view())).unwrap();
    let sizes: Vec<_> = report.slices[0].groups.iter().map(|g| (g.group.as_str(), g.n_users)).collect();
    assert_eq!(sizes, [("new (under 28 days)", 1), ("old", 2)]);

    let undated = Protocol { slices: vec!["user_age".into()], ..protocol(&["recall"], &[1]) };
    let message = two(&undated, &Dataset::from(log().view())).unwrap_err().to_string();
    assert!(message.contains("user_age") && message.contains("dated"), "{message}");
}

#[test]
fn an_unknown_slice_is_answered_with_those_there_are() {
    let data = log();
    let columns = [Column { name: "market".into(), values: vec![None; 120] }];
    let dataset = Dataset { user_columns: &columns, ..Dataset::from(data.view()) };
    for wrong in ["market", "user:plan", "item:market", "age"] {
        let p = Protocol { slices: vec![wrong.into()], ..protocol(&["ndcg"], &[5]) };
        let message = two(&p, &dataset).unwrap_err().to_string();
        assert!(message.contains(wrong) && message.contains("user:market"), "{message}");
    }
    let short = [Column { name: "market".into(), values: vec![None; 3] }];
    let dataset = Dataset { user_columns: &short, ..Dataset::from(data.view()) };
    let message = two(&protocol(&["ndcg"], &[5]), &dataset).unwrap_err().to_string();
    assert!(message.contains("`market`") && message.contains("3 for 120"), "{message}");
}

/// Scores depend on the seed of the fit.
struct BySeed;

struct FittedBySeed(u64, u32);

impl FitAndRecommend for BySeed {
    fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FittedBySeed(train.seed, train.plays.n_items())))
    }
}

impl Fitted for FittedBySeed {
    fn recommend(
        &self,
        user: usize,
        _query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        let score = |i: u32| ((user as u64 * 5 + u64::from(i) * (3 + self.0)) % 17) as f32;
        out.extend((0..self.1).filter(|&i| filter.admits(i)).map(|item| Scored { item, score: score(item) }));
        out.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        out.truncate(k);
        Ok(())
    }
}

#[test]
fn values_of_several_seeds_are_averaged_and_kept() {
    let data = log();
    let dataset = Dataset::from(data.view());
    let metrics = ["ndcg", "coverage"];
    let run = |seeds: &[u64]| {
        let p = Protocol {
            seeds: seeds.to_vec(),
            slices: vec!["history_length".into()],
            ..protocol(&metrics, &[5])
        };
        evaluate(&p, &dataset, &[("m", &BySeed)], &NoObserver).unwrap()
    };
    let together = run(&[1, 2, 8]);
    assert_eq!(together.models[0].seeds, [1, 2, 8]);
    for metric in metrics {
        let alone: Vec<f64> =
            [1, 2, 8].map(|s| run(&[s]).get("m", metric, 5).unwrap().value.unwrap()).to_vec();
        let got = together.get("m", metric, 5).unwrap();
        let mean = alone.iter().sum::<f64>() / 3.0;
        assert!((got.value.unwrap() - mean).abs() < 1e-12);
        let over = got.over_seeds.as_ref().unwrap();
        assert_eq!(over.values, alone.iter().copied().map(Some).collect::<Vec<_>>());
        let [low, high] = over.interval.unwrap();
        assert!(low <= mean + 1e-12 && mean <= high + 1e-12);
    }
    let of_groups: f64 =
        together.slices[0].groups.iter().map(|g| g.numbers[0].value.unwrap() * g.n_users as f64).sum::<f64>()
            / together.split.n_test_users as f64;
    assert!((of_groups - together.get("m", "ndcg", 5).unwrap().value.unwrap()).abs() < 1e-12);
    assert!(run(&[4]).get("m", "ndcg", 5).unwrap().over_seeds.is_none());
}

#[test]
fn any_two_models_are_compared_and_holm_counts_all_of_them() {
    let data = log();
    let dataset = Dataset::from(data.view());
    let p = protocol(&["ndcg", "coverage", "recall"], &[5, 10]);
    let (a, b, c) = (
        ByScore(|_, i| -(i as f32)),
        ByScore(|u, i| ((u as u32 + i) % 9) as f32),
        ByScore(|u, i| ((u as u32 * 3 + i * 5) % 13) as f32),
    );
    let report = evaluate(&p, &dataset, &[("a", &a), ("b", &b), ("c", &c)], &NoObserver).unwrap();
    assert_eq!(report.differences.len(), 3 * 4, "three pairs, four columns with a value per user");
    let smallest = report
        .differences
        .iter()
        .min_by(|x, y| x.difference.p_value.partial_cmp(&y.difference.p_value).unwrap())
        .unwrap();
    let (p_value, holm) = (smallest.difference.p_value.unwrap(), smallest.difference.p_value_holm.unwrap());
    assert!((holm - (12.0 * p_value).min(1.0)).abs() < 1e-15, "{p_value} {holm}");
    for pair in &report.differences {
        let value = |name: &str| report.get(name, &pair.metric, pair.k).unwrap().value.unwrap();
        let d = &pair.difference;
        assert!((d.value - (value(&pair.model) - value(&d.baseline))).abs() < 1e-12);
        assert!(d.p_value_bootstrap > 0.0 && d.p_value_bootstrap <= 1.0);
        assert!(d.interval[0] <= d.value + 1e-12 && d.value <= d.interval[1] + 1e-12);
    }
    let text = serde_json::to_string(&report).unwrap();
    let back: EvaluationReport = serde_json::from_str(&text).unwrap();
    assert_eq!((back.differences.len(), &back.protocol), (12, &report.protocol));
}

#[test]
fn pairs_with_gaps_are_compared_over_the_users_of_both() {
    // `b` answers every other user with an empty list, for which novelty is not defined.
    struct Half;
    struct FittedHalf(u32);
    impl FitAndRecommend for Half {
        fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
            Ok(Box::new(FittedHalf(train.plays.n_items())))
        }
    }
    impl Fitted for FittedHalf {
        fn recommend(
            &self,
            user: usize,
            _query: &Query<'_>,
            k: usize,
            filter: &ItemFilter<'_>,
            out: &mut Vec<Scored>,
        ) -> Result<(), ModelError> {
            if user.is_multiple_of(2) {
                let items = (0..self.0).filter(|&i| filter.admits(i)).take(k);
                out.extend(items.map(|item| Scored { item, score: -(item as f32) }));
            }
            Ok(())
        }
    }
    let data = log();
    let a = ByScore(|_, i| -(i as f32));
    let p = protocol(&["novelty"], &[5]);
    let report = evaluate(&p, &Dataset::from(data.view()), &[("a", &a), ("b", &Half)], &NoObserver).unwrap();
    let d = &report.differences[0].difference;
    // The same lists for the users who got one: no difference, whoever was left out.
    assert_eq!((d.value, d.interval, d.p_value), (0.0, [0.0, 0.0], Some(1.0)));
    assert!(report.get("b", "novelty", 5).unwrap().n_users < report.get("a", "novelty", 5).unwrap().n_users);
}

#[test]
fn a_model_that_cannot_learn_is_left_out_if_the_observer_says_so() {
    struct Lenient;
    impl Observer for Lenient {
        fn leaves_out(&self, _model: &str, _error: &ModelError) -> bool {
            true
        }
    }
    let profiles =
        OwnedProfiles::from_counts(9, (0..9_u32).map(|u| (0..6).map(|i| ((u + i) % 9, 1)).collect()));
    let markov = model(|train| recommender_kind("markov")?.fit(&Default::default(), &train.fit_input(0)));
    let any = ByScore(|_, item| item as f32);
    let p = Protocol { split: SplitSpec::Holdout(Default::default()), ..protocol(&["ndcg"], &[3]) };
    let dataset = Dataset::from(profiles.view());
    let report = evaluate(&p, &dataset, &[("markov", &markov), ("any", &any)], &Lenient).unwrap();
    assert_eq!((report.models.len(), report.left_out.len()), (1, 1));
    assert_eq!(report.left_out[0].model, "markov");
    let alone = evaluate(&p, &dataset, &[("markov", &markov)], &Lenient).unwrap_err();
    assert!(matches!(alone, EvalError::Fit { .. }), "{alone}");
}
