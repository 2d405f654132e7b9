//! The mapping: which files are which table, and which of their columns are which of ours.
//!
//! ```toml
//! id_prefix = "shop:"
//!
//! [[source]]
//! table = "plays"
//! file = "events/*.csv"
//! delimiter = ";"
//! columns.user_id = "listener"                     # by name
//! columns.item_id = { column = 3, template = "{artist} / {title}" }   # by index; if empty, composed
//! columns.occurred_at = { column = "when", time = "unix_s" }
//! columns.listened_ms = { column = "heard", unit = "s" }
//! columns.duration_ms = { column = "song.length", unit = "s" }        # from the join below
//! columns.end_reason = { column = "why", map = { fwd = "next", "*" = "other" } }
//! columns.surface = { value = "radio" }
//!
//! [[source.join]]
//! name = "song"
//! file = "songs.csv"
//! key = "id"
//! on = "song_id"
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImportError;
use super::read::{Format, Layout};
use crate::log::Table;

/// A whole mapping: one TOML file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Put before every id of the files, so that data sets do not collide.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id_prefix: String,
    /// The tables to fill. A file may feed several.
    #[serde(default)]
    pub source: Vec<SourceMapping>,
}

/// Fills one table from the files of one pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceMapping {
    /// The table to fill.
    pub table: Table,
    /// How the files are read.
    #[serde(flatten)]
    pub file: FileMapping,
    /// Keeps only rows whose column has one of these values; `"*"` is any value but empty.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<String, Vec<String>>,
    /// From this 0-based field on, every field of a row is a row of its own, reachable as the
    /// column `each`: for files with a listener and all their items on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode_from: Option<usize>,
    /// Whether the file may be missing without an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Other files whose columns are looked up by key, as `name.column`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<JoinMapping>,
    /// Our column → where it comes from.
    pub columns: BTreeMap<String, Spec>,
}

/// Which files, and how their bytes become rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileMapping {
    /// Pattern over the path below the folder given, or over the file's name; `*` is anything.
    /// `.gz` and `.zst` endings and letter case do not count.
    pub file: String,
    /// Format; from the name and the first bytes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Between fields of delimited text, one or more characters; `,` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// The quoting character; empty switches quoting off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Whether the first row names the columns; true where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Text encoding by its WHATWG name, such as `iso-8859-1`; UTF-8 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Lines before the header or the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_rows: Option<u64>,
    /// Values that mean "absent", besides the empty one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null: Vec<String>,
}

/// A file looked up by key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinMapping {
    /// Prefix of its columns in this source.
    pub name: String,
    /// How the file is read.
    #[serde(flatten)]
    pub file: FileMapping,
    /// The key column of the joined file.
    pub key: Spec,
    /// The column of this source to look up.
    pub on: Spec,
}

/// A source column by name or by 0-based index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnRef {
    /// By 0-based index.
    Index(usize),
    /// By name; for JSON a dotted name goes into objects.
    Name(String),
}

/// Where one of our columns comes from: a source column, or more in a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spec {
    /// Just a column.
    Column(ColumnRef),
    /// A column with options.
    Full(Box<FullSpec>),
}

/// A source column with options. The first of `column`, `columns`, `template`, `value` that is
/// not empty gives the value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullSpec {
    /// A column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnRef>,
    /// The first of these that is not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnRef>,
    /// Text with `{name}` or `{0}` for columns; empty if all of them are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A constant. `{listener}` is the listener named in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Format of a timestamp or date; told by its looks where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeFormat>,
    /// Unit of a duration; milliseconds where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// A column of milliseconds to subtract from a timestamp, for sources that log the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minus_ms: Option<ColumnRef>,
    /// Source value → our value; `"*"` is every other value. Without `"*"`, other values stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// Splits a text into a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// A list from flag columns: the names of those that are `1` or `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<Flags>,
    /// The value is a whole number, whatever it is written as: `874.0` reads as `874`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub integer: bool,
    /// Put before the value, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Consecutive flag columns that become a list of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    /// 0-based index of the first flag.
    pub from: usize,
    /// Name of each flag, in column order.
    pub names: Vec<String>,
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since 1970, fractions allowed.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// ISO 8601; without a zone it is UTC.
    Iso8601,
    /// A day such as `01-Jan-1995`.
    DayMonYear,
    /// A year.
    Year,
}

/// Unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Seconds, fractions allowed.
    S,
    /// Microseconds.
    Us,
}

impl Mapping {
    /// Reads a mapping and checks its names.
    ///
    /// # Errors
    /// If it is not TOML of this shape, or names a column its table does not have.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let mapping: Self =
            toml::from_str(text).map_err(|e| ImportError::mapping(None, e.to_string().trim_end()))?;
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), ImportError> {
        if self.source.is_empty() {
            return Err(ImportError::mapping(None, "it has no `[[source]]`; each fills one table"));
        }
        for source in &self.source {
            let known = target_columns(source.table);
            for name in source.columns.keys() {
                if !known.contains(&name.as_str()) {
                    return Err(ImportError::mapping(
                        Some(&source.file.file),
                        format!(
                            "table `{}` has no column `{name}`; it has {}",
                            source.table,
                            known.join(", ")
                        ),
                    ));
                }
            }
            for name in required_columns(source.table) {
                if !source.columns.contains_key(*name) {
                    return Err(ImportError::mapping(
                        Some(&source.file.file),
                        format!(
                            "table `{}` needs the column `{name}`; say where it comes from",
                            source.table
                        ),
                    ));
                }
            }
            source.file.layout(Format::Csv)?;
            for join in &source.join {
                join.file.layout(Format::Csv)?;
            }
        }
        Ok(())
    }

    /// The mapping as TOML, for reports and for keeping.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

impl FileMapping {
    /// Whether this pattern takes a file. `name` is its path below the folder given, lower case,
    /// without a compression ending.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let pattern = self.file.to_ascii_lowercase();
        let base = name.rsplit('/').next().unwrap_or(name);
        glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), base.as_bytes())
    }

    pub(crate) fn layout(&self, format: Format) -> Result<Layout, ImportError> {
        let wrong = |detail: String| ImportError::mapping(Some(&self.file), detail);
        let encoding = match &self.encoding {
            None => encoding_rs::UTF_8,
            Some(name) => encoding_rs::Encoding::for_label(name.as_bytes()).ok_or_else(|| {
                wrong(format!("`encoding` is `{name}`; it is a WHATWG name such as `utf-8`"))
            })?,
        };
        let delimiter = self.delimiter.clone().unwrap_or_else(|| ",".into());
        if delimiter.is_empty() {
            return Err(wrong("`delimiter` is empty; it has one character or more".into()));
        }
        let quote = match self.quote.as_deref() {
            None => Some(b'"'),
            Some("") => None,
            Some(q) if q.len() == 1 => Some(q.as_bytes()[0]),
            Some(q) => return Err(wrong(format!("`quote` is `{q}`; it is one ASCII character or empty"))),
        };
        let header = self.header.unwrap_or(true);
        Ok(Layout { format, delimiter, quote, header, encoding, skip_rows: self.skip_rows.unwrap_or(0) })
    }
}

/// Columns of ours a mapping may fill.
pub(crate) fn target_columns(table: Table) -> Vec<&'static str> {
    use crate::log::schema as s;
    table
        .columns()
        .iter()
        .map(|c| c.0)
        .filter(|n| ![s::BUCKET, s::KNOWN_AT, s::RECORD].contains(n))
        .chain((table == Table::Candidates).then_some(s::COMPOSED_AT))
        .collect()
}

/// Columns of ours a mapping must fill.
pub(crate) fn required_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Plays => &["user_id", "item_id", "occurred_at"],
        Table::Feedback => &["user_id", "target_id", "kind", "occurred_at"],
        Table::Impressions => &["user_id", "item_id", "slate_id", "position", "shown_at"],
        Table::Slates => &["slate_id", "surface", "composed_at"],
        Table::Candidates => &["slate_id", "item_id", "composed_at"],
        Table::Items => &["item_id"],
        Table::Users => &["user_id"],
        Table::Profiles => &["user_id", "item_id"],
    }
}

/// `*` matches anything, `/` included.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((sp, st)) = star {
            p = sp + 1;
            t = st + 1;
            star = Some((sp, st + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_path_or_the_name() {
        let takes = |pattern: &str, name: &str| glob(pattern.as_bytes(), name.as_bytes());
        assert!(takes("stage*/interactions.csv", "stage2/interactions.csv"));
        assert!(takes("*streaming_history_audio_*.json", "a/streaming_history_audio_2019_3.json"));
        assert!(!takes("u.data", "u.data2"));
        assert!(takes("*", ""));
        assert!(!takes("a*b", "a"));
    }

    #[test]
    fn a_mapping_that_names_an_unknown_column_says_which_there_are() {
        let text = "[[source]]\ntable = \"profiles\"\nfile = \"x\"\ncolumns.user = 0";
        let error = Mapping::parse(text).unwrap_err().to_string();
        assert!(error.contains("has no column `user`; it has user_id, item_id, n_plays"), "{error}");
    }

    #[test]
    fn a_mapping_survives_toml() {
        let text = "[[source]]\ntable = \"plays\"\nfile = \"x\"\n[source.where]\npage = [\"NextSong\"]\n[source.columns]\nuser_id = 0\nitem_id = { column = 1, template = \"{a}\" }\noccurred_at = { column = \"t\", time = \"unix_s\" }";
        let mapping = Mapping::parse(text).unwrap();
        assert_eq!(Mapping::parse(&mapping.to_toml()).unwrap(), mapping);
    }
}
