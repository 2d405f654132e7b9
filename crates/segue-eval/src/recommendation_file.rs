//! Recommendations made elsewhere, read from a file: evaluate a PyTorch or Spark model without us.

use std::collections::HashMap;
use std::io::Read;

use segue_models::{ItemFilter, ModelError, Query, Scored};

use crate::EvalError;
use crate::data::Dataset;
use crate::model::{FitAndRecommend, Fitted, Train};

/// A model that says what a file says.
///
/// The file has columns `user_id,item_id,rank` (header required, any order, other columns ignored),
/// ranks from 1 up, each user's ranks and items unique. Whoever wrote the file fitted the model:
/// that it saw nothing but the train part is theirs to ensure. Items that the protocol does not
/// admit (seen, or outside the candidates) are left out and the rest move up, so a file should hold
/// some more than `k` per user. Users without a line get an empty list and are counted.
#[derive(Debug, Clone)]
pub struct RecommendationFile {
    /// Item rows by user row, best first.
    lists: Vec<Vec<u32>>,
}

impl RecommendationFile {
    /// Reads the file; `delimiter` is `b','` for CSV and `b'\t'` for TSV. Lines of users or items that
    /// the data does not know are refused.
    ///
    /// # Errors
    /// [`EvalError::Recommendations`] names the first line that cannot be used;
    /// [`EvalError::Data`] if the data has no external ids to match.
    pub fn read(reader: impl Read, delimiter: u8, data: &Dataset<'_>) -> Result<Self, EvalError> {
        let (Some(users), Some(items)) = (data.user_ids, data.item_ids) else {
            return Err(EvalError::Data {
                what: "external ids".into(),
                got: "absent".into(),
                rule: "a file of recommendations is matched by user and item id",
            });
        };
        let rows = |ids: &[String]| -> HashMap<String, u32> {
            ids.iter().enumerate().map(|(row, id)| (id.clone(), row as u32)).collect()
        };
        let (user_rows, item_rows) = (rows(users), rows(items));
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(reader);
        let header = reader.headers().map_err(|e| unreadable(&e))?.clone();
        let column = |name: &str| {
            header.iter().position(|h| h.trim() == name).ok_or_else(|| EvalError::Recommendations {
                line: 1,
                what: format!("there is no column `{name}`"),
                rule: "the header names `user_id`, `item_id` and `rank`",
            })
        };
        let (user_at, item_at, rank_at) = (column("user_id")?, column("item_id")?, column("rank")?);

        let mut ranked: Vec<Vec<(u64, u32, u64)>> = vec![Vec::new(); users.len()];
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(&e))?;
            let line = record.position().map_or(0, csv::Position::line);
            let fail = |what: String, rule| Err(EvalError::Recommendations { line, what, rule });
            let field = |at: usize| record.get(at).unwrap_or_default();
            let Some(&user) = user_rows.get(field(user_at)) else {
                return fail(format!("user `{}` is not in the data", field(user_at)), "users have plays");
            };
            let Some(&item) = item_rows.get(field(item_at)) else {
                return fail(
                    format!("item `{}` is not in the data", field(item_at)),
                    "items are those of the catalogue",
                );
            };
            match field(rank_at).trim().parse::<u64>() {
                Ok(rank) if rank >= 1 => ranked[user as usize].push((rank, item, line)),
                _ => return fail(format!("rank `{}`", field(rank_at)), "ranks are whole numbers from 1 up"),
            }
        }
        let mut lists = Vec::with_capacity(users.len());
        for (user, mut list) in ranked.into_iter().enumerate() {
            list.sort_unstable();
            let twice = |line: u64, what: String| {
                Err(EvalError::Recommendations {
                    line,
                    what: format!("user `{}` has {what} twice", users[user]),
                    rule: "a list has one item per rank and each item once",
                })
            };
            if let Some(w) = list.windows(2).find(|w| w[0].0 == w[1].0) {
                return twice(w[1].2, format!("rank {}", w[1].0));
            }
            let mut by_item: Vec<(u32, u64)> = list.iter().map(|&(_, item, line)| (item, line)).collect();
            by_item.sort_unstable();
            if let Some(w) = by_item.windows(2).find(|w| w[0].0 == w[1].0) {
                return twice(w[1].1, format!("item `{}`", items[w[1].0 as usize]));
            }
            lists.push(list.into_iter().map(|(_, item, _)| item).collect());
        }
        Ok(Self { lists })
    }

    /// Users with at least one line.
    #[must_use]
    pub fn n_users(&self) -> usize {
        self.lists.iter().filter(|l| !l.is_empty()).count()
    }
}

fn unreadable(error: &csv::Error) -> EvalError {
    EvalError::Recommendations {
        line: error.position().map_or(1, csv::Position::line),
        what: error.to_string(),
        rule: "the file is delimited text in UTF-8 with a header",
    }
}

impl FitAndRecommend for RecommendationFile {
    fn fit<'a>(&'a self, _train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FromFile(&self.lists)))
    }
}

struct FromFile<'a>(&'a [Vec<u32>]);

impl Fitted for FromFile<'_> {
    fn recommend(
        &self,
        user: usize,
        _query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        let list = self.0.get(user).map_or(&[][..], Vec::as_slice);
        let admitted = list.iter().copied().filter(|&item| filter.admits(item)).take(k);
        // Only the order is known; the score is minus the place in the list.
        out.extend(admitted.enumerate().map(|(place, item)| Scored { item, score: -(place as f32) }));
        Ok(())
    }

    fn can_extend(&self) -> bool {
        false
    }
}
