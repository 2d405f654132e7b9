//! Plots: plain data in, SVG out, with the same numbers as a table beside it.
//!
//! One file per kind; what they share (frame, ticks, colours, marks) is in `canvas`. Points that are
//! not finite are left out of the drawing and shown as missing in the table.

mod bars;
mod calibration;
mod canvas;
mod lines;
mod scatter;

pub use bars::{Bar, Bars};
pub use calibration::{Bin, Calibration};
pub use lines::{Line, Lines};
pub use scatter::{Point, PointSeries, Scatter};

use crate::ReportError;
use crate::table::Table;

pub(crate) use canvas::N_COLOURS;

/// A plot of one of the kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Plot {
    /// Lines with bands.
    Lines(Lines),
    /// Horizontal bars with intervals.
    Bars(Bars),
    /// Points.
    Scatter(Scatter),
    /// Predicted against observed.
    Calibration(Calibration),
}

/// An axis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How its ticks are written.
    pub ticks: Ticks,
}

/// How the ticks of an axis are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ticks {
    /// As numbers.
    #[default]
    Number,
    /// 0.5 as `50 %`.
    Percent,
    /// UTC milliseconds as `2026-11-21`.
    Day,
}

impl Axis {
    /// An axis of numbers.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ticks: Ticks::Number }
    }

    /// An axis of shares, written as per cent.
    pub fn percent(label: impl Into<String>) -> Self {
        Self { label: label.into(), ticks: Ticks::Percent }
    }

    /// An axis of moments in UTC milliseconds, written as days.
    pub fn day(label: impl Into<String>) -> Self {
        Self { label: label.into(), ticks: Ticks::Day }
    }
}

/// A line across the plot that values are compared with: zero, a threshold, the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Where it lies on the axis of values.
    pub at: f64,
    /// What it means.
    pub label: String,
}

impl Plot {
    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Lines(p) => &p.title,
            Self::Bars(p) => &p.title,
            Self::Scatter(p) => &p.title,
            Self::Calibration(p) => &p.title,
        }
    }

    /// What a reader who cannot see the plot should know of it, or what it means.
    #[must_use]
    pub fn about(&self) -> &str {
        match self {
            Self::Lines(p) => &p.about,
            Self::Bars(p) => &p.about,
            Self::Scatter(p) => &p.about,
            Self::Calibration(p) => &p.about,
        }
    }

    /// Mark and name of each series.
    pub(crate) fn legend(&self) -> Vec<(char, String)> {
        let names: Vec<&String> = match self {
            Self::Lines(p) => p.lines.iter().map(|l| &l.name).collect(),
            Self::Scatter(p) => p.series.iter().map(|s| &s.name).collect(),
            Self::Bars(_) | Self::Calibration(_) => Vec::new(),
        };
        names.into_iter().enumerate().map(|(i, name)| (canvas::mark(i), name.clone())).collect()
    }

    /// The plot's numbers.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::Lines(p) => p.table(),
            Self::Bars(p) => p.table(),
            Self::Scatter(p) => p.table(),
            Self::Calibration(p) => p.table(),
        }
    }

    /// The drawing; `None` if there is no finite point to draw.
    pub(crate) fn svg(&self) -> Result<Option<String>, ReportError> {
        let drawn = match self {
            Self::Lines(p) => p.draw(),
            Self::Bars(p) => p.draw(),
            Self::Scatter(p) => p.draw(),
            Self::Calibration(p) => p.draw(),
        };
        drawn.map_err(|reason| ReportError::Draw { plot: self.title().to_owned(), reason })
    }
}

impl From<Lines> for Plot {
    fn from(plot: Lines) -> Self {
        Self::Lines(plot)
    }
}

impl From<Bars> for Plot {
    fn from(plot: Bars) -> Self {
        Self::Bars(plot)
    }
}

impl From<Scatter> for Plot {
    fn from(plot: Scatter) -> Self {
        Self::Scatter(plot)
    }
}

impl From<Calibration> for Plot {
    fn from(plot: Calibration) -> Self {
        Self::Calibration(plot)
    }
}
