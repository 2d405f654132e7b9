//! Output: data to stdout, all else to stderr; a table for people or JSON for machines.

use std::io::Write;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent};
use serde::Serialize;

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and sentences.
    People,
    /// One JSON document.
    Json,
}

/// Prints a JSON document.
///
/// # Errors
/// If the value cannot be serialised (a map with keys that are no strings).
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints a line of data. A reader that went away (`| head`) ends the command quietly.
pub(crate) fn line(text: &str) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Tells people what happens; never part of the data.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a table: the first column to the left, numbers to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    line(&table_text(header, rows));
}

/// The text of a table.
pub(crate) fn table_text(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    for between_rows in [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(between_rows);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let numeric = rows.iter().all(|r| {
            r.get(i).is_none_or(|c| {
                c.is_empty() || c.starts_with(|ch: char| ch.is_ascii_digit() || "+-−.".contains(ch))
            })
        });
        if i > 0 && numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
