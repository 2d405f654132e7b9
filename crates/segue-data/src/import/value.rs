//! Values of sources as values of ours: times, durations, numbers, flags.

use std::borrow::Cow;

use segue_types::{DAY_MS, Day, RejectReason, TimestampMs};

use super::mapping::{TimeFormat, Unit};
use super::read::Cell;
use super::rejects::Reject;

/// The value as text; `None` where it is absent or blank.
pub(crate) fn text<'a>(cell: &'a Cell<'_>) -> Option<Cow<'a, str>> {
    match cell {
        Cell::Null => None,
        Cell::Text(t) => {
            let trimmed = t.trim();
            (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed))
        }
        Cell::Int(i) | Cell::Time(i) => Some(Cow::Owned(i.to_string())),
        Cell::Float(f) => Some(Cow::Owned(f.to_string())),
        Cell::Bool(b) => Some(Cow::Borrowed(if *b { "true" } else { "false" })),
        Cell::List(values) => values.first().and_then(text),
    }
}

fn bad(reason: RejectReason, column: &str, value: &str, rule: &str) -> Reject {
    Reject::new(reason, format!("`{column}` is `{value}`; {rule}"))
}

pub(crate) fn float(column: &str, cell: &Cell<'_>) -> Result<Option<f64>, Reject> {
    let value = match cell {
        Cell::Float(f) => *f,
        Cell::Int(i) => *i as f64,
        other => match text(other) {
            None => return Ok(None),
            Some(t) => {
                t.parse().map_err(|_| bad(RejectReason::BadNumber, column, &t, "it must be a number"))?
            }
        },
    };
    if value.is_finite() {
        Ok(Some(value))
    } else {
        Err(bad(RejectReason::BadNumber, column, &value.to_string(), "it must be finite"))
    }
}

/// A whole number; `3.0` is 3, `3.5` is an error.
pub(crate) fn whole(column: &str, cell: &Cell<'_>) -> Result<Option<i64>, Reject> {
    if let Cell::Int(i) = cell {
        return Ok(Some(*i));
    }
    if let Some(t) = text(cell)
        && let Ok(i) = t.parse()
    {
        return Ok(Some(i));
    }
    match float(column, cell)? {
        None => Ok(None),
        Some(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Ok(Some(f as i64)),
        Some(f) => Err(bad(RejectReason::BadNumber, column, &f.to_string(), "it must be a whole number")),
    }
}

pub(crate) fn ranged<T: TryFrom<i64>>(column: &str, cell: &Cell<'_>) -> Result<Option<T>, Reject> {
    whole(column, cell)?
        .map(|v| {
            T::try_from(v)
                .map_err(|_| bad(RejectReason::BadNumber, column, &v.to_string(), "it is out of range"))
        })
        .transpose()
}

pub(crate) fn flag(column: &str, cell: &Cell<'_>) -> Result<Option<bool>, Reject> {
    if let Cell::Bool(b) = cell {
        return Ok(Some(*b));
    }
    match text(cell).as_deref() {
        None => Ok(None),
        Some("true" | "True" | "TRUE" | "1" | "yes" | "t" | "1.0") => Ok(Some(true)),
        Some("false" | "False" | "FALSE" | "0" | "no" | "f" | "0.0") => Ok(Some(false)),
        Some(t) => Err(bad(RejectReason::UnknownValue, column, t, "it must be true or false")),
    }
}

/// A duration in milliseconds.
pub(crate) fn duration(column: &str, cell: &Cell<'_>, unit: Unit) -> Result<Option<i64>, Reject> {
    let (up, down) = match unit {
        Unit::Ms => (1, 1.0),
        Unit::S => (1_000, 1_000.0),
        Unit::Us => (0, 0.001),
    };
    if let Cell::Int(i) = cell
        && up > 0
    {
        return Ok(Some(i.saturating_mul(up)));
    }
    // `as` saturates: an absurd length becomes the largest one and fails validation by its rule.
    Ok(float(column, cell)?.map(|f| (f * down).round() as i64))
}

/// A moment in UTC milliseconds.
pub(crate) fn moment(
    column: &str,
    cell: &Cell<'_>,
    format: Option<TimeFormat>,
) -> Result<Option<TimestampMs>, Reject> {
    if let Cell::Time(ms) = cell {
        return Ok(Some(TimestampMs(*ms)));
    }
    let wrong = |t: &str, rule: &str| bad(RejectReason::BadTimestamp, column, t, rule);
    let number = match cell {
        Cell::Int(i) => Some(*i as f64),
        Cell::Float(f) => Some(*f),
        _ => None,
    };
    let Some(t) = text(cell) else { return Ok(None) };
    let ms = match format {
        Some(TimeFormat::UnixS) => {
            if let Ok(s) = t.parse::<i64>() {
                s.saturating_mul(1_000)
            } else {
                let s: f64 = t.parse().map_err(|_| wrong(&t, "it must be seconds since 1970"))?;
                (s * 1_000.0).round() as i64
            }
        }
        Some(TimeFormat::UnixMs) => match number {
            Some(_) if matches!(cell, Cell::Int(_)) => t.parse().unwrap_or(i64::MAX),
            Some(n) => n as i64,
            None => t.parse().map_err(|_| wrong(&t, "it must be milliseconds since 1970"))?,
        },
        Some(TimeFormat::Iso8601) => {
            iso8601(&t).ok_or_else(|| wrong(&t, "it must be ISO 8601 such as 2026-11-21T08:00:00Z"))?
        }
        Some(TimeFormat::DayMonYear) => {
            day_mon_year(&t).ok_or_else(|| wrong(&t, "it must be a day such as 01-Jan-1995"))?
        }
        Some(TimeFormat::Year) => year(&t).ok_or_else(|| wrong(&t, "it must be a year such as 1995"))?,
        None => guess(&t).ok_or_else(|| {
            wrong(&t, "it is no timestamp in a format that can be told by its looks; state `time`")
        })?,
    };
    Ok(Some(TimestampMs(ms)))
}

/// A timestamp by its looks: whole numbers below 10^11 are seconds (that is the year 5138),
/// larger ones milliseconds; anything else is ISO 8601.
pub(crate) fn guess(t: &str) -> Option<i64> {
    if let Ok(n) = t.parse::<i64>() {
        return Some(if n.unsigned_abs() < 100_000_000_000 { n * 1_000 } else { n });
    }
    if let Ok(f) = t.parse::<f64>() {
        return (f.is_finite() && f.abs() < 1.0e11).then(|| (f * 1_000.0).round() as i64);
    }
    iso8601(t)
}

/// `YYYY-MM-DD[(T| )HH:MM[:SS[.fff]]][Z|±HH:MM|±HHMM| UTC]`; no zone is UTC.
pub(crate) fn iso8601(t: &str) -> Option<i64> {
    if !t.is_ascii() || t.len() < 10 {
        return None;
    }
    let (date, rest) = t.split_at(10);
    let midnight = Day::from_iso(date)?.start().0;
    if rest.is_empty() {
        return Some(midnight);
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let at = clock.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(at);
    let mut parts = clock.splitn(3, ':');
    let two = |p: Option<&str>| p.filter(|p| p.len() == 2).and_then(|p| p.parse::<i64>().ok());
    let (hours, minutes) = (two(parts.next())?, two(parts.next())?);
    let millis = match parts.next() {
        None => 0,
        Some(p) => {
            let (s, fraction) = p.split_once('.').unwrap_or((p, ""));
            if fraction.len() > 9 || fraction.contains('.') {
                return None;
            }
            let digits: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
            // 60 is a leap second.
            two(Some(s)).filter(|s| *s <= 60)? * 1_000 + digits
        }
    };
    if hours > 24 || minutes > 59 {
        return None;
    }
    let offset = match zone.trim() {
        "" | "Z" | "z" | "UTC" | "GMT" => 0,
        z => {
            let sign = if z.starts_with('-') { -1 } else { 1 };
            let digits: String = z.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
            let (h, m) = match digits.len() {
                2 => (digits.parse::<i64>().ok()?, 0),
                4 => (digits[..2].parse::<i64>().ok()?, digits[2..].parse::<i64>().ok()?),
                _ => return None,
            };
            sign * (h * 60 + m) * 60_000
        }
    };
    Some(midnight + (hours * 60 + minutes) * 60_000 + millis - offset)
}

fn day_mon_year(t: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let mut parts = t.split(['-', ' ', '/']);
    let day: u32 = parts.next()?.parse().ok()?;
    let name = parts.next()?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|m| name.starts_with(m))? + 1;
    let year: u32 = parts.next()?.parse().ok()?;
    Some(i64::from(Day::from_iso(&format!("{year:04}-{month:02}-{day:02}"))?.0) * DAY_MS)
}

fn year(t: &str) -> Option<i64> {
    let year: u32 = t.parse().ok()?;
    Some(i64::from(Day::from_iso(&format!("{year:04}-01-01"))?.0) * DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_8601_in_its_usual_spellings() {
        let want = Some(1_241_478_537_000);
        for t in [
            "2009-05-04T23:08:57Z",
            "2009-05-04 23:08:57",
            "2009-05-04T23:08:57.000Z",
            "2009-05-05T01:08:57+02:00",
            "2009-05-04T19:08:57-0400",
            "2009-05-04 23:08:57 UTC",
        ] {
            assert_eq!(iso8601(t), want, "{t}");
        }
        assert_eq!(iso8601("2009-05-04T23:08:57.1234567Z"), Some(1_241_478_537_123));
        assert_eq!(iso8601("2009-05-04"), Some(1_241_395_200_000));
        for t in
            ["2009-02-30", "2009-05-04T25:00", "2009-05-04Tnoon", "", "ærøærøærø", "2009-05-04T23:08:57+1"]
        {
            assert_eq!(iso8601(t), None, "{t}");
        }
    }

    #[test]
    fn numbers_tell_seconds_from_milliseconds() {
        assert_eq!(guess("881250949"), Some(881_250_949_000));
        assert_eq!(guess("1541106106796"), Some(1_541_106_106_796));
        assert_eq!(guess("1396321200.123"), Some(1_396_321_200_123));
        assert_eq!(guess("yesterday"), None);
    }

    #[test]
    fn durations_follow_their_unit_and_absurd_ones_saturate() {
        let cell = |t: &'static str| Cell::Text(Cow::Borrowed(t));
        assert_eq!(duration("d", &cell("96.59"), Unit::S).unwrap(), Some(96_590));
        assert_eq!(duration("d", &Cell::Int(i64::MAX), Unit::S).unwrap(), Some(i64::MAX));
        assert_eq!(duration("d", &cell("1e300"), Unit::S).unwrap(), Some(i64::MAX));
        assert_eq!(duration("d", &cell(""), Unit::S).unwrap(), None);
        assert!(duration("d", &cell("nan"), Unit::S).is_err());
    }

    #[test]
    fn days_of_film_catalogues() {
        assert_eq!(day_mon_year("01-Jan-1995"), Some(788_918_400_000));
        assert_eq!(day_mon_year("31-Feb-1995"), None);
        assert_eq!(year("1995"), Some(788_918_400_000));
    }
}
