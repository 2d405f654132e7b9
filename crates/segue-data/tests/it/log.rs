//! The event log: what goes in comes out, in order, and never in halves.

use std::path::Path;

use proptest::prelude::*;
use segue_data::log::{LogReader, LogWriter, N_BUCKETS, ScanOptions, Table, WriterOptions, column, schema};
use segue_types::{
    DAY_MS, Day, EndReason, Event, Feedback, FeedbackKind, Impression, Item, Play, Profile, StartReason,
    Surface, TimestampMs, User, UserKey,
};

const T0: i64 = 1_700_000_000_000;

fn play(n: u64) -> Play {
    let every = |k: u64| n.is_multiple_of(k);
    Play {
        ended_at: every(3).then_some(TimestampMs(T0 + (n as i64 * 7_919_000) % (5 * DAY_MS) + 1_000)),
        received_at: every(5).then_some(TimestampMs(T0 + (n as i64 * 7_919_000) % (9 * DAY_MS) + DAY_MS)),
        listened_ms: every(2).then_some(n as i64),
        duration_ms: (!every(7)).then_some(200_000),
        start_reason: every(4).then_some(StartReason::Autoplay),
        end_reason: (n % 4 == 1).then_some(EndReason::NetworkLost),
        surface: (n % 4 == 2).then_some(Surface::Radio),
        slate_id: every(6).then(|| format!("slate-{n}")),
        position: every(6).then_some(n as u32),
        shuffle: every(8).then_some(every(16)),
        offline: every(9).then_some(true),
        context_id: every(10).then(|| "playlist".to_owned()),
        ..Play::new(
            &format!("e{n}"),
            &format!("user-{}", n % 97),
            &format!("item-{}", n % 31),
            TimestampMs(T0 + (n as i64 * 7_919_000) % (5 * DAY_MS)),
        )
    }
}

fn known_at(play: &Play) -> TimestampMs {
    Event::Play(play.clone()).known_at()
}

fn write_plays(home: &Path, plays: &[Play], memory: usize, id: &str) {
    let options = WriterOptions { memory_limit_bytes: memory, row_group_rows: 500 };
    let mut writer = LogWriter::new(home, "t", options).unwrap();
    writer.write(plays).unwrap();
    let written = writer.finish(TimestampMs(T0), id, true).unwrap();
    assert_eq!(written.tables[&Table::Plays].n_rows, plays.len() as u64);
}

fn read_plays(home: &Path) -> Vec<Play> {
    LogReader::new(home).rows::<Play>(None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn plays_come_out_as_they_went_in_sorted_within_each_part() {
    let home = tempfile::tempdir().unwrap();
    let plays: Vec<Play> = (0..5_000).map(play).collect();
    write_plays(home.path(), &plays, 1 << 30, "a");
    let reader = LogReader::new(home.path());
    for part in reader.parts(Table::Plays, None).unwrap() {
        let mut last = None;
        for batch in part.open(&ScanOptions::default()).unwrap() {
            let batch = batch.unwrap();
            let buckets = column::u16s(&batch, schema::BUCKET).unwrap().values().to_vec();
            for (row, bucket) in <Play as segue_data::log::LogRow>::read(&batch).unwrap().iter().zip(buckets)
            {
                assert_eq!(known_at(row).day(), part.day.unwrap());
                assert_eq!(UserKey::of(&row.user_id).bucket(N_BUCKETS), u32::from(bucket));
                let key = Some((UserKey::of(&row.user_id), known_at(row), row.event_id.clone()));
                assert!(last < key, "{last:?} comes before {key:?}");
                last = key;
            }
        }
    }
    let mut got = read_plays(home.path());
    let mut want = plays;
    got.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    want.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    assert_eq!(got, want);
}

#[test]
fn a_small_memory_limit_makes_more_parts_of_the_same_rows() {
    let (big, small) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plays: Vec<Play> = (0..3_000).map(play).collect();
    write_plays(big.path(), &plays, 1 << 30, "a");
    write_plays(small.path(), &plays, 40_000, "a");
    let n_parts = |home: &Path| LogReader::new(home).parts(Table::Plays, None).unwrap().len();
    assert!(n_parts(small.path()) > n_parts(big.path()));
    let ids = |home: &Path| {
        let mut ids: Vec<_> = read_plays(home).into_iter().map(|p| p.event_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(big.path()), ids(small.path()));
}

#[test]
fn a_range_of_buckets_or_days_reads_exactly_its_rows() {
    let home = tempfile::tempdir().unwrap();
    let plays: Vec<Play> = (0..5_000).map(play).collect();
    write_plays(home.path(), &plays, 1 << 30, "a");
    let reader = LogReader::new(home.path());
    let mut n_seen = 0;
    for from in (0..N_BUCKETS).step_by(64) {
        let options = ScanOptions {
            buckets: Some(from..from + 64),
            columns: Some(vec![schema::EVENT_ID]),
            ..ScanOptions::default()
        };
        for batch in reader.scan(Table::Plays, &options).unwrap() {
            let batch = batch.unwrap();
            assert_eq!(batch.num_columns(), 2, "the event id and the bucket");
            let buckets = column::u16s(&batch, schema::BUCKET).unwrap();
            assert!(buckets.values().iter().all(|&b| (from..from + 64).contains(&u32::from(b))));
            n_seen += batch.num_rows();
        }
    }
    assert_eq!(n_seen, plays.len());
    let days = reader.days(Table::Plays).unwrap();
    assert!(days.len() > 5);
    let range = days[1]..=days[2];
    let want = plays.iter().filter(|p| range.contains(&known_at(p).day())).count();
    assert_eq!(reader.rows::<Play>(Some(range.clone())).unwrap().count(), want);
    assert_eq!(reader.n_rows(Table::Plays, Some(range)).unwrap(), want as u64);
}

#[test]
fn every_other_table_survives_the_round_trip() {
    let home = tempfile::tempdir().unwrap();
    let feedback = Feedback {
        event_id: "f".into(),
        user_id: "ada".into(),
        target_id: "artist".into(),
        kind: FeedbackKind::Follow,
        occurred_at: TimestampMs(T0),
        received_at: Some(TimestampMs(T0 + 5)),
        slate_id: None,
        position: Some(3),
    };
    let impression = Impression {
        event_id: "i".into(),
        user_id: "ada".into(),
        item_id: "track".into(),
        slate_id: "s".into(),
        shelf_id: Some("made_for_you".into()),
        position: 0,
        shown_at: TimestampMs(T0),
        received_at: None,
        visible_ms: Some(900),
    };
    let item = Item {
        title: Some("Ærø".into()),
        artist_ids: vec!["a".into(), "b".into()],
        artist_names: vec!["A".into(), "B, the".into()],
        tags: vec!["jazz".into()],
        release_day: Some(Day(19_000)),
        duration_ms: Some(1),
        explicit: true,
        markets: vec!["SE".into()],
        energy: Some(0.25),
        embedding: vec![1.0, -2.5],
        valid_from: Some(TimestampMs(1)),
        available: false,
        ..Item::new("track")
    };
    let user = User {
        user_id: "ada".into(),
        market: Some("SE".into()),
        consent: Some(false),
        birth_year_bucket: Some(1980),
        ..User::default()
    };
    let profiles: Vec<Profile> = (1..=3)
        .map(|n| Profile { user_id: "ada".into(), item_id: format!("i{}", 9 - n), n_plays: n })
        .collect();
    let mut writer = LogWriter::new(home.path(), "t", WriterOptions::default()).unwrap();
    writer.write_events(&[Event::Feedback(feedback.clone()), Event::Impression(impression.clone())]).unwrap();
    writer.write_one(&item).unwrap();
    writer.write_one(&user).unwrap();
    writer.write(&profiles).unwrap();
    writer.finish(TimestampMs(T0), "a", false).unwrap();
    let reader = LogReader::new(home.path());
    fn all<R: segue_data::log::LogRow>(reader: &LogReader) -> Vec<R> {
        reader.rows(None).unwrap().map(Result::unwrap).collect()
    }
    assert_eq!(all::<Feedback>(&reader), vec![feedback]);
    assert_eq!(all::<Impression>(&reader), vec![impression]);
    assert_eq!(all::<Item>(&reader), vec![item]);
    assert_eq!(all::<User>(&reader), vec![user]);
    assert_eq!(all::<Profile>(&reader), profiles, "undated rows keep the order of their file");
}

#[test]
fn nothing_is_visible_before_finish_and_nothing_stays_after_a_drop() {
    let home = tempfile::tempdir().unwrap();
    let options = WriterOptions { memory_limit_bytes: 1, row_group_rows: 10 };
    let mut writer = LogWriter::new(home.path(), "t", options).unwrap();
    writer.write(&(0..50).map(play).collect::<Vec<_>>()).unwrap();
    let reader = LogReader::new(home.path());
    assert!(reader.parts(Table::Plays, None).unwrap().is_empty());
    drop(writer);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "the home folder is as it was");
}

#[test]
fn the_same_id_replaces_and_another_adds() {
    let home = tempfile::tempdir().unwrap();
    let plays: Vec<Play> = (0..100).map(play).collect();
    write_plays(home.path(), &plays, 1 << 30, "a");
    write_plays(home.path(), &plays, 1 << 30, "a");
    assert_eq!(read_plays(home.path()).len(), 100);
    let mut writer = LogWriter::new(home.path(), "t", WriterOptions::default()).unwrap();
    writer.write(&plays).unwrap();
    writer.finish(TimestampMs(T0 + 1), "a", true).unwrap();
    assert_eq!(read_plays(home.path()).len(), 100, "a later import of the same input replaces it");
    write_plays(home.path(), &plays, 1 << 30, "b");
    assert_eq!(read_plays(home.path()).len(), 200);
}

#[test]
fn a_part_that_is_not_parquet_is_an_error_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    write_plays(home.path(), &[play(1)], 1 << 30, "a");
    let part = LogReader::new(home.path()).parts(Table::Plays, None).unwrap().remove(0);
    std::fs::write(&part.path, b"PAR1 not really").unwrap();
    let error = LogReader::new(home.path()).rows::<Play>(None).unwrap().next().unwrap().unwrap_err();
    assert!(error.to_string().contains(&part.name), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_is_lost_or_doubled_whatever_the_limits(
        numbers in proptest::collection::vec(0_u64..10_000, 0..300),
        memory in 1_usize..60_000,
    ) {
        let home = tempfile::tempdir().unwrap();
        let plays: Vec<Play> = numbers.iter().map(|&n| play(n)).collect();
        let options = WriterOptions { memory_limit_bytes: memory, row_group_rows: 7 };
        let mut writer = LogWriter::new(home.path(), "t", options).unwrap();
        writer.write(&plays).unwrap();
        writer.finish(TimestampMs(T0), "a", false).unwrap();
        let mut got: Vec<_> = read_plays(home.path()).into_iter().map(|p| p.event_id).collect();
        let mut want: Vec<_> = plays.into_iter().map(|p| p.event_id).collect();
        got.sort();
        want.sort();
        prop_assert_eq!(got, want);
    }
}
