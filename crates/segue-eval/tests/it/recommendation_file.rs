//! Recommendations from a file are judged like any model's.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use segue_data::OwnedSequences;
use segue_eval::{Dataset, EvalError, NoObserver, RecommendationFile, evaluate};

use crate::support::protocol;

fn ids(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

fn read(text: &str) -> Result<(RecommendationFile, f64, usize), EvalError> {
    let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 2], vec![2, 0]]);
    let (users, items) = (ids("u", 3), ids("i", 3));
    let dataset = Dataset { user_ids: Some(&users), item_ids: Some(&items), ..Dataset::from(data.view()) };
    let file = RecommendationFile::read(text.as_bytes(), b',', &dataset)?;
    let report = evaluate(&protocol(&["mrr"], &[2]), &dataset, &[("file", &file)], &NoObserver)?;
    let mrr = report.models[0].metrics[0].value.unwrap_or(f64::NAN);
    Ok((file, mrr, report.models[0].n_users_unanswered))
}

#[test]
fn ranks_decide_whatever_the_order_of_lines_and_seen_items_are_left_out() {
    // u0 saw i0: its first line is skipped and i1 moves up. u1's target i2 is second. u2 has no line.
    let (file, mrr, unanswered) =
        read("rank,user_id,item_id,score\n7,u0,i1,x\n1,u0,i0,x\n2,u1,i2,x\n1,u1,i0,x\n").unwrap();
    assert_eq!((file.n_users(), unanswered), (2, 1));
    assert!((mrr - (1.0 + 0.5 + 0.0) / 3.0).abs() < 1e-12, "{mrr}");
}

#[test]
fn lines_that_cannot_be_used_are_named() {
    for (text, line, word) in [
        ("user_id,item_id\nu0,i1\n", 1, "`rank`"),
        ("user_id,item_id,rank\nu0,i1,1\nu9,i1,1\n", 3, "`u9`"),
        ("user_id,item_id,rank\nu0,album,1\n", 2, "`album`"),
        ("user_id,item_id,rank\nu0,i1,0\n", 2, "rank `0`"),
        ("user_id,item_id,rank\nu0,i1,1\nu0,i2,1\n", 3, "rank 1 twice"),
        ("user_id,item_id,rank\nu0,i1,1\nu0,i1,2\n", 3, "item `i1` twice"),
        ("user_id,item_id,rank\nu0,i1\n", 2, "fields"),
    ] {
        match read(text).unwrap_err() {
            EvalError::Recommendations { line: got, what, .. } => {
                assert!(got == line && what.contains(word), "line {got}: {what}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn data_without_ids_cannot_be_matched() {
    let data = OwnedSequences::from_items(1, [vec![0]]);
    let error =
        RecommendationFile::read(&b"user_id,item_id,rank\n"[..], b',', &data.view().into()).unwrap_err();
    assert!(error.to_string().contains("external ids"), "{error}");
}

/// Opens a file as the data of [`read`] sees it.
fn open(path: &Path, users: &[String], items: &[String]) -> Result<RecommendationFile, EvalError> {
    let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 2], vec![2, 0]]);
    let dataset = Dataset { user_ids: Some(users), item_ids: Some(items), ..Dataset::from(data.view()) };
    RecommendationFile::open(path, &dataset)
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn the_kind_of_file_is_told_by_its_name_and_ids_may_be_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (users, items) = (ids("u", 3), ids("i", 3));
    let parquet = folder.path().join("r.parquet");
    let text = |words: [&str; 2]| Arc::new(StringArray::from(words.to_vec())) as ArrayRef;
    let ranks = Arc::new(Int64Array::from(vec![2, 1])) as ArrayRef;
    write_parquet(
        &parquet,
        vec![("user_id", text(["u0", "u0"])), ("item_id", text(["i2", "i1"])), ("rank", ranks.clone())],
    );
    assert_eq!(open(&parquet, &users, &items).unwrap().n_users(), 1);
    let tsv = folder.path().join("r.tsv");
    std::fs::write(&tsv, "user_id\titem_id\trank\nu1\ti2\t1\n").unwrap();
    assert_eq!(open(&tsv, &users, &items).unwrap().n_users(), 1);

    let numbers = Arc::new(Int64Array::from(vec![0, 1])) as ArrayRef;
    let plain: Vec<String> = (0..3).map(|i| i.to_string()).collect();
    let columns = vec![("user_id", numbers.clone()), ("item_id", numbers), ("rank", ranks)];
    write_parquet(&parquet, columns);
    assert_eq!(open(&parquet, &plain, &plain).unwrap().n_users(), 2);
}

#[test]
fn broken_files_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let (users, items) = (ids("u", 3), ids("i", 3));
    let message = |name: &str| open(&folder.path().join(name), &users, &items).unwrap_err().to_string();
    assert!(message("nowhere.csv").contains("nowhere.csv"));
    std::fs::write(folder.path().join("not.parquet"), "user_id,item_id,rank\n").unwrap();
    assert!(message("not.parquet").contains("Parquet"));
    let one = Arc::new(StringArray::from(vec!["u0"])) as ArrayRef;
    write_parquet(&folder.path().join("two.parquet"), vec![("user_id", one.clone()), ("item_id", one)]);
    assert!(message("two.parquet").contains("`rank`"));
    let missing = Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef;
    let columns = vec![("user_id", missing.clone()), ("item_id", missing.clone()), ("rank", missing)];
    write_parquet(&folder.path().join("null.parquet"), columns);
    assert!(message("null.parquet").contains("user `` is not in the data"));
}
