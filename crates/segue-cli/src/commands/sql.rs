//! `segue sql`: ask the log and the snapshot.

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use segue_sql::{Catalog, SqlConfig};

use crate::Global;
use crate::output::{self, Format};

/// Ask the log and the snapshot in SQL; read-only.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue sql 'SELECT count(*) AS plays, count(DISTINCT user_id) AS listeners FROM plays'
  segue sql 'SELECT item_id, count(*) AS n FROM plays GROUP BY 1 ORDER BY n DESC LIMIT 10' --json
  segue sql --tables

Schemas: log (default) and snapshot.")]
pub(crate) struct Args {
    /// The query
    #[arg(required_unless_present = "tables")]
    query: Option<String>,
    /// List the tables instead
    #[arg(long)]
    tables: bool,
    /// Memory the query may hold, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory_limit: usize,
    /// Rows to print at most [default: 1000; with `--json` all of up to 1000000, and an error beyond]
    #[arg(long, value_name = "N")]
    max_rows: Option<usize>,
}

/// Rows of a table that people read.
const ROWS_FOR_PEOPLE: usize = 1_000;

/// Rows that a program is given at once.
const ROWS_FOR_PROGRAMS: usize = 1_000_000;

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let max_rows = args.max_rows.unwrap_or(match global.format() {
        Format::Json => ROWS_FOR_PROGRAMS,
        Format::People => ROWS_FOR_PEOPLE,
    });
    let config = SqlConfig {
        memory_limit_bytes: args.memory_limit.saturating_mul(1 << 20),
        n_threads: global.n_threads(),
        max_rows,
    };
    let catalog = Catalog::open(&global.home, &config)?;
    if args.tables {
        return match global.format() {
            Format::Json => output::json(&catalog.tables()),
            Format::People => {
                catalog.tables().iter().for_each(|t| output::line(t));
                Ok(())
            }
        };
    }
    let answer = catalog.query(args.query.as_deref().context("no query")?)?;
    match global.format() {
        // A program that asked for no number of rows would take a part for the whole.
        Format::Json if answer.is_cut && args.max_rows.is_none() => anyhow::bail!(
            "the answer has more than {max_rows} rows\nhint: `--max-rows N` gives the first N; `LIMIT` and `GROUP BY` ask for fewer"
        ),
        Format::Json => output::json(&answer.json)?,
        Format::People => {
            let header: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
            output::table(&header, &answer.text);
        }
    }
    if answer.is_cut {
        global.say(&format!("only the first {max_rows} rows; `--max-rows` shows more"));
    }
    Ok(())
}
