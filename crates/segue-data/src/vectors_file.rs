//! Vectors of listeners or items as a Parquet file: one row each, with the external id.
//!
//! | column | type | what |
//! |---|---|---|
//! | `user_id` or `item_id` | string | external id |
//! | `n_plays` | uint64 | plays behind the vector |
//! | `vector` | fixed-size list of float32 | `[d]` |
//!
//! No value is null. Key-value metadata of the file says where the vectors come from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;

use crate::error::DataError;
use crate::snapshot::table_file::{float_properties, parquet_error};

/// Name of the column of vectors.
const VECTOR: &str = "vector";
const N_PLAYS: &str = "n_plays";

/// Vectors with the external ids they belong to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IdVectors {
    /// `[n]`.
    pub id: Vec<String>,
    /// `[n]` plays behind each vector.
    pub n_plays: Vec<u64>,
    /// `[n, d]`.
    pub vector: Vec<f32>,
}

/// Writes a file of vectors, a part at a time; it appears under its name when it is whole.
pub struct VectorsWriter {
    path: PathBuf,
    temporary: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    d: usize,
}

impl VectorsWriter {
    /// Begins a file of vectors of size `d`. `id` is the name of the id column; `metadata` goes to the
    /// file's key-value metadata.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path, id: &str, d: usize, metadata: &[(&str, String)]) -> Result<Self, DataError> {
        let element = Arc::new(Field::new("element", DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new(id, DataType::Utf8, false),
            Field::new(N_PLAYS, DataType::UInt64, false),
            Field::new(VECTOR, DataType::FixedSizeList(element, i32::try_from(d).unwrap_or(i32::MAX)), false),
        ]));
        let temporary = path.with_extension("parquet.tmp");
        let file = File::create(&temporary).map_err(DataError::io(&temporary))?;
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(float_properties()))
            .map_err(parquet_error(path))?;
        for (key, value) in metadata {
            writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        Ok(Self { path: path.to_owned(), temporary, writer, schema, d })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] if the columns do not fit together, or if the disk fails.
    pub fn write(&mut self, rows: &IdVectors) -> Result<(), DataError> {
        let wrong = |e: arrow::error::ArrowError| DataError::corrupt(&self.path, "columns of one length", e);
        let DataType::FixedSizeList(element, size) = self.schema.field(2).data_type() else {
            unreachable!("the third column is made as a list")
        };
        if rows.vector.len() != rows.id.len() * self.d {
            let got = format!("{} numbers for {} rows", rows.vector.len(), rows.id.len());
            return Err(DataError::corrupt(&self.path, format!("{} numbers per row", self.d), got));
        }
        let values: ArrayRef = Arc::new(Float32Array::from(rows.vector.clone()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&rows.id)),
            Arc::new(UInt64Array::from(rows.n_plays.clone())),
            Arc::new(FixedSizeListArray::try_new(Arc::clone(element), *size, values, None).map_err(wrong)?),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(wrong)?;
        self.writer.write(&batch).map_err(parquet_error(&self.path))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// If the disk fails; the file that was there before stays.
    pub fn finish(self) -> Result<(), DataError> {
        let Self { path, temporary, writer, .. } = self;
        let file = writer.into_inner().map_err(parquet_error(&path))?;
        file.sync_all().map_err(DataError::io(&temporary))?;
        std::fs::rename(&temporary, &path).map_err(DataError::io(&path))
    }
}

impl std::fmt::Debug for VectorsWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorsWriter").field("path", &self.path).field("d", &self.d).finish_non_exhaustive()
    }
}

impl IdVectors {
    /// Size of a vector; 0 without rows.
    #[must_use]
    pub fn d(&self) -> usize {
        self.vector.len().checked_div(self.id.len()).unwrap_or(0)
    }

    /// Reads a file of vectors whose id column is called `id`.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] names what was expected and what is there: other columns or types, nulls,
    /// or numbers that are not finite.
    pub fn read(path: &Path, id: &str) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(parquet_error(path))?;
        let mut out = Self::default();
        for batch in reader {
            let batch = batch.map_err(|e| DataError::corrupt(path, "a readable batch", e))?;
            let ids = column(path, &batch, id, STRINGS)?;
            let ids = ids.as_string_opt::<i32>().ok_or_else(|| wrong(path, id, STRINGS, ids.data_type()))?;
            out.id.extend(ids.iter().flatten().map(str::to_owned));
            let plays = column(path, &batch, N_PLAYS, NUMBERS)?;
            let plays = plays
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| wrong(path, N_PLAYS, NUMBERS, plays.data_type()))?;
            out.n_plays.extend_from_slice(plays.values());
            let vectors = column(path, &batch, VECTOR, LISTS)?;
            let values = vectors
                .as_fixed_size_list_opt()
                .and_then(|lists| lists.values().as_primitive_opt::<Float32Type>())
                .filter(|values| values.null_count() == 0)
                .ok_or_else(|| wrong(path, VECTOR, LISTS, vectors.data_type()))?;
            if let Some(bad) = values.values().iter().find(|v| !v.is_finite()) {
                return Err(wrong(path, VECTOR, LISTS, bad));
            }
            out.vector.extend_from_slice(values.values());
        }
        Ok(out)
    }
}

const STRINGS: &str = "strings";
const NUMBERS: &str = "uint64";
const LISTS: &str = "fixed-size lists of finite float32";

/// A column without nulls.
fn column<'a>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
    what: &str,
) -> Result<&'a ArrayRef, DataError> {
    let column = batch.column_by_name(name).ok_or_else(|| wrong(path, name, what, "none"))?;
    match column.null_count() {
        0 => Ok(column),
        nulls => Err(wrong(path, name, what, format!("{nulls} nulls"))),
    }
}

fn wrong(path: &Path, name: &str, what: &str, got: impl std::fmt::Display) -> DataError {
    DataError::corrupt(path, format!("column `{name}` of {what}"), got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(from: usize, n: usize) -> IdVectors {
        IdVectors {
            id: (from..from + n).map(|i| format!("id {i}")).collect(),
            n_plays: (from..from + n).map(|i| i as u64).collect(),
            vector: (from * 3..(from + n) * 3).map(|i| i as f32 / 7.0).collect(),
        }
    }

    #[test]
    fn vectors_written_in_parts_come_back_and_appear_when_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.parquet");
        let mut writer = VectorsWriter::create(&path, "item_id", 3, &[("model", "next".to_owned())]).unwrap();
        writer.write(&rows(0, 4)).unwrap();
        writer.write(&rows(4, 5)).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let read = IdVectors::read(&path, "item_id").unwrap();
        assert_eq!(read, rows(0, 9));
        assert_eq!(read.d(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let message = IdVectors::read(&path, "user_id").unwrap_err().to_string();
        assert!(message.contains("expected column `user_id` of strings, got none"), "{message}");
    }

    #[test]
    fn a_row_without_its_numbers_and_numbers_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.parquet");
        let mut writer = VectorsWriter::create(&path, "item_id", 4, &[]).unwrap();
        let message = writer.write(&rows(0, 2)).unwrap_err().to_string();
        assert!(message.contains("expected 4 numbers per row, got 6 numbers for 2 rows"), "{message}");
        let mut writer = VectorsWriter::create(&path, "item_id", 3, &[]).unwrap();
        let mut bad = rows(0, 2);
        bad.vector[4] = f32::NAN;
        writer.write(&bad).unwrap();
        writer.finish().unwrap();
        assert!(IdVectors::read(&path, "item_id").unwrap_err().to_string().contains("NaN"));
    }
}
