//! What every kind of plot shares: frame, ticks, colours, marks and reference lines.
//!
//! The drawing is SVG of `plotters`, in the light colours; `style.css` maps each to its name.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use segue_types::TimestampMs;

use super::{Axis, Reference, Ticks};
use crate::html::shown;
use crate::table::Cell;

pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) const INK: RGBColor = RGBColor(0x16, 0x18, 0x1f);
pub(super) const MUTED: RGBColor = RGBColor(0x56, 0x5c, 0x6b);
const GRID: RGBColor = RGBColor(0xdc, 0xde, 0xe6);
const SERIES: [RGBColor; N_COLOURS] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xb8, 0x77, 0x00),
    RGBColor(0x00, 0x80, 0x5c),
    RGBColor(0xa8, 0x49, 0x7c),
    RGBColor(0x8a, 0x7d, 0x00),
    RGBColor(0xc0, 0x4f, 0x00),
];
/// Distinct colours of series; with the four marks, twelve series look different.
pub(crate) const N_COLOURS: usize = 6;
/// Opacity of bands.
pub(super) const FAINT: f64 = 0.18;

/// Width of every drawing, in its own units; the page scales it.
pub(super) const WIDTH: u32 = 880;
/// Height of drawings whose height does not depend on their data.
pub(super) const HEIGHT: u32 = 340;
const TEXT: u32 = 16;

/// What is around the data.
pub(super) struct Frame<'a> {
    pub(super) height: u32,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    pub(super) x_range: (f64, f64),
    pub(super) y_range: (f64, f64),
    /// Left margin for labels written by the body in place of ticks.
    pub(super) own_y_labels: Option<u32>,
}

/// Colour of series number `i`.
pub(super) fn colour(i: usize) -> RGBColor {
    SERIES[i % SERIES.len()]
}

/// Sign of series number `i` in the legend; [`draw_mark`] draws it.
pub(super) fn mark(i: usize) -> char {
    ['●', '■', '▲', '✕'][i % 4]
}

/// Draws a frame and what `body` puts in it.
pub(super) fn draw(
    frame: &Frame<'_>,
    body: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), String>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, frame.height)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(10)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(frame.own_y_labels.unwrap_or(76))
            .build_cartesian_2d(frame.x_range.0..frame.x_range.1, frame.y_range.0..frame.y_range.1)
            .map_err(said)?;
        let (x_span, y_span) = (frame.x_range.1 - frame.x_range.0, frame.y_range.1 - frame.y_range.0);
        let x_text = |v: &f64| tick(*v, x_span, frame.x.ticks);
        let y_text = |v: &f64| tick(*v, y_span, frame.y.ticks);
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(MUTED)
            .label_style(text_style(MUTED))
            .axis_desc_style(text_style(MUTED))
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&x_text)
            .y_label_formatter(&y_text)
            .x_desc(clean(&frame.x.label, 90));
        if frame.own_y_labels.is_some() {
            mesh.disable_y_mesh().y_labels(0);
        } else {
            mesh.y_desc(clean(&frame.y.label, 40));
        }
        mesh.draw().map_err(said)?;
        body(&mut chart)?;
        root.present().map_err(said)?;
    }
    Ok(svg)
}

/// The charting library's error as text: its types are not ours to show.
pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn text_style(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&colour)
}

/// The same with an anchor.
pub(super) fn text_at(colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    text_style(colour).pos(Pos::new(h, v))
}

/// A label cut to `n` characters, without characters that must not reach the page.
pub(super) fn clean(text: &str, n: usize) -> String {
    let mut out: String = text.chars().map(shown).take(n).collect();
    if text.chars().nth(n).is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// The mark of series number `i` at a point, distinct without colour.
pub(super) fn draw_mark(chart: &mut Chart<'_, '_>, i: usize, (x, y): (f64, f64)) -> Result<(), String> {
    let style = colour(i).filled();
    let area = chart.plotting_area();
    match mark(i) {
        '●' => area.draw(&Circle::new((x, y), 4, style)),
        '■' => area.draw(&(EmptyElement::at((x, y)) + Rectangle::new([(-4, -4), (4, 4)], style))),
        '▲' => area.draw(&TriangleMarker::new((x, y), 6, style)),
        _ => area.draw(&Cross::new((x, y), 4, colour(i).stroke_width(2))),
    }
    .map_err(said)
}

/// Horizontal reference lines with their labels at the right end.
pub(super) fn draw_references(
    chart: &mut Chart<'_, '_>,
    references: &[Reference],
    x_range: (f64, f64),
) -> Result<(), String> {
    for reference in references.iter().filter(|r| is_drawable(r.at)) {
        let ends = vec![(x_range.0, reference.at), (x_range.1, reference.at)];
        chart.plotting_area().draw(&PathElement::new(ends, MUTED.stroke_width(1))).map_err(said)?;
        let label = Text::new(
            clean(&reference.label, 60),
            (x_range.1, reference.at),
            text_at(MUTED, HPos::Right, VPos::Bottom),
        );
        chart.plotting_area().draw(&label).map_err(said)?;
    }
    Ok(())
}

/// Whether a value is finite and so far from overflow that a range around it is, too.
pub(super) fn is_drawable(value: f64) -> bool {
    value.abs() < 1e300
}

/// The range that holds all drawable values with a little air; `None` without any.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .into_iter()
        .filter(|v| is_drawable(*v))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return None;
    }
    let span = high - low;
    // One value, or values that differ by rounding only: room around it.
    let air = if span > 1e-9 * low.abs().max(high.abs()) { 0.05 * span } else { 0.5 * high.abs().max(1e-3) };
    Some((low - air, high + air))
}

/// A value of an axis as a cell of the table beside the plot.
pub(super) fn cell(value: f64, ticks: Ticks) -> Cell {
    if !value.is_finite() {
        return Cell::Missing;
    }
    match ticks {
        Ticks::Number => {
            // Four significant digits, and whole numbers as they are.
            let is_whole = value == value.trunc() && value.abs() < 1e15;
            let magnitude = value.abs().max(1e-12).log10().floor();
            Cell::number(value, if is_whole { 0 } else { (3.0 - magnitude).clamp(0.0, 9.0) as usize })
        }
        Ticks::Percent => Cell::percent(value, 2),
        Ticks::Day => Cell::text(TimestampMs(value as i64).day().to_iso()),
    }
}

/// Text of a tick: as many digits as the span of the axis asks for.
fn tick(value: f64, span: f64, ticks: Ticks) -> String {
    let number = |value: f64, span: f64| {
        let digits = (1.5 - span.abs().max(1e-12).log10()).ceil().clamp(0.0, 9.0) as usize;
        if value.abs() >= 1e6 {
            return format!("{value:.1e}");
        }
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        if text == "-0" { "0".to_owned() } else { text.replacen('-', "−", 1) }
    };
    match ticks {
        Ticks::Number => number(value, span),
        Ticks::Percent => format!("{} %", number(100.0 * value, 100.0 * span)),
        Ticks::Day => TimestampMs(value as i64).day().to_iso(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_their_axis_needs() {
        assert_eq!(tick(0.05, 0.1, Ticks::Number), "0.05");
        assert_eq!(tick(-0.0, 1.0, Ticks::Number), "0");
        assert_eq!(tick(100.0, 500.0, Ticks::Number), "100");
        assert_eq!(tick(-2.5, 10.0, Ticks::Number), "−2.5");
        assert_eq!(tick(0.25, 1.0, Ticks::Percent), "25 %");
        assert_eq!(tick(86_400_000.0, 1e9, Ticks::Day), "1970-01-02");
    }

    #[test]
    fn a_range_has_room_for_one_value_and_none_for_nothing() {
        assert_eq!(range([]), None);
        assert_eq!(range([f64::NAN, f64::INFINITY]), None);
        let (low, high) = range([3.0, 3.0]).unwrap();
        assert!(low < 3.0 && high > 3.0);
        let (low, high) = range([0.0, 1.0]).unwrap();
        assert!((low + 0.05).abs() < 1e-12 && (high - 1.05).abs() < 1e-12);
    }

    #[test]
    fn labels_are_cut_with_a_sign() {
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("abcd", 4), "abcd");
        assert_eq!(clean("a\u{202e}b\u{0}", 9), "a\u{fffd}b\u{fffd}");
    }
}
