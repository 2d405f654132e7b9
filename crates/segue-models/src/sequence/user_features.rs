//! What is known of a listener as a token of its own, before the first event of a window.
//!
//! ```text
//! token = base + market[code] + plan[code] + birth_year[code]
//! ```
//!
//! Every event of the window can look at it. It tells what was known when the window's first event became known:
//! a fact that holds from later on is unknown to it. A query tells its own.

use segue_nn::{Init, Layout, Param, simd};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{FitInput, Query};

/// Codes of markets: 0 for an unknown one, then `AA` to `ZZ`.
const N_MARKETS: usize = 1 + 26 * 26;
/// Codes of plans: 0 for an unknown one, then names by their hash.
const N_PLANS: usize = 1024;
/// Codes of birth years: 0 for an unknown one, then five years each from 1900 on.
const N_BIRTH_YEARS: usize = 32;
/// Marks a token that is an event.
pub const NO_USER: u32 = u32::MAX;

/// Which features of listeners are looked at, where the data has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserFeatureSettings {
    /// The market (ISO 3166 alpha-2).
    pub market: bool,
    /// The plan, such as `free` or `premium`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// The five years in which the listener was born.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub birth_year: bool,
}

impl UserFeatureSettings {
    /// Whether none is: then there is no token, and the settings of an artifact do not mention them.
    #[must_use]
    pub fn are_off(&self) -> bool {
        *self == Self::default()
    }

    /// Those that the data has.
    #[must_use]
    pub fn for_data(self, input: &FitInput<'_>) -> Self {
        let have = |feature: &str, is_asked: bool, has: bool| {
            if is_asked && !has {
                tracing::info!(feature, "the data does not have this feature of listeners");
            }
            is_asked && has
        };
        let users = &input.user_features;
        Self {
            market: have("market", self.market, !users.market.is_empty()),
            plan: have("plan", self.plan, !users.plan.is_empty()),
            birth_year: have("birth_year", self.birth_year, !users.birth_year.is_empty()),
        }
    }
}

/// What is known of a listener as one number: market, plan and birth year side by side, never [`NO_USER`].
#[must_use]
pub fn user_code(market: Option<&str>, plan: Option<&str>, birth_year: Option<i32>) -> u32 {
    let plan = plan.filter(|name| !name.is_empty());
    let plan = plan.map_or(0, |name| 1 + (xxh3_64(name.as_bytes()) % (N_PLANS as u64 - 1)) as u32);
    let birth_year = birth_year.map_or(0, |year| year.saturating_sub(1895).div_euclid(5));
    let birth_year = if (1..N_BIRTH_YEARS as i32).contains(&birth_year) { birth_year as u32 } else { 0 };
    market.map_or(0, market_code) | plan << 10 | birth_year << 20
}

/// [`user_code`] of who asks.
#[must_use]
pub fn code_of_query(query: &Query<'_>) -> u32 {
    user_code(query.market, query.plan, query.birth_year)
}

/// The code of a market: two letters, in any case; 0 for anything else.
fn market_code(name: &str) -> u32 {
    let letter = |c: u8| c.is_ascii_alphabetic().then(|| u32::from(c.to_ascii_uppercase() - b'A'));
    match *name.as_bytes() {
        [a, b] => letter(a).zip(letter(b)).map_or(0, |(a, b)| 1 + 26 * a + b),
        _ => 0,
    }
}

/// Where the vectors of the token stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserToken {
    /// `[d]`.
    base: Param,
    /// `[N_MARKETS, d]`.
    market: Option<Param>,
    /// `[N_PLANS, d]`.
    plan: Option<Param>,
    /// `[N_BIRTH_YEARS, d]`.
    birth_year: Option<Param>,
}

impl UserToken {
    /// Adds the groups `user.base`, and `user.market` and so on for what is asked for, to the layout.
    pub(super) fn new(
        layout: &mut Layout,
        settings: UserFeatureSettings,
        d: usize,
        init: Init,
    ) -> Option<Self> {
        if settings.are_off() {
            return None;
        }
        let base = layout.vector("user.base", d, init);
        let mut table = |is_on: bool, name, rows| is_on.then(|| layout.matrix(name, rows, d, init));
        Some(Self {
            base,
            market: table(settings.market, "user.market", N_MARKETS),
            plan: table(settings.plan, "user.plan", N_PLANS),
            birth_year: table(settings.birth_year, "user.birth_year", N_BIRTH_YEARS),
        })
    }

    /// Fills the rows of `x` `[n_tokens, d]` of tokens that are listeners; `user` `[n_tokens]` holds codes and
    /// [`NO_USER`].
    pub(super) fn forward(&self, params: &[f32], user: &[u32], x: &mut [f32]) {
        for (code, x) in self.rows(user, x) {
            x.copy_from_slice(self.base.of(params));
            for (table, row) in self.vectors(code) {
                simd::add(&table.of(params)[row * x.len()..(row + 1) * x.len()], x);
            }
        }
    }

    /// Adds the gradients `dx` `[n_tokens, d]` of these rows to those of the vectors, and sets them to zero: they
    /// are no item's.
    pub(super) fn backward(&self, user: &[u32], dx: &mut [f32], grads: &mut [f32]) {
        for (code, dx) in self.rows(user, dx) {
            simd::add(dx, self.base.of_mut(grads));
            for (table, row) in self.vectors(code) {
                simd::add(dx, &mut table.of_mut(grads)[row * dx.len()..(row + 1) * dx.len()]);
            }
            dx.fill(0.0);
        }
    }

    /// Table and row of each feature.
    fn vectors(&self, code: u32) -> impl Iterator<Item = (Param, usize)> {
        let market = self.market.map(|table| (table, (code & 1023) as usize % N_MARKETS));
        let plan = self.plan.map(|table| (table, (code >> 10) as usize % N_PLANS));
        let birth_year = self.birth_year.map(|table| (table, (code >> 20) as usize % N_BIRTH_YEARS));
        [market, plan, birth_year].into_iter().flatten()
    }

    fn rows<'a>(&self, user: &'a [u32], x: &'a mut [f32]) -> impl Iterator<Item = (u32, &'a mut [f32])> {
        let rows = user.iter().zip(x.chunks_exact_mut(self.base.cols));
        rows.filter(|&(&code, _)| code != NO_USER).map(|(&code, x)| (code, x))
    }
}

#[cfg(test)]
mod tests {
    use segue_data::{OwnedSequences, Sequence};
    use segue_nn::{Counter, Pass};

    use super::*;
    use crate::registry::Model;
    use crate::retrieval::Targets;
    use crate::sequence::trained::Trained;
    use crate::sequence::windows::{Batch, Windows};
    use crate::sequence::{Architecture, ESasRec, Gru4Rec, Hstu, SasRec, Training};
    use crate::{ItemFilter, Query, Recommender, UserFeatures};

    const N_ITEMS: u32 = 8;

    /// In one market the next item follows, in the other the one three further; what follows for those who have
    /// moved since is chance.
    fn walks() -> (OwnedSequences, Vec<String>, Vec<i64>) {
        let (mut plays, mut market, mut from) = (OwnedSequences::default(), vec![], vec![]);
        plays.n_items = N_ITEMS;
        for user in 0..160_u32 {
            let has_moved = user % 8 == 7;
            let step = match (has_moved, user % 2) {
                (true, _) => Counter::new(1, u64::from(user)).bits(0) as u32,
                (_, 0) => 1,
                _ => 3,
            };
            let first = user / 2 % N_ITEMS;
            let item = [first, (first + step % N_ITEMS) % N_ITEMS];
            plays.push(Sequence {
                item: &item,
                occurred_at: &[10, 20],
                known_at: &[10, 20],
                ..Sequence::default()
            });
            market.push(["SE", "de"][user as usize % 2].to_owned());
            from.push(if has_moved { 11 } else { i64::MIN });
        }
        (plays, market, from)
    }

    fn fit<A: Architecture>(settings: &str) -> Trained<A> {
        let (plays, market, valid_from) = walks();
        let common = "d = 16\nn_blocks = 1\ndropout = 0.0\nmax_history = 6\nloss = \"softmax\"\n\
                      training = { rounds = 20, round_steps = 40, batch = 32, learning_rate = 0.01, validation_share = 0.0 }\n";
        let config = format!("{common}{settings}").parse::<toml::Table>().unwrap().try_into().unwrap();
        let user_features =
            UserFeatures { market: &market, valid_from: &valid_from, ..UserFeatures::default() };
        Trained::<A>::fit(&config, &FitInput { user_features, ..FitInput::of(plays.view()) }).unwrap()
    }

    /// Of all first items and both markets, how often the right item comes first.
    fn right<A: Architecture>(model: &Trained<A>) -> usize {
        let ask = |item: u32, market: Option<&'static str>| {
            let mut out = Vec::new();
            let history =
                Sequence { item: &[item], occurred_at: &[10], known_at: &[10], ..Sequence::default() };
            let query = Query { history, market, ..Query::default() };
            model.recommend(&query, 1, &ItemFilter::default(), &mut out).unwrap();
            out[0].item
        };
        let all = (0..N_ITEMS).flat_map(|item| [(item, "SE", 1), (item, "DE", 3)]);
        all.filter(|&(item, market, step)| ask(item, Some(market)) == (item + step) % N_ITEMS).count()
    }

    fn check<A: Architecture>(settings: &str) {
        let with: Trained<A> = fit(&format!("{settings}\nuser_features = {{ market = true }}"));
        let without: Trained<A> = fit(settings);
        let (told, untold) = (right(&with), right(&without));
        assert!(told >= 14, "{}: {told} of 16 with the market", A::KIND);
        assert!(untold <= 9, "{}: {untold} of 16 without it, where half is all there is", A::KIND);
        let parts = with.parts();
        let loaded: Trained<A> =
            Model::load(serde_json::from_value(parts.config.clone()).unwrap(), with.parts()).unwrap();
        assert_eq!(loaded, with);
        assert_eq!(parts.config["user_features"]["market"], true);
        assert!(without.parts().config.get("user_features").is_none());
    }

    #[test]
    fn the_market_decides_what_comes_next_if_it_is_an_input() {
        check::<<SasRec as Model>::Config>("hidden = 16");
        check::<<ESasRec as Model>::Config>("hidden = 16");
        check::<<Hstu as Model>::Config>("");
        check::<<Gru4Rec as Model>::Config>("");
    }

    #[test]
    fn the_token_stands_first_and_knows_what_was_known_then() {
        let (plays, market, valid_from) = walks();
        let user_features =
            UserFeatures { market: &market, valid_from: &valid_from, ..UserFeatures::default() };
        let input = FitInput { user_features, ..FitInput::of(plays.view()) };
        let all = Training { validation_share: 0.0, ..Training::default() };
        let windows = Windows::new(&input, Targets::All, 6, &all).with_user_tokens(true);
        let mut shards = vec![Batch::default()];
        windows.fill(&[6, 7], &mut shards);
        let batch = &shards[0];
        assert_eq!(batch.offsets, [0, 2, 4]);
        assert_eq!(batch.user, [market_code("SE"), NO_USER, 0, NO_USER], "the second has moved since");
        assert_eq!(batch.target_token, [1, 3]);
        assert_eq!(batch.item.len(), batch.occurred_at.len());
        assert_eq!(batch.item[0], batch.item[1]);
    }

    #[test]
    fn plan_and_birth_year_decide_what_comes_next_if_they_are_inputs() {
        let (plays, market, valid_from) = walks();
        let plan: Vec<String> =
            market.iter().map(|m| if m == "SE" { "free" } else { "premium" }.to_owned()).collect();
        let birth_year: Vec<i32> = market.iter().map(|m| if m == "SE" { 1960 } else { 2000 }).collect();
        let users =
            UserFeatures { plan: &plan, birth_year: &birth_year, valid_from: &valid_from, market: &[] };
        for feature in ["plan", "birth_year"] {
            let text = format!(
                "d = 16\nn_blocks = 1\nhidden = 16\ndropout = 0.0\nmax_history = 6\nloss = \"softmax\"\nuser_features = {{ market = true, {feature} = true }}\n\
                 training = {{ rounds = 20, round_steps = 40, batch = 32, learning_rate = 0.01, validation_share = 0.0 }}\n"
            );
            let config = text.parse::<toml::Table>().unwrap().try_into().unwrap();
            let model = Trained::<<ESasRec as Model>::Config>::fit(
                &config,
                &FitInput { user_features: users, ..FitInput::of(plays.view()) },
            )
            .unwrap();
            assert_eq!(
                model.parts().config["user_features"],
                serde_json::json!({ "market": false, feature: true })
            );
            let all = (0..N_ITEMS).flat_map(|item| [(item, "free", 1960, 1), (item, "premium", 2000, 3)]);
            let n_right = all.filter(|&(item, plan, birth_year, step)| {
                let mut out = Vec::new();
                let history =
                    Sequence { item: &[item], occurred_at: &[10], known_at: &[10], ..Sequence::default() };
                let query =
                    Query { history, plan: Some(plan), birth_year: Some(birth_year), ..Query::default() };
                model.recommend(&query, 1, &ItemFilter::default(), &mut out).unwrap();
                out[0].item == (item + step) % N_ITEMS
            });
            let n_right = n_right.count();
            assert!(n_right >= 14, "{feature}: {n_right} of 16");
        }
    }

    #[test]
    fn codes_stand_side_by_side() {
        assert_eq!(user_code(None, None, None), 0);
        assert_eq!(user_code(Some("AB"), Some(""), Some(1900)), 2 | 1 << 20);
        assert_eq!(
            [1899, 1904, 1905, 2054, 2055, i32::MIN].map(|y| user_code(None, None, Some(y)) >> 20),
            [0, 1, 2, 31, 0, 0]
        );
        let plan = |name| user_code(None, Some(name), None);
        assert!(plan("free") != plan("premium") && plan("free") % 1024 == 0 && plan("free") >> 20 == 0);
    }

    #[test]
    fn markets_are_two_letters() {
        assert_eq!([market_code("AA"), market_code("zZ"), market_code("")], [1, N_MARKETS as u32 - 1, 0]);
        assert_eq!([market_code("é"), market_code("S3"), market_code("USA")], [0; 3]);
        let plays = OwnedSequences::from_items(3, [vec![0, 1]]);
        let on = UserFeatureSettings { market: true, plan: true, birth_year: true };
        assert!(on.for_data(&FitInput::of(plays.view())).are_off());
    }

    #[test]
    fn gradients_of_the_token_are_differences_and_no_item_has_any() {
        let text = "d = 16\nn_blocks = 1\nhidden = 16\nuser_features = { market = true, plan = true, birth_year = true }";
        let config: <ESasRec as Model>::Config = text.parse::<toml::Table>().unwrap().try_into().unwrap();
        let (network, _) = config.plan().unwrap();
        let mut params = network.layout.init(3);
        let table = network.new_table(N_ITEMS as usize, 4);
        let mut batch = Batch::default();
        for (code, items) in [(0, &[5, 2, 7][..]), (3 | 2 << 10 | 1 << 20, &[1]), (3 | 2 << 10, &[4, 4])] {
            let events = Sequence { item: items, ..Sequence::default() };
            batch.begin(code, events, &[]);
            batch.push(events, &[]);
        }
        let (n, d) = (batch.item.len(), network.config.d);
        assert_eq!(n, 9);
        let draws = Counter::new(1, 1);
        let dy: Vec<f32> = (0..(n * d) as u64).map(|i| draws.normal(i)).collect();
        let mut saved = vec![0.0; network.saved_len(&batch.offsets)];
        let mut scratch = vec![0.0; network.scratch_len(&batch.offsets)];
        let mut value = |params: &[f32], saved: &mut Vec<f32>| -> f64 {
            let pass = Pass { params, packed: &[], offsets: &batch.offsets, noise: None };
            network.forward(&pass, batch.events(0..n), &table, saved, &mut scratch);
            network.hidden(saved, n).iter().zip(&dy).map(|(a, b)| f64::from(a * b)).sum()
        };
        value(&params, &mut saved);
        let (mut grads, mut d_input) = (vec![0.0; params.len()], vec![f32::NAN; n * d]);
        let mut other_scratch = vec![0.0; network.scratch_len(&batch.offsets)];
        let pass = Pass { params: &params, packed: &[], offsets: &batch.offsets, noise: None };
        let events = batch.events(0..n);
        network.backward(&pass, events, &saved, &dy, &mut d_input, &mut other_scratch, &mut grads);
        for (token, d_input) in d_input.chunks_exact(d).enumerate() {
            assert_eq!(d_input.iter().all(|&g| g == 0.0), batch.user[token] != NO_USER, "{token}");
        }
        let mut n_used = 0;
        for group in network.layout.groups().iter().filter(|g| g.name.starts_with("user.")) {
            for i in group.param.range().take(4 * d).step_by(3) {
                let (own, h) = (params[i], 2e-3);
                params[i] = own + h;
                let up = value(&params, &mut saved);
                params[i] = own - h;
                let want = (up - value(&params, &mut saved)) / f64::from(2.0 * h);
                params[i] = own;
                let error = (f64::from(grads[i]) - want).abs();
                assert!(error <= 0.03 * (1.0 + want.abs()), "{}[{i}]: {} {want}", group.name, grads[i]);
                n_used += usize::from(want.abs() > 0.1);
            }
        }
        assert!(n_used > 5, "{n_used} places that matter");
    }
}
