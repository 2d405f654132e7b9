//! Who was exposed to which arm, and when first.
//!
//! An exposure is the first impression that counts: the moment a unit met what its arm changes. Rows stream
//! through [`ExposureLog::observe`] in any order; what is kept is one entry per unit (about 64 bytes with the
//! index), whatever the number of rows, so 100M rows of 5M listeners need some 320 MB.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use segue_types::UserKey;

use crate::ExperimentError;

/// A unit that was exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExposedUnit {
    /// Hash of its external id.
    pub key: UserKey,
    /// First exposure, UTC milliseconds; 0 where the data are not dated.
    pub at_ms: i64,
    /// Index of the arm of the first exposure.
    pub arm: u16,
    /// Index of its stratum.
    pub stratum: u16,
    /// Whether it met more than one arm. Such units are left out of the analysis and reported.
    pub is_mixed: bool,
}

/// Collects exposures.
#[derive(Debug, Clone)]
pub struct ExposureLog {
    arms: Vec<String>,
    strata: Vec<String>,
    index: HashMap<u128, u32, BuildHasherDefault<AlreadyHashed>>,
    units: Vec<ExposedUnit>,
    range_ms: [i64; 2],
    n_rows: u64,
    n_outside: u64,
    n_not_triggered: u64,
    n_mixed: u64,
}

impl ExposureLog {
    /// For these arms, control first; rows outside `[from, to)` do not count.
    #[must_use]
    pub fn new(arms: Vec<String>, range_ms: [i64; 2]) -> Self {
        Self {
            arms,
            strata: Vec::new(),
            index: HashMap::default(),
            units: Vec::new(),
            range_ms,
            n_rows: 0,
            n_outside: 0,
            n_not_triggered: 0,
            n_mixed: 0,
        }
    }

    /// One row. `triggered` is false where the arm made no difference to what was shown: the unit would have
    /// seen the same under every arm, so counting it only adds noise.
    ///
    /// The first exposure wins, on equal moments the earlier arm in the list; a second arm marks the unit as
    /// mixed. Both do not depend on the order of rows.
    ///
    /// # Errors
    /// [`ExperimentError::Unknown`] for an arm that the experiment does not have.
    pub fn observe(
        &mut self,
        unit: &str,
        arm: &str,
        at_ms: Option<i64>,
        stratum: Option<&str>,
        triggered: bool,
    ) -> Result<(), ExperimentError> {
        self.n_rows += 1;
        let arm = self.arms.iter().position(|a| a == arm).ok_or_else(|| ExperimentError::Unknown {
            what: "arm",
            name: arm.to_owned(),
            known: self.arms.join(", "),
        })? as u16;
        if !triggered {
            self.n_not_triggered += 1;
            return Ok(());
        }
        if at_ms.is_some_and(|at| at < self.range_ms[0] || at >= self.range_ms[1]) {
            self.n_outside += 1;
            return Ok(());
        }
        let at_ms = at_ms.unwrap_or(0);
        let stratum = self.stratum(stratum.unwrap_or(""));
        let key = UserKey::of(unit);
        let next = self.units.len() as u32;
        let at = *self.index.entry(key.0).or_insert(next);
        if at == next {
            self.units.push(ExposedUnit { key, at_ms, arm, stratum, is_mixed: false });
            return Ok(());
        }
        let unit = &mut self.units[at as usize];
        if unit.arm != arm && !unit.is_mixed {
            unit.is_mixed = true;
            self.n_mixed += 1;
        }
        if (at_ms, arm) < (unit.at_ms, unit.arm) {
            (unit.at_ms, unit.arm, unit.stratum) = (at_ms, arm, stratum);
        }
        Ok(())
    }

    fn stratum(&mut self, name: &str) -> u16 {
        let at = self.strata.iter().position(|s| s == name).unwrap_or_else(|| {
            // Beyond 1,000 strata the rest is one: heterogeneity over that many says nothing.
            if self.strata.len() < 1_000 {
                self.strata.push(name.to_owned());
            }
            self.strata.len() - 1
        });
        at as u16
    }

    /// Names of the arms.
    #[must_use]
    pub fn arms(&self) -> &[String] {
        &self.arms
    }

    /// Names of the strata.
    #[must_use]
    pub fn strata(&self) -> &[String] {
        &self.strata
    }

    /// Every exposed unit, mixed ones included, in order of first sight.
    #[must_use]
    pub fn units(&self) -> &[ExposedUnit] {
        &self.units
    }

    /// Index of an exposed unit by its external id.
    #[must_use]
    pub fn find(&self, unit: &str) -> Option<usize> {
        self.index.get(&UserKey::of(unit).0).map(|&at| at as usize)
    }

    /// Units per arm, mixed ones left out.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.arms.len()];
        for unit in self.units.iter().filter(|u| !u.is_mixed) {
            counts[unit.arm as usize] += 1;
        }
        counts
    }

    /// Rows seen, rows outside the dates, rows not triggered, units that met several arms.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            n_rows: self.n_rows,
            n_outside: self.n_outside,
            n_not_triggered: self.n_not_triggered,
            n_units: self.units.len() as u64,
            n_mixed: self.n_mixed,
        }
    }
}

/// What became of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Rows seen.
    pub n_rows: u64,
    /// Rows before or after the experiment.
    pub n_outside: u64,
    /// Rows that did not trigger.
    pub n_not_triggered: u64,
    /// Units, mixed ones included.
    pub n_units: u64,
    /// Units that met several arms; left out.
    pub n_mixed: u64,
}

/// Keys are xxh3 hashes already: their low word is the hash.
#[derive(Debug, Clone, Copy, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> ExposureLog {
        ExposureLog::new(vec!["control".into(), "treatment".into()], [0, 1_000])
    }

    #[test]
    fn the_first_exposure_counts_once_and_a_second_arm_is_reported() {
        let mut log = log();
        for (unit, arm, at) in
            [("ada", "control", 50), ("ada", "control", 20), ("bob", "treatment", 30), ("bob", "control", 90)]
        {
            log.observe(unit, arm, Some(at), Some("SE"), true).unwrap();
        }
        log.observe("eve", "control", Some(1_000), None, true).unwrap();
        log.observe("kim", "control", Some(1), None, false).unwrap();
        assert_eq!(log.units()[0].at_ms, 20);
        assert_eq!((log.counts(), log.find("ada"), log.find("kim")), (vec![1, 0], Some(0), None));
        let want = Tally { n_rows: 6, n_outside: 1, n_not_triggered: 1, n_units: 2, n_mixed: 1 };
        assert_eq!(log.tally(), want);
        assert!(log.observe("x", "other", None, None, true).is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_rows_changes_nothing(
            rows in proptest::collection::vec((0..8_u8, any::<bool>(), 0..1_000_i64), 0..60), rotate in 0..60_usize,
        ) {
            let collect = |rows: &[(u8, bool, i64)]| {
                let mut log = log();
                for (unit, arm, at) in rows {
                    let arm = if *arm { "treatment" } else { "control" };
                    log.observe(&unit.to_string(), arm, Some(*at), None, true).unwrap();
                }
                let mut units = log.units().to_vec();
                units.sort_by_key(|u| u.key);
                units
            };
            let mut turned = rows.clone();
            turned.rotate_left(rotate.min(rows.len()));
            prop_assert_eq!(collect(&rows), collect(&turned));
        }
    }
}
