//! `segue sql` reads the tables of a home folder, refuses to write and stays within its memory.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use segue_sql::{Catalog, SqlConfig, SqlError};
use serde_json::json;

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (day, items, heard) in
        [("2024-01-01", ["a", "b"], [10_i64, 20]), ("2024-01-02", ["a", "c"], [30, 40])]
    {
        write(
            &home.path().join(format!("log/plays/day={day}/part-0.parquet")),
            vec![
                ("item_id", Arc::new(StringArray::from(items.to_vec())) as ArrayRef),
                ("listened_ms", Arc::new(Int64Array::from(heard.to_vec()))),
            ],
        );
    }
    let snapshot = home.path().join("snapshots/s1");
    write(
        &snapshot.join("items.parquet"),
        vec![("item_id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)],
    );
    std::fs::write(home.path().join("snapshots/current"), "s1\n").unwrap();
    home
}

#[test]
fn joins_log_and_snapshot_and_sees_the_day_column() {
    let home = home();
    let catalog = Catalog::open(home.path(), &SqlConfig::default()).unwrap();
    assert_eq!(catalog.tables(), ["log.plays", "snapshot.items"]);
    let answer = catalog
        .query(
            "SELECT day, sum(listened_ms) AS heard FROM plays JOIN snapshot.items USING (item_id) \
             GROUP BY day ORDER BY day",
        )
        .unwrap();
    assert_eq!(answer.columns, ["day", "heard"]);
    assert_eq!(
        answer.json,
        [json!({"day": "2024-01-01", "heard": 10}), json!({"day": "2024-01-02", "heard": 30})]
    );
    assert_eq!(answer.text, [["2024-01-01", "10"], ["2024-01-02", "30"]]);
}

#[test]
fn a_statement_that_writes_is_refused() {
    let home = home();
    let catalog = Catalog::open(home.path(), &SqlConfig::default()).unwrap();
    let target = home.path().join("stolen.csv");
    for sql in [
        "DROP TABLE plays".to_owned(),
        "INSERT INTO plays VALUES ('x', 1, '2024-01-01')".to_owned(),
        format!("COPY plays TO '{}'", target.display()),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
    ] {
        let error = catalog.query(&sql).unwrap_err();
        assert!(matches!(error, SqlError::NotReadOnly { .. }), "{sql}: {error}");
    }
    assert!(!target.exists());
    assert_eq!(catalog.query("SELECT * FROM plays").unwrap().text.len(), 4);
}

#[test]
fn a_file_outside_the_home_is_not_a_table() {
    let home = home();
    let catalog = Catalog::open(home.path(), &SqlConfig::default()).unwrap();
    let error = catalog.query("SELECT * FROM '/etc/passwd'").unwrap_err();
    assert!(matches!(error, SqlError::Query { .. }), "{error}");
}

#[test]
fn a_wrong_name_is_answered_with_the_tables_there_are() {
    let home = home();
    let catalog = Catalog::open(home.path(), &SqlConfig::default()).unwrap();
    let message = catalog.query("SELECT * FROM plais").unwrap_err().to_string();
    assert!(message.contains("log.plays, snapshot.items"), "{message}");
}

#[test]
fn the_row_limit_is_said() {
    let home = home();
    let catalog = Catalog::open(home.path(), &SqlConfig { max_rows: 3, ..SqlConfig::default() }).unwrap();
    let answer = catalog.query("SELECT * FROM plays").unwrap();
    assert_eq!((answer.text.len(), answer.json.len(), answer.is_cut), (3, 3, true));
    assert!(!catalog.query("SELECT count(*) FROM plays").unwrap().is_cut);
}

#[test]
fn a_query_over_the_memory_limit_is_an_error() {
    let home = home();
    let config = SqlConfig { memory_limit_bytes: 64 << 10, n_threads: 1, ..SqlConfig::default() };
    let catalog = Catalog::open(home.path(), &config).unwrap();
    let error = catalog
        .query(
            "SELECT count(DISTINCT a.value * 1000003 + b.value) FROM generate_series(1, 3000) a \
             CROSS JOIN generate_series(1, 100) b",
        )
        .unwrap_err();
    assert!(matches!(error, SqlError::Memory { .. }), "{error}");
}

#[test]
fn an_empty_folder_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let message = Catalog::open(folder.path(), &SqlConfig::default()).unwrap_err().to_string();
    assert!(message.contains("segue import"), "{message}");
}
