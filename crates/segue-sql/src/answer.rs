//! The answer of a query: text for a table, JSON for machines.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use serde_json::Value;

/// Rows of a finished query.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Column names.
    pub columns: Vec<String>,
    /// `[n_rows][n_columns]` cells as text; a null is empty.
    pub text: Vec<Vec<String>>,
    /// The same rows as JSON objects; a null is left out.
    pub json: Vec<Value>,
    /// Whether the query had more rows than were returned.
    pub is_cut: bool,
}

impl Answer {
    pub(crate) fn from_batches(
        columns: Vec<String>,
        batches: &[RecordBatch],
        max_rows: usize,
    ) -> Result<Self, DataFusionError> {
        let n_all: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut left = max_rows.min(n_all);
        let (mut text, mut json) = (Vec::with_capacity(left), Vec::with_capacity(left));
        for batch in batches {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            text_rows(&batch, &mut text)?;
            json_rows(&batch, &mut json)?;
        }
        Ok(Self { columns, text, json, is_cut: n_all > max_rows })
    }
}

fn text_rows(batch: &RecordBatch, out: &mut Vec<Vec<String>>) -> Result<(), ArrowError> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        out.push(columns.iter().map(|c| c.value(row).to_string()).collect());
    }
    Ok(())
}

fn json_rows(batch: &RecordBatch, out: &mut Vec<Value>) -> Result<(), DataFusionError> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
    writer.write(batch)?;
    writer.finish()?;
    for line in bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
        out.push(serde_json::from_slice(line).map_err(|e| DataFusionError::External(Box::new(e)))?);
    }
    Ok(())
}
