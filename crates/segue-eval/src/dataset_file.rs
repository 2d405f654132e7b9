//! Benchmark files as evaluation data: one file in order, or a published train and test part.

use std::collections::HashMap;
use std::path::Path;

use segue_data::{DataError, OwnedSequences, SequencesFile};

use crate::data::{Dataset, OwnedPlays, OwnedProfiles};

/// Data of a benchmark with its external ids, read from text: one user per line, `user item item …`,
/// plain or Zstandard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetFile {
    /// What users played; for a pair of files the train part.
    pub plays: OwnedPlays,
    /// The test part of a pair of files, with the rows of `plays`.
    pub test: Option<OwnedProfiles>,
    /// `[n_users]` external ids.
    pub user_ids: Vec<String>,
    /// `[n_items]` external ids; rows ascend with them.
    pub item_ids: Vec<String>,
}

impl DatasetFile {
    /// Ordered sequences, oldest play first: the format of S3-Rec.
    ///
    /// # Errors
    /// As [`SequencesFile::read`].
    pub fn ordered(path: &Path) -> Result<Self, DataError> {
        let SequencesFile { sequences, user_ids, item_ids } = SequencesFile::read(path)?;
        Ok(Self { plays: OwnedPlays::Sequences(sequences), test: None, user_ids, item_ids })
    }

    /// A train and a test part without order: the format of NGCF and LightGCN. Users and items are
    /// those of both files; an item twice on a line counts once.
    ///
    /// # Errors
    /// As [`SequencesFile::read`], for either file.
    pub fn parts(train: &Path, test: &Path) -> Result<Self, DataError> {
        let (train, test) = (SequencesFile::read(train)?, SequencesFile::read(test)?);
        let user_ids = union(&train.user_ids, &test.user_ids);
        let mut item_ids = union(&train.item_ids, &test.item_ids);
        let numbers: Option<Vec<u64>> = item_ids.iter().map(|id| id.parse().ok()).collect();
        match numbers {
            Some(_) => item_ids.sort_by_cached_key(|id| (id.parse::<u64>().unwrap_or(u64::MAX), id.clone())),
            None => item_ids.sort_unstable(),
        }
        let plays = OwnedPlays::Profiles(profiles(&train, &user_ids, &item_ids));
        let test = Some(profiles(&test, &user_ids, &item_ids));
        Ok(Self { plays, test, user_ids, item_ids })
    }

    /// The same as data of an evaluation.
    #[must_use]
    pub fn dataset(&self) -> Dataset<'_> {
        Dataset {
            user_ids: Some(&self.user_ids),
            item_ids: Some(&self.item_ids),
            test: self.test.as_ref().map(OwnedProfiles::view),
            ..Dataset::from(self.plays.view())
        }
    }

    /// The same without order: every play counts towards an undated profile.
    #[must_use]
    pub fn without_order(self) -> Self {
        let plays = match self.plays {
            OwnedPlays::Sequences(s) => OwnedPlays::Profiles(counted(&s)),
            profiles @ OwnedPlays::Profiles(_) => profiles,
        };
        Self { plays, ..self }
    }
}

/// Ids of the first list, then those of the second that are new, in their order.
fn union(first: &[String], second: &[String]) -> Vec<String> {
    let mut seen: std::collections::HashSet<&String> = std::collections::HashSet::new();
    first.iter().chain(second).filter(|id| seen.insert(id)).cloned().collect()
}

/// The users and items of a file on the rows of both files.
fn profiles(file: &SequencesFile, user_ids: &[String], item_ids: &[String]) -> OwnedProfiles {
    let row_of: HashMap<&String, u32> = item_ids.iter().zip(0..).collect();
    let item_rows: Vec<u32> = file.item_ids.iter().map(|id| row_of[id]).collect();
    let line_of: HashMap<&String, usize> = file.user_ids.iter().zip(0..).collect();
    let sequences = file.sequences.view();
    let users = user_ids.iter().map(|id| {
        let mut items: Vec<u32> = line_of
            .get(id)
            .map_or(&[][..], |&line| sequences.user(line).item)
            .iter()
            .map(|&item| item_rows[item as usize])
            .collect();
        items.sort_unstable();
        items.dedup();
        items.into_iter().map(|item| (item, 1)).collect()
    });
    OwnedProfiles::from_counts(item_ids.len() as u32, users)
}

/// Plays per user and item, items ascending.
fn counted(sequences: &OwnedSequences) -> OwnedProfiles {
    let view = sequences.view();
    let users = view.iter().map(|user| {
        let mut items = user.item.to_vec();
        items.sort_unstable();
        items.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect()
    });
    OwnedProfiles::from_counts(view.n_items, users)
}
