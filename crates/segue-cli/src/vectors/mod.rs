//! Every case of every file of a folder of test vectors, through one harness: `segue dev vectors DIR`.
//!
//! Each `NAME.json` has `cases` of `input`, `expected` and `tol`; the file's name is the method. A number
//! matches when `|got − want| ≤ abs + rel |want|`; booleans, texts, whole numbers and orders match exactly; every
//! expected field is required and more is welcome. A method that is not known fails all its cases.

mod input;
mod off_policy;
mod statistics;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

/// Runs one case: its input and the folder, for methods whose input names another file.
type Method = fn(&Value, &Path) -> Result<Value>;

/// What became of one method.
#[derive(Debug, Serialize)]
pub(crate) struct MethodResult {
    /// File name without ending.
    pub(crate) method: String,
    /// Cases that match.
    pub(crate) n_passed: usize,
    /// Cases that do not, in words.
    pub(crate) failures: Vec<String>,
}

/// Runs every case of every JSON file of the folder, files in order of name.
///
/// # Errors
/// A folder without JSON files, or a file that is not a list of cases.
pub(crate) fn run(folder: &Path) -> Result<Vec<MethodResult>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|n| n.strip_suffix(".json")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("{}: no JSON files; a folder of vectors has one per method", folder.display());
    }
    names.into_iter().map(|name| method(folder, name)).collect()
}

fn method(folder: &Path, name: String) -> Result<MethodResult> {
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let file: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let cases = file["cases"].as_array().with_context(|| format!("{}: no list `cases`", path.display()))?;
    let run = statistics::METHODS.iter().chain(off_policy::METHODS).find(|(m, _)| *m == name);
    let mut result = MethodResult { method: name, n_passed: 0, failures: Vec::new() };
    for (at, case) in cases.iter().enumerate() {
        let mut wrong = Vec::new();
        match run.map(|(_, run)| run(&case["input"], folder)) {
            Some(Ok(got)) => compare("", &got, &case["expected"], &case["tol"], &mut wrong),
            Some(Err(error)) => wrong.push(format!("{error:#}")),
            None => wrong.push("this method is not known".to_owned()),
        }
        if wrong.is_empty() {
            result.n_passed += 1;
        } else {
            let id = case["id"].as_str().map_or_else(|| format!("case {at}"), str::to_owned);
            result.failures.push(format!("{id}: {}", wrong.join("; ")));
        }
    }
    Ok(result)
}

/// Every field of `want` in `got`, numbers within the tolerance.
fn compare(path: &str, got: &Value, want: &Value, tol: &Value, wrong: &mut Vec<String>) {
    match want {
        Value::Object(fields) => {
            for (key, want) in fields {
                compare(&format!("{path}.{key}"), &got[key.as_str()], want, tol, wrong);
            }
        }
        Value::Array(items) if got.as_array().is_some_and(|g| g.len() == items.len()) => {
            for (at, want) in items.iter().enumerate() {
                compare(&format!("{path}[{at}]"), &got[at], want, tol, wrong);
            }
        }
        Value::Number(number) if !(number.is_u64() && got.is_u64()) => {
            let at = |key: &str| tol[key].as_f64().unwrap_or(0.0);
            let close = match (number.as_f64(), got.as_f64()) {
                (Some(want), Some(got)) => (got - want).abs() <= at("abs") + at("rel") * want.abs(),
                _ => false,
            };
            if !close {
                wrong.push(format!("{path} is {got}, not {want}"));
            }
        }
        _ if got == want => {}
        _ => wrong.push(format!("{path} is {got}, not {want}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_case_of_every_published_vector_matches() {
        let root = std::env::var_os("SEGUE_DATA").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            PathBuf::from,
        );
        let folder = root.join("experiment-vectors");
        if !folder.is_dir() {
            eprintln!("skipped: {} not found", folder.display());
            return;
        }
        let results = run(&folder).unwrap();
        let failures: Vec<&String> = results.iter().flat_map(|r| &r.failures).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        for (method, _) in statistics::METHODS.iter().chain(off_policy::METHODS) {
            assert!(results.iter().any(|r| r.method == *method), "`{method}` has no file");
        }
    }

    #[test]
    fn a_wrong_number_an_unknown_method_and_an_incomplete_case_fail_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let tol = json!({ "rel": 1e-9, "abs": 1e-12 });
        let cases = json!({ "cases": [
            { "id": "right", "input": { "counts": [10, 10], "weights": [1, 1] }, "expected": { "chi2": 0.0 }, "tol": tol },
            { "id": "wrong", "input": { "counts": [10, 10], "weights": [1, 1] }, "expected": { "chi2": 0.1 }, "tol": tol },
            { "id": "short", "input": { "counts": [10, 10] }, "expected": { "chi2": 0.0 }, "tol": tol },
        ] });
        let write = |name: &str| std::fs::write(folder.path().join(name), cases.to_string()).unwrap();
        write("srm_chi2.json");
        write("unheard_of.json");
        let results = run(folder.path()).unwrap();
        assert_eq!((results[0].n_passed, results[0].failures.len()), (1, 2));
        assert!(results[0].failures[0].starts_with("wrong: .chi2 is 0.0, not 0.1"));
        assert!(results[0].failures[1].starts_with("short: "));
        assert_eq!((results[1].n_passed, results[1].failures.len()), (0, 3));
    }

    #[test]
    fn the_comparison_finds_what_differs() {
        let tol = json!({ "rel": 1e-9, "abs": 1e-12 });
        let wrong = |got: Value, want: Value| {
            let mut wrong = Vec::new();
            compare("", &got, &want, &tol, &mut wrong);
            wrong.len()
        };
        assert_eq!(wrong(json!({ "p": 1.0, "more": 2 }), json!({ "p": 1.000_000_000_1 })), 0);
        assert_eq!(wrong(json!({ "p": 1.0 }), json!({ "p": 1.000_001 })), 1);
        assert_eq!(wrong(json!({ "p": 1e-43 }), json!({ "p": 0.0 })), 0, "below the absolute tolerance");
        assert_eq!(wrong(json!({}), json!({ "p": 1.0 })), 1);
        assert_eq!(wrong(json!([1, 2]), json!([1, 2, 3])), 1);
        assert_eq!(wrong(json!({ "n": 3 }), json!({ "n": 2 })), 1);
        assert_eq!(wrong(json!({ "r": [true, "inf"] }), json!({ "r": [false, "-inf"] })), 2);
        assert_eq!(wrong(json!({ "r": null }), json!({ "r": 4 })), 1);
    }
}
