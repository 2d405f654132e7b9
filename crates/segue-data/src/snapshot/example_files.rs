//! The ranker's training rows on disk: one Parquet file per day of the request.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::column::FileEntry;
use super::table_file::{float_properties, parquet_error};
use crate::error::DataError;
use crate::examples::{Examples, HEADS};

/// Columns before the labels and features.
const HEAD: [(&str, DataType); 7] = [
    ("group", DataType::UInt64),
    ("requested_at", DataType::Int64),
    ("user_key_high", DataType::UInt64),
    ("user_key_low", DataType::UInt64),
    ("item_key", DataType::UInt64),
    ("position", DataType::UInt32),
    ("prefix_propensity", DataType::Float64),
];

/// Rows per batch and row group.
const BATCH_ROWS: usize = 64 << 10;

fn schema(feature_names: &[String]) -> SchemaRef {
    let mut fields: Vec<Field> = HEAD.iter().map(|(name, t)| Field::new(*name, t.clone(), false)).collect();
    fields.extend(HEADS.iter().map(|h| Field::new(format!("label.{h}"), DataType::Float32, false)));
    fields.extend(feature_names.iter().map(|n| Field::new(n, DataType::Float32, false)));
    Arc::new(Schema::new(fields))
}

/// Writes the rows of one day. Users and items are stored by key, so that a day's file stays good
/// when later snapshots give them other rows.
pub(crate) fn write(
    path: &Path,
    rows: &Examples,
    user_keys: &[u128],
    item_keys: &[u64],
) -> Result<FileEntry, DataError> {
    let schema = schema(&rows.feature_names);
    let file = File::create(path).map_err(DataError::io(path))?;
    let sync = file.try_clone().map_err(DataError::io(path))?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(float_properties()))
        .map_err(parquet_error(path))?;
    let n_features = rows.feature_names.len();
    for from in (0..rows.len()).step_by(BATCH_ROWS) {
        let range = from..(from + BATCH_ROWS).min(rows.len());
        let user = |part: fn(u128) -> u64| {
            let rows = rows.user[range.clone()].iter();
            UInt64Array::from_iter_values(rows.map(|&row| part(user_keys[row as usize])))
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(rows.group[range.clone()].to_vec())),
            Arc::new(Int64Array::from(rows.requested_at[range.clone()].to_vec())),
            Arc::new(user(|key| (key >> 64) as u64)),
            Arc::new(user(|key| key as u64)),
            Arc::new(UInt64Array::from_iter_values(
                rows.item[range.clone()].iter().map(|&row| item_keys[row as usize]),
            )),
            Arc::new(UInt32Array::from(rows.position[range.clone()].to_vec())),
            Arc::new(Float64Array::from(rows.prefix_propensity[range.clone()].to_vec())),
        ];
        for label in &rows.labels {
            columns.push(Arc::new(Float32Array::from(label[range.clone()].to_vec())));
        }
        for f in 0..n_features {
            let values: Vec<f32> = range.clone().map(|r| rows.values[r * n_features + f]).collect();
            columns.push(Arc::new(Float32Array::from(values)));
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|e| DataError::corrupt(path, "columns of one length", e))?;
        writer.write(&batch).map_err(parquet_error(path))?;
    }
    writer.close().map_err(parquet_error(path))?;
    sync.sync_all().map_err(DataError::io(path))?;
    FileEntry::of(path)
}

/// Number of rows of a day's file, from its footer.
pub(crate) fn n_rows(path: &Path) -> Result<u64, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet_error(path))?;
    Ok(reader.metadata().file_metadata().num_rows().unsigned_abs())
}

/// Loads files of `dir`, in order.
pub(crate) fn load<'a>(
    dir: &Path,
    names: impl Iterator<Item = &'a String>,
    feature_names: &[String],
    user_keys: &[u128],
    item_keys: &[u64],
) -> Result<Examples, DataError> {
    let mut out = Examples { feature_names: feature_names.to_vec(), ..Examples::default() };
    let n_features = out.feature_names.len();
    let want = schema(&out.feature_names);
    for name in names {
        let path = dir.join(name);
        let file = File::open(&path).map_err(DataError::io(&path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(parquet_error(&path))?
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(parquet_error(&path))?;
        for batch in reader {
            let batch = batch.map_err(|e| DataError::corrupt(&path, "a readable batch", e))?;
            if batch.schema().fields() != want.fields() {
                let got = batch.schema().fields().len();
                let expected = format!("the {} columns of the manifest", want.fields().len());
                return Err(DataError::corrupt(&path, expected, format!("{got} columns or other names")));
            }
            let columns = batch.columns();
            out.group.extend(columns[0].as_primitive::<UInt64Type>().values());
            out.requested_at.extend(columns[1].as_primitive::<Int64Type>().values());
            let unknown = |what: &str, key: String| {
                DataError::corrupt(&path, format!("{what} of this snapshot"), format!("key {key}"))
            };
            let u64s = |at: usize| columns[at].as_primitive::<UInt64Type>().values();
            for (&high, &low) in u64s(2).iter().zip(u64s(3)) {
                let key = u128::from(high) << 64 | u128::from(low);
                let row = user_keys.binary_search(&key);
                out.user.push(row.map_err(|_| unknown("users", format!("{key:032x}")))? as u32);
            }
            for key in u64s(4) {
                let row = item_keys.binary_search(key);
                out.item.push(row.map_err(|_| unknown("items", format!("{key:016x}")))? as u32);
            }
            out.position.extend(columns[5].as_primitive::<UInt32Type>().values());
            out.prefix_propensity.extend(columns[6].as_primitive::<Float64Type>().values());
            for (label, column) in out.labels.iter_mut().zip(&columns[HEAD.len()..]) {
                label.extend(column.as_primitive::<Float32Type>().values());
            }
            let features: Vec<&Float32Array> =
                columns[HEAD.len() + HEADS.len()..].iter().map(|c| c.as_primitive()).collect();
            let from = out.values.len();
            out.values.resize(from + batch.num_rows() * n_features, f32::NAN);
            for (f, column) in features.iter().enumerate() {
                for (row, &v) in column.values().iter().enumerate() {
                    out.values[from + row * n_features + f] = v;
                }
            }
            debug_assert!(features.iter().all(|c| c.null_count() == 0));
        }
    }
    Ok(out)
}
