//! Exports and tables of others as they come: Spotify, ListenBrainz, and tables without a mapping.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use segue_data::import::{ImportReport, ImportRequest, Mapping, import};
use segue_data::log::{LogReader, LogRow, LogWriter, Table, WriterOptions};
use segue_data::progress::{NoProgress, Progress};
use segue_types::{
    EndReason, Feedback, FeedbackKind, Impression, Item, ItemKind, Play, Profile, StartReason, Surface,
    TimestampMs, User,
};

pub(crate) const NOW: TimestampMs = TimestampMs(1_795_219_200_000);

pub(crate) const SPOTIFY: &str = r#"[
  {"ts":"2020-03-01T10:03:20Z","username":null,"platform":"android","ms_played":200000,"conn_country":"SE","master_metadata_track_name":"Northern Light, pt. \"2\"","master_metadata_album_artist_name":"The Fjords","master_metadata_album_album_name":"Tides","spotify_track_uri":"spotify:track:1","episode_name":null,"episode_show_name":null,"spotify_episode_uri":null,"reason_start":"clickrow","reason_end":"trackdone","shuffle":false,"skipped":false,"offline":false,"offline_timestamp":null,"incognito_mode":false},
  {"ts":"2020-03-01T10:03:25Z","ms_played":5000,"master_metadata_track_name":"[Interlude]","master_metadata_album_artist_name":"The Fjords","master_metadata_album_album_name":"Tides","spotify_track_uri":"spotify:track:2","spotify_episode_uri":null,"reason_start":"trackdone","reason_end":"fwdbtn","shuffle":true,"skipped":true,"offline":true,"offline_timestamp":1583057000},
  {"ts":"2020-03-02T07:30:00Z","ms_played":1800000,"master_metadata_track_name":null,"spotify_track_uri":null,"episode_name":"On rain","episode_show_name":"Weather Talk","spotify_episode_uri":"spotify:episode:9","reason_start":"clickrow","reason_end":"unexpected-exit","shuffle":false,"offline":false},
  {"ts":"2020-03-02T08:00:00Z","ms_played":30000,"master_metadata_track_name":"Northern Light, pt. \"2\"","master_metadata_album_artist_name":"The Fjords","master_metadata_album_album_name":"Tides","spotify_track_uri":"spotify:track:1","spotify_episode_uri":null,"reason_start":"appload","reason_end":"logout","shuffle":false,"offline":false}
]"#;

pub(crate) const LISTENBRAINZ: &str = r#"{"listened_at":1700000000,"track_metadata":{"track_name":"Blue Tram","artist_name":"Ada Quay","release_name":"Lines","additional_info":{"duration_ms":180000,"recording_msid":"m1"},"mbid_mapping":{"recording_mbid":"b1","recording_name":"Blue Tram","artist_mbids":["a1"],"release_mbid":"r1"}}}
{"listened_at":1700000300,"track_metadata":{"track_name":"Unmapped","artist_name":"Nobody","additional_info":{}}}
{"listened_at":1700000600,"user_name":"quay","track_metadata":{"track_name":"Blue Tram","artist_name":"Ada Quay","mbid_mapping":{"recording_mbid":"b1","artist_mbids":["a1"]}}}
"#;

pub(crate) const PLAYS_CSV: &str = "event_id,user_id,item_id,occurred_at,listened_ms,end_reason
e1,ada,t1,2024-01-01T08:00:00Z,45000,next
e2,ada,\"t,2\",2024-01-01T08:01:00Z,200000,track_done
e3,bob,t1,2024-01-02T09:00:00+01:00,,
e4,bob,t3,2024-01-03 09:00:00,31000,stop
";

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        out.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// A part of a log as somebody's Parquet file.
pub(crate) fn parquet_plays() -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::new(home.path(), "t", WriterOptions::default()).unwrap();
    for n in 0..50 {
        let at = TimestampMs(1_700_000_000_000 + n * 1_000);
        writer
            .write_one(&Play::new(&format!("e{n}"), &format!("u{}", n % 5), &format!("t{}", n % 7), at))
            .unwrap();
    }
    writer.finish(NOW, "a", false).unwrap();
    let part = LogReader::new(home.path()).parts(Table::Plays, None).unwrap().remove(0);
    std::fs::read(part.path).unwrap()
}

pub(crate) struct Imported {
    pub(crate) report: ImportReport,
    pub(crate) home: tempfile::TempDir,
}

impl Imported {
    pub(crate) fn rows<R: LogRow>(&self) -> Vec<R> {
        LogReader::new(self.home.path()).rows(None).unwrap().map(Result::unwrap).collect()
    }
}

pub(crate) fn request(files: &[(&str, &[u8])], folder: &Path, home: &Path) -> ImportRequest {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    ImportRequest::new(vec![folder.to_owned()], home, NOW)
}

pub(crate) fn import_files(files: &[(&str, &[u8])], mapping: Option<&str>) -> Imported {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut request = request(files, folder.path(), home.path());
    request.mapping = mapping.map(|m| Mapping::parse(m).unwrap());
    let report = import(&request, &NoProgress).unwrap_or_else(|e| panic!("{e}"));
    Imported { report, home }
}

#[test]
fn a_spotify_zip_becomes_plays_tracks_and_episodes_in_one_call() {
    let zip = zip_of(&[
        ("Spotify Extended Streaming History/Streaming_History_Audio_2020_1.json", SPOTIFY.as_bytes()),
        ("Spotify Extended Streaming History/ReadMe.pdf", b"%PDF-1.4 \x00"),
    ]);
    let got = import_files(&[("my_spotify_data.zip", &zip)], None);
    let mut plays = got.rows::<Play>();
    plays.sort_by_key(|p| p.occurred_at);
    let first = &plays[0];
    assert_eq!((first.user_id.as_str(), first.item_id.as_str()), ("me", "spotify:track:1"));
    assert_eq!(
        first.occurred_at,
        TimestampMs(1_583_056_800_000),
        "the start is the end minus what was heard"
    );
    assert_eq!(first.ended_at, Some(TimestampMs(1_583_057_000_000)));
    assert_eq!(first.listened_ms, Some(200_000));
    assert_eq!(
        (first.start_reason, first.end_reason),
        (Some(StartReason::Click), Some(EndReason::TrackDone))
    );
    assert_eq!(
        (plays[1].end_reason, plays[1].shuffle, plays[1].offline),
        (Some(EndReason::Next), Some(true), Some(true))
    );
    assert_eq!(plays[2].end_reason, Some(EndReason::Crash));
    assert_eq!(plays[3].end_reason, Some(EndReason::Logout));
    let items = got.rows::<Item>();
    assert_eq!(items.len(), 3);
    let track = items.iter().find(|i| i.item_id == "spotify:track:1").unwrap();
    assert_eq!(track.title.as_deref(), Some("Northern Light, pt. \"2\""));
    assert_eq!(
        (&track.artist_ids[..], &track.artist_names[..]),
        (&["artist:The Fjords".to_owned()][..], &["The Fjords".to_owned()][..])
    );
    assert!(items.iter().any(|i| i.kind == ItemKind::Episode && i.title.as_deref() == Some("On rain")));
    assert!(got.report.is_inferred && got.report.rejects_by_reason.is_empty());
}

#[test]
fn an_unpacked_spotify_folder_and_a_listener_of_choice_work_too() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = "MyData/Streaming_History_Audio_2020.json";
    let mut request = request(&[(name, SPOTIFY.as_bytes())], folder.path(), home.path());
    request.listener = "ada".into();
    let report = import(&request, &NoProgress).unwrap();
    assert_eq!(report.tables[&Table::Plays].n_accepted, 4);
    let plays: Vec<Play> = LogReader::new(home.path()).rows(None).unwrap().map(Result::unwrap).collect();
    assert!(plays.iter().all(|p| p.user_id == "ada"));
}

#[test]
fn a_listenbrainz_zip_becomes_plays_items_and_feedback_in_one_call() {
    let feedback = br#"{"created":1700000700,"score":1,"recording_mbid":"b1","recording_msid":"m1"}
{"created":1700000800,"score":-1,"recording_mbid":null,"recording_msid":"m2"}
{"created":1700000900,"score":0,"recording_mbid":"b1"}
"#;
    let zip = zip_of(&[
        ("user.json", br#"{"user_id": 7, "username": "quay"}"#),
        ("listens/2023/11.jsonl", LISTENBRAINZ.as_bytes()),
        ("feedback.jsonl", feedback),
    ]);
    let got = import_files(&[("listenbrainz_quay.zip", &zip)], None);
    let mut plays = got.rows::<Play>();
    plays.sort_by_key(|p| p.occurred_at);
    let ids: Vec<_> = plays.iter().map(|p| (p.user_id.as_str(), p.item_id.as_str())).collect();
    assert_eq!(ids, [("me", "b1"), ("me", "Nobody / Unmapped"), ("quay", "b1")]);
    assert_eq!(plays[0].duration_ms, Some(180_000));
    assert_eq!(got.report.tables[&Table::Items].n_repeated, 1);
    let items = got.rows::<Item>();
    assert_eq!(items.iter().find(|i| i.item_id == "b1").unwrap().artist_ids, ["a1"]);
    let kinds: BTreeMap<_, _> = got.rows::<Feedback>().into_iter().map(|f| (f.target_id, f.kind)).collect();
    assert_eq!(kinds["b1"], FeedbackKind::Like);
    assert_eq!(kinds["m2"], FeedbackKind::Dislike);
    assert_eq!(got.report.tables[&Table::Feedback].n_left_out, 1, "a score of 0 says nothing");
}

#[test]
fn the_same_rows_come_out_of_every_format_and_packing() {
    let jsonl = r#"{"event_id":"e1","user_id":"ada","item_id":"t1","occurred_at":"2024-01-01T08:00:00Z","listened_ms":45000,"end_reason":"next"}
{"event_id":"e2","user_id":"ada","item_id":"t,2","occurred_at":"2024-01-01T08:01:00Z","listened_ms":200000,"end_reason":"track_done"}
{"event_id":"e3","user_id":"bob","item_id":"t1","occurred_at":"2024-01-02T09:00:00+01:00","listened_ms":null}
{"event_id":"e4","user_id":"bob","item_id":"t3","occurred_at":"2024-01-03 09:00:00","listened_ms":31000,"end_reason":"stop"}
"#;
    let array = format!("[{}]", jsonl.trim_end().replace('\n', ",\n"));
    let csv = PLAYS_CSV.as_bytes();
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(PLAYS_CSV.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let want = import_files(&[("plays.csv", csv)], None).rows::<Play>();
    assert_eq!(want.len(), 4);
    assert_eq!(want.iter().find(|p| p.event_id == "e3").unwrap().occurred_at, TimestampMs(1_704_182_400_000));
    for (name, bytes) in [
        ("plays.csv.gz", gz(csv)),
        ("plays.csv.zst", zst(csv)),
        ("plays.txt", csv.to_vec()),
        ("plays.csv", [b"\xef\xbb\xbf", csv].concat()),
        ("plays.csv", utf16),
        ("plays.zip", zip_of(&[("a/plays.csv", csv)])),
        ("plays.zip", zip_of(&[("a/plays.csv.zst", &zst(csv))])),
        ("plays.jsonl", jsonl.as_bytes().to_vec()),
        ("plays.jsonl.gz", gz(jsonl.as_bytes())),
        ("plays.json", array.into_bytes()),
    ] {
        assert_eq!(import_files(&[(name, &bytes)], None).rows::<Play>(), want, "{name}");
    }
}

#[test]
fn a_part_of_the_log_is_a_parquet_file_like_any_other() {
    let bytes = parquet_plays();
    let got = import_files(&[("old.parquet", &bytes)], None);
    assert_eq!(got.report.tables[&Table::Plays].n_accepted, 50);
    let packed = import_files(&[("old.zip", &zip_of(&[("x/old.parquet", &bytes)]))], None);
    assert_eq!(packed.rows::<Play>(), got.rows::<Play>());
    assert_eq!(got.rows::<Play>()[0].occurred_at.0 / 100_000_000, 17_000);
}

#[test]
fn names_of_others_and_units_are_inferred() {
    let csv = "Listener;Track ID;Artist;Song;Played At;Length\nada;t1;Quay;Blue Tram;1700000000;181.5\nbob;t2;Fjords;Tides;1700000100;240\n";
    let got = import_files(&[("history.csv", csv.as_bytes())], None);
    let plays = got.rows::<Play>();
    assert_eq!(plays.len(), 2, "{}", got.report.mapping);
    let play = plays.iter().find(|p| p.user_id == "ada").unwrap();
    assert_eq!((play.occurred_at, play.duration_ms), (TimestampMs(1_700_000_000_000), Some(181_500)));
    assert_eq!(got.rows::<Item>().len(), 2, "titles in a play log are items, too");
    let counts = "userID\tartistID\tweight\n2\t51\t13883\n";
    assert_eq!(import_files(&[("user_artists.dat", counts.as_bytes())], Some("[[source]]\ntable=\"profiles\"\nfile=\"*\"\ndelimiter=\"\\t\"\n[source.columns]\nuser_id=\"userID\"\nitem_id=\"artistID\"\nn_plays=\"weight\"")).rows::<Profile>()[0].n_plays, 13_883);
}

#[test]
fn every_table_can_be_imported_through_a_mapping() {
    let mapping = r#"
[[source]]
table = "feedback"
file = "acts.csv"
[source.columns]
user_id = "who"
target_id = "what"
kind = { column = "act", map = { heart = "like", "*" = "hide" } }
occurred_at = { column = "when", time = "unix_ms" }

[[source]]
table = "impressions"
file = "seen.jsonl"
[source.columns]
user_id = "u"
item_id = "card.item"
slate_id = "s"
position = "card.at"
shown_at = { column = "t", time = "iso8601" }
visible_ms = { column = "secs", unit = "s" }

[[source]]
table = "slates"
file = "served.csv"
delimiter = "|"
[source.columns]
slate_id = "id"
user_id = "u"
surface = { value = "home" }
composed_at = "t"
slate_propensity = "p"

[[source]]
table = "candidates"
file = "cands.csv"
[source.columns]
slate_id = "s"
item_id = "i"
composed_at = "t"
sources = { column = "from", split = "+" }
prefix_propensity = "p"

[[source]]
table = "users"
file = "people.csv"
null = ["NA"]
[source.columns]
user_id = "u"
market = "country"
consent = "ok"
"#;
    let got = import_files(
        &[
            ("acts.csv", b"who,what,act,when\nada,t1,heart,1700000000000\nada,t2,block,1700000000001\n"),
            (
                "seen.jsonl",
                br#"{"u":"ada","s":"s1","card":{"item":"t1","at":3},"t":"2024-01-01T00:00:00Z","secs":1.5}"#,
            ),
            ("served.csv", b"id|u|t|p\ns1|ada|1700000000|0.25\ns2||1700000001|\n"),
            ("cands.csv", b"s,i,t,from,p\ns1,t1,1700000000,popular+colisten,0.5\n"),
            ("people.csv", b"u,country,ok\nada,SE,yes\nbob,NA,0\n"),
        ],
        Some(mapping),
    );
    let kinds: Vec<_> = got.rows::<Feedback>().iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [FeedbackKind::Like, FeedbackKind::Hide]);
    let seen = &got.rows::<Impression>()[0];
    assert_eq!((seen.item_id.as_str(), seen.position, seen.visible_ms), ("t1", 3, Some(1_500)));
    let slates = got.rows::<segue_data::log::SlateRow>();
    assert!(slates.iter().all(|s| s.surface == Surface::Home));
    assert_eq!(slates.iter().filter(|s| s.user_id.is_none()).count(), 1, "an anonymous slate has no user");
    let candidate = &got.rows::<segue_data::log::CandidateRow>()[0];
    assert_eq!(
        (candidate.sources.join(" "), candidate.prefix_propensity),
        ("popular colisten".into(), Some(0.5))
    );
    let users: BTreeMap<_, _> = got.rows::<User>().into_iter().map(|u| (u.user_id.clone(), u)).collect();
    assert_eq!((users["ada"].market.as_deref(), users["ada"].consent), (Some("SE"), Some(true)));
    assert_eq!((users["bob"].market.as_deref(), users["bob"].consent), (None, Some(false)));
}

#[test]
fn a_dry_run_shows_mapping_rows_and_rejects_and_writes_nothing() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for n in 0..30 {
        csv += &format!(
            "ada,t{n},{}\n",
            if n == 7 { "never".to_owned() } else { (1_700_000_000 + n).to_string() }
        );
    }
    let mut request = request(&[("plays.csv", csv.as_bytes())], folder.path(), home.path());
    request.dry_run = true;
    let report = import(&request, &NoProgress).unwrap();
    assert_eq!(report.parsed.len(), 10);
    assert_eq!(report.parsed[0].row["item_id"], "t0");
    assert_eq!(report.rejects_by_reason["plays: bad_timestamp"], 1);
    assert_eq!((report.reject_samples[0].row, report.rejects_file.as_ref()), (8, None));
    assert!(Mapping::parse(&report.mapping).is_ok(), "the mapping shown can be used: {}", report.mapping);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    assert!(serde_json::to_string(&report).is_ok());
}

#[test]
fn importing_again_replaces_and_a_longer_export_repeats_only_ids() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = request(
        &[("plays.csv", b"user_id,item_id,occurred_at\nada,t1,1700000000\n")],
        folder.path(),
        home.path(),
    );
    import(&first, &NoProgress).unwrap();
    import(&ImportRequest { now: NOW.plus_ms(5), ..first.clone() }, &NoProgress).unwrap();
    let rows =
        || -> Vec<Play> { LogReader::new(home.path()).rows(None).unwrap().map(Result::unwrap).collect() };
    assert_eq!(rows().len(), 1);
    std::fs::write(
        folder.path().join("plays.csv"),
        "user_id,item_id,occurred_at\nada,t1,1700000000\nada,t2,1700000300\n",
    )
    .unwrap();
    import(&first, &NoProgress).unwrap();
    let ids: Vec<String> = rows().into_iter().map(|p| p.event_id).collect();
    assert_eq!(ids.len(), 3);
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 2, "the repeated row has the same derived id, which prepare drops");
}

#[test]
fn a_caller_that_says_stop_gets_nothing_written() {
    struct Stop;
    impl Progress for Stop {
        fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = request(&[("plays.csv", PLAYS_CSV.as_bytes())], folder.path(), home.path());
    let error = import(&request, &Stop).unwrap_err();
    assert!(matches!(error, segue_data::import::ImportError::Cancelled), "{error}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
