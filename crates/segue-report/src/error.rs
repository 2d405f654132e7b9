//! What can go wrong when a report is made.

use std::path::PathBuf;

/// An error of drawing or writing a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A plot could not be drawn.
    #[error("plot `{plot}` could not be drawn: {reason}")]
    Draw {
        /// Title of the plot.
        plot: String,
        /// What the charting library said.
        reason: String,
    },
    /// The file could not be written.
    #[error("{}: the report could not be written: {source}", path.display())]
    Write {
        /// Where it should have gone.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
