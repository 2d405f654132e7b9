//! Calibration: what was predicted against what happened, with the diagonal of perfect agreement.

use plotters::prelude::*;

use super::canvas::{self, Frame, HEIGHT, MUTED, colour, is_drawable, said};
use super::{Axis, Ticks};
use crate::table::{Cell, Table};

/// A plot of predicted against observed means, bin by bin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// Title of the plot.
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// Name of the predictions.
    pub predicted: String,
    /// Name of what happened.
    pub observed: String,
    /// The bins.
    pub bins: Vec<Bin>,
}

/// One bin of predictions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// Mean of the predictions.
    pub predicted: f64,
    /// Mean of what happened.
    pub observed: f64,
    /// Interval of that mean.
    pub interval: Option<[f64; 2]>,
    /// Rows in the bin.
    pub n: u64,
}

impl Calibration {
    /// A plot of bins.
    pub fn new(title: impl Into<String>, bins: impl IntoIterator<Item = Bin>) -> Self {
        Self {
            title: title.into(),
            about: "On the diagonal, what was predicted is what happened.".to_owned(),
            predicted: "mean predicted".to_owned(),
            observed: "mean observed".to_owned(),
            bins: bins.into_iter().collect(),
        }
    }

    /// Says what it shows.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    pub(super) fn table(&self) -> Table {
        let mut table =
            Table::new(self.title.clone(), ["bin", &self.predicted, &self.observed, "low", "high", "rows"]);
        for (i, bin) in self.bins.iter().enumerate() {
            let end = |e: usize| bin.interval.map_or(Cell::Missing, |v| canvas::cell(v[e], Ticks::Number));
            table = table.row([
                Cell::text((i + 1).to_string()),
                canvas::cell(bin.predicted, Ticks::Number),
                canvas::cell(bin.observed, Ticks::Number),
                end(0),
                end(1),
                Cell::Count(bin.n),
            ]);
        }
        table
    }

    pub(super) fn draw(&self) -> Result<Option<String>, String> {
        let bins: Vec<&Bin> =
            self.bins.iter().filter(|b| is_drawable(b.predicted) && is_drawable(b.observed)).collect();
        let values = bins.iter().flat_map(|b| {
            let [low, high] = b.interval.unwrap_or([b.observed; 2]);
            [b.predicted, b.observed, low, high]
        });
        let Some(range) = canvas::range(values).filter(|_| !bins.is_empty()) else { return Ok(None) };
        let (x, y) = (Axis::new(self.predicted.clone()), Axis::new(self.observed.clone()));
        let frame =
            Frame { height: HEIGHT + 100, x: &x, y: &y, x_range: range, y_range: range, own_y_labels: None };
        let svg = canvas::draw(&frame, |chart| {
            let diagonal = vec![(range.0, range.0), (range.1, range.1)];
            let area = chart.plotting_area();
            area.draw(&PathElement::new(diagonal, MUTED.stroke_width(1))).map_err(said)?;
            for bin in &bins {
                if let Some([low, high]) = bin.interval.filter(|i| i.iter().all(|v| is_drawable(*v))) {
                    let whisker = vec![(bin.predicted, low), (bin.predicted, high)];
                    area.draw(&PathElement::new(whisker, colour(0).stroke_width(2))).map_err(said)?;
                }
            }
            for bin in &bins {
                canvas::draw_mark(chart, 0, (bin.predicted, bin.observed))?;
            }
            Ok(())
        })?;
        Ok(Some(svg))
    }
}
