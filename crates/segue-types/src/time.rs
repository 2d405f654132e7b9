//! Time: UTC milliseconds and UTC days. Nothing in Segue reads a clock but the outermost layer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// A gap of this length or more between two plays of a listener starts a new session.
pub const SESSION_GAP_MS: i64 = 30 * MINUTE_MS;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// The UTC day this moment falls in.
    #[must_use]
    pub fn day(self) -> Day {
        // A day number outside i32 would lie millions of years away; clamp instead of wrapping.
        Day(self.0.div_euclid(DAY_MS).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }

    /// This moment moved by `ms` milliseconds, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, saturating; negative if `earlier` is later.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Whole UTC days since 1970-01-01.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// The first millisecond of this day.
    #[must_use]
    pub fn start(self) -> TimestampMs {
        TimestampMs(i64::from(self.0) * DAY_MS)
    }

    /// The day before: a feature of day D reads aggregates of `D.previous()`.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// `YYYY-MM-DD` in the proleptic Gregorian calendar
    /// (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
    #[must_use]
    pub fn to_iso(self) -> String {
        let z = i64::from(self.0) + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Reads `YYYY-MM-DD`; `None` if it is not a date of the Gregorian calendar.
    #[must_use]
    pub fn from_iso(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
        if y.len() != 4 || m.len() != 2 || d.len() != 2 {
            return None;
        }
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i64>().ok()).flatten();
        let (year, month, day) = (digits(y)?, digits(m)?, digits(d)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        let out = Self(i32::try_from(era * 146_097 + doe - 719_468).ok()?);
        (out.to_iso() == text).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_survive_a_round_trip() {
        for day in [-141_427, -1, 0, 59, 60, 11_016, 19_782, 20_778] {
            let day = Day(day);
            assert_eq!(Day::from_iso(&day.to_iso()), Some(day));
        }
        assert_eq!(Day(0).to_iso(), "1970-01-01");
        assert_eq!(Day::from_iso("2024-02-29"), Some(Day(19_782)));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in ["2023-02-29", "2024-13-01", "2024-00-10", "24-01-01", "2024-1-1", "", "2024-04-31"] {
            assert_eq!(Day::from_iso(text), None, "{text}");
        }
    }

    #[test]
    fn moments_before_1970_fall_in_negative_days() {
        assert_eq!(TimestampMs(-1).day(), Day(-1));
        assert_eq!(TimestampMs(i64::MAX).day(), Day(i32::MAX));
    }
}
