//! Rows of a Parquet or CSV file, a batch at a time: some columns as text, some as numbers.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::bad;
use crate::EvalError;

/// One row: the columns asked for, in the order they were asked for.
pub(super) struct Row<'a> {
    pub(super) texts: &'a [&'a str],
    pub(super) numbers: &'a [f64],
}

type Visitor<'a> = dyn FnMut(&Row<'_>) -> Result<(), EvalError> + 'a;

/// Shows every row to `visitor`; a missing number reads as NaN, which estimators refuse by name.
pub(super) fn visit(
    path: &Path,
    texts: &[&str],
    numbers: &[&str],
    visitor: &mut Visitor<'_>,
) -> Result<(), EvalError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("parquet") => visit_parquet(path, texts, numbers, visitor),
        Some("csv") => visit_csv(path, texts, numbers, visitor),
        _ => bad(path.display().to_string(), "of an unknown kind", "logs are `.parquet` or `.csv` files"),
    }
}

/// Whether a CSV file has a column.
pub(super) fn has_column(path: &Path, name: &str) -> Result<bool, EvalError> {
    let mut reader = csv::Reader::from_path(path).or_else(|e| unreadable(path, &e))?;
    Ok(reader.headers().or_else(|e| unreadable(path, &e))?.iter().any(|h| h.trim() == name))
}

fn unreadable<T>(path: &Path, error: &dyn std::fmt::Display) -> Result<T, EvalError> {
    bad(path.display().to_string(), format!("not readable: {error}"), "it has to be a whole file of its kind")
}

fn absent<T>(path: &Path, name: &str) -> Result<T, EvalError> {
    bad(
        format!("column `{name}` of {}", path.display()),
        "absent",
        "every column that is named has to be there",
    )
}

fn visit_csv(
    path: &Path,
    texts: &[&str],
    numbers: &[&str],
    visitor: &mut Visitor<'_>,
) -> Result<(), EvalError> {
    let mut reader = csv::ReaderBuilder::new()
        .buffer_capacity(1 << 20)
        .from_path(path)
        .or_else(|e| unreadable(path, &e))?;
    let headers = reader.headers().or_else(|e| unreadable(path, &e))?.clone();
    let find = |name: &&str| match headers.iter().position(|h| h.trim() == *name) {
        Some(at) => Ok(at),
        None => absent(path, name),
    };
    let text_at = texts.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let number_at = numbers.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut record = csv::StringRecord::new();
    let mut values = vec![0.0; numbers.len()];
    let mut line = 1_u64;
    while reader.read_record(&mut record).or_else(|e| unreadable(path, &e))? {
        line += 1;
        for (value, (&at, name)) in values.iter_mut().zip(number_at.iter().zip(numbers)) {
            let field = record[at].trim();
            *value = match field.parse() {
                Ok(number) => number,
                Err(_) if field.is_empty() => f64::NAN,
                Err(_) => {
                    return bad(
                        format!("`{name}` in row {line} of {}", path.display()),
                        format!("`{field}`"),
                        "it has to be a number",
                    );
                }
            };
        }
        let texts: Vec<&str> = text_at.iter().map(|&at| &record[at]).collect();
        visitor(&Row { texts: &texts, numbers: &values })?;
    }
    Ok(())
}

fn visit_parquet(
    path: &Path,
    texts: &[&str],
    numbers: &[&str],
    visitor: &mut Visitor<'_>,
) -> Result<(), EvalError> {
    let file = File::open(path).or_else(|e| unreadable(path, &e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).or_else(|e| unreadable(path, &e))?;
    let schema = builder.parquet_schema();
    let root = |name: &&str| schema.root_schema().get_fields().iter().position(|field| field.name() == *name);
    let mut roots = Vec::new();
    for name in texts.iter().chain(numbers) {
        match root(name) {
            Some(at) => roots.push(at),
            None => return absent(path, name),
        }
    }
    let mask = ProjectionMask::roots(schema, roots);
    let batches =
        builder.with_projection(mask).with_batch_size(8_192).build().or_else(|e| unreadable(path, &e))?;
    for batch in batches {
        let batch = batch.or_else(|e| unreadable(path, &e))?;
        let column = |name: &str, to: &DataType| match batch.column_by_name(name) {
            None => absent(path, name),
            Some(array) => cast(array, to).or_else(|e| unreadable(path, &e)),
        };
        let mut text_columns: Vec<StringArray> = Vec::new();
        for name in texts {
            text_columns.push(StringArray::from(column(name, &DataType::Utf8)?.to_data()));
        }
        let mut number_columns: Vec<Float64Array> = Vec::new();
        for name in numbers {
            number_columns.push(Float64Array::from(column(name, &DataType::Float64)?.to_data()));
        }
        let mut values = vec![0.0; numbers.len()];
        for row in 0..batch.num_rows() {
            for (value, column) in values.iter_mut().zip(&number_columns) {
                *value = if column.is_null(row) { f64::NAN } else { column.value(row) };
            }
            let texts: Vec<&str> = text_columns.iter().map(|column| column.value(row)).collect();
            visitor(&Row { texts: &texts, numbers: &values })?;
        }
    }
    Ok(())
}
