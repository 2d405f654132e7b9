//! The page: head, provenance, banner, sections; every outside string goes through [`escape`].

use std::fmt::Write;

use crate::ReportError;
use crate::plot::Plot;
use crate::report::{Level, Part, Provenance, Report};
use crate::table::{Cell, Table};

/// Embedded as it is: the page refers to nothing outside itself.
const STYLE: &str = include_str!("style.css");

/// The page forbids itself everything but its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

pub(crate) fn page(report: &Report) -> Result<String, ReportError> {
    let title = escape(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Segue</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<i id=\"light\"></i><i id=\"dark\"></i>\n<main>\n<header>\n<h1>{title}</h1>\n"
    );
    provenance(&mut out, &report.provenance);
    out.push_str("</header>\n");
    if let Some(banner) = &report.banner {
        let (class, word) = match banner.level {
            Level::Ok => ("ok", "OK"),
            Level::Warning => ("warning", "Warning"),
            Level::Stop => ("stop", "Stop"),
        };
        let text = escape(&banner.text);
        push(
            &mut out,
            format_args!("<p class=\"banner {class}\" role=\"note\"><strong>{word}.</strong> {text}</p>\n"),
        );
    }
    let mut n_plots = 0;
    for section in &report.sections {
        push(&mut out, format_args!("<section>\n<h2>{}</h2>\n", escape(&section.heading)));
        for part in &section.parts {
            match part {
                Part::Text(text) => push(&mut out, format_args!("<p>{}</p>\n", escape(text))),
                Part::Code(text) => {
                    push(&mut out, format_args!("<pre tabindex=\"0\">{}</pre>\n", escape(text)))
                }
                Part::Table(table) => self::table(&mut out, table),
                Part::Plot(plot) => {
                    n_plots += 1;
                    figure(&mut out, plot, n_plots)?;
                }
            }
        }
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(out)
}

fn provenance(out: &mut String, from: &Provenance) {
    out.push_str("<dl class=\"provenance\">\n");
    let fixed = [("data", &from.data), ("protocol", &from.protocol), ("command", &from.command)];
    for (name, value) in fixed.into_iter().chain(from.more.iter().map(|(n, v)| (n.as_str(), v))) {
        if !value.is_empty() {
            let tag = if name == "command" { ("<code>", "</code>") } else { ("", "") };
            push(
                out,
                format_args!("<dt>{}</dt><dd>{}{}{}</dd>\n", escape(name), tag.0, escape(value), tag.1),
            );
        }
    }
    out.push_str("</dl>\n");
}

fn table(out: &mut String, table: &Table) {
    // A wide table scrolls by itself; the keyboard can reach it.
    push(
        out,
        format_args!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n<table>\n",
            escape(&table.caption)
        ),
    );
    if !table.caption.is_empty() {
        push(out, format_args!("<caption>{}</caption>\n", escape(&table.caption)));
    }
    let class = |column: usize| if table.is_numeric(column) { " class=\"number\"" } else { "" };
    out.push_str("<thead><tr>");
    for (column, name) in table.header.iter().enumerate() {
        push(out, format_args!("<th scope=\"col\"{}>{}</th>", class(column), escape(name)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for column in 0..table.header.len() {
            let text = escape(&row.get(column).map_or_else(String::new, Cell::to_text));
            if column == 0 {
                push(out, format_args!("<th scope=\"row\">{text}</th>"));
            } else {
                push(out, format_args!("<td{}>{text}</td>", class(column)));
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn figure(out: &mut String, plot: &Plot, number: usize) -> Result<(), ReportError> {
    let drawn = plot.svg()?;
    let (title, about) = (escape(plot.title()), escape(plot.about()));
    push(out, format_args!("<figure>\n<figcaption id=\"plot-{number}\"><strong>{title}</strong>"));
    if !about.is_empty() {
        push(out, format_args!(" <span>{about}</span>"));
    }
    out.push_str("</figcaption>\n");
    let legend = plot.legend();
    if legend.len() > 1 {
        out.push_str("<ul class=\"legend\">");
        for (i, (mark, name)) in legend.iter().enumerate() {
            let class = i % crate::plot::N_COLOURS + 1;
            push(
                out,
                format_args!(
                    "<li><span class=\"series-{class}\" aria-hidden=\"true\">{mark}</span> {}</li>",
                    escape(name)
                ),
            );
        }
        out.push_str("</ul>\n");
    }
    match drawn {
        Some(svg) => push(
            out,
            format_args!(
                "<div class=\"plot\" role=\"img\" aria-labelledby=\"plot-{number}\">\n{svg}</div>\n"
            ),
        ),
        None => out.push_str("<p class=\"empty\">There is nothing to draw.</p>\n"),
    }
    out.push_str("<details><summary>The numbers of this plot</summary>\n");
    table(out, &plot.table());
    out.push_str("</details>\n</figure>\n");
    Ok(())
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// Text for element content and for attributes in double quotes. Characters that HTML does not allow
/// (controls but tab and line ends) and marks that turn the direction of text are shown as `�`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(shown(c)),
        }
    }
    out
}

/// The character itself, or `�` for one that must not reach the page.
pub(crate) fn shown(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in any::<String>()) {
            let safe = escape(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            let back = safe
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, text.chars().map(shown).collect::<String>());
        }
    }
}
