//! What a ranker learns from: columns of features, labels per head, requests and times.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// What one training row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedOn {
    /// One shown item joined with what came of it: a head is a probability given *shown*.
    Impressions,
    /// One play: a head is a probability given *played*, which says nothing of items never begun.
    Plays,
}

/// The labels of one head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLabels<'a> {
    /// Name of the head, such as `stream`.
    pub head: &'a str,
    /// `[n_rows]`; `None` where the row says nothing about this head.
    pub labels: &'a [Option<bool>],
    /// Why labels are missing, if the maker of the rows knows: `the plays have no durations`.
    pub missing_because: Option<&'a str>,
}

/// Training rows of a ranker, as columns.
///
/// # Shapes and units
/// - `columns`: `[names.len()][n_rows]`, finite or NaN for missing
/// - `request`: `[n_rows]`, the request a row belongs to; rows of one request share their time
/// - `time_ms`: `[n_rows]`, UTC milliseconds of the request; `None` for undated data
#[derive(Debug, Clone, Copy)]
pub struct TrainingRows<'a> {
    /// Feature names, one per column.
    pub names: &'a [String],
    /// Feature values, column by column.
    pub columns: &'a [&'a [f32]],
    /// Request key per row.
    pub request: &'a [u64],
    /// Time per row.
    pub time_ms: Option<&'a [i64]>,
    /// Labels of each head that is asked for.
    pub heads: &'a [HeadLabels<'a>],
    /// What a row is.
    pub trained_on: TrainedOn,
}

impl TrainingRows<'_> {
    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.request.len()
    }

    /// Checks that all lengths agree, names are unique and values finite or NaN.
    ///
    /// # Errors
    /// [`ModelError::Shape`] naming the column or head whose length differs; [`ModelError::Value`]
    /// naming the first infinite value; [`ModelError::Config`] for a name given twice.
    pub fn check(&self) -> Result<(), ModelError> {
        let length = |what: String, expected: usize, got: usize| {
            if expected == got { Ok(()) } else { Err(ModelError::Shape { what, expected, got }) }
        };
        length("columns of the training rows".into(), self.names.len(), self.columns.len())?;
        for (f, (name, column)) in self.names.iter().zip(self.columns).enumerate() {
            length(format!("values of feature `{name}`"), self.n_rows(), column.len())?;
            if self.names[..f].contains(name) {
                return Err(ModelError::Config {
                    model: "trees",
                    setting: "names",
                    value: name.clone(),
                    rule: "each feature has one column; rename or drop the second",
                });
            }
            if let Some(row) = column.iter().position(|v| v.is_infinite()) {
                return Err(ModelError::Value {
                    what: format!("feature `{name}`"),
                    row,
                    value: column[row].to_string(),
                    rule: "a feature is finite, or NaN for missing",
                });
            }
        }
        if let Some(time_ms) = self.time_ms {
            length("times of the training rows".into(), self.n_rows(), time_ms.len())?;
        }
        for head in self.heads {
            length(format!("labels of head `{}`", head.head), self.n_rows(), head.labels.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(columns: &[&[f32]], names: &[&str], labels: &[Option<bool>]) -> String {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        TrainingRows {
            names: &names,
            columns,
            request: &[1, 2],
            time_ms: None,
            heads: &[HeadLabels { head: "stream", labels, missing_because: None }],
            trained_on: TrainedOn::Plays,
        }
        .check()
        .expect_err("these rows are malformed")
        .to_string()
    }

    #[test]
    fn malformed_rows_are_refused_with_the_name_of_what_is_wrong() {
        let two = [Some(true), None];
        assert!(message(&[&[1.0]], &["a"], &two).contains("feature `a`"));
        assert!(message(&[&[1.0, f32::INFINITY]], &["a"], &two).contains("row 1"));
        assert!(message(&[&[1.0, 2.0], &[1.0, 2.0]], &["a", "a"], &two).contains("rename"));
        assert!(message(&[&[1.0, 2.0]], &["a"], &two[..1]).contains("head `stream`"));
    }
}
