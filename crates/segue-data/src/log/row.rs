//! Rows in memory on their way to a part: one Arrow builder per column of a table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Date32Builder, Float32Builder, Float64Builder, Int32Builder,
    Int64Builder, ListBuilder, RecordBatch, StringBuilder, StringDictionaryBuilder,
    TimestampMillisecondBuilder, UInt16Array, UInt32Array, UInt32Builder, UInt64Builder,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int32Type;
use segue_types::{Day, TimestampMs, UserKey};

use super::schema::{Column, KNOWN_AT, Type, USER_ID};
use super::{LogError, N_BUCKETS, Table, column};

/// A type whose values are rows of one table of the log.
pub trait LogRow: Sized {
    /// The table.
    const TABLE: Table;

    /// When the system came to know of the row; decides the day folder. `None` for tables
    /// without days.
    fn known_at(&self) -> Option<TimestampMs>;

    /// Appends the row's values in the order of the table's schema, the bucket left out.
    fn append(&self, row: &mut RowAppender<'_>);

    /// Reads all rows of a batch that has every column of the table.
    ///
    /// # Errors
    /// If a column is missing, of another type, or holds an unknown name.
    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError>;
}

enum Builder {
    Bucket,
    Dict(Box<StringDictionaryBuilder<Int32Type>>),
    Text(StringBuilder),
    Time(TimestampMillisecondBuilder),
    Day(Date32Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Bool(BooleanBuilder),
    TextList(ListBuilder<StringBuilder>),
    F32List(ListBuilder<Float32Builder>),
    U32List(ListBuilder<UInt32Builder>),
}

impl Builder {
    fn new(t: Type) -> Self {
        match t {
            Type::Bucket => Self::Bucket,
            Type::Dict => Self::Dict(Box::new(StringDictionaryBuilder::new())),
            Type::Text => Self::Text(StringBuilder::with_capacity(0, 0)),
            Type::Time => {
                Self::Time(TimestampMillisecondBuilder::with_capacity(0).with_timezone_opt(Some("UTC")))
            }
            Type::Day => Self::Day(Date32Builder::with_capacity(0)),
            Type::I32 => Self::I32(Int32Builder::with_capacity(0)),
            Type::I64 => Self::I64(Int64Builder::with_capacity(0)),
            Type::U32 => Self::U32(UInt32Builder::with_capacity(0)),
            Type::U64 => Self::U64(UInt64Builder::with_capacity(0)),
            Type::F32 => Self::F32(Float32Builder::with_capacity(0)),
            Type::F64 => Self::F64(Float64Builder::with_capacity(0)),
            Type::Bool => Self::Bool(BooleanBuilder::with_capacity(0)),
            Type::TextList => Self::TextList(ListBuilder::with_capacity(StringBuilder::new(), 0)),
            Type::F32List => Self::F32List(ListBuilder::with_capacity(Float32Builder::with_capacity(0), 0)),
            Type::U32List => Self::U32List(ListBuilder::with_capacity(UInt32Builder::with_capacity(0), 0)),
        }
    }

    fn finish(&mut self) -> Option<ArrayRef> {
        Some(match self {
            Self::Bucket => return None,
            Self::Dict(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Day(b) => Arc::new(b.finish()),
            Self::I32(b) => Arc::new(b.finish()),
            Self::I64(b) => Arc::new(b.finish()),
            Self::U32(b) => Arc::new(b.finish()),
            Self::U64(b) => Arc::new(b.finish()),
            Self::F32(b) => Arc::new(b.finish()),
            Self::F64(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::TextList(b) => Arc::new(b.finish()),
            Self::F32List(b) => Arc::new(b.finish()),
            Self::U32List(b) => Arc::new(b.finish()),
        })
    }
}

/// Rows of one table and day that wait to be sorted and written.
pub(crate) struct Buffer {
    table: Table,
    builders: Vec<Builder>,
    /// Rows appended since the last [`Buffer::take_sorted`].
    pub(crate) n_rows: usize,
    /// Rough bytes held, kept by [`RowAppender`].
    pub(crate) n_bytes: usize,
}

impl Buffer {
    pub(crate) fn new(table: Table) -> Self {
        let builders = table.columns().iter().map(|c: &Column| Builder::new(c.1)).collect();
        Self { table, builders, n_rows: 0, n_bytes: 0 }
    }

    pub(crate) fn push<R: LogRow>(&mut self, value: &R) {
        let first = usize::from(matches!(self.builders.first(), Some(Builder::Bucket)));
        let mut appender = RowAppender { buffer: self, next: first };
        value.append(&mut appender);
        let n_written = appender.next;
        assert_eq!(n_written, self.builders.len(), "a row of {} fills every column", self.table);
        self.n_rows += 1;
    }

    /// All rows in the log's order, as one batch; the buffer is empty afterwards.
    pub(crate) fn take_sorted(&mut self) -> Result<RecordBatch, LogError> {
        let arrow = |source| LogError::Arrow { table: self.table.as_str(), source };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.builders.len());
        for builder in &mut self.builders {
            // The bucket needs the user column, which comes later: a placeholder holds its place.
            let column = builder.finish();
            columns.push(column.unwrap_or_else(|| Arc::new(UInt16Array::from(vec![0; self.n_rows]))));
        }
        self.n_rows = 0;
        self.n_bytes = 0;
        let batch = RecordBatch::try_new(self.table.schema(), columns).map_err(arrow)?;
        let sorted = match sort_order(self.table, &batch)? {
            Some(order) => take_record_batch(&batch, &order).map_err(arrow)?,
            None => batch,
        };
        if !self.table.has_bucket() {
            return Ok(sorted);
        }
        let buckets = buckets_of(&sorted)?;
        let mut columns = sorted.columns().to_vec();
        columns[0] = Arc::new(buckets);
        RecordBatch::try_new(self.table.schema(), columns).map_err(arrow)
    }
}

/// Keys of the values of the user dictionary; an absent user is key 0, bucket 0.
fn user_keys(batch: &RecordBatch) -> Result<Vec<u128>, LogError> {
    let values = column::dict_values(batch, USER_ID)?;
    Ok((0..values.len()).map(|i| UserKey::of(values.value(i)).0).collect())
}

fn buckets_of(batch: &RecordBatch) -> Result<UInt16Array, LogError> {
    let keys = user_keys(batch)?;
    let by_value: Vec<u16> = keys.iter().map(|&k| UserKey(k).bucket(N_BUCKETS) as u16).collect();
    let users = column::dict(batch, USER_ID)?;
    Ok((0..users.len()).map(|row| users.key(row).map_or(0, |value| by_value[value])).collect())
}

/// The permutation into `(UserKey, known_at, tie column)`, stable; for items by id.
fn sort_order(table: Table, batch: &RecordBatch) -> Result<Option<UInt32Array>, LogError> {
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    if table == Table::Items {
        let ids = column::text(batch, super::schema::ITEM_ID)?;
        order.sort_by(|&a, &b| ids.value(a as usize).cmp(ids.value(b as usize)));
        return Ok(Some(UInt32Array::from(order)));
    }
    if !table.has_bucket() {
        return Ok(None);
    }
    let keys = user_keys(batch)?;
    // Compare ranks of users, not keys: one u32 instead of a u128 per comparison.
    let mut by_key: Vec<u32> = (0..keys.len() as u32).collect();
    by_key.sort_unstable_by_key(|&v| keys[v as usize]);
    let mut rank = vec![0_u32; keys.len()];
    for (r, &value) in by_key.iter().enumerate() {
        rank[value as usize] = r as u32 + 1;
    }
    let users = column::dict(batch, USER_ID)?;
    let known_at = if table.is_by_day() { Some(column::time(batch, KNOWN_AT)?) } else { None };
    let tie = table.tie_column().map(|name| column::text(batch, name)).transpose()?;
    let mut rows: Vec<(u32, i64, u32)> = order
        .iter()
        .map(|&row| {
            let user = users.key(row as usize).map_or(0, |value| rank[value]);
            (user, known_at.map_or(0, |k| k.value(row as usize)), row)
        })
        .collect();
    rows.sort_unstable_by(|a, b| {
        (a.0, a.1)
            .cmp(&(b.0, b.1))
            .then_with(|| match tie {
                Some(tie) => tie.value(a.2 as usize).cmp(tie.value(b.2 as usize)),
                None => std::cmp::Ordering::Equal,
            })
            .then(a.2.cmp(&b.2))
    });
    for (slot, row) in order.iter_mut().zip(&rows) {
        *slot = row.2;
    }
    Ok(Some(UInt32Array::from(order)))
}

/// Takes the values of one row, column by column.
///
/// A value of another kind than the schema's next column is a bug of a [`LogRow`] and panics.
pub struct RowAppender<'a> {
    buffer: &'a mut Buffer,
    next: usize,
}

macro_rules! append {
    ($($(#[$doc:meta])* $name:ident($variant:ident, $ty:ty, $bytes:literal, $map:expr);)+) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, value: Option<$ty>) {
            match self.next_builder() {
                Builder::$variant(b) => b.append_option(value.map($map)),
                _ => self.mismatch(stringify!($name)),
            }
            self.buffer.n_bytes += $bytes;
        }
    )+};
}

impl RowAppender<'_> {
    fn next_builder(&mut self) -> &mut Builder {
        let at = self.next;
        self.next += 1;
        &mut self.buffer.builders[at]
    }

    fn mismatch(&self, got: &str) -> ! {
        let table = self.buffer.table;
        panic!("table {table}: column {} does not take {got}", table.columns()[self.next - 1].0)
    }

    /// A string, plain or dictionary encoded as the schema says.
    pub fn text(&mut self, value: Option<&str>) {
        match self.next_builder() {
            Builder::Dict(b) => b.append_option(value),
            Builder::Text(b) => b.append_option(value),
            _ => self.mismatch("text"),
        }
        self.buffer.n_bytes += 8 + value.map_or(0, str::len);
    }

    append! {
        /// UTC milliseconds.
        time(Time, TimestampMs, 8, |t| t.0);
        /// A UTC day.
        day(Day, Day, 4, |d| d.0);
        /// An `i32`.
        i32(I32, i32, 4, |v| v);
        /// An `i64`.
        i64(I64, i64, 8, |v| v);
        /// A `u32`.
        u32(U32, u32, 4, |v| v);
        /// A `u64`.
        u64(U64, u64, 8, |v| v);
        /// An `f32`.
        f32(F32, f32, 4, |v| v);
        /// An `f64`.
        f64(F64, f64, 8, |v| v);
        /// A flag.
        bool(Bool, bool, 1, |v| v);
    }

    /// A list of strings.
    pub fn texts<S: AsRef<str>>(&mut self, values: impl IntoIterator<Item = S>) {
        let mut n_bytes = 8;
        match self.next_builder() {
            Builder::TextList(b) => {
                for value in values {
                    n_bytes += 4 + value.as_ref().len();
                    b.values().append_value(value);
                }
                b.append(true);
            }
            _ => self.mismatch("texts"),
        }
        self.buffer.n_bytes += n_bytes;
    }

    /// A list of `f32`, absent values allowed.
    pub fn f32s(&mut self, values: impl IntoIterator<Item = Option<f32>>) {
        let mut n_bytes = 8;
        match self.next_builder() {
            Builder::F32List(b) => {
                for value in values {
                    n_bytes += 4;
                    b.values().append_option(value);
                }
                b.append(true);
            }
            _ => self.mismatch("f32s"),
        }
        self.buffer.n_bytes += n_bytes;
    }

    /// A list of `u32`.
    pub fn u32s(&mut self, values: impl IntoIterator<Item = u32>) {
        let mut n_bytes = 8;
        match self.next_builder() {
            Builder::U32List(b) => {
                for value in values {
                    n_bytes += 4;
                    b.values().append_value(value);
                }
                b.append(true);
            }
            _ => self.mismatch("u32s"),
        }
        self.buffer.n_bytes += n_bytes;
    }
}
