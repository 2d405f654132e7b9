//! Recommendations made elsewhere, read from a file: evaluate a PyTorch or Spark model without us.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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
    /// Opens a file by its name: `.parquet` as Parquet, `.tsv` with tabs, everything else with commas.
    ///
    /// # Errors
    /// [`EvalError::Open`] if it cannot be opened, and as [`read`](Self::read) and
    /// [`read_parquet`](Self::read_parquet).
    pub fn open(path: &Path, data: &Dataset<'_>) -> Result<Self, EvalError> {
        let file = File::open(path).map_err(|source| EvalError::Open { path: path.to_owned(), source })?;
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "parquet" => Self::read_parquet(file, data),
            "tsv" => Self::read(file, b'\t', data),
            _ => Self::read(file, b',', data),
        }
    }

    /// Reads delimited text; `delimiter` is `b','` for CSV and `b'\t'` for TSV. Lines of users or items
    /// that the data does not know are refused.
    ///
    /// # Errors
    /// [`EvalError::Recommendations`] names the first line that cannot be used;
    /// [`EvalError::Data`] if the data has no external ids to match.
    pub fn read(reader: impl Read, delimiter: u8, data: &Dataset<'_>) -> Result<Self, EvalError> {
        let mut lists = Lists::of(data)?;
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(reader);
        let header = reader.headers().map_err(|e| unreadable(&e))?.clone();
        let column = |name: &str| header.iter().position(|h| h.trim() == name).ok_or_else(|| no_column(name));
        let (user_at, item_at, rank_at) = (column("user_id")?, column("item_id")?, column("rank")?);
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(&e))?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |at: usize| record.get(at).unwrap_or_default();
            lists.push(line, field(user_at), field(item_at), field(rank_at).trim())?;
        }
        lists.finish()
    }

    /// Reads Parquet with the same columns; ids may be text or whole numbers. A "line" in a message is
    /// the row, from 1.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_parquet(file: File, data: &Dataset<'_>) -> Result<Self, EvalError> {
        let mut lists = Lists::of(data)?;
        let mut line = 0;
        let broken = |line: u64, what: String| EvalError::Recommendations {
            line,
            what,
            rule: "the file is Parquet with columns `user_id`, `item_id` and `rank`",
        };
        let batches = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|e| broken(1, e.to_string()))?;
        for batch in batches {
            let batch = batch.map_err(|e| broken(line + 1, e.to_string()))?;
            let text = |name: &str| -> Result<ArrayRef, EvalError> {
                let column = batch.column_by_name(name).ok_or_else(|| no_column(name))?;
                cast(column, &DataType::Utf8).map_err(|e| broken(line + 1, format!("column `{name}`: {e}")))
            };
            let (user, item, rank) = (text("user_id")?, text("item_id")?, text("rank")?);
            let (user, item, rank) =
                (user.as_string::<i32>(), item.as_string::<i32>(), rank.as_string::<i32>());
            for ((user, item), rank) in user.iter().zip(item).zip(rank) {
                line += 1;
                lists.push(
                    line,
                    user.unwrap_or_default(),
                    item.unwrap_or_default(),
                    rank.unwrap_or_default(),
                )?;
            }
        }
        lists.finish()
    }

    /// Users with at least one line.
    #[must_use]
    pub fn n_users(&self) -> usize {
        self.lists.iter().filter(|l| !l.is_empty()).count()
    }
}

/// Lists as they are read, matched with the rows of the data.
struct Lists<'a> {
    users: &'a [String],
    items: &'a [String],
    user_rows: HashMap<&'a str, u32>,
    item_rows: HashMap<&'a str, u32>,
    /// `(rank, item row, line)` by user row.
    ranked: Vec<Vec<(u64, u32, u64)>>,
}

impl<'a> Lists<'a> {
    fn of(data: &Dataset<'a>) -> Result<Self, EvalError> {
        let (Some(users), Some(items)) = (data.user_ids, data.item_ids) else {
            return Err(EvalError::Data {
                what: "external ids".into(),
                got: "absent".into(),
                rule: "a file of recommendations is matched by user and item id",
            });
        };
        let rows = |ids: &'a [String]| ids.iter().map(String::as_str).zip(0..).collect();
        Ok(Self {
            users,
            items,
            user_rows: rows(users),
            item_rows: rows(items),
            ranked: vec![Vec::new(); users.len()],
        })
    }

    fn push(&mut self, line: u64, user: &str, item: &str, rank: &str) -> Result<(), EvalError> {
        let fail = |what: String, rule| Err(EvalError::Recommendations { line, what, rule });
        let Some(&user_row) = self.user_rows.get(user) else {
            return fail(format!("user `{user}` is not in the data"), "users have plays");
        };
        let Some(&item_row) = self.item_rows.get(item) else {
            return fail(format!("item `{item}` is not in the data"), "items are those of the catalogue");
        };
        match rank.parse::<u64>() {
            Ok(rank) if rank >= 1 => self.ranked[user_row as usize].push((rank, item_row, line)),
            _ => return fail(format!("rank `{rank}`"), "ranks are whole numbers from 1 up"),
        }
        Ok(())
    }

    fn finish(self) -> Result<RecommendationFile, EvalError> {
        let mut lists = Vec::with_capacity(self.users.len());
        for (user, mut list) in self.ranked.into_iter().enumerate() {
            list.sort_unstable();
            let twice = |line: u64, what: String| {
                Err(EvalError::Recommendations {
                    line,
                    what: format!("user `{}` has {what} twice", self.users[user]),
                    rule: "a list has one item per rank and each item once",
                })
            };
            if let Some(w) = list.windows(2).find(|w| w[0].0 == w[1].0) {
                return twice(w[1].2, format!("rank {}", w[1].0));
            }
            let mut by_item: Vec<(u32, u64)> = list.iter().map(|&(_, item, line)| (item, line)).collect();
            by_item.sort_unstable();
            if let Some(w) = by_item.windows(2).find(|w| w[0].0 == w[1].0) {
                return twice(w[1].1, format!("item `{}`", self.items[w[1].0 as usize]));
            }
            lists.push(list.into_iter().map(|(_, item, _)| item).collect());
        }
        Ok(RecommendationFile { lists })
    }
}

fn no_column(name: &str) -> EvalError {
    EvalError::Recommendations {
        line: 1,
        what: format!("there is no column `{name}`"),
        rule: "the header names `user_id`, `item_id` and `rank`",
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
