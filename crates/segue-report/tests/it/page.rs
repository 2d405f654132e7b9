//! What every page promises: self-contained, readable without the plots, the same bytes each time.

use segue_report::{Axis, Bar, Bars, Cell, Level, Line, Lines, Provenance, Report, Section, Table};

fn sample() -> Report {
    Report::new("Evaluation", Provenance::new("Beauty.txt", "p-s3", "segue evaluate").with("seed", "0"))
        .banner(Level::Stop, "Arms differ in size.")
        .section(
            Section::new("Models")
                .table(
                    Table::new("Quality", ["model", "NDCG@10", "users"])
                        .row([
                            Cell::text("markov"),
                            Cell::interval(0.0492, 0.0471, 0.0513, 4),
                            Cell::Count(22_311),
                        ])
                        .row([Cell::text("rules")]),
                )
                .plot(
                    Bars::new("NDCG@10", "NDCG@10").bar(Bar::new("markov", 0.0492).interval(0.0471, 0.0513)),
                )
                .plot(
                    Lines::new("Over days", Axis::day("day"), Axis::percent("share"))
                        .line(Line::new("treatment", [(0.0, 0.1), (86_400_000.0, 0.2)]))
                        .line(Line::new("control", [(0.0, 0.1), (86_400_000.0, 0.15)]))
                        .reference(0.0, "no effect"),
                ),
        )
}

#[test]
fn a_page_refers_to_nothing_outside_itself() {
    let html = sample().to_html().unwrap();
    let without_namespace = html.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "src=", "href=", "@import", "url(", "<script", "<link"] {
        assert!(!without_namespace.contains(outside), "{outside}");
    }
}

#[test]
fn every_plot_has_its_numbers_as_a_table_and_a_name() {
    let html = sample().to_html().unwrap();
    let count = |text: &str| html.matches(text).count();
    assert_eq!(count("<figure>"), 2);
    assert_eq!(count("role=\"img\" aria-labelledby=\"plot-"), 2);
    assert_eq!(count("<summary>The numbers of this plot</summary>"), 2);
    assert_eq!(count("<table>"), 3);
    assert!(html.contains("<td>1970-01-02</td>") && html.contains("15.00 %"));
    assert!(html.contains("no effect"));
}

#[test]
fn numbers_stand_to_the_right_and_rows_are_named() {
    let html = sample().to_html().unwrap();
    assert!(html.contains("<th scope=\"row\">markov</th><td class=\"number\">0.0492 [0.0471, 0.0513]</td>"));
    assert!(html.contains("<td class=\"number\">22,311</td>"));
    assert!(html.contains("<th scope=\"row\">rules</th><td class=\"number\"></td>"), "a short row is filled");
}

#[test]
fn the_level_of_a_banner_is_a_word_too() {
    let html = sample().to_html().unwrap();
    assert!(
        html.contains(
            "<p class=\"banner stop\" role=\"note\"><strong>Stop.</strong> Arms differ in size.</p>"
        )
    );
}

#[test]
fn every_colour_of_a_drawing_has_a_name_in_the_style() {
    let html = sample().to_html().unwrap();
    let (style, body) = html.split_once("</style>").unwrap();
    for part in ["fill=\"#", "stroke=\"#"] {
        for rest in body.split(part).skip(1) {
            let rule = format!("[{part}{}\"]", &rest[..6]);
            assert!(style.contains(&rule), "{rule}");
        }
    }
}

#[test]
fn the_same_report_is_the_same_file_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/report.html");
    sample().write(&path).unwrap();
    let first = std::fs::read(&path).unwrap();
    sample().write(&path).unwrap();
    assert_eq!(first, std::fs::read(&path).unwrap());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let error = sample().write(&path.join("below-a-file.html")).unwrap_err().to_string();
    assert!(error.contains("below-a-file.html"), "{error}");
}
