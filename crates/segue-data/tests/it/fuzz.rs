//! 12,000 damaged files at every importer: each ends in a report or an error, soon, and nothing
//! panics. A seed names each file, so a failure can be run again alone.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use segue_data::import::{Caps, ImportRequest, Mapping, import};
use segue_data::log::{LogReader, Table};
use segue_data::progress::NoProgress;
use segue_types::TimestampMs;

use crate::exports::{LISTENBRAINZ, NOW, PLAYS_CSV, SPOTIFY, gz, parquet_plays, zip_of, zst};

const N_FILES: u64 = 12_000;

/// A splitmix64 stream (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\0",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"-1",
    b"1e999",
    b"NaN",
    b"9223372036854775808",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PAR1",
    b"\\u0000",
    b"null",
    b"\xc3",
    b"::",
];

fn damage(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        match random.below(8) {
            0 => out.truncate(at),
            1 | 2 if !out.is_empty() => {
                let at = random.below(out.len());
                out[at] ^= 1 << random.below(8);
            }
            3 => {
                let token = TOKENS[random.below(TOKENS.len())];
                out.splice(at..at, token.iter().copied());
            }
            4 => {
                let end = (at + random.below(64)).min(out.len());
                out.drain(at..end);
            }
            5 => {
                let end = (at + random.below(256)).min(out.len());
                let chunk = out[at..end].to_vec();
                out.splice(at..at, chunk);
            }
            6 => {
                let from = random.below(other.len());
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            _ => {
                let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
                out.splice(at..at, noise);
            }
        }
    }
    out
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let csv = PLAYS_CSV.as_bytes();
    let parquet = parquet_plays();
    vec![
        ("plays.csv", csv.to_vec()),
        ("plays.tsv", PLAYS_CSV.replace(',', "\t").into_bytes()),
        ("plays.csv.gz", gz(csv)),
        ("plays.csv.zst", zst(csv)),
        ("plays.parquet", parquet.clone()),
        ("plays.parquet.gz", gz(&parquet)),
        ("Streaming_History_Audio_2020.json", SPOTIFY.as_bytes().to_vec()),
        ("spotify.zip", zip_of(&[("Spotify/Streaming_History_Audio_2020.json", SPOTIFY.as_bytes())])),
        ("listens.jsonl", LISTENBRAINZ.as_bytes().to_vec()),
        ("listenbrainz.zip", zip_of(&[("listens/2024/1.jsonl", LISTENBRAINZ.as_bytes())])),
        ("plays.dat", PLAYS_CSV.replace(',', "::").into_bytes()),
        ("everything", b"no table at all\n\x00\x01".to_vec()),
    ]
}

fn throw(seed: u64, seeds: &[(&str, Vec<u8>)], mapping: &Mapping, folder: &Path) {
    let mut random = Random(seed);
    let which = (seed % seeds.len() as u64) as usize;
    let other = random.below(seeds.len());
    // One file in ten comes under another one's name.
    let name = if random.below(10) == 0 { seeds[other].0 } else { seeds[which].0 };
    let path = folder.join(name);
    let bytes = damage(&seeds[which].1, &seeds[other].1, &mut random);
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    let home = folder.join("home");
    let mut request = ImportRequest::new(vec![path.clone()], &home, NOW);
    request.caps = Caps { max_file_bytes: 64 << 20, ..Caps::default() };
    // Writing waits for the disk, so only some files go all the way.
    request.dry_run = random.below(40) != 0;
    if random.below(3) == 0 {
        request.mapping = Some(mapping.clone());
    }
    let begun = Instant::now();
    let result = import(&request, &NoProgress);
    assert!(begun.elapsed() < Duration::from_secs(5), "seed {seed} took {:?}", begun.elapsed());
    match result {
        Ok(report) if !request.dry_run => {
            let reader = LogReader::new(&home);
            for &table in Table::ALL {
                let n = reader.n_rows(table, None).unwrap();
                let want = report.tables.get(&table).map_or(0, |t| t.n_accepted);
                assert_eq!(n, want, "seed {seed}: {table}");
            }
            std::fs::remove_dir_all(&home).unwrap();
        }
        Ok(_) => assert!(!home.exists(), "seed {seed}: a dry run wrote something"),
        Err(e) => {
            assert!(!e.to_string().is_empty());
            assert!(!home.exists(), "seed {seed} left something behind: {e}");
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn damaged_files_end_in_a_report_or_an_error_and_never_in_a_panic() {
    let seeds = seeds();
    let mapping = Mapping::parse(
        "[[source]]\ntable = \"plays\"\nfile = \"*\"\n[source.columns]\nuser_id = \"user_id\"\nitem_id = { column = \"item_id\", template = \"{user_id}/{item_id}\" }\noccurred_at = \"occurred_at\"\nlistened_ms = { column = \"listened_ms\", unit = \"s\" }",
    )
    .unwrap();
    // The undamaged files are good: what follows tests damage, not a wrong start.
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &seeds[..seeds.len() - 2] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut request = ImportRequest::new(vec![path.clone()], folder.path(), TimestampMs(NOW.0));
        request.dry_run = true;
        let report = import(&request, &NoProgress).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(report.tables[&Table::Plays].n_accepted > 0, "{name}");
        std::fs::remove_file(path).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (seeds, mapping) = (&seeds, &mapping);
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                for seed in (thread..N_FILES).step_by(2) {
                    throw(seed, seeds, mapping, folder.path());
                }
            });
        }
    });
}
