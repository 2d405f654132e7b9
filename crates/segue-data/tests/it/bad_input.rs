//! The rows of the bad-input table of the design that concern files: what is wrong is named,
//! counted or refused, and an import that fails leaves nothing.

use segue_data::import::{Caps, ImportError, ImportRequest, Mapping, import};
use segue_data::log::{LogReader, Table};
use segue_data::progress::NoProgress;
use segue_types::RejectReason;

use crate::exports::{PLAYS_CSV, SPOTIFY, gz, import_files, parquet_plays, request, zip_of, zst};

/// Imports files that must be refused; the home folder must stay as it was.
#[track_caller]
fn refused(files: &[(&str, &[u8])], change: impl FnOnce(&mut ImportRequest)) -> ImportError {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut request = request(files, folder.path(), home.path());
    change(&mut request);
    let error = import(&request, &NoProgress).expect_err("must be refused");
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?} left after: {error}");
    error
}

const GOOD: usize = 200;

/// 200 good rows around one bad one.
fn around(bad: &str) -> String {
    let mut csv =
        String::from("event_id,user_id,item_id,occurred_at,ended_at,listened_ms,duration_ms,end_reason\n");
    for n in 0..GOOD {
        if n == 100 {
            csv += bad;
            csv.push('\n');
        }
        csv += &format!("e{n},ada,t{n},{},,1000,2000,next\n", 1_700_000_000 + n);
    }
    csv
}

#[test]
fn a_bad_row_is_rejected_with_its_reason_and_the_rest_goes_on() {
    use RejectReason as R;
    for (bad, reason, says) in [
        ("x", R::MissingColumn, "`user_id` is empty"),
        ("x,ada,,1700000000,,,,", R::MissingColumn, "`item_id` is empty"),
        ("x,ada,t,1700000000,,1000,2000,exploded", R::UnknownValue, "`end_reason` is `exploded`"),
        ("x,ada,t,1700000000,,-5,2000,next", R::BadDuration, "`listened_ms` is `-5`"),
        ("x,ada,t,1700000000,,5,99999999999,next", R::BadDuration, "`duration_ms`"),
        ("x,ada,t,1700000000,,many,2000,next", R::BadNumber, "`listened_ms` is `many`"),
        ("x,ada,t,4000000000,,5,2000,next", R::FutureTimestamp, "`occurred_at`"),
        ("x,ada,t,soon,,5,2000,next", R::BadTimestamp, "`occurred_at` is `soon`"),
        ("x,ada,t,-99999999999,,5,2000,next", R::BadTimestamp, "`occurred_at`"),
        ("x,ada,t,1700000000,1600000000,5,2000,next", R::TimeOrder, "`ended_at`"),
        ("e7,ada,t,1700000000,,5,2000,next", R::Duplicate, "accepted before"),
        (&format!("x,{},t,1700000000,,5,2000,next", "u".repeat(300)), R::BadId, "`user_id`"),
        ("x,a\u{7}b,t,1700000000,,5,2000,next", R::BadId, "`user_id`"),
    ] {
        let got = import_files(&[("plays.csv", around(bad).as_bytes())], None);
        let table = &got.report.tables[&Table::Plays];
        assert_eq!(
            (table.n_accepted, table.n_rejected),
            (GOOD as u64, 1),
            "{bad}: {:?}",
            got.report.reject_samples
        );
        let sample = &got.report.reject_samples[0];
        assert_eq!((sample.reason, sample.row), (reason, 101), "{bad}: {}", sample.message);
        assert!(sample.message.contains(says), "{bad}: {}", sample.message);
        let kept = std::fs::read_to_string(got.report.rejects_file.as_ref().unwrap()).unwrap();
        assert!(kept.contains(reason.as_str()) && kept.lines().count() == 1, "{kept}");
    }
}

#[test]
fn a_malformed_json_line_is_one_reject() {
    let mut text = String::new();
    for n in 0..100 {
        text +=
            &format!("{{\"user_id\":\"ada\",\"item_id\":\"t{n}\",\"occurred_at\":{}}}\n", 1_700_000_000 + n);
    }
    text += "{\"user_id\":\"ada\",\n[1]\n";
    let got = import_files(&[("plays.jsonl", text.as_bytes())], None);
    assert_eq!(got.report.rejects_by_reason["plays: malformed"], 2);
    assert_eq!(got.report.tables[&Table::Plays].n_accepted, 100);
}

#[test]
fn too_many_rejects_fail_with_reasons_and_sample_rows_and_leave_nothing() {
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for n in 0..100 {
        csv += &format!("ada,t{n},{}\n", if n % 10 == 0 { "soon" } else { "1700000000" });
    }
    let error = refused(&[("plays.csv", csv.as_bytes())], |_| {});
    let text = error.to_string();
    assert!(
        text.contains("10 of 100 rows rejected") && text.contains("bad_timestamp") && text.contains("row 1:"),
        "{text}"
    );
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut lenient = request(&[("plays.csv", csv.as_bytes())], folder.path(), home.path());
    lenient.max_reject_share = 0.2;
    assert_eq!(import(&lenient, &NoProgress).unwrap().tables[&Table::Plays].n_accepted, 90);
}

#[test]
fn a_failed_import_leaves_an_earlier_one_alone() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = request(&[("plays.csv", PLAYS_CSV.as_bytes())], folder.path(), home.path());
    import(&good, &NoProgress).unwrap();
    let before = LogReader::new(home.path()).parts(Table::Plays, None).unwrap();
    std::fs::write(folder.path().join("plays.csv"), "user_id,item_id,occurred_at\nada,t,soon\n").unwrap();
    import(&good, &NoProgress).unwrap_err();
    assert_eq!(LogReader::new(home.path()).parts(Table::Plays, None).unwrap(), before);
    assert!(!home.path().join("rejects").exists());
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused_by_name() {
    for (name, bytes, says) in [
        ("plays.parquet", PLAYS_CSV.as_bytes().to_vec(), "Parquet"),
        ("plays.csv", parquet_plays(), "its content is Parquet"),
        ("plays.csv.gz", PLAYS_CSV.as_bytes().to_vec(), "gzip"),
        ("plays.csv.zst", gz(PLAYS_CSV.as_bytes()), "its name says zstd, its content is gzip"),
        ("plays.zip", PLAYS_CSV.as_bytes().to_vec(), "a zip archive"),
        ("plays.csv", b"user_id,item_id\n\x00\x01\x02".to_vec(), "binary"),
        ("plays.json", PLAYS_CSV.as_bytes().to_vec(), "neither `{` nor `[`"),
    ] {
        let error = refused(&[(name, &bytes)], |_| {});
        let text = error.to_string();
        assert!(matches!(error, ImportError::NotWhatItSays { .. }), "{name}: {text}");
        assert!(text.contains(name) && text.contains(says), "{name}: {text}");
    }
}

#[test]
fn a_truncated_file_is_refused_with_its_name_and_offset() {
    let csv = around("x,ada,t,1700000000,,5,2000,next");
    let parquet = parquet_plays();
    let zip = zip_of(&[("plays.csv", csv.as_bytes())]);
    for (name, bytes) in [
        ("plays.csv.gz", gz(csv.as_bytes())),
        ("plays.csv.zst", zst(csv.as_bytes())),
        ("plays.parquet", parquet),
        ("plays.zip", zip),
        ("Streaming_History_Audio_1.json", SPOTIFY.as_bytes().to_vec()),
    ] {
        let cut = &bytes[..bytes.len() * 2 / 3];
        let error = refused(&[(name, cut)], |_| {});
        let text = error.to_string();
        assert!(matches!(error, ImportError::Corrupt { .. }), "{name}: {text}");
        assert!(
            text.contains(name) && text.contains("at byte") && text.contains("expected"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_wrong_encoding_is_refused_with_its_offset_and_a_stated_one_is_read() {
    let latin = b"item_id,title\n1,plain\n2,caf\xe9\n";
    let error = refused(&[("items.csv", latin)], |_| {});
    let text = error.to_string();
    assert!(matches!(error, ImportError::Encoding { offset: 22, .. }), "{text}");
    assert!(text.contains("items.csv") && text.contains("UTF-8") && text.contains("hint"), "{text}");
    let mapping = "[[source]]\ntable = \"items\"\nfile = \"items.csv\"\nencoding = \"iso-8859-1\"\n[source.columns]\nitem_id = \"item_id\"\ntitle = \"title\"";
    let got = import_files(&[("items.csv", latin)], Some(mapping));
    let titles: Vec<_> = got.rows::<segue_types::Item>().into_iter().filter_map(|i| i.title).collect();
    assert_eq!(titles, ["plain", "café"]);
    let wrong = mapping.replace("iso-8859-1", "utf-16le");
    refused(&[("items.csv", latin)], |r| r.mapping = Some(Mapping::parse(&wrong).unwrap()));
}

#[test]
fn bombs_stop_at_the_caps() {
    let row = format!("ada,t1,1700000000,{}\n", " ".repeat(8_000));
    let bomb = format!("user_id,item_id,occurred_at,note\n{}", row.repeat(8_000)).into_bytes();
    for (name, bytes) in [
        ("plays.csv.gz", gz(&bomb)),
        ("plays.csv.zst", zst(&bomb)),
        ("p.zip", zip_of(&[("plays.csv", &bomb)])),
    ] {
        let error = refused(&[(name, &bytes)], |_| {});
        assert!(matches!(error, ImportError::TooLarge { option: "max_ratio", .. }), "{name}: {error}");
    }
    let error = refused(&[("plays.csv", &bomb)], |r| {
        r.caps = Caps { max_file_bytes: 1 << 20, ..Caps::default() };
        r.max_reject_share = 1.0;
    });
    assert!(matches!(error, ImportError::TooLarge { option: "max_file_bytes", .. }), "{error}");
    // A quote that never closes must not swallow the file into one field.
    let open = format!("user_id,item_id,occurred_at\n\"{}", "x".repeat(4 << 20));
    let error = refused(&[("plays.csv", open.as_bytes())], |r| {
        r.caps = Caps { max_record_bytes: 1 << 20, ..Caps::default() };
    });
    assert!(matches!(error, ImportError::TooLarge { option: "max_record_bytes", .. }), "{error}");
}

#[test]
fn a_zip_member_that_leads_out_of_its_archive_is_refused() {
    for member in ["../../etc/plays.csv", "/plays.csv", "a/../../plays.csv"] {
        let zip = zip_of(&[(member, PLAYS_CSV.as_bytes())]);
        let error = refused(&[("plays.zip", &zip)], |_| {});
        assert!(matches!(error, ImportError::UnsafeMember { .. }), "{member}: {error}");
    }
    let many: Vec<(String, &[u8])> = (0..20).map(|n| (format!("{n}.csv"), &b""[..])).collect();
    let members: Vec<(&str, &[u8])> = many.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    let error = refused(&[("plays.zip", &zip_of(&members))], |r| {
        r.caps = Caps { max_members: 10, ..Caps::default() };
    });
    assert!(matches!(error, ImportError::TooLarge { option: "max_members", .. }), "{error}");
}

#[test]
fn files_that_are_no_table_are_refused_with_what_was_seen() {
    let error = refused(&[("numbers.csv", b"a,b\n1,2\n")], |_| {});
    assert!(error.to_string().contains("no table fits its columns (a, b)"), "{error}");
    let error = refused(&[("plays.csv", b"user_id,item_id,occurred_at\n")], |_| {});
    assert!(error.to_string().contains("have no rows"), "{error}");
    let error = refused(&[("readme.md", b"hello")], |_| {});
    assert!(error.to_string().contains("hint: write a mapping"), "{error}");
    let error = refused(&[], |_| {});
    assert!(error.to_string().contains("there are no files"), "{error}");
}

#[test]
fn a_mapping_that_does_not_fit_says_what_there_is() {
    let mapping = |text: &str| Mapping::parse(text).unwrap();
    let base = "[[source]]\ntable = \"plays\"\nfile = \"plays.csv\"\n[source.columns]\nuser_id = \"listener\"\nitem_id = \"item_id\"\noccurred_at = \"occurred_at\"";
    let error = refused(&[("plays.csv", PLAYS_CSV.as_bytes())], |r| r.mapping = Some(mapping(base)));
    assert!(
        error.to_string().contains("there is no column `listener`; the file has event_id, user_id"),
        "{error}"
    );
    let other = base.replace("plays.csv", "listens.csv");
    let error = refused(&[("plays.csv", PLAYS_CSV.as_bytes())], |r| r.mapping = Some(mapping(&other)));
    assert!(error.to_string().contains("no file matches; there are plays.csv"), "{error}");
    for (text, says) in [
        ("", "no `[[source]]`"),
        ("[[source]]\ntable = \"songs\"\nfile = \"x\"\ncolumns = {}", "unknown variant `songs`"),
        ("[[source]]\ntable = \"plays\"\nfile = \"x\"\ncolumns.user_id = 0", "needs the column `item_id`"),
        ("[[source]]\ntable = \"users\"\nfile = \"x\"\nencoding = \"ebcdic\"\ncolumns.user_id = 0", "WHATWG"),
    ] {
        let error = Mapping::parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
