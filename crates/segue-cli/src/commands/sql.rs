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
    /// Rows to print at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_rows: usize,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = SqlConfig {
        memory_limit_bytes: args.memory_limit.saturating_mul(1 << 20),
        n_threads: global.n_threads(),
        max_rows: args.max_rows,
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
        Format::Json => output::json(&answer.json)?,
        Format::People => {
            let header: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
            output::table(&header, &answer.text);
        }
    }
    if answer.is_cut {
        global.say(&format!("only the first {} rows; `--max-rows` shows more", args.max_rows));
    }
    Ok(())
}
