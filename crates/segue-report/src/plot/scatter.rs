//! Points: one thing against another.

use super::canvas::{self, Frame, HEIGHT, INK, is_drawable, said};
use super::{Axis, Reference};
use crate::table::{Cell, Table};

use plotters::prelude::Text;
use plotters::style::text_anchor::{HPos, VPos};

/// A plot of points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scatter {
    /// Title of the plot.
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The points, in groups that look different.
    pub series: Vec<PointSeries>,
    /// Horizontal lines to compare with.
    pub references: Vec<Reference>,
}

/// A group of points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointSeries {
    /// What it is.
    pub name: String,
    /// Its points.
    pub points: Vec<Point>,
}

/// One point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Where it lies on the horizontal axis.
    pub x: f64,
    /// Where it lies on the vertical axis.
    pub y: f64,
    /// Written beside it; empty for none.
    pub label: String,
}

impl Scatter {
    /// A plot without points.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, ..Self::default() }
    }

    /// Says what it shows.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds a group of `(x, y, label)`.
    #[must_use]
    pub fn series<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64, S)>,
    ) -> Self {
        let points = points.into_iter().map(|(x, y, label)| Point { x, y, label: label.into() }).collect();
        self.series.push(PointSeries { name: name.into(), points });
        self
    }

    /// Adds a horizontal line to compare with.
    #[must_use]
    pub fn reference(mut self, at: f64, label: impl Into<String>) -> Self {
        self.references.push(Reference { at, label: label.into() });
        self
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(self.title.clone(), ["series", "point", &self.x.label, &self.y.label]);
        for series in &self.series {
            for point in &series.points {
                table = table.row([
                    Cell::text(series.name.clone()),
                    if point.label.is_empty() { Cell::Missing } else { Cell::text(point.label.clone()) },
                    canvas::cell(point.x, self.x.ticks),
                    canvas::cell(point.y, self.y.ticks),
                ]);
            }
        }
        table
    }

    pub(super) fn draw(&self) -> Result<Option<String>, String> {
        let points = || {
            let all = self.series.iter().flat_map(|s| &s.points);
            all.filter(|p| is_drawable(p.x) && is_drawable(p.y))
        };
        let (Some(x_range), Some(y_range)) = (
            canvas::range(points().map(|p| p.x)),
            canvas::range(points().map(|p| p.y).chain(self.references.iter().map(|r| r.at))),
        ) else {
            return Ok(None);
        };
        if points().next().is_none() {
            return Ok(None);
        }
        let frame = Frame { height: HEIGHT, x: &self.x, y: &self.y, x_range, y_range, own_y_labels: None };
        let middle = f64::midpoint(x_range.0, x_range.1);
        let svg = canvas::draw(&frame, |chart| {
            canvas::draw_references(chart, &self.references, x_range)?;
            for (i, series) in self.series.iter().enumerate() {
                for point in series.points.iter().filter(|p| is_drawable(p.x) && is_drawable(p.y)) {
                    canvas::draw_mark(chart, i, (point.x, point.y))?;
                    if !point.label.is_empty() {
                        // Towards the middle, so that a label stays inside the frame.
                        let (text, side) = if point.x <= middle {
                            (format!("\u{2002}{}", canvas::clean(&point.label, 40)), HPos::Left)
                        } else {
                            (format!("{}\u{2002}", canvas::clean(&point.label, 40)), HPos::Right)
                        };
                        let label =
                            Text::new(text, (point.x, point.y), canvas::text_at(INK, side, VPos::Bottom));
                        chart.plotting_area().draw(&label).map_err(said)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(Some(svg))
    }
}
