//! Lines over an axis, each with an optional band: time series, learning curves, trade-offs.

use plotters::prelude::*;

use super::canvas::{self, FAINT, Frame, HEIGHT, colour, is_drawable, said};
use super::{Axis, Reference};
use crate::table::{Cell, Table};

/// Marks are drawn on lines with at most this many points.
const MARKS_UP_TO: usize = 40;

/// A plot of lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    /// Title of the plot.
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
    /// Horizontal lines to compare with.
    pub references: Vec<Reference>,
}

/// One line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// `(x, y)` in drawing order; a point that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
    /// `(x, low, high)` of the band around it; empty for none.
    pub band: Vec<(f64, f64, f64)>,
}

impl Line {
    /// A line without a band.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), band: Vec::new() }
    }

    /// With a band of `(x, low, high)`.
    #[must_use]
    pub fn band(mut self, band: impl IntoIterator<Item = (f64, f64, f64)>) -> Self {
        self.band = band.into_iter().collect();
        self
    }
}

impl Lines {
    /// A plot without lines.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, ..Self::default() }
    }

    /// Says what it shows.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds a line.
    #[must_use]
    pub fn line(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    /// Adds a horizontal line to compare with.
    #[must_use]
    pub fn reference(mut self, at: f64, label: impl Into<String>) -> Self {
        self.references.push(Reference { at, label: label.into() });
        self
    }

    pub(super) fn table(&self) -> Table {
        let has_band = self.lines.iter().any(|l| !l.band.is_empty());
        let x_name = if self.x.label.is_empty() { "x" } else { &self.x.label };
        let y_name = if self.y.label.is_empty() { "y" } else { &self.y.label };
        let mut header = vec!["series", x_name, y_name];
        if has_band {
            header.extend(["low", "high"]);
        }
        let mut table = Table::new(self.title.clone(), header);
        for line in &self.lines {
            for (i, &(x, y)) in line.points.iter().enumerate() {
                let mut row = vec![
                    Cell::text(line.name.clone()),
                    canvas::cell(x, self.x.ticks),
                    canvas::cell(y, self.y.ticks),
                ];
                // A band of its own grid is given where it meets the line.
                let at = line.band.get(i).filter(|b| b.0 == x).or(line.band.iter().find(|b| b.0 == x));
                if has_band {
                    row.extend(at.map_or([Cell::Missing, Cell::Missing], |&(_, low, high)| {
                        [canvas::cell(low, self.y.ticks), canvas::cell(high, self.y.ticks)]
                    }));
                }
                table.rows.push(row);
            }
        }
        for reference in &self.references {
            let row = [
                Cell::text(reference.label.clone()),
                Cell::Missing,
                canvas::cell(reference.at, self.y.ticks),
            ];
            table = table.row(row);
        }
        table
    }

    pub(super) fn draw(&self) -> Result<Option<String>, String> {
        let points =
            || self.lines.iter().flat_map(|l| &l.points).filter(|p| is_drawable(p.0) && is_drawable(p.1));
        let bands = || self.lines.iter().flat_map(|l| &l.band);
        let Some(x_range) = canvas::range(points().map(|p| p.0).chain(bands().map(|b| b.0))) else {
            return Ok(None);
        };
        let heights = points().map(|p| p.1).chain(bands().flat_map(|b| [b.1, b.2]));
        let Some(y_range) = canvas::range(heights.chain(self.references.iter().map(|r| r.at))) else {
            return Ok(None);
        };
        let frame = Frame { height: HEIGHT, x: &self.x, y: &self.y, x_range, y_range, own_y_labels: None };
        let svg = canvas::draw(&frame, |chart| {
            canvas::draw_references(chart, &self.references, x_range)?;
            for (i, line) in self.lines.iter().enumerate() {
                for band in
                    line.band.split(|b| ![b.0, b.1, b.2].into_iter().all(is_drawable)).filter(|b| b.len() > 1)
                {
                    let above = band.iter().map(|b| (b.0, b.2));
                    let below = band.iter().rev().map(|b| (b.0, b.1));
                    let outline: Vec<(f64, f64)> = above.chain(below).collect();
                    let area = Polygon::new(outline, colour(i).mix(FAINT).filled());
                    chart.plotting_area().draw(&area).map_err(said)?;
                }
            }
            for (i, line) in self.lines.iter().enumerate() {
                for piece in line.points.split(|p| !is_drawable(p.0) || !is_drawable(p.1)) {
                    let path = PathElement::new(piece.to_vec(), colour(i).stroke_width(2));
                    chart.plotting_area().draw(&path).map_err(said)?;
                    if line.points.len() <= MARKS_UP_TO {
                        for &point in piece {
                            canvas::draw_mark(chart, i, point)?;
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(Some(svg))
    }
}
