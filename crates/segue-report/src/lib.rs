//! The one look of tables, plots and self-contained HTML pages.
//!
//! A [`Report`] is a title, its [`Provenance`] (data, protocol, command), an optional [`Banner`] and
//! sections of text, [`Table`]s and [`Plot`]s. [`Report::to_html`] gives one page without any
//! reference to another file or host: it opens offline, follows the light or dark setting of the
//! reader, prints, and every plot carries its numbers as a table beside it. Whatever comes from
//! outside (names of models, items, experiments) is escaped.
//!
//! ```
//! use segue_report::{Bar, Bars, Cell, Level, Provenance, Report, Section, Table};
//!
//! let table = Table::new("Quality", ["model", "NDCG@10"])
//!     .row([Cell::text("markov"), Cell::interval(0.0492, 0.0471, 0.0513, 4)]);
//! let bars = Bars::new("NDCG@10 by model", "NDCG@10")
//!     .bar(Bar::new("markov", 0.0492).interval(0.0471, 0.0513));
//! let html = Report::new("Evaluation", Provenance::new("Beauty.txt", "p-s3", "segue evaluate"))
//!     .banner(Level::Ok, "Every model was asked about the same listeners.")
//!     .section(Section::new("Models").text("Best first.").table(table).plot(bars))
//!     .to_html()?;
//! assert!(html.starts_with("<!doctype html>"));
//! # Ok::<(), segue_report::ReportError>(())
//! ```

mod error;
mod html;
mod plot;
mod report;
mod table;

pub use error::ReportError;
pub use plot::{
    Axis, Bar, Bars, Bin, Calibration, Line, Lines, Plot, Point, PointSeries, Reference, Scatter, Ticks,
};
pub use report::{Banner, Level, Part, Provenance, Report, Section};
pub use table::{Cell, Table, p_value};
