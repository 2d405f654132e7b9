//! Typed access to the columns of a batch of the log.
//!
//! Dictionary columns come with their dictionary: hash or look up each of
//! `dict(batch, USER_ID)?.values()` once and map the keys, instead of hashing every row.

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, PrimitiveArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type};

use super::LogError;

fn find<'a, T: 'static>(batch: &'a RecordBatch, name: &str, expected: &str) -> Result<&'a T, LogError> {
    let wrong = |got: String| LogError::Column {
        table: "a batch".into(),
        column: name.into(),
        got,
        expected: expected.into(),
    };
    let column: &ArrayRef = batch.column_by_name(name).ok_or_else(|| wrong("missing".into()))?;
    column.as_any().downcast_ref().ok_or_else(|| wrong(column.data_type().to_string()))
}

/// A dictionary-encoded string column.
///
/// # Errors
/// If the column is missing or of another type; the same holds for the functions below.
pub fn dict<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a DictionaryArray<Int32Type>, LogError> {
    find(batch, name, "a dictionary of strings")
}

/// The dictionary of a dictionary-encoded string column.
///
/// # Errors
/// If the column is missing or of another type.
pub fn dict_values<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, LogError> {
    let column = dict(batch, name)?;
    column.values().as_any().downcast_ref().ok_or_else(|| LogError::Column {
        table: "a batch".into(),
        column: name.into(),
        got: column.data_type().to_string(),
        expected: "a dictionary of strings".into(),
    })
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident -> $ty:ty, $expected:literal;)+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// If the column is missing or of another type.
        pub fn $name<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a $ty, LogError> {
            find(batch, name, $expected)
        }
    )+};
}

typed! {
    /// A plain string column.
    text -> StringArray, "strings";
    /// A column of UTC milliseconds; `values()` is the `&[i64]`.
    time -> TimestampMillisecondArray, "UTC milliseconds";
    /// A column of UTC days.
    day -> Date32Array, "days";
    /// A `u16` column, such as the bucket.
    u16s -> UInt16Array, "u16";
    /// An `i32` column.
    i32s -> Int32Array, "i32";
    /// An `i64` column.
    i64s -> Int64Array, "i64";
    /// A `u32` column.
    u32s -> UInt32Array, "u32";
    /// A `u64` column.
    u64s -> UInt64Array, "u64";
    /// An `f32` column.
    f32s -> Float32Array, "f32";
    /// An `f64` column.
    f64s -> Float64Array, "f64";
    /// A column of flags.
    bools -> BooleanArray, "booleans";
    /// A column of lists.
    list -> ListArray, "lists";
}

/// The value of a row, `None` where absent.
#[must_use]
pub fn at<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    (!column.is_null(row)).then(|| column.value(row))
}
