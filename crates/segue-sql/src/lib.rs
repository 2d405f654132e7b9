//! SQL over the log and the snapshot: read-only, in bounded memory.
//!
//! What sums over listeners, joins or answers an ad hoc question is SQL (what depends on one
//! listener's events in order is a fold, in `segue-data`). DataFusion is alone in this crate: it is
//! half of the build.
//!
//! | schema | tables |
//! |---|---|
//! | `log` (default) | `plays`, `feedback`, `impressions`, `slates`, `candidates`, `items`, `users`, `profiles` |
//! | `snapshot` | Parquet tables of the current snapshot |
//!
//! ```no_run
//! use segue_sql::{Catalog, SqlConfig};
//!
//! let catalog = Catalog::open("segue-home".as_ref(), &SqlConfig::default())?;
//! let answer = catalog.query("SELECT count(*) AS n FROM plays")?;
//! assert_eq!(answer.columns, ["n"]);
//! # Ok::<(), segue_sql::SqlError>(())
//! ```

mod answer;
mod rows;
mod tables;

use std::path::{Path, PathBuf};

use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use futures_util::StreamExt;

pub use answer::Answer;
pub use rows::{Numbers, Rows, Texts, Times};

/// Limits of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlConfig {
    /// Bytes the operators of one query may hold; sorts and joins spill to disk before that.
    pub memory_limit_bytes: usize,
    /// Threads and partitions.
    pub n_threads: usize,
    /// Rows returned at most; the answer says whether there were more.
    pub max_rows: usize,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self { memory_limit_bytes: 2 << 30, n_threads: 2, max_rows: 10_000 }
    }
}

/// What can go wrong with a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The folder is not a home, or has no data yet.
    #[error(
        "no tables in {home}\nhint: run `segue import` to fill the log, or name another folder with `--home`"
    )]
    Empty {
        /// The folder.
        home: PathBuf,
    },
    /// A statement that would change something.
    #[error("`segue sql` only reads; {detail}")]
    NotReadOnly {
        /// What the statement wanted.
        detail: String,
    },
    /// The query is wrong.
    #[error("{message}\ntables: {tables}")]
    Query {
        /// DataFusion's words.
        message: String,
        /// What could have been named.
        tables: String,
    },
    /// The query needs more memory than allowed.
    #[error(
        "the query needs more than {limit_bytes} bytes: {message}\nhint: filter or aggregate earlier, or raise `--memory-limit`"
    )]
    Memory {
        /// The limit.
        limit_bytes: usize,
        /// DataFusion's words.
        message: String,
    },
    /// A column is not of the type it is needed as.
    #[error("column `{name}` cannot be read as {what}: {message}")]
    Column {
        /// The column.
        name: String,
        /// What it should be.
        what: &'static str,
        /// Why not.
        message: String,
    },
    /// Reading failed.
    #[error("{path}: {message}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// The tables of one home folder, ready to be asked.
#[derive(Debug)]
pub struct Catalog {
    context: Context,
    config: SqlConfig,
    tables: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

/// `SessionContext` has no `Debug`; the tables tell what matters.
struct Context(SessionContext);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionContext")
    }
}

impl Catalog {
    /// Registers every Parquet table of `home`; reads schemas only.
    ///
    /// # Errors
    /// [`SqlError::Empty`] if there is no table, [`SqlError::Read`] if a table cannot be read.
    pub fn open(home: &Path, config: &SqlConfig) -> Result<Self, SqlError> {
        let catalog = Self::open_any(home, config)?;
        if catalog.tables.is_empty() {
            return Err(SqlError::Empty { home: home.to_owned() });
        }
        Ok(catalog)
    }

    fn open_any(home: &Path, config: &SqlConfig) -> Result<Self, SqlError> {
        let read = |message: String| SqlError::Read { path: home.to_owned(), message };
        let environment = RuntimeEnvBuilder::new()
            .with_memory_limit(config.memory_limit_bytes, 1.0)
            .build_arc()
            .map_err(|e| read(e.to_string()))?;
        let session = SessionConfig::new()
            .with_target_partitions(config.n_threads.max(1))
            .with_information_schema(true)
            .with_default_catalog_and_schema("segue", "log");
        let context = SessionContext::new_with_config_rt(session, environment);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.n_threads.max(1))
            .enable_all()
            .build()
            .map_err(|e| read(e.to_string()))?;
        let tables = runtime.block_on(tables::register(&context, home))?;
        Ok(Self { context: Context(context), config: config.clone(), tables, runtime })
    }

    /// Names of the tables, `schema.table`, sorted.
    #[must_use]
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Opens a home that may have no table yet, with further tables beside it: `(name, file)`, Parquet or CSV by
    /// the file's ending.
    ///
    /// # Errors
    /// [`SqlError::Read`] for a file that is neither or cannot be read; [`SqlError::Empty`] if there is no table
    /// at all.
    pub fn open_with(home: &Path, files: &[(String, PathBuf)], config: &SqlConfig) -> Result<Self, SqlError> {
        let mut catalog = Self::open_any(home, config)?;
        for (name, path) in files {
            let added = tables::add_file(&catalog.context.0, name, path);
            catalog.runtime.block_on(added)?;
            catalog.tables.push(format!("log.{name}"));
        }
        catalog.tables.sort();
        if catalog.tables.is_empty() {
            return Err(SqlError::Empty { home: home.to_owned() });
        }
        Ok(catalog)
    }

    /// Runs one read-only query and hands its rows on as they come, without a limit and without keeping them.
    ///
    /// Returning an error from `each` stops the query; the error comes back.
    ///
    /// # Errors
    /// As [`Catalog::query`], wrapped in the caller's error.
    pub fn stream<E: From<SqlError>>(
        &self,
        sql: &str,
        mut each: impl FnMut(&Rows<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        self.runtime.block_on(async {
            let explain = |e: DataFusionError| E::from(self.explain(&e));
            let frame = self.context.0.sql_with_options(sql, options).await.map_err(explain)?;
            let mut stream = frame.execute_stream().await.map_err(explain)?;
            while let Some(batch) = stream.next().await {
                each(&Rows::new(&batch.map_err(explain)?))?;
            }
            Ok(())
        })
    }

    /// Runs one read-only query.
    ///
    /// # Errors
    /// [`SqlError::NotReadOnly`] for anything that would write, [`SqlError::Memory`] at the memory
    /// limit, [`SqlError::Query`] for everything else that is wrong with it.
    pub fn query(&self, sql: &str) -> Result<Answer, SqlError> {
        self.runtime.block_on(self.run(sql)).map_err(|e| self.explain(&e))
    }

    async fn run(&self, sql: &str) -> Result<Answer, DataFusionError> {
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = self.context.0.sql_with_options(sql, options).await?;
        // One row more than is returned tells whether there were more.
        let frame = frame.limit(0, Some(self.config.max_rows.saturating_add(1)))?;
        let columns = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
        let batches = frame.collect().await?;
        answer::Answer::from_batches(columns, &batches, self.config.max_rows)
    }

    fn explain(&self, error: &DataFusionError) -> SqlError {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(message) => {
                SqlError::Memory { limit_bytes: self.config.memory_limit_bytes, message: message.clone() }
            }
            root => {
                let message = root.strip_backtrace();
                let writes = ["DDL not supported", "DML not supported", "Statement not supported"];
                if writes.iter().any(|w| message.contains(w)) {
                    return SqlError::NotReadOnly { detail: message };
                }
                SqlError::Query { message, tables: self.tables.join(", ") }
            }
        }
    }
}
