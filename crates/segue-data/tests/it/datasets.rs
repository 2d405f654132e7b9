//! The mappings of `examples/` against the real data sets: every known row arrives.
//!
//! The data are not part of the repository: `$SEGUE_DATA`, else `../shared/data` beside it. Where
//! a set is missing its test says so and passes.

use std::path::{Path, PathBuf};

use segue_data::import::{ImportReport, ImportRequest, Mapping, import};
use segue_data::log::{LogReader, Table};
use segue_data::progress::NoProgress;
use segue_types::{Item, ItemKind, Play, Profile, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_795_219_200_000);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of a data set, or a line that it is missing.
fn folder(name: &str) -> Option<PathBuf> {
    let base = std::env::var_os("SEGUE_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let folder = base.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} not found", folder.display());
    None
}

fn mapping(name: &str) -> Mapping {
    let path = root().join("examples").join(name).join("mapping.toml");
    Mapping::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn run(name: &str) -> Option<(ImportReport, tempfile::TempDir)> {
    let data = folder(name)?;
    let home = tempfile::tempdir().unwrap();
    let mut request = ImportRequest::new(vec![data], home.path(), NOW);
    request.mapping = Some(mapping(name));
    Some((import(&request, &NoProgress).unwrap_or_else(|e| panic!("{name}: {e}")), home))
}

#[track_caller]
fn check_rows(report: &ImportReport, home: &Path, table: Table, n: u64) {
    assert_eq!(report.tables[&table].n_accepted, n, "{table}: {:?}", report.rejects_by_reason);
    assert_eq!(LogReader::new(home).n_rows(table, None).unwrap(), n, "{table} on disk");
}

fn all<R: segue_data::log::LogRow>(home: &Path) -> Vec<R> {
    LogReader::new(home).rows(None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_example_mapping_is_valid() {
    for name in ["ml-100k", "ml-1m", "hetrec2011-lastfm-2k", "lastfm-1k-sample", "situnes"] {
        let m = mapping(name);
        assert_eq!(Mapping::parse(&m.to_toml()).unwrap(), m, "{name}");
    }
}

#[test]
fn ml_100k_has_its_ratings_films_and_people() {
    let Some((report, home)) = run("ml-100k") else { return };
    check_rows(&report, home.path(), Table::Plays, 100_000);
    check_rows(&report, home.path(), Table::Items, 1_682);
    check_rows(&report, home.path(), Table::Users, 943);
    assert!(report.rejects_by_reason.is_empty(), "{:?}", report.rejects_by_reason);
    let (first, last) = report.occurred.unwrap();
    assert_eq!((first.day().to_iso(), last.day().to_iso()), ("1997-09-20".into(), "1998-04-22".into()));
    let items = all::<Item>(home.path());
    let film = items.iter().find(|i| i.item_id == "ml100k:1").unwrap();
    assert_eq!(film.title.as_deref(), Some("Toy Story (1995)"));
    assert_eq!(film.tags, ["Animation", "Children's", "Comedy"]);
    assert_eq!(film.release_day.unwrap().to_iso(), "1995-01-01");
    // ISO-8859-1 in the file.
    assert!(items.iter().any(|i| i.title.as_deref() == Some("Misérables, Les (1995)")));
    // The same files again are the same import.
    let again = {
        let data = folder("ml-100k").unwrap();
        let mut request = ImportRequest::new(vec![data], home.path(), NOW.plus_ms(1_000));
        request.mapping = Some(mapping("ml-100k"));
        import(&request, &NoProgress).unwrap()
    };
    assert_eq!(again.import_id, report.import_id);
    check_rows(&again, home.path(), Table::Plays, 100_000);
}

#[test]
fn ml_1m_keeps_the_order_of_every_sequence() {
    let Some((report, home)) = run("ml-1m") else { return };
    check_rows(&report, home.path(), Table::Profiles, 1_000_209);
    check_rows(&report, home.path(), Table::Items, 3_883);
    check_rows(&report, home.path(), Table::Users, 6_040);
    let first: Vec<String> = all::<Profile>(home.path())
        .into_iter()
        .filter(|p| p.user_id == "ml1m:1")
        .take(3)
        .map(|p| p.item_id)
        .collect();
    assert_eq!(first, ["ml1m:3186", "ml1m:1721", "ml1m:1022"]);
}

#[test]
fn hetrec_is_undated_counts_over_artists() {
    let Some((report, home)) = run("hetrec2011-lastfm-2k") else { return };
    check_rows(&report, home.path(), Table::Profiles, 92_834);
    check_rows(&report, home.path(), Table::Items, 17_632);
    let profiles = all::<Profile>(home.path());
    assert!(profiles.iter().any(
        |p| (p.user_id.as_str(), p.item_id.as_str(), p.n_plays) == ("lastfm2k:2", "lastfm2k:51", 13_883)
    ));
    assert!(all::<Item>(home.path()).iter().all(|i| i.kind == ItemKind::Artist));
    assert_eq!(report.occurred, None);
}

#[test]
fn the_lastfm_sample_has_its_scrobbles() {
    let Some((report, home)) = run("lastfm-1k-sample") else { return };
    check_rows(&report, home.path(), Table::Plays, 5_000);
    let (first, last) = report.occurred.unwrap();
    assert_eq!((first.day().to_iso(), last.day().to_iso()), ("2008-12-08".into(), "2009-05-04".into()));
    let plays = all::<Play>(home.path());
    assert_eq!(plays.iter().filter(|p| p.user_id == "lastfm1k:user_000002").count(), 3);
    assert!(
        plays.iter().any(|p| p.item_id == "lastfm1k:坂本龍一 / Composition 0919 (Live_2009_4_15)"),
        "a track without an MBID is named by its artist and title"
    );
    assert!(all::<Item>(home.path()).len() > 500);
}

#[test]
fn situnes_joins_durations_from_its_music_table() {
    let Some((report, home)) = run("situnes") else { return };
    // Stage 2 reports three plays twice: same listener, track and second.
    let table = &report.tables[&Table::Plays];
    assert_eq!((table.n_read, table.n_duplicates), (600 + 897 + 509, 3));
    check_rows(&report, home.path(), Table::Plays, 2_003);
    check_rows(&report, home.path(), Table::Items, 936);
    let plays = all::<Play>(home.path());
    // 153 interactions lie on items without a row in the music table; 145 rows have no seconds.
    assert_eq!(plays.iter().filter(|p| p.duration_ms.is_none()).count(), 153);
    // Two of the repeated plays have no seconds.
    assert_eq!(plays.iter().filter(|p| p.listened_ms.is_none()).count(), 12 + 133 - 2);
    let first = plays.iter().find(|p| p.occurred_at == TimestampMs(1_625_022_948_000)).unwrap();
    assert_eq!((first.item_id.as_str(), first.listened_ms), ("situnes:132", Some(96_590)));
}
