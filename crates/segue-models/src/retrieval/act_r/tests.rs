//! The formula by hand, and planted listeners: each repeats past plays with probability `∝ t^−d`.

use segue_data::OwnedSequences;
use segue_types::HOUR_MS;

use super::*;

#[test]
fn scores_follow_the_formula_and_the_explanation_adds_up_to_them() {
    let mut plays = OwnedSequences::from_items(4, [vec![0, 1, 0, 2], vec![0, 3]]);
    plays.session = vec![0, 0, 1, 1, 0, 0];
    plays.occurred_at = [0, 1, 24, 25, 0, 1].map(|h| h * HOUR_MS).to_vec();
    plays.known_at = plays.occurred_at.clone();
    let config = ActRConfig { estimate_decay: false, spreading: 2.0, context: 1, ..ActRConfig::default() };
    let model = ActR::fit(&config, &FitInput::of(plays.view())).unwrap();
    let query = Query {
        history: plays.view().user(0),
        now: Some(TimestampMs(49 * HOUR_MS)),
        current: Some(0),
        ..Query::default()
    };
    let mut out = Vec::new();
    model.recommend(&query, 9, &ItemFilter::default(), &mut out).unwrap();
    // Item 0 is in three sessions and meets each of the others in one of them.
    let floor = (3650.0_f64 * 24.0).powf(-0.5);
    let spread = 2.0 / 3.0;
    let want = [
        (0, (49_f64.powf(-0.5) + 25_f64.powf(-0.5) + floor).ln()),
        (2, (24_f64.powf(-0.5) + floor).ln() + spread),
        (1, (48_f64.powf(-0.5) + floor).ln() + spread),
        (3, floor.ln() + spread),
    ];
    let mut want: Vec<(u32, f64)> = want.to_vec();
    want.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(out.iter().map(|s| s.item).collect::<Vec<_>>(), want.iter().map(|w| w.0).collect::<Vec<_>>());
    for (got, &(item, score)) in out.iter().zip(&want) {
        assert!((f64::from(got.score) - score).abs() < 1e-5, "{got:?} is not {score}");
        let sum: f64 = model.explain(&query, item).iter().map(|c| f64::from(c.amount)).sum();
        assert!((sum + floor.ln() - score).abs() < 1e-5, "{item}: {sum}");
    }
    let undated = Query::of_items(&[0, 1]);
    let refused = model.recommend(&undated, 9, &ItemFilter::default(), &mut out);
    assert!(matches!(refused, Err(ModelError::NeedsDates { .. })));
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const N_ITEMS: u32 = 400;
const N_USERS: usize = 120;
const N_PLAYS: usize = 150;

/// Listeners who repeat two plays of three: a past play is drawn with probability `∝ t^−d` and its item heard
/// again. Gaps are minutes to days, so that recency and frequency differ.
fn listeners(decay: f64, seed: u64) -> OwnedSequences {
    let mut random = Random(seed);
    let mut users = Vec::new();
    let mut at = Vec::new();
    for _ in 0..N_USERS {
        let mut item: Vec<u32> = Vec::new();
        let mut time: Vec<i64> = Vec::new();
        let mut now = 0_i64;
        for _ in 0..N_PLAYS {
            now += if random.unit() < 0.8 { 4 * 60_000 } else { (random.unit() * 72.0 * HOUR_MS as f64) as i64 };
            let weight: Vec<f64> = time.iter().map(|&t| age_hours(now, t).powf(-decay)).collect();
            let next = if item.len() < 5 || random.unit() < 1.0 / 3.0 {
                // An item not heard before: a chance repeat would follow no law of memory.
                loop {
                    let drawn = (random.unit() * f64::from(N_ITEMS)) as u32;
                    if !item.contains(&drawn) {
                        break drawn;
                    }
                }
            } else {
                let mut left = random.unit() * weight.iter().sum::<f64>();
                let drawn = weight.iter().position(|w| {
                    left -= w;
                    left < 0.0
                });
                item[drawn.unwrap_or(item.len() - 1)]
            };
            item.push(next);
            time.push(now);
        }
        users.push(item);
        at.extend(time);
    }
    let mut plays = OwnedSequences::from_items(N_ITEMS, users);
    plays.known_at = at.clone();
    plays.occurred_at = at;
    plays
}

#[test]
fn the_decay_of_planted_listeners_is_recovered() {
    for decay in [0.3, 0.5, 0.8, 1.2] {
        let plays = listeners(decay, 7);
        let model = ActR::fit(&ActRConfig::default(), &FitInput::of(plays.view())).unwrap();
        let got = f64::from(model.decay());
        assert!((got - decay).abs() < 0.06, "{got} is not {decay}");
    }
}

/// NDCG@10 of the next play, over the last 30 plays of each listener that repeat an item.
fn repeat_ndcg(plays: &OwnedSequences, rank: impl Fn(Sequence<'_>, TimestampMs) -> Vec<u32>) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for user in plays.view().iter() {
        for at in N_PLAYS - 30..N_PLAYS {
            let history = user.head(at);
            if history.item.contains(&user.item[at]) {
                let list = rank(history, TimestampMs(user.occurred_at[at]));
                let place = list.iter().take(10).position(|&item| item == user.item[at]);
                sum += place.map_or(0.0, |place| 1.0 / (place as f64 + 2.0).log2());
                n += 1;
            }
        }
    }
    sum / f64::from(n)
}

#[test]
fn planted_repeats_are_ranked_better_than_by_recency_or_frequency_alone() {
    let plays = listeners(0.5, 3);
    // What is learnt comes from other listeners of the same kind: nothing of the test is seen.
    let others = listeners(0.5, 4);
    let config = ActRConfig { spreading: 0.0, ..ActRConfig::default() };
    let model = ActR::fit(&config, &FitInput::of(others.view())).unwrap();
    let act_r = repeat_ndcg(&plays, |history, now| {
        let mut out = Vec::new();
        let query = Query { history, now: Some(now), ..Query::default() };
        model.recommend(&query, 10, &ItemFilter::default(), &mut out).unwrap();
        out.iter().map(|s| s.item).collect()
    });
    let by_key = |history: Sequence<'_>, key: &dyn Fn(u32, usize, i64) -> i64| {
        let mut of_item = std::collections::BTreeMap::<u32, (usize, usize)>::new();
        for (at, &item) in history.item.iter().enumerate() {
            let entry = of_item.entry(item).or_default();
            *entry = (entry.0 + 1, at);
        }
        let mut items: Vec<(i64, u32)> =
            of_item.iter().map(|(&item, &(n, last))| (-key(item, n, last as i64), item)).collect();
        items.sort_unstable();
        items.into_iter().map(|(_, item)| item).collect::<Vec<_>>()
    };
    let recency = repeat_ndcg(&plays, |history, _| by_key(history, &|_, _, last| last));
    // Ties by recency, which only helps it.
    let frequency = repeat_ndcg(&plays, |history, _| by_key(history, &|_, n, last| n as i64 * 1000 + last));
    eprintln!("repeat NDCG@10: ACT-R {act_r:.4}, recency {recency:.4}, frequency {frequency:.4}");
    assert!(act_r > recency + 0.02 && act_r > frequency + 0.02, "{act_r} {recency} {frequency}");
}
