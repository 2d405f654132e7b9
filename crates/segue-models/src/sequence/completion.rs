//! A second output: whether the play that comes next will be completed.
//!
//! ```text
//! P(completed | history, item j) = σ((C h + c) · v_j + b)
//! ```
//!
//! `h` is the hidden vector that also tells what comes next and `v_j` the item's vector; both learn from both
//! outputs. Training adds `weight` times the mean binary cross-entropy of the plays that follow a token and
//! whose completion is known, whether they are positives or not: [`Action::Completed`] against
//! [`Action::Skipped`]. Other actions do not say (a play of 30 s may or may not have reached its end).
//! Several outputs on one encoder: Zhao et al., "Recommending What Video to Watch Next", RecSys 2019.

use segue_nn::{Init, Layout, Linear, Param, Pass, row_products, simd};
use segue_types::Action;
use serde::{Deserialize, Serialize};

use crate::FitInput;

/// Whether and how completion is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompletionSettings {
    /// Weight of its loss beside that of what comes next; 0 leaves the output out.
    pub weight: f32,
    /// Whether an item's probability to come next is multiplied with that of its completion: `ln P` is added to
    /// its score. Otherwise scores stay what they are.
    pub in_score: bool,
}

impl CompletionSettings {
    /// Whether it is left out: then the settings of an artifact do not mention it.
    #[must_use]
    pub fn are_off(&self) -> bool {
        self.weight == 0.0
    }

    /// Left out, if the plays have no actions.
    #[must_use]
    pub fn for_data(self, input: &FitInput<'_>) -> Self {
        if self.are_off() || !input.sequences.action.is_empty() {
            return self;
        }
        tracing::info!("the plays have no actions: completion is not learnt");
        Self::default()
    }
}

/// What a play's action says: 1 completed, 0 skipped.
#[must_use]
pub fn label_of(action: u8) -> Option<f32> {
    match Action::from_code(action) {
        Some(Action::Completed) => Some(1.0),
        Some(Action::Skipped) => Some(0.0),
        _ => None,
    }
}

/// The head and where its parameters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionHead {
    /// `C` and `c`.
    map: Linear,
    /// `b`.
    bias: Param,
}

impl CompletionHead {
    /// Adds the groups `completion.…` to the layout.
    pub(super) fn new(layout: &mut Layout, d: usize) -> Self {
        Self {
            map: Linear::new(layout, "completion.map", d, d, true),
            bias: layout.vector("completion.bias", 1, Init::Zeros),
        }
    }

    /// Numbers of scratch of [`forward_backward`](Self::forward_backward) for `n` plays.
    pub(super) fn scratch_len(&self, n: usize) -> usize {
        2 * n * self.map.n_out()
    }

    /// The sum of the losses of `n` plays; fills the gradients `dh` of the hidden vectors `h` and `d_item` of the
    /// items' vectors `item`, all `[n, d]`, and adds to `grads`, each times `scale`. `label` `[n]` is 0 or 1.
    pub(super) fn forward_backward(
        &self,
        params: &[f32],
        h: &[f32],
        item: &[f32],
        label: &[f32],
        scale: f32,
        scratch: &mut [f32],
        dh: &mut [f32],
        d_item: &mut [f32],
        grads: &mut [f32],
    ) -> f64 {
        let d = self.map.n_out();
        let (u, du) = scratch[..2 * h.len()].split_at_mut(h.len());
        self.map.forward(&Pass::of(params), h, u);
        let bias = self.bias.of(params)[0];
        let (mut loss, mut d_bias) = (0.0, 0.0);
        let rows = u.chunks_exact(d).zip(du.chunks_exact_mut(d)).zip(item.chunks_exact(d));
        for (((u, du), item), (d_item, &label)) in rows.zip(d_item.chunks_exact_mut(d).zip(label)) {
            simd::vectorised(
                #[inline(always)]
                || {
                    let logit = simd::dot(u, item) + bias;
                    // ln(1 + eˣ) - label · x: nothing overflows, whatever the logit.
                    loss += f64::from(simd::softplus(logit)) - f64::from(label * logit);
                    let slope = scale * (simd::sigmoid(logit) - label);
                    d_bias += slope;
                    for i in 0..d {
                        du[i] = slope * item[i];
                        d_item[i] = slope * u[i];
                    }
                },
            );
        }
        self.bias.of_mut(grads)[0] += d_bias;
        self.map.backward(params, h, du, dh, false, grads);
        loss
    }

    /// `C h + c` `[d]` of a listener's vector `[d]`.
    #[must_use]
    pub fn vector(&self, params: &[f32], user: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; user.len()];
        self.map.forward(&Pass::of(params), user, &mut out);
        out
    }

    /// Turns `out` `[n]` into `ln P(completed)` of the rows `items` `[n, d]` for a [`vector`](Self::vector).
    pub fn log_probabilities(&self, params: &[f32], vector: &[f32], items: &[f32], out: &mut [f32]) {
        row_products(vector, items, out);
        let bias = self.bias.of(params)[0];
        for x in out {
            *x = -simd::softplus(-(*x + bias));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::{OwnedSequences, Sequence};
    use segue_nn::Counter;

    use super::*;
    use crate::registry::Model;
    use crate::sequence::trained::Trained;
    use crate::sequence::{Architecture, ESasRec, Gru4Rec, Hstu, SasRec};
    use crate::{ItemFilter, Query, Recommender};

    /// The sum of the losses in `f64`.
    fn reference(d: usize, params: &[f64], h: &[f64], item: &[f64], label: &[f32]) -> f64 {
        let (map, rest) = params.split_at(d * d);
        let rows = h.chunks_exact(d).zip(item.chunks_exact(d)).zip(label);
        rows.map(|((h, v), &label)| {
            let u = |o: usize| rest[o] + (0..d).map(|i| map[o * d + i] * h[i]).sum::<f64>();
            let logit = rest[d] + (0..d).map(|o| u(o) * v[o]).sum::<f64>();
            let p = 1.0 / (1.0 + (-logit).exp());
            -if label == 1.0 { p.ln() } else { (1.0 - p).ln() }
        })
        .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_loss_and_its_gradients_are_those_of_the_reference(n in 0_usize..6, d in 1_usize..20, seed in any::<u64>()) {
            let mut layout = Layout::default();
            let head = CompletionHead::new(&mut layout, d);
            let values = |stream: u64, n: usize| -> Vec<f32> {
                let draws = Counter::new(seed, stream);
                (0..n as u64).map(|i| 0.4 * draws.normal(i)).collect()
            };
            let all = [values(1, layout.len()), values(2, n * d), values(3, n * d)];
            let label: Vec<f32> = (0..n).map(|i| f32::from((seed >> i & 1) as u8)).collect();
            let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
            let mut scratch = vec![f32::NAN; head.scratch_len(n)];
            let (mut dh, mut d_item) = (vec![f32::NAN; n * d], vec![f32::NAN; n * d]);
            let mut grads = vec![0.0; layout.len()];
            let scale = 0.7;
            let loss = head.forward_backward(
                &all[0], &all[1], &all[2], &label, scale, &mut scratch, &mut dh, &mut d_item, &mut grads,
            );
            let at = [wide(&all[0]), wide(&all[1]), wide(&all[2])];
            let value = |at: &[Vec<f64>; 3]| reference(d, &at[0], &at[1], &at[2], &label);
            prop_assert!((loss - value(&at)).abs() <= 1e-4 * (1.0 + loss.abs()), "{loss}");
            for (part, got) in [&grads, &dh, &d_item].into_iter().enumerate() {
                for i in (0..got.len()).step_by(got.len().div_ceil(25).max(1)) {
                    let moved = |by: f64| {
                        let mut at = at.clone();
                        at[part][i] += by;
                        value(&at)
                    };
                    let want = f64::from(scale) * (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    prop_assert!((f64::from(got[i]) - want).abs() <= 1e-3 * (1.0 + want.abs()), "{part} {i}: {} {want}", got[i]);
                }
            }
        }
    }

    #[test]
    fn extreme_logits_have_a_finite_loss_and_slope() {
        let mut layout = Layout::default();
        let head = CompletionHead::new(&mut layout, 1);
        for (logit, label) in [(1e4_f32, 0.0_f32), (-1e4, 1.0), (1e4, 1.0), (-1e4, 0.0)] {
            let (mut dh, mut d_item, mut grads) = ([0.0], [0.0], [0.0; 3]);
            let params = [logit, 0.0, 0.0];
            let loss = head.forward_backward(
                &params,
                &[1.0],
                &[1.0],
                &[label],
                1.0,
                &mut [0.0; 2],
                &mut dh,
                &mut d_item,
                &mut grads,
            );
            let wrong = (logit > 0.0) != (label == 1.0);
            let (want, slope) = if wrong { (1e4, 1.0) } else { (0.0, 0.0) };
            assert!(
                (loss - want).abs() < 1e-30 && (grads[2].abs() - slope).abs() < 1e-30,
                "{loss} {grads:?}"
            );
        }
    }

    const N_ITEMS: u32 = 12;

    /// Whatever comes next comes by chance. Listeners whose first play is item 0 complete even items and skip
    /// odd ones; after item 1 it is the other way around.
    fn moods() -> OwnedSequences {
        let mut out = OwnedSequences { n_items: N_ITEMS, ..OwnedSequences::default() };
        for user in 0..200_u32 {
            let draws = Counter::new(5, u64::from(user));
            let item: Vec<u32> = (0..7)
                .map(|i| if i == 0 { user % 2 } else { 2 + draws.bits(i) as u32 % (N_ITEMS - 2) })
                .collect();
            let action = |i: &u32| if i % 2 == user % 2 { Action::Completed } else { Action::Skipped };
            let action: Vec<u8> = item.iter().map(|i| action(i).code()).collect();
            out.push(Sequence { item: &item, action: &action, ..Sequence::default() });
        }
        out
    }

    fn fit<A: Architecture>(settings: &str, completion: &str) -> Trained<A> {
        let common = "d = 16\nn_blocks = 1\ndropout = 0.0\nmax_history = 8\ntargets = \"all\"\nactions = false\n\
                      training = { rounds = 12, round_steps = 40, batch = 32, learning_rate = 0.01, patience = 99 }\n";
        let text = format!("{common}{settings}\n{completion}");
        let config = text.parse::<toml::Table>().unwrap().try_into().unwrap();
        Trained::<A>::fit(&config, &FitInput::of(moods().view())).unwrap()
    }

    fn check<A: Architecture>(settings: &str) {
        let told: Trained<A> = fit(settings, "completion = { weight = 0.5 }");
        let asked: Trained<A> = fit(settings, "completion = { weight = 0.5, in_score = true }");
        assert_eq!(told.parts().tensors, asked.parts().tensors, "{}: `in_score` changes no weight", A::KIND);
        let items: Vec<u32> = (2..N_ITEMS).collect();
        let mut right = 0;
        for mood in 0..2 {
            let (history, query) = ([mood], |history| Query::of_items(history));
            let p = told.model().completion(&query(&history), &items).unwrap();
            right += items.iter().zip(&p).filter(|&(i, &p)| (i % 2 == mood) == (p > 0.5)).count();
            let scores = |model: &Trained<A>| {
                let mut out = Vec::new();
                model.recommend(&query(&history), 99, &ItemFilter::default(), &mut out).unwrap();
                out
            };
            let (plain, with) = (scores(&told), scores(&asked));
            assert_eq!(plain.len(), N_ITEMS as usize);
            for (item, p) in items.iter().zip(&p) {
                let of = |list: &[crate::Scored]| list.iter().find(|s| s.item == *item).unwrap().score;
                assert!((of(&with) - of(&plain) - p.ln()).abs() < 1e-4, "{}: {item}", A::KIND);
            }
            let best = with.iter().filter(|s| s.item >= 2).take(3);
            assert!(best.clone().all(|s| s.item % 2 == mood), "{}: {best:?}", A::KIND);
        }
        assert!(right >= 18, "{}: {right} of 20 right", A::KIND);
        assert!(told.model().completion(&Query::of_items(&[]), &items).is_none());
        let parts = asked.parts();
        let loaded: Trained<A> =
            Model::load(serde_json::from_value(parts.config.clone()).unwrap(), asked.parts()).unwrap();
        assert_eq!(loaded, asked);
        let without: Trained<A> = fit(settings, "");
        assert!(without.parts().config.get("completion").is_none());
        assert!(without.parts().tensors.names().all(|name| !name.starts_with("completion")));
        assert!(without.model().completion(&Query::of_items(&[0]), &items).is_none());
    }

    #[test]
    fn what_will_be_completed_is_told_and_ranks_first_on_demand() {
        check::<<SasRec as Model>::Config>("hidden = 16");
        check::<<ESasRec as Model>::Config>("hidden = 16\nnegatives = { count = 16 }");
        check::<<Hstu as Model>::Config>("negatives = { count = 16 }");
        check::<<Gru4Rec as Model>::Config>("negatives = { count = 16 }");
    }

    #[test]
    fn plays_without_actions_leave_it_out_and_a_wrong_setting_is_named() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1]]);
        let on = CompletionSettings { weight: 1.0, in_score: true };
        assert!(on.for_data(&FitInput::of(plays.view())).are_off());
        assert_eq!(on.for_data(&FitInput::of(moods().view())), on);
        for wrong in ["weight = -1.0", "in_score = true"] {
            let text = format!("completion = {{ {wrong} }}");
            let config: <SasRec as Model>::Config = text.parse::<toml::Table>().unwrap().try_into().unwrap();
            let message = config.plan().map(drop).unwrap_err().to_string();
            assert!(message.contains("completion."), "{message}");
        }
        assert_eq!(Action::ALL.iter().filter(|a| label_of(a.code()).is_some()).count(), 2);
    }
}
