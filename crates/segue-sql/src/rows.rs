//! A batch of rows of a streaming query, read by column.

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};

use crate::SqlError;

/// Some rows of an answer.
#[derive(Debug)]
pub struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    pub(crate) const fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    /// Rows in this batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A column as text; `None` if there is no such column.
    ///
    /// # Errors
    /// [`SqlError::Column`] if it cannot be read as text.
    pub fn texts(&self, name: &str) -> Result<Option<Texts>, SqlError> {
        Ok(self.cast(name, &DataType::Utf8, "text")?.map(|a| Texts(a.as_string::<i32>().clone())))
    }

    /// A column as numbers; booleans are 0 and 1.
    ///
    /// # Errors
    /// [`SqlError::Column`] if it cannot be read as numbers.
    pub fn numbers(&self, name: &str) -> Result<Option<Numbers>, SqlError> {
        Ok(self
            .cast(name, &DataType::Float64, "a number")?
            .map(|a| Numbers(a.as_primitive::<Float64Type>().clone())))
    }

    /// A column as moments in UTC milliseconds: a timestamp of any unit, or whole numbers that are milliseconds.
    ///
    /// # Errors
    /// [`SqlError::Column`] if it cannot be read as moments.
    pub fn times(&self, name: &str) -> Result<Option<Times>, SqlError> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(None) };
        let wrong = |message: String| SqlError::Column { name: name.to_owned(), what: "a moment", message };
        let column = match column.data_type() {
            DataType::Int64 => column.clone(),
            _ => {
                let moments = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))
                    .map_err(|e| wrong(e.to_string()))?;
                cast(&moments, &DataType::Int64).map_err(|e| wrong(e.to_string()))?
            }
        };
        Ok(Some(Times(column.as_primitive::<Int64Type>().clone())))
    }

    fn cast(
        &self,
        name: &str,
        to: &DataType,
        what: &'static str,
    ) -> Result<Option<arrow::array::ArrayRef>, SqlError> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(None) };
        cast(column, to).map(Some).map_err(|e| SqlError::Column {
            name: name.to_owned(),
            what,
            message: e.to_string(),
        })
    }
}

/// A column of text.
#[derive(Debug)]
pub struct Texts(StringArray);

impl Texts {
    /// The text of a row; `None` for null.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A column of numbers.
#[derive(Debug)]
pub struct Numbers(Float64Array);

impl Numbers {
    /// The number of a row; `None` for null.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<f64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A column of moments.
#[derive(Debug)]
pub struct Times(Int64Array);

impl Times {
    /// UTC milliseconds of a row; `None` for null.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}
