//! What every retrieval model must do, driven from the registry: a new model is covered by its line.
//!
//! The data is a checkerboard in time: even users play even items, odd users odd ones, in turns, and
//! each leaves out one item of their colour. So there is one right answer for a model that reads the
//! history: the item left out.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use segue_data::{OwnedSequences, Sequence};
use segue_models::{
    ArtifactMeta, DailyPlays, FitInput, ItemFilter, KeyedQuery, KeyedRecommender, ModelError, ModelParts,
    Profiles, Query, RECOMMENDERS, Recommender, Scored, Tensors, TrainingRun, artifact,
};
use segue_types::{Action, DAY_MS, Day, HOUR_MS, ItemKey, TimestampMs};

const PER_COLOUR: u32 = 8;
const N_ITEMS: u32 = 2 * PER_COLOUR;
const N_USERS: u32 = 4 * PER_COLOUR;
const N_DAYS: i32 = 4;

struct Board {
    sequences: OwnedSequences,
    item_ids: Vec<String>,
    item_keys: Vec<ItemKey>,
    markets: Vec<String>,
    day: Vec<Day>,
    market: Vec<u32>,
    item: Vec<u32>,
    n_plays: Vec<u32>,
}

/// The item that `user` leaves out.
fn left_out(user: u32) -> u32 {
    2 * (user / 2 % PER_COLOUR) + user % 2
}

impl Board {
    /// Plays known before `until_day`.
    fn until(until_day: i32) -> Self {
        let mut s = OwnedSequences { n_items: N_ITEMS, offsets: vec![0], ..OwnedSequences::default() };
        let (mut day, mut market, mut item) = (vec![], vec![], vec![]);
        for user in 0..N_USERS {
            let today = (user as i32) % N_DAYS;
            if today < until_day {
                for turn in 1..PER_COLOUR {
                    let row = (left_out(user) + 2 * turn) % N_ITEMS;
                    let at = i64::from(today) * DAY_MS + i64::from(turn) * 200_000;
                    s.item.push(row);
                    s.action.push(Action::Completed.code());
                    s.session.push(0);
                    s.occurred_at.push(at);
                    s.known_at.push(at);
                    day.push(Day(today));
                    market.push(user % 2);
                    item.push(row);
                }
            }
            s.offsets.push(s.item.len() as u64);
        }
        let item_ids: Vec<String> = (0..N_ITEMS).map(|i| format!("track-{i}")).collect();
        Self {
            item_keys: item_ids.iter().map(|id| ItemKey::of(id)).collect(),
            item_ids,
            markets: vec!["even".to_owned(), "odd".to_owned()],
            n_plays: vec![1; item.len()],
            day,
            market,
            item,
            sequences: s,
        }
    }

    /// One more user; if `known`, they play across the colours on the last day.
    fn with_stranger(mut self, known: bool) -> Self {
        for (turn, row) in (0..).zip([0, 3, 0, 5].into_iter().take(if known { 4 } else { 0 })) {
            let at = i64::from(N_DAYS - 1) * DAY_MS + turn * 200_000;
            self.sequences.item.push(row);
            self.sequences.action.push(Action::Completed.code());
            self.sequences.session.push(0);
            self.sequences.occurred_at.push(at);
            self.sequences.known_at.push(at);
            self.day.push(Day(N_DAYS - 1));
            self.market.push(0);
            self.item.push(row);
            self.n_plays.push(1);
        }
        self.sequences.offsets.push(self.sequences.item.len() as u64);
        self
    }

    fn input(&self) -> FitInput<'_> {
        FitInput {
            daily: Some(DailyPlays {
                markets: &self.markets,
                day: &self.day,
                market: &self.market,
                item: &self.item,
                n_plays: &self.n_plays,
            }),
            item_ids: &self.item_ids,
            item_keys: &self.item_keys,
            ..FitInput::of(self.sequences.view())
        }
    }
}

/// The settings of the suite: the defaults, but a small network where a model trains one.
fn settings(kind: &str) -> toml::Table {
    let small = r#"
d = 16
n_blocks = 1
dropout = 0.0
max_history = 50
negatives = { count = 16 }
training = { rounds = 8, round_steps = 50, patience = 3, batch = 32, learning_rate = 0.01 }
"#;
    let mut table: toml::Table =
        if ["sasrec", "esasrec", "hstu", "gru4rec"].contains(&kind) { small } else { "" }.parse().unwrap();
    if ["sasrec", "esasrec"].contains(&kind) {
        table.insert("hidden".to_owned(), 32.into());
    }
    table
}

fn every_model(mut check: impl FnMut(&'static str, bool, Box<dyn Recommender>)) {
    let board = Board::until(N_DAYS);
    for line in RECOMMENDERS {
        let model = line.fit(&settings(line.kind), &board.input()).unwrap();
        assert_eq!(model.kind(), line.kind);
        assert_eq!(model.n_items(), N_ITEMS, "{}", line.kind);
        check(line.kind, line.personal, model);
    }
}

fn ask(model: &dyn Recommender, query: &Query<'_>, k: usize, filter: &ItemFilter<'_>) -> Vec<Scored> {
    let mut out = vec![Scored { item: 99, score: f32::NAN }]; // must be cleared
    model.recommend(query, k, filter, &mut out).unwrap();
    assert!(out.len() <= k, "{}: {} items for k = {k}", model.kind(), out.len());
    let mut items: Vec<u32> = out.iter().map(|s| s.item).collect();
    items.sort_unstable();
    assert!(items.windows(2).all(|w| w[0] < w[1]), "{}: an item twice in {out:?}", model.kind());
    assert!(items.iter().all(|&i| i < model.n_items() && filter.admits(i)), "{}: {out:?}", model.kind());
    assert!(out.iter().all(|s| s.score.is_finite()), "{}: {out:?}", model.kind());
    assert!(out.windows(2).all(|w| w[0].score >= w[1].score), "{}: not best first: {out:?}", model.kind());
    out
}

/// A query of at most eight plays, an hour apart.
fn dated(item: &[u32]) -> Query<'_> {
    static AT: [i64; 8] =
        [0, HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS, 4 * HOUR_MS, 5 * HOUR_MS, 6 * HOUR_MS, 7 * HOUR_MS];
    let at = &AT[..item.len()];
    Query {
        history: Sequence { item, occurred_at: at, known_at: at, ..Sequence::default() },
        ..Query::default()
    }
}

#[test]
fn a_query_without_dates_is_answered_or_refused_for_that() {
    every_model(|kind, _, model| {
        let mut out = Vec::new();
        match model.recommend(&Query::of_items(&[0, 5]), 5, &ItemFilter::default(), &mut out) {
            Ok(()) => assert!(!out.is_empty(), "{kind}"),
            Err(e) => assert!(matches!(e, ModelError::NeedsDates { .. }), "{kind}: {e}"),
        }
    });
}

#[test]
fn the_item_left_out_is_the_one_right_answer() {
    let board = Board::until(N_DAYS);
    every_model(|kind, personal, model| {
        for user in 0..N_USERS {
            let history = board.sequences.view().user(user as usize);
            let mut seen = history.item.to_vec();
            seen.sort_unstable();
            let query = Query {
                history,
                now: Some(TimestampMs(i64::from(N_DAYS) * DAY_MS)),
                market: Some(if user % 2 == 0 { "even" } else { "odd" }),
                ..Query::default()
            };
            let best = ask(&*model, &query, 1, &ItemFilter { exclude: &seen, allow: None });
            assert_eq!(best.first().map(|s| s.item), Some(left_out(user)), "{kind}, user {user}");
            if personal {
                // And it says why: some play of the history speaks for the item, if it explains at all.
                let why = model.explain(&query, left_out(user));
                assert!(why.iter().all(|c| c.history_idx <= history.len()), "{kind}: {why:?}");
            }
        }
    });
}

#[test]
fn any_query_gets_a_well_formed_answer_and_the_same_again() {
    let query = (
        prop::collection::vec(prop_oneof![0..N_ITEMS, Just(N_ITEMS), Just(u32::MAX)], 0..80),
        prop::collection::btree_set(prop_oneof![0..N_ITEMS, Just(1_000_000)], 0..10),
        prop::option::of(any::<u64>()),
        prop_oneof![0_usize..20, Just(usize::MAX)],
        prop::option::of(0..2 * N_ITEMS),
        prop::sample::select(vec![None, Some("even"), Some("nowhere"), Some("")]),
    );
    every_model(|kind, _, model| {
        let parts = model.parts();
        let line = segue_models::recommender_kind(kind).unwrap();
        let loaded = line.load(parts.clone()).unwrap();
        assert_eq!(loaded.parts(), parts, "{kind}: parts change on the way");
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })
            .run(&query, |(item, exclude, allow, k, current, market)| {
                let exclude: Vec<u32> = exclude.into_iter().collect();
                let allow = allow.map(|bits| [bits]);
                let filter =
                    ItemFilter { exclude: &exclude, allow: allow.as_ref().map(<[u64; 1]>::as_slice) };
                let at: Vec<i64> = (0..item.len() as i64).map(|n| n * n * 60_000).collect();
                let history =
                    Sequence { item: &item, occurred_at: &at, known_at: &at, ..Sequence::default() };
                let query = Query { history, market, current, ..Query::default() };
                let answer = ask(&*model, &query, k, &filter);
                prop_assert_eq!(&answer, &ask(&*model, &query, k, &filter), "{}: not the same again", kind);
                prop_assert_eq!(&answer, &ask(&*loaded, &query, k, &filter), "{}: loaded differs", kind);
                let both = [query, dated(&[1, 3])];
                let lists = model.recommend_batch(&both, k, &[filter; 2]).unwrap();
                prop_assert_eq!(&answer, &lists[0], "{}: differs in a batch", kind);
                prop_assert_eq!(
                    &ask(&*model, &both[1], k, &filter),
                    &lists[1],
                    "{}: differs in a batch",
                    kind
                );
                if k <= answer.len() {
                    let more = ask(&*model, &query, usize::MAX, &filter);
                    prop_assert_eq!(&answer[..], &more[..k], "{}: k changes the order", kind);
                }
                for &item in &item {
                    let similar = model.similar_items(item, k);
                    prop_assert!(
                        similar.len() <= k && similar.iter().all(|s| s.item < N_ITEMS && s.item != item)
                    );
                    prop_assert_eq!(similar, loaded.similar_items(item, k));
                }
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn an_empty_history_and_k_of_zero_are_no_trouble() {
    every_model(|_, _, model| {
        ask(&*model, &Query::default(), 5, &ItemFilter::default());
        assert!(ask(&*model, &dated(&[0, 1]), 0, &ItemFilter::default()).is_empty());
        let all: Vec<u32> = (0..N_ITEMS).collect();
        let nothing = ItemFilter { exclude: &all, allow: None };
        assert!(ask(&*model, &dated(&[0, 1]), 5, &nothing).is_empty());
    });
}

#[test]
fn a_fit_until_a_moment_equals_a_fit_on_what_was_known_then() {
    let whole = Board::until(N_DAYS).with_stranger(true);
    let known = Board::until(2).with_stranger(false);
    for line in RECOMMENDERS {
        let until = FitInput { until: Some(Day(2).start()), ..whole.input() };
        let a = line.fit(&settings(line.kind), &until).unwrap();
        let b = line.fit(&settings(line.kind), &known.input()).unwrap();
        let c = line.fit(&settings(line.kind), &whole.input()).unwrap();
        assert!(a.parts() == b.parts(), "{}: saw past `until`", line.kind);
        assert!(a.parts() != c.parts(), "{}: the test data cannot tell", line.kind);
    }
}

#[test]
fn plays_that_are_added_make_the_model_of_all_plays_or_are_refused_for_a_reason() {
    let (whole, known) = (Board::until(N_DAYS).with_stranger(true), Board::until(2).with_stranger(false));
    let rows: Vec<u32> = (0..N_ITEMS).collect();
    let mut n_exact = 0;
    for line in RECOMMENDERS {
        let mut table = settings(line.kind);
        if line.settings(&table).unwrap().get("keep_counts").is_some() {
            table.insert("keep_counts".to_owned(), true.into());
        }
        let before = line.fit(&table, &known.input()).unwrap();
        match before.add_plays(&whole.input(), Day(2).start(), &rows) {
            Ok(model) => {
                let all = line.fit(&table, &whole.input()).unwrap();
                assert!(model.parts() == all.parts(), "{}: another model than that of all plays", line.kind);
                assert!(model.parts() != before.parts(), "{}: the test data cannot tell", line.kind);
                let loaded = line.load(model.parts()).unwrap();
                assert!(loaded.parts() == model.parts(), "{}: parts change on the way", line.kind);
                let plain = line.fit(&settings(line.kind), &whole.input()).unwrap();
                let query = dated(&[0, 3, 5]);
                let all = ItemFilter::default();
                assert_eq!(ask(&*model, &query, 9, &all), ask(&*plain, &query, 9, &all), "{}", line.kind);
                let error = plain.add_plays(&whole.input(), Day(2).start(), &rows).map(drop).unwrap_err();
                assert!(error.to_string().contains("keep_counts"), "{}: {error}", line.kind);
                n_exact += 1;
            }
            Err(e) => assert!(matches!(e, ModelError::CannotAdd { .. }), "{}: {e}", line.kind),
        }
    }
    assert_eq!(n_exact, 3, "markov, seq_rules and pctm");
}

#[test]
fn a_warm_start_of_counts_is_the_model_of_all_plays_or_counts_anew_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, known) = (Board::until(N_DAYS).with_stranger(true), Board::until(2).with_stranger(false));
    for line in RECOMMENDERS {
        let mut table = settings(line.kind);
        if line.settings(&table).unwrap().get("keep_counts").is_none() {
            continue;
        }
        table.insert("keep_counts".to_owned(), true.into());
        let mut run = TrainingRun::default();
        let before = line.train(&table, &known.input(), &mut run).unwrap();
        let meta = ArtifactMeta { training: run.record, ..ArtifactMeta::default() };
        let id = artifact::save(folder.path(), line.kind, &before.parts(), &known.item_keys, &meta).unwrap();
        let earlier = artifact::load(&folder.path().join(line.kind).join(&id)).unwrap();
        let from_earlier = |table: &toml::Table, input: &FitInput<'_>| {
            let mut run = TrainingRun { earlier: Some(&earlier), ..TrainingRun::default() };
            let model = line.train(table, input, &mut run).unwrap();
            assert!(model.parts() == line.fit(table, input).unwrap().parts(), "{}", line.kind);
            (run.record.unwrap().warm_start, run.messages.join("; "))
        };
        let (start, told) = from_earlier(&table, &whole.input());
        assert_eq!(start, Some(id.clone()));
        assert!(told.starts_with("adds plays to artifact"), "{}: {told}", line.kind);

        // A listener whom the artifact has counted was erased.
        let until = FitInput { until: Some(Day(1).start()), ..whole.input() };
        let (start, told) = from_earlier(&table, &until);
        assert_eq!(start, None);
        assert!(told.contains("plays, old and new"), "{}: {told}", line.kind);
        let mut other = table.clone();
        other.insert("targets".to_owned(), "all".into());
        if line.settings(&other).is_ok() {
            assert!(from_earlier(&other, &whole.input()).1.contains("the same settings"), "{}", line.kind);
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    // Enough items for several parallel parts.
    let users = (0..400_u32).map(|u| (0..30).map(|i| (u * 37 + i * i * 11) % 3000).collect());
    let mut sequences = OwnedSequences::from_items(3000, users);
    sequences.known_at = (0..sequences.item.len() as i64).map(|i| i % 30 * DAY_MS).collect();
    sequences.occurred_at = sequences.known_at.clone();
    for line in RECOMMENDERS {
        // A few steps of a training are enough to tell.
        let mut table = settings(line.kind);
        if let Some(training) = table.get_mut("training").and_then(toml::Value::as_table_mut) {
            training.extend([("rounds".to_owned(), 1.into()), ("round_steps".to_owned(), 4.into())]);
        }
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| line.fit(&table, &FitInput::of(sequences.view())).unwrap().parts())
        };
        assert!(fit(1) == fit(4), "{}: 1 and 4 threads differ", line.kind);
    }
}

#[test]
fn no_data_or_only_profiles_is_an_answer_or_a_clear_refusal() {
    let nothing = OwnedSequences::default();
    let no_plays = OwnedSequences { n_items: 3, ..OwnedSequences::default() };
    let one = OwnedSequences::from_items(1, [vec![0]]);
    let profiles = Profiles { offsets: &[0, 2], item: &[0, 2], n_plays: &[5, 1] };
    let inputs = [
        FitInput::of(nothing.view()),
        FitInput::of(one.view()),
        FitInput { profiles: Some(profiles), ..FitInput::of(no_plays.view()) },
    ];
    for line in RECOMMENDERS {
        for input in inputs {
            match line.fit(&settings(line.kind), &input) {
                Ok(model) => {
                    ask(&*model, &dated(&[0, 0, 7]), 5, &ItemFilter::default());
                }
                Err(ModelError::NeedsData { .. } | ModelError::NeedsDates { .. }) => {}
                Err(e) => panic!("{}: {e}", line.kind),
            }
        }
    }
}

#[test]
fn rows_out_of_range_are_refused_before_anything_is_counted() {
    let mut bad = OwnedSequences::from_items(2, [vec![0, 1]]);
    bad.item[1] = 2;
    for line in RECOMMENDERS {
        let error = line.fit(&settings(line.kind), &FitInput::of(bad.view())).map(drop).unwrap_err();
        assert!(matches!(error, ModelError::Shape { .. }), "{}: {error}", line.kind);
    }
}

#[test]
fn unknown_settings_are_refused_by_name() {
    let board = Board::until(N_DAYS);
    for line in RECOMMENDERS {
        let table: toml::Table = "no_such_setting = 1".parse().unwrap();
        let error = line.fit(&table, &board.input()).map(drop).unwrap_err().to_string();
        assert!(error.contains(line.kind) && error.contains("no_such_setting"), "{error}");
        assert!(line.settings(&toml::Table::new()).unwrap().is_object(), "{}", line.kind);
    }
}

#[test]
fn a_saved_and_loaded_model_answers_by_key_what_the_fitted_one_answers_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::until(N_DAYS);
    every_model(|kind, _, model| {
        let meta = artifact::ArtifactMeta { snapshot_id: Some("s1".to_owned()), ..Default::default() };
        let id = artifact::save(folder.path(), kind, &model.parts(), &board.item_keys, &meta).unwrap();
        artifact::publish(folder.path(), kind, &id).unwrap();
        let current = artifact::current(folder.path(), kind).unwrap().unwrap();
        let loaded = KeyedRecommender::load(&current).unwrap();
        assert_eq!(loaded.manifest().unwrap().meta, meta);
        for user in 0..N_USERS as usize {
            let history = board.sequences.view().user(user);
            let want = ask(&*model, &Query { history, ..Query::default() }, 5, &ItemFilter::default());
            let keys: Vec<ItemKey> = history.item.iter().map(|&i| board.item_keys[i as usize]).collect();
            let keyed = KeyedQuery {
                item: &keys,
                action: history.action,
                occurred_at: history.occurred_at,
                known_at: history.known_at,
                session: history.session,
                context: history.context,
                ..Default::default()
            };
            let got = loaded.recommend(&keyed, 5, &[], None).unwrap();
            let got: Vec<_> = got.iter().map(|s| (s.item, s.score)).collect();
            let want: Vec<_> = want.iter().map(|s| (board.item_keys[s.item as usize], s.score)).collect();
            assert_eq!(got, want, "{kind}, user {user}");
        }
    });
}

#[test]
fn the_product_of_two_vectors_is_the_score() {
    let board = Board::until(N_DAYS);
    let mut with_vectors = Vec::new();
    every_model(|kind, _, model| {
        let Some(vectors) = model.vectors() else { return };
        with_vectors.push(kind.to_owned());
        let item = |item: u32| {
            let mut out = Vec::new();
            assert_eq!(vectors.item_vector(item, &mut out), !out.is_empty(), "{kind}");
            (!out.is_empty()).then_some(out)
        };
        assert_eq!(item(N_ITEMS + 5), None, "{kind}");
        for user in 0..N_USERS as usize {
            let query = Query { history: board.sequences.view().user(user), ..Query::default() };
            let mut of_user = Vec::new();
            let is_known = vectors.user_vector(&query, &mut of_user);
            let list = ask(&*model, &query, N_ITEMS as usize, &ItemFilter::default());
            assert_eq!(of_user.len(), if is_known { vectors.size() } else { 0 }, "{kind}");
            assert_eq!(is_known, !list.is_empty(), "{kind}, user {user}");
            for Scored { item: row, score } in list {
                let of_item = item(row).unwrap_or_else(|| panic!("{kind}: no vector of item {row}"));
                assert_eq!(of_item.len(), vectors.size(), "{kind}");
                let product: f32 = of_user.iter().zip(&of_item).map(|(u, i)| u * i).sum();
                assert!((product - score).abs() <= 1e-4 * (1.0 + score.abs()), "{kind}: {product}, {score}");
            }
        }
    });
    for kind in ["bpr", "esasrec", "ials", "sasrec"] {
        assert!(with_vectors.iter().any(|k| k == kind), "{with_vectors:?}");
    }
}

/// Arrays with a valid hash may still be nonsense: the loader refuses, or the model keeps its contract.
#[test]
fn damaged_arrays_are_refused_or_harmless() {
    every_model(|kind, _, model| {
        let line = segue_models::recommender_kind(kind).unwrap();
        let parts = model.parts();
        let names: Vec<String> = parts.tensors.names().map(str::to_owned).collect();
        for name in &names {
            for damage in 0..6 {
                let parts = damaged(&parts, name, damage);
                match line.load(parts) {
                    Err(ModelError::Artifact { .. }) => {}
                    Err(e) => panic!("{kind}, `{name}`, damage {damage}: {e}"),
                    Ok(model) => {
                        assert_ne!(damage, 0, "{kind} does not miss `{name}`");
                        for query in [Query::default(), dated(&[0, 5, 5, 15, 900])] {
                            let mut out = Vec::new();
                            model.recommend(&query, 50, &ItemFilter::default(), &mut out).unwrap();
                            assert!(out.iter().all(|s| s.score.is_finite() && s.item < model.n_items()));
                            model.similar_items(3, 5);
                        }
                    }
                }
            }
        }
    });
}

fn damaged(parts: &ModelParts, name: &str, damage: u32) -> ModelParts {
    fn change<T: segue_models::tensors::Element>(mut values: Vec<T>, damage: u32, bad: [T; 2]) -> Vec<T> {
        match damage {
            1 => values.extend_from_slice(&bad[..1]),
            2 => drop(values.pop()),
            3 => values.reverse(),
            4 => values.iter_mut().take(1).for_each(|v| *v = bad[0]),
            _ => values.iter_mut().for_each(|v| *v = bad[1]),
        }
        values
    }
    let mut tensors: Tensors = parts.tensors.clone();
    if let Ok((values, [rows, cols])) = tensors.take_shaped::<f32, 2>(name) {
        if damage != 0 {
            let values = change(values, damage, [f32::NAN, f32::MAX]);
            // One number more or less has no matrix.
            let shape = if values.len() == rows * cols { vec![rows, cols] } else { vec![values.len()] };
            tensors = tensors.with_shape(name, &shape, &values);
        }
        return ModelParts { tensors, ..parts.clone() };
    }
    let mut tensors = parts.tensors.clone();
    if let Ok(values) = tensors.take::<f32>(name) {
        if damage != 0 {
            tensors = tensors.with(name, &change(values, damage, [f32::NAN, f32::MAX]));
        }
        return ModelParts { tensors, ..parts.clone() };
    }
    let mut tensors = parts.tensors.clone();
    if let Ok(values) = tensors.take::<u32>(name) {
        if damage != 0 {
            tensors = tensors.with(name, &change(values, damage, [u32::MAX, 1]));
        }
        return ModelParts { tensors, ..parts.clone() };
    }
    let mut tensors = parts.tensors.clone();
    if let Ok(values) = tensors.take::<u64>(name) {
        if damage != 0 {
            tensors = tensors.with(name, &change(values, damage, [u64::MAX, 3]));
        }
        return ModelParts { tensors, ..parts.clone() };
    }
    let mut tensors = parts.tensors.clone();
    let values = tensors.take::<u8>(name).unwrap();
    if damage != 0 {
        tensors = tensors.with(name, &change(values, damage, [0xff, b'x']));
    }
    ModelParts { tensors, ..parts.clone() }
}
