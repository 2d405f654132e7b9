//! Side features of events as summed embeddings: what is known besides item, place and action.
//!
//! `surface` is where a play was started, `completion` which share of the item was heard, both as in
//! [`PlayContext`]. Each event asks what follows it at a moment: when the next event occurred, or when the model is
//! asked. `hour` is the hour of day (UTC) of that moment, `gap` the time from the event to it, bucketed twice per
//! doubling as in [`segue_nn::relative_bias`]. None tells more than a request does.

use segue_data::PlayContext;
use segue_nn::relative_bias::{N_GAPS, gap_bucket};
use segue_nn::{Init, Layout, Param, simd};
use serde::{Deserialize, Serialize};

use super::network::Events;
use crate::FitInput;

/// Which side features of events are inputs, where the data has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventFeatureSettings {
    /// Hour of day of the request after the event; needs dates.
    pub hour: bool,
    /// Time from the event to that request; needs dates.
    pub gap: bool,
    /// Where the play was started.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub surface: bool,
    /// Which share of the item was heard.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub completion: bool,
}

impl EventFeatureSettings {
    /// Whether none is: then the settings of an artifact do not mention them.
    #[must_use]
    pub fn are_off(&self) -> bool {
        *self == Self::default()
    }

    /// Those that the data has.
    #[must_use]
    pub fn for_data(self, input: &FitInput<'_>) -> Self {
        let is_dated = input.sequences.is_dated();
        let any = |is_asked: bool, tells: fn(PlayContext) -> usize| {
            is_asked && input.sequences.context.iter().any(|&byte| tells(PlayContext::from_byte(byte)) != 0)
        };
        let surface = any(self.surface, PlayContext::surface);
        let completion = any(self.completion, PlayContext::completion);
        if (self.hour || self.gap) && !is_dated {
            tracing::info!("the plays have no dates: no hour and no gap of events");
        }
        if self.surface && !surface {
            tracing::info!("no play tells where it was started: surface is no input");
        }
        if self.completion && !completion {
            tracing::info!("no play tells which share of the item was heard: completion is no input");
        }
        Self { hour: self.hour && is_dated, gap: self.gap && is_dated, surface, completion }
    }
}

/// Where the vectors of the features stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventTables {
    /// `[24, d]`.
    hour: Option<Param>,
    /// `[N_GAPS, d]`.
    gap: Option<Param>,
    /// `[PlayContext::N_SURFACES, d]`.
    surface: Option<Param>,
    /// `[PlayContext::N_COMPLETIONS, d]`.
    heard: Option<Param>,
}

impl EventTables {
    /// Adds the groups `hour`, `gap`, `surface` and `heard` to the layout, if they are asked for.
    pub(super) fn new(layout: &mut Layout, settings: EventFeatureSettings, d: usize, init: Init) -> Self {
        let mut table = |is_on: bool, name, rows| is_on.then(|| layout.matrix(name, rows, d, init));
        Self {
            hour: table(settings.hour, "hour", 24),
            gap: table(settings.gap, "gap", N_GAPS),
            surface: table(settings.surface, "surface", PlayContext::N_SURFACES),
            heard: table(settings.completion, "heard", PlayContext::N_COMPLETIONS),
        }
    }

    /// Adds the vectors of each token's features to `x` `[n_tokens, d]`.
    pub(super) fn forward(&self, params: &[f32], events: Events<'_>, x: &mut [f32]) {
        self.each(events, |param, row, token| {
            let d = param.cols;
            simd::add(&param.of(params)[row * d..(row + 1) * d], &mut x[token * d..(token + 1) * d]);
        });
    }

    /// Adds the gradients `dx` `[n_tokens, d]` to those of the vectors.
    pub(super) fn backward(&self, events: Events<'_>, dx: &[f32], grads: &mut [f32]) {
        self.each(events, |param, row, token| {
            let d = param.cols;
            simd::add(&dx[token * d..(token + 1) * d], &mut param.of_mut(grads)[row * d..(row + 1) * d]);
        });
    }

    /// Calls `f` with table, row and token, tables outermost.
    fn each(&self, events: Events<'_>, mut f: impl FnMut(Param, usize, usize)) {
        if let Some(times) = events.times {
            let moments = || times.occurred_at.iter().zip(times.request_at).enumerate();
            if let Some(hour) = self.hour {
                moments().for_each(|(token, (_, &asked))| f(hour, asked as usize / 3600 % 24, token));
            }
            if let Some(gap) = self.gap {
                moments()
                    .for_each(|(token, (&at, &asked))| f(gap, gap_bucket(asked.saturating_sub(at)), token));
            }
        }
        let contexts = || (0..events.item.len()).map(|token| (token, events.context_of(token)));
        if let Some(surface) = self.surface {
            contexts().for_each(|(token, context)| f(surface, context.surface(), token));
        }
        if let Some(heard) = self.heard {
            contexts().for_each(|(token, context)| f(heard, context.completion(), token));
        }
    }
}

#[cfg(test)]
mod tests {
    use segue_data::{OwnedSequences, Sequence};
    use segue_nn::{Counter, Pass};
    use segue_types::{DAY_MS, HOUR_MS, Surface, TimestampMs};

    use super::*;
    use crate::registry::Model;
    use crate::sequence::windows::Batch;
    use crate::sequence::{Architecture, ESasRec, Network};
    use crate::{ItemFilter, Query, Recommender};

    const N_ITEMS: u32 = 8;

    fn config(settings: &str) -> <ESasRec as Model>::Config {
        let common = "d = 16\nn_blocks = 1\nhidden = 16\ndropout = 0.0\nmax_history = 8\nloss = \"softmax\"\n\
                      training = { rounds = 20, round_steps = 40, batch = 32, learning_rate = 0.01 }\n";
        format!("{common}{settings}").parse::<toml::Table>().unwrap().try_into().unwrap()
    }

    /// At 8 o'clock the next item follows, at 20 o'clock the one three further.
    fn mornings_and_evenings() -> OwnedSequences {
        let mut out = OwnedSequences { n_items: N_ITEMS, ..OwnedSequences::default() };
        for user in 0..120_u32 {
            let (mut item, mut at) = (vec![user % N_ITEMS], vec![8 * HOUR_MS]);
            for turn in 0..7_u32 {
                let is_morning = (user * 7 + turn * turn * 3 + turn) % 5 < 3;
                item.push((item[turn as usize] + if is_morning { 1 } else { 3 }) % N_ITEMS);
                at.push(i64::from(turn + 1) * DAY_MS + if is_morning { 8 } else { 20 } * HOUR_MS);
            }
            out.push(Sequence { item: &item, occurred_at: &at, known_at: &at, ..Sequence::default() });
        }
        out
    }

    /// Of all first items and both hours, how often the right item comes first.
    fn right(model: &ESasRec) -> usize {
        let ask = |item: u32, now: i64| {
            let mut out = Vec::new();
            let at = &[8 * HOUR_MS];
            let history = Sequence { item: &[item], occurred_at: at, known_at: at, ..Sequence::default() };
            let query = Query { history, now: Some(TimestampMs(now)), ..Query::default() };
            model.recommend(&query, 1, &ItemFilter::default(), &mut out).unwrap();
            out[0].item
        };
        (0..N_ITEMS)
            .flat_map(|item| [(item, DAY_MS + 8 * HOUR_MS, 1), (item, DAY_MS + 20 * HOUR_MS, 3)])
            .filter(|&(item, now, step)| ask(item, now) == (item + step) % N_ITEMS)
            .count()
    }

    #[test]
    fn the_hour_of_the_request_decides_what_comes_next_if_it_is_an_input() {
        let plays = mornings_and_evenings();
        let fit = |settings: &str| {
            let model = ESasRec::fit(&config(settings), &FitInput::of(plays.view())).unwrap();
            (right(&model), model.parts().config)
        };
        let (with, settings) = fit("event_features = { hour = true }");
        let (without, plain) = fit("");
        assert!(with >= 14, "{with} of 16 with the hour");
        assert!(without <= 9, "{without} of 16 without it, where half is all there is");
        assert_eq!(settings["event_features"]["hour"], true);
        assert!(plain.get("event_features").is_none());
    }

    /// After a play from the radio, or one heard to its end if `by_share`, the next item follows; after others the
    /// one three further. The other of the two is chance.
    fn walks(by_share: bool) -> OwnedSequences {
        let mut out = OwnedSequences { n_items: N_ITEMS, ..OwnedSequences::default() };
        for user in 0..120_u32 {
            let (mut item, mut context) = (vec![user % N_ITEMS], vec![]);
            for turn in 0..8_u32 {
                let is_near = (user * 7 + turn * turn * 3 + turn) % 5 < 3;
                let is_other = (user + turn * 5) % 3 == 0;
                context.push(if by_share { of(is_other, is_near) } else { of(is_near, is_other) });
                item.push((item[turn as usize] + if is_near { 1 } else { 3 }) % N_ITEMS);
            }
            out.push(Sequence { item: &item[..8], context: &context, ..Sequence::default() });
        }
        out
    }

    fn of(is_radio: bool, is_complete: bool) -> u8 {
        let surface = if is_radio { Surface::Radio } else { Surface::Search };
        PlayContext::of(Some(surface), Some(if is_complete { 95 } else { 20 }), Some(100)).byte()
    }

    #[test]
    fn surface_and_share_heard_decide_what_comes_next_if_they_are_inputs() {
        for (by_share, settings) in [(false, "surface = true"), (true, "completion = true")] {
            let plays = walks(by_share);
            let right = |settings: &str| {
                let model = ESasRec::fit(&config(settings), &FitInput::of(plays.view())).unwrap();
                let ask = |item: u32, context: u8| {
                    let mut out = Vec::new();
                    let history = Sequence { item: &[item], context: &[context], ..Sequence::default() };
                    let query = Query { history, ..Query::default() };
                    model.recommend(&query, 1, &ItemFilter::default(), &mut out).unwrap();
                    out[0].item
                };
                let both =
                    (0..N_ITEMS).flat_map(|item| [(item, of(true, true), 1), (item, of(false, false), 3)]);
                both.filter(|&(item, context, step)| ask(item, context) == (item + step) % N_ITEMS).count()
            };
            let (with, without) = (right(&format!("event_features = {{ {settings} }}")), right(""));
            assert!(with >= 14, "{settings}: {with} of 16 with it");
            assert!(without <= 9, "{settings}: {without} of 16 without it, where half is all there is");
        }
    }

    #[test]
    fn features_that_the_plays_lack_are_switched_off() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1]]);
        let dated = EventFeatureSettings { hour: true, gap: true, ..EventFeatureSettings::default() };
        let all = EventFeatureSettings { surface: true, completion: true, ..dated };
        assert!(all.for_data(&FitInput::of(plays.view())).are_off());
        assert_eq!(all.for_data(&FitInput::of(mornings_and_evenings().view())), dated);
        let context = EventFeatureSettings { hour: false, gap: false, ..all };
        assert_eq!(all.for_data(&FitInput::of(walks(false).view())), context);
    }

    #[test]
    fn gradients_of_features_are_differences() {
        let (network, _): (Network, _) =
            config("event_features = { hour = true, gap = true, surface = true, completion = true }")
                .plan()
                .unwrap();
        let mut params = network.layout.init(3);
        let table = network.new_table(N_ITEMS as usize, 4);
        let mut batch = Batch::default();
        let at = [0, 1000, 90_000_000, 90_100_000, 200_000_000];
        for n in [0, 3, 1] {
            let context = &[0x11, 0x23, 0x70][..n];
            batch.push(Sequence { item: &[5, 2, 7][..n], context, ..Sequence::default() }, &at[..=n]);
        }
        let (n, d) = (batch.item.len(), network.config.d);
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
        let (mut grads, mut d_input) = (vec![0.0; params.len()], vec![0.0; n * d]);
        let mut other_scratch = vec![0.0; network.scratch_len(&batch.offsets)];
        let pass = Pass { params: &params, packed: &[], offsets: &batch.offsets, noise: None };
        let events = batch.events(0..n);
        network.backward(&pass, events, &saved, &dy, &mut d_input, &mut other_scratch, &mut grads);
        let mut n_used = 0;
        for group in network
            .layout
            .groups()
            .iter()
            .filter(|g| ["hour", "gap", "surface", "heard"].contains(&&g.name[..]))
        {
            for i in group.param.range().step_by(5) {
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
