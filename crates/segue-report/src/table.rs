//! Tables: a caption, a header, rows of cells; numbers stand to the right.

/// A table. The first column names the row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What the table shows.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Rows; a short row is filled with empty cells, a longer one than the header is cut.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text, to the left.
    Text(String),
    /// A number with a fixed count of digits after the point, to the right.
    Number {
        /// The number; not finite shows as missing.
        value: f64,
        /// Digits after the point.
        digits: usize,
    },
    /// A number with its interval, to the right.
    Interval {
        /// The estimate.
        value: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// Digits after the point.
        digits: usize,
    },
    /// A count with thousands apart, to the right.
    Count(u64),
    /// A share as per cent, to the right.
    Percent {
        /// The share; 0.5 shows as 50 %.
        share: f64,
        /// Digits after the point.
        digits: usize,
    },
    /// A p-value, to the right; small ones as powers of ten, never as 0.
    PValue(f64),
    /// Nothing to show.
    Missing,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number with `digits` digits after the point.
    #[must_use]
    pub fn number(value: f64, digits: usize) -> Self {
        Self::Number { value, digits }
    }

    /// A number with its interval.
    #[must_use]
    pub fn interval(value: f64, low: f64, high: f64, digits: usize) -> Self {
        Self::Interval { value, low, high, digits }
    }

    /// A share as per cent.
    #[must_use]
    pub fn percent(share: f64, digits: usize) -> Self {
        Self::Percent { share, digits }
    }

    /// A p-value.
    #[must_use]
    pub fn p_value(p: f64) -> Self {
        Self::PValue(p)
    }

    /// A value that may be absent, with an interval that may be absent.
    #[must_use]
    pub fn estimate(value: Option<f64>, interval: Option<[f64; 2]>, digits: usize) -> Self {
        match (value, interval) {
            (Some(value), Some([low, high])) => Self::interval(value, low, high, digits),
            (Some(value), None) => Self::number(value, digits),
            (None, _) => Self::Missing,
        }
    }

    /// What is shown; `–` where there is nothing.
    #[must_use]
    pub fn to_text(&self) -> String {
        const MISSING: &str = "–";
        match self {
            Self::Text(text) => text.clone(),
            Self::Number { value, digits } if value.is_finite() => fixed(*value, *digits),
            Self::Interval { value, low, high, digits } if value.is_finite() => {
                format!("{} [{}, {}]", fixed(*value, *digits), fixed(*low, *digits), fixed(*high, *digits))
            }
            Self::Count(n) => thousands(*n),
            Self::Percent { share, digits } if (100.0 * share).is_finite() => {
                format!("{} %", fixed(100.0 * share, *digits))
            }
            Self::PValue(p) if p.is_finite() => p_value(*p),
            Self::Number { .. }
            | Self::Interval { .. }
            | Self::Percent { .. }
            | Self::PValue(_)
            | Self::Missing => MISSING.to_owned(),
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(n: u64) -> Self {
        Self::Count(n)
    }
}

impl From<usize> for Cell {
    fn from(n: usize) -> Self {
        Self::Count(n as u64)
    }
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(caption: impl Into<String>, header: impl IntoIterator<Item = S>) -> Self {
        Self {
            caption: caption.into(),
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    #[must_use]
    pub fn row<C: Into<Cell>>(mut self, cells: impl IntoIterator<Item = C>) -> Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Whether a column holds numbers: no cell of it is text.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        column > 0
            && !self.rows.is_empty()
            && !self.rows.iter().filter_map(|r| r.get(column)).any(Cell::is_text)
    }
}

/// A p-value with four digits after the point, below 0.0001 as a power of ten: it never shows as 0 unless it is 0.
#[must_use]
pub fn p_value(p: f64) -> String {
    if p > 0.0 && p < 1e-4 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

/// A number with that many digits after the point, without a sign before zero, minus as `−`; an end
/// of an interval without bound as `∞`.
fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "–"
        } else if value > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .to_owned();
    }
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| b == b'0' || b == b'.') => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// `12,345,678`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_as_people_write_numbers() {
        assert_eq!(Cell::number(0.04921, 4).to_text(), "0.0492");
        assert_eq!(Cell::number(-0.00001, 4).to_text(), "0.0000");
        assert_eq!(Cell::number(-1.5, 1).to_text(), "−1.5");
        assert_eq!(Cell::p_value(0.04921).to_text(), "0.0492");
        assert_eq!(Cell::p_value(3.47e-5).to_text(), "3.5e-5");
        assert_eq!(Cell::p_value(1.2e-43).to_text(), "1.2e-43");
        assert_eq!(Cell::p_value(f64::NAN).to_text(), "–");
        assert_eq!(Cell::number(f64::NAN, 1).to_text(), "–");
        assert_eq!(Cell::interval(0.5, 0.25, 0.75, 2).to_text(), "0.50 [0.25, 0.75]");
        assert_eq!(Cell::interval(0.5, f64::NEG_INFINITY, f64::INFINITY, 1).to_text(), "0.5 [−∞, ∞]");
        assert_eq!(Cell::percent(1e308, 1).to_text(), "–");
        assert_eq!(Cell::percent(0.123, 1).to_text(), "12.3 %");
        assert_eq!(Cell::from(1_234_567_u64).to_text(), "1,234,567");
        assert_eq!(Cell::estimate(None, Some([0.0, 1.0]), 2), Cell::Missing);
        assert_eq!(Cell::estimate(Some(1.0), None, 0).to_text(), "1");
    }

    #[test]
    fn a_column_is_numeric_if_no_cell_of_it_is_text() {
        let t = Table::new("", ["model", "n", "note"])
            .row([Cell::text("a"), Cell::Count(1), Cell::Missing])
            .row([Cell::text("b"), Cell::Missing, Cell::text("left out")]);
        assert_eq!([0, 1, 2].map(|c| t.is_numeric(c)), [false, true, false]);
    }
}
