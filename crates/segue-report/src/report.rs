//! A report: what it says, where it comes from, and how it is written.

use std::io::Write;
use std::path::Path;

use crate::ReportError;
use crate::html;
use crate::plot::Plot;
use crate::table::Table;

/// A page of text, tables and plots.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// The one thing a reader should know first.
    pub banner: Option<Banner>,
    /// The content, from top to bottom.
    pub sections: Vec<Section>,
}

/// Where numbers come from: no report without it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// What data: a file, a snapshot id, sizes.
    pub data: String,
    /// How the numbers were made: split, metrics, draws, seed.
    pub protocol: String,
    /// The command that makes the report again.
    pub command: String,
    /// Further facts, name and value: version, data hash, seeds.
    pub more: Vec<(String, String)>,
}

impl Provenance {
    /// Data, protocol and command.
    pub fn new(data: impl Into<String>, protocol: impl Into<String>, command: impl Into<String>) -> Self {
        Self { data: data.into(), protocol: protocol.into(), command: command.into(), more: Vec::new() }
    }

    /// One more fact.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.more.push((name.into(), value.into()));
        self
    }
}

/// How a banner is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All is as it should be.
    Ok,
    /// Read the numbers with care.
    Warning,
    /// Do not act on the numbers.
    Stop,
}

/// The one thing a reader should know first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// How it is meant; written out as a word, so that it does not rest on colour.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// A heading and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// What stands under it, from top to bottom.
    pub parts: Vec<Part>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// Text that keeps its line breaks, in fixed width: a query, a configuration, a log.
    Code(String),
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
}

impl Section {
    /// An empty section.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), parts: Vec::new() }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Adds text that keeps its line breaks.
    #[must_use]
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Code(text.into()));
        self
    }

    /// Adds a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.parts.push(Part::Table(table));
        self
    }

    /// Adds a plot.
    #[must_use]
    pub fn plot(mut self, plot: impl Into<Plot>) -> Self {
        self.parts.push(Part::Plot(plot.into()));
        self
    }
}

impl Report {
    /// A report without content.
    pub fn new(title: impl Into<String>, provenance: Provenance) -> Self {
        Self { title: title.into(), provenance, banner: None, sections: Vec::new() }
    }

    /// Sets the banner.
    #[must_use]
    pub fn banner(mut self, level: Level, text: impl Into<String>) -> Self {
        self.banner = Some(Banner { level, text: text.into() });
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The page. The same report gives the same bytes.
    ///
    /// # Errors
    /// [`ReportError::Draw`] if the charting library refuses a plot.
    pub fn to_html(&self) -> Result<String, ReportError> {
        html::page(self)
    }

    /// Writes the page so that a reader sees all of it or nothing: under a temporary name, synced,
    /// then renamed. Missing folders are made.
    ///
    /// # Errors
    /// [`ReportError::Draw`] as for [`to_html`](Self::to_html); [`ReportError::Write`] names the path.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let html = self.to_html()?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let temporary = folder.join(format!(".{name}.tmp"));
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(html.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|source| ReportError::Write { path: path.to_owned(), source })
    }
}
