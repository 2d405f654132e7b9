//! Whatever the numbers are, a plot is drawn or says that there is nothing to draw.

use proptest::prelude::*;
use segue_report::{
    Axis, Bar, Bars, Bin, Calibration, Line, Lines, Plot, Provenance, Report, Scatter, Section,
};

fn html(plot: impl Into<Plot>) -> String {
    let from = Provenance::new("", "", "");
    Report::new("t", from).section(Section::new("s").plot(plot)).to_html().unwrap()
}

fn odd() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -2.0..2.0_f64,
        1 => any::<f64>(),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(0.0),
        1 => Just(1e-300),
        1 => Just(1.7e12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn odd_numbers_never_panic(values in proptest::collection::vec((odd(), odd(), odd()), 0..8)) {
        let axis = || Axis::new("a");
        let line = Line::new("l", values.iter().map(|v| (v.0, v.1))).band(values.iter().copied());
        let lines = Lines::new("p", Axis::day("d"), axis()).line(line).reference(values.first().map_or(0.0, |v| v.2), "r");
        let scatter = Scatter::new("p", axis(), Axis::percent("s")).series("s", values.iter().map(|v| (v.0, v.1, "x")));
        let mut bars = Bars::new("p", "v").reference(0.1, "r");
        bars.bars = values.iter().map(|v| Bar::new("b", v.0).interval(v.1, v.2)).collect();
        let bins = values.iter().map(|v| Bin { predicted: v.0, observed: v.1, interval: Some([v.2, v.1]), n: 1 });
        for page in [html(lines), html(scatter), html(bars), html(Calibration::new("p", bins))] {
            prop_assert!(!page.contains("NaN") && !page.contains("inf"));
        }
    }
}

#[test]
fn no_points_are_said_in_words() {
    for plot in [
        Plot::from(Lines::default()),
        Bars::default().into(),
        Scatter::default().into(),
        Calibration::default().into(),
        Lines::default().line(Line::new("l", [(f64::NAN, 1.0)])).into(),
        Bars::default().bar(Bar::new("b", f64::NAN)).into(),
    ] {
        let page = html(plot.clone());
        assert!(page.contains("There is nothing to draw."), "{plot:?}");
        assert!(!page.contains("<svg"));
    }
}

#[test]
fn a_gap_parts_a_line() {
    let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 2.0)];
    let page = html(Lines::new("p", Axis::new("x"), Axis::new("y")).line(Line::new("l", points)));
    let pieces = page.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#0072B2\"").count();
    assert_eq!(pieces, 2);
}

#[test]
fn bars_begin_at_zero_and_keep_their_order() {
    let page = html(Bars::new("p", "v").bar(Bar::new("first", 2.0)).bar(Bar::new("second", 4.0)));
    // The widths of the two bars stand 1 to 2.
    let widths: Vec<f64> = page
        .split("<rect ")
        .skip(1)
        .filter(|r| r.contains("#0072B2"))
        .filter_map(|r| r.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    assert_eq!(widths.len(), 2);
    assert!((widths[1] / widths[0] - 2.0).abs() < 0.02, "{widths:?}");
    assert!(page.find("first").unwrap() < page.find("second").unwrap());
}
