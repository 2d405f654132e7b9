//! Dictionary columns of the log: each value is looked up once, not each row.

use std::sync::Mutex;

use arrow::array::{Array, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use segue_types::UserKey;

use super::intern::Interner;
use super::record::NONE;
use super::scan::lock;
use crate::error::DataError;
use crate::log::{LogError, N_BUCKETS, column};

/// What is known of a dictionary's values: batches of one row group share it.
#[derive(Default)]
pub(super) struct Dictionary {
    values: Option<StringArray>,
    /// Number of each value, [`NONE`] until it is looked up.
    numbers: Vec<u32>,
    /// Bucket of each value, of users; [`NONE`] until it is asked for.
    buckets: Vec<u32>,
}

impl Dictionary {
    /// Forgets everything unless `values` are the very same array as before. That one is kept
    /// alive, so its place cannot have been given to another.
    pub(super) fn meet(&mut self, values: &StringArray) {
        let place = |v: &StringArray| (v.value_data().as_ptr(), v.value_offsets().as_ptr(), v.len());
        if self.values.as_ref().is_none_or(|known| place(known) != place(values)) {
            self.values = Some(values.clone());
            for column in [&mut self.numbers, &mut self.buckets] {
                column.clear();
                column.resize(values.len(), NONE);
            }
        }
    }
}

/// The dictionaries of one part.
#[derive(Default)]
pub(super) struct Dictionaries {
    pub(super) users: Dictionary,
    pub(super) items: Dictionary,
}

/// A dictionary column whose values are looked up at most once each.
pub(super) struct Ids<'a> {
    pub(super) column: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
    known: &'a mut Dictionary,
}

impl<'a> Ids<'a> {
    pub(super) fn of(
        batch: &'a RecordBatch,
        name: &str,
        known: &'a mut Dictionary,
    ) -> Result<Self, LogError> {
        let values = column::dict_values(batch, name)?;
        known.meet(values);
        Ok(Self { column: column::dict(batch, name)?, values, known })
    }

    /// Looks up the values of all rows in `rows` that are not known yet, at once.
    pub(super) fn look_up<K: Copy + Eq + Ord + std::hash::Hash + std::fmt::LowerHex>(
        &mut self,
        rows: impl Iterator<Item = usize>,
        interner: &Mutex<Interner<K>>,
        key: impl Fn(&str) -> K,
    ) -> Result<(), DataError> {
        let mut new: Vec<(usize, K)> = Vec::new();
        for at in rows.filter_map(|row| self.column.key(row)) {
            if self.known.numbers[at] == NONE {
                // Not its number yet, but no longer unknown.
                self.known.numbers[at] = NONE - 1;
                new.push((at, key(self.values.value(at))));
            }
        }
        if !new.is_empty() {
            let mut interner = lock(interner);
            for (at, key) in new {
                self.known.numbers[at] = interner.intern(self.values.value(at), key)?;
            }
        }
        Ok(())
    }

    /// The numbers of the values looked up so far.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.known.numbers.iter().copied().filter(|&n| n != NONE)
    }

    /// The number of a row's value that was looked up; [`NONE`] where absent.
    pub(super) fn get(&self, row: usize) -> u32 {
        self.column.key(row).map_or(NONE, |at| self.known.numbers[at])
    }

    /// The bucket of the user in a row.
    pub(super) fn bucket(&mut self, row: usize) -> Option<u32> {
        let at = self.column.key(row)?;
        let bucket = &mut self.known.buckets[at];
        if *bucket == NONE {
            *bucket = UserKey::of(self.values.value(at)).bucket(N_BUCKETS);
        }
        Some(*bucket)
    }
}

/// A dictionary column mapped value by value.
pub(super) struct Mapped<'a, T> {
    column: &'a DictionaryArray<Int32Type>,
    values: Vec<T>,
}

impl<'a, T: Copy> Mapped<'a, T> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str, map: impl Fn(&str) -> T) -> Result<Self, LogError> {
        let values = column::dict_values(batch, name)?;
        let values = (0..values.len()).map(|i| map(values.value(i))).collect();
        Ok(Self { column: column::dict(batch, name)?, values })
    }

    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.column.key(row).map(|at| self.values[at])
    }
}
