//! Horizontal bars with intervals: models, arms or estimators beside each other.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{self, FAINT, Frame, INK, MUTED, WIDTH, colour, is_drawable, said};
use super::{Axis, Reference};
use crate::table::{Cell, Table};

/// Height of one bar with its air.
const BAR: u32 = 34;
/// Characters of a label before it is cut.
const LABEL: usize = 32;

/// A plot of horizontal bars, the first on top. Bars begin at 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bars {
    /// Title of the plot.
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The axis of values.
    pub value: Axis,
    /// The bars.
    pub bars: Vec<Bar>,
    /// Lines to compare with.
    pub references: Vec<Reference>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: f64,
    /// Its interval, drawn as a whisker.
    pub interval: Option<[f64; 2]>,
}

impl Bar {
    /// A bar without an interval.
    pub fn new(label: impl Into<String>, value: f64) -> Self {
        Self { label: label.into(), value, interval: None }
    }

    /// With an interval.
    #[must_use]
    pub fn interval(mut self, low: f64, high: f64) -> Self {
        self.interval = Some([low, high]);
        self
    }
}

impl Bars {
    /// A plot without bars, over an axis of numbers.
    pub fn new(title: impl Into<String>, value: impl Into<String>) -> Self {
        Self { title: title.into(), value: Axis::new(value), ..Self::default() }
    }

    /// Says what it shows.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds a bar.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        self.bars.push(bar);
        self
    }

    /// Adds a line to compare with.
    #[must_use]
    pub fn reference(mut self, at: f64, label: impl Into<String>) -> Self {
        self.references.push(Reference { at, label: label.into() });
        self
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(self.title.clone(), ["", &self.value.label, "low", "high"]);
        for bar in &self.bars {
            let end = |i: usize| bar.interval.map_or(Cell::Missing, |v| canvas::cell(v[i], self.value.ticks));
            let value = canvas::cell(bar.value, self.value.ticks);
            table = table.row([Cell::text(bar.label.clone()), value, end(0), end(1)]);
        }
        for reference in &self.references {
            table = table
                .row([Cell::text(reference.label.clone()), canvas::cell(reference.at, self.value.ticks)]);
        }
        table
    }

    pub(super) fn draw(&self) -> Result<Option<String>, String> {
        let bars = self.bars.iter().filter(|b| is_drawable(b.value));
        if canvas::range(bars.map(|b| b.value)).is_none() {
            return Ok(None);
        }
        let values = self.bars.iter().flat_map(|b| {
            let [low, high] = b.interval.unwrap_or([b.value; 2]);
            [b.value, low, high]
        });
        let Some((low, high)) =
            canvas::range(values.chain(self.references.iter().map(|r| r.at)).chain([0.0]))
        else {
            return Ok(None);
        };
        // A bar stands on the axis: no air on the side of zero.
        let has_negative = self.bars.iter().any(|b| b.value < 0.0 || b.interval.is_some_and(|i| i[0] < 0.0))
            || self.references.iter().any(|r| r.at < 0.0);
        let x_range = (if has_negative { low } else { 0.0 }, if high > 0.0 { high } else { -0.05 * low });
        let n = self.bars.len() as f64;
        let longest = self.bars.iter().map(|b| b.label.chars().count().min(LABEL)).max().unwrap_or(0);
        let frame = Frame {
            height: 78 + BAR * self.bars.len() as u32,
            x: &self.value,
            y: &Axis::default(),
            x_range,
            y_range: (-n, 0.0),
            own_y_labels: Some((24 + 8 * longest as u32).min(WIDTH / 3)),
        };
        let svg = canvas::draw(&frame, |chart| {
            for (i, bar) in self.bars.iter().enumerate() {
                let middle = -(i as f64) - 0.5;
                let area = chart.plotting_area();
                let label = Text::new(clean_label(&bar.label), (x_range.0, middle), text_left_of_axis());
                area.draw(&label).map_err(said)?;
                if !is_drawable(bar.value) {
                    continue;
                }
                let body = Rectangle::new(
                    [(0.0, middle + 0.32), (bar.value, middle - 0.32)],
                    colour(0).mix(0.35 + FAINT).filled(),
                );
                area.draw(&body).map_err(said)?;
                if let Some([low, high]) = bar.interval.filter(|i| i.iter().all(|v| is_drawable(*v))) {
                    let style = INK.stroke_width(2);
                    for path in [
                        vec![(low, middle), (high, middle)],
                        vec![(low, middle - 0.14), (low, middle + 0.14)],
                        vec![(high, middle - 0.14), (high, middle + 0.14)],
                    ] {
                        area.draw(&PathElement::new(path, style)).map_err(said)?;
                    }
                }
            }
            for reference in self.references.iter().filter(|r| is_drawable(r.at)) {
                let ends = vec![(reference.at, -n), (reference.at, 0.0)];
                let area = chart.plotting_area();
                area.draw(&PathElement::new(ends, MUTED.stroke_width(1))).map_err(said)?;
                let label = Text::new(
                    canvas::clean(&reference.label, 60),
                    (reference.at, 0.0),
                    canvas::text_at(MUTED, HPos::Center, VPos::Top),
                );
                area.draw(&label).map_err(said)?;
            }
            Ok(())
        })?;
        Ok(Some(svg))
    }
}

fn clean_label(label: &str) -> String {
    // The trailing space keeps the text off the axis.
    format!("{}\u{2002}", canvas::clean(label, LABEL))
}

fn text_left_of_axis() -> TextStyle<'static> {
    canvas::text_at(INK, HPos::Right, VPos::Center)
}
