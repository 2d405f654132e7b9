//! Which folders of a home are tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::CatalogProvider;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::context::SessionContext;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions};

use crate::SqlError;

/// Registers every table of `home` and returns their `schema.table` names, sorted.
pub(crate) async fn register(context: &SessionContext, home: &Path) -> Result<Vec<String>, SqlError> {
    let catalog = Arc::new(MemoryCatalogProvider::new());
    let mut names = Vec::new();
    let mut schemas = vec![("log", home.join("log"))];
    if let Some(snapshot) = current_snapshot(home) {
        schemas.push(("snapshot", snapshot));
    }
    for (schema_name, folder) in schemas {
        let schema = Arc::new(MemorySchemaProvider::new());
        for (table, paths) in tables_in(&folder) {
            let read = |message: String| SqlError::Read { path: paths.clone(), message };
            let provider = listing(context, &paths).await.map_err(|e| read(e.strip_backtrace()))?;
            schema.register_table(table.clone(), provider).map_err(|e| read(e.to_string()))?;
            names.push(format!("{schema_name}.{table}"));
        }
        catalog
            .register_schema(schema_name, schema)
            .map_err(|e| SqlError::Read { path: folder, message: e.to_string() })?;
    }
    context.register_catalog("segue", catalog);
    names.sort();
    Ok(names)
}

async fn listing(
    context: &SessionContext,
    path: &Path,
) -> Result<Arc<ListingTable>, datafusion::error::DataFusionError> {
    let is_folder = path.is_dir();
    let text = if is_folder { format!("{}/", path.display()) } else { path.display().to_string() };
    let url = ListingTableUrl::parse(text)?;
    let mut options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    if is_folder && has_day_folders(path) {
        options = options.with_table_partition_cols(vec![("day".to_owned(), DataType::Utf8)]);
    }
    let config = ListingTableConfig::new(url).with_listing_options(options);
    let config = config.infer_schema(&context.state()).await?;
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// Registers one Parquet or CSV file as a table of the default schema.
pub(crate) async fn add_file(context: &SessionContext, name: &str, path: &Path) -> Result<(), SqlError> {
    let read = |message: String| SqlError::Read { path: path.to_owned(), message };
    if !path.exists() {
        return Err(read("there is no such file".to_owned()));
    }
    let text = path.display().to_string();
    let done = match path.extension().and_then(|e| e.to_str()) {
        Some("parquet") => context.register_parquet(name, &text, ParquetReadOptions::default()).await,
        Some("csv") => {
            // Types from the whole file where it is small, else from its first rows.
            let options = CsvReadOptions::default().schema_infer_max_records(100_000);
            context.register_csv(name, &text, options).await
        }
        _ => return Err(read("a table is a `.parquet` or a `.csv` file".to_owned())),
    };
    done.map_err(|e| read(e.strip_backtrace()))
}

/// The folder of the snapshot that `snapshots/current` names. The name is checked: it comes from a file.
fn current_snapshot(home: &Path) -> Option<PathBuf> {
    let id = std::fs::read_to_string(home.join("snapshots/current")).ok()?;
    let id = id.trim();
    let is_plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_plain.then(|| home.join("snapshots").join(id))
}

/// `name.parquet` files and folders that hold Parquet, at one level below `folder`; sorted by name.
fn tables_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut out: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.to_owned();
            if name.starts_with('.') {
                None
            } else if path.is_dir() {
                holds_parquet(&path).then_some((name, path))
            } else {
                Some((name.strip_suffix(".parquet")?.to_owned(), path))
            }
        })
        .collect();
    out.sort();
    out
}

fn holds_parquet(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() { holds_parquet(&path) } else { path.extension().is_some_and(|e| e == "parquet") }
    })
}

fn has_day_folders(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|e| e.path().is_dir() && e.file_name().to_string_lossy().starts_with("day="))
}
