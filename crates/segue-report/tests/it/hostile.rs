//! Names from outside are shown, never obeyed.

use segue_report::{
    Axis, Bar, Bars, Bin, Calibration, Cell, Level, Line, Lines, Provenance, Report, Scatter, Section, Table,
};

const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</style></title><script>alert(1)</script>",
    "]]><!-- --><iframe src=//evil.example>",
    "&lt;script&gt;",
    "a\u{202e}b\u{0}c\u{1b}[31m",
];

/// A report that shows `text` in every place that takes text.
fn everywhere(text: &str) -> Report {
    let t = || text.to_owned();
    Report::new(t(), Provenance::new(t(), t(), t()).with(t(), t())).banner(Level::Warning, t()).section(
        Section::new(t())
            .text(t())
            .code(t())
            .table(Table::new(t(), [t(), t()]).row([Cell::text(t()), Cell::text(t())]))
            .plot(
                Lines::new(t(), Axis::new(t()), Axis::new(t()))
                    .about(t())
                    .line(Line::new(t(), [(0.0, 1.0), (1.0, 2.0)]).band([(0.0, 0.5, 1.5), (1.0, 1.5, 2.5)]))
                    .line(Line::new(t(), [(0.0, 2.0)]))
                    .reference(1.0, t()),
            )
            .plot(Bars::new(t(), t()).about(t()).bar(Bar::new(t(), 1.0)).reference(0.5, t()))
            .plot(Scatter::new(t(), Axis::new(t()), Axis::new(t())).series(t(), [(0.0, 0.0, t())]))
            .plot(Calibration::new(t(), [Bin { predicted: 0.1, observed: 0.2, interval: None, n: 3 }])),
    )
}

/// Names of all elements of a page, in order: what a browser would build, whatever the text says.
fn elements(html: &str) -> Vec<String> {
    html.split('<')
        .skip(1)
        .map(|rest| {
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/' || *c == '!').collect()
        })
        .collect()
}

#[test]
fn hostile_names_build_the_same_page_as_harmless_ones() {
    let harmless = elements(&everywhere("markov").to_html().unwrap());
    for text in HOSTILE {
        let html = everywhere(text).to_html().unwrap();
        assert_eq!(elements(&html), harmless, "{text}");
        for bad in ["<script", "<img", "<iframe", "onerror=alert(1)>", "\u{202e}", "\u{0}", "\u{1b}"] {
            assert!(!html.contains(bad), "{bad} from {text}");
        }
    }
}

#[test]
fn quotes_do_not_leave_their_attribute() {
    let html = everywhere("x\" onmouseover=\"alert(1)").to_html().unwrap();
    assert!(!html.contains("\" onmouseover=\""));
}
