//! Examples: what a few listeners play, and what each model would show them.
//!
//! Numbers say which model is better; a look at a few lists says whether any of them makes sense.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use segue_eval::Answer;
use segue_stats::random::mix;
use serde::Serialize;

use super::source::Source;

/// Items of a list that are shown.
const SHOWN: usize = 10;

/// One listener with the lists of all models.
#[derive(Debug, Serialize)]
pub(crate) struct Example {
    /// External id of the listener.
    pub(crate) user: String,
    /// Different items in the history.
    pub(crate) n_items: usize,
    /// The most played of them; of equal ones the newest first.
    pub(crate) history: Vec<Played>,
    /// One per model, in the order they were asked.
    pub(crate) lists: Vec<ExampleList>,
}

/// An item of the history.
#[derive(Debug, Serialize)]
pub(crate) struct Played {
    /// External id.
    pub(crate) item: String,
    /// Title, or the id where there is none.
    pub(crate) title: String,
    /// Plays in the train part.
    pub(crate) n_plays: u64,
}

/// What one model shows.
#[derive(Debug, Serialize)]
pub(crate) struct ExampleList {
    /// Name of the model.
    pub(crate) model: String,
    /// Best first.
    pub(crate) items: Vec<Shown>,
}

/// An item of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// External id.
    pub(crate) item: String,
    /// Title, or the id where there is none.
    pub(crate) title: String,
    /// Whether the test part has it.
    pub(crate) is_hit: bool,
}

impl Shown {
    /// Title, with a mark if the test part has it.
    pub(super) fn text(&self) -> String {
        if self.is_hit { format!("{} ✓", self.title) } else { self.title.clone() }
    }
}

/// Collects the answers for a few of the listeners who are asked, drawn by seed.
pub(super) struct Collector<'a> {
    source: &'a Source,
    n: usize,
    seed: u64,
    /// By the listener's draw and row: the `n` least so far.
    found: Mutex<BTreeMap<(u64, usize), Example>>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(source: &'a Source, n: usize, seed: u64) -> Self {
        Self { source, n, seed, found: Mutex::default() }
    }

    pub(super) fn take(&self, answer: &Answer<'_>) {
        if self.n == 0 {
            return;
        }
        let draw = (mix(mix(self.seed) ^ answer.user as u64), answer.user);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() == self.n && found.last_key_value().is_some_and(|last| draw > *last.0) {
            return;
        }
        let example = found.entry(draw).or_insert_with(|| self.listener(answer));
        // Of several seeds the first is shown.
        if example.lists.iter().all(|list| list.model != answer.model) {
            let items = answer.list.iter().take(SHOWN).map(|scored| Shown {
                item: self.source.item_id(scored.item),
                title: self.source.item_title(scored.item),
                is_hit: answer.targets.binary_search(&scored.item).is_ok(),
            });
            example.lists.push(ExampleList { model: answer.model.to_owned(), items: items.collect() });
        }
        if found.len() > self.n {
            found.pop_last();
        }
    }

    /// Who was found, in the order of the draws.
    pub(super) fn into_examples(self) -> Vec<Example> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn listener(&self, answer: &Answer<'_>) -> Example {
        // Of each item: its plays, and the place of the newest of them.
        let mut plays: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        for (at, &item) in answer.history.item.iter().enumerate() {
            let (n, newest) = plays.entry(item).or_default();
            (*n, *newest) = (*n + 1, at);
        }
        for (&item, (n, _)) in &mut plays {
            *n = self.source.profile_plays(answer.user, item).unwrap_or(*n);
        }
        let mut order: Vec<(u32, (u64, usize))> = plays.into_iter().collect();
        order.sort_by_key(|&(_, plays)| std::cmp::Reverse(plays));
        let history = order.iter().take(SHOWN).map(|&(item, (n_plays, _))| Played {
            item: self.source.item_id(item),
            title: self.source.item_title(item),
            n_plays,
        });
        Example {
            user: self.source.user_id(answer.user),
            n_items: order.len(),
            history: history.collect(),
            lists: Vec::new(),
        }
    }
}
