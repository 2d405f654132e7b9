//! Protocol P-S3 through the evaluator: the nine published values, to four decimals.
//!
//! The models are checked against the table by themselves in `segue-models`; here it is shown that
//! split, filter, ties and metrics of this crate are those of the table too.
//! Source: `spotify-research/sequential-capacity-probes`, `docs/PROTOCOL.md` and its table 1.

use std::path::PathBuf;

use segue_data::SequencesFile;
use segue_eval::{Dataset, FitAndRecommend, NoObserver, Protocol, evaluate, model};
use segue_models::fit_recommender;

/// File, settings, test users, and (NDCG@10, Recall@10) of each model of the settings.
type Set = (&'static str, &'static str, usize, [(&'static str, f64, f64); 3]);

const TABLE: [Set; 3] = [
    (
        "Beauty.txt.zst",
        include_str!("../../../../examples/p-s3/beauty.toml"),
        22_311,
        [("mc", 0.0492, 0.0723), ("seqrules", 0.0605, 0.0956), ("pctm", 0.0635, 0.0998)],
    ),
    (
        "Sports_and_Outdoors.txt.zst",
        include_str!("../../../../examples/p-s3/sports.toml"),
        35_539,
        [("mc", 0.0251, 0.0390), ("seqrules", 0.0371, 0.0626), ("pctm", 0.0368, 0.0616)],
    ),
    (
        "Toys_and_Games.txt.zst",
        include_str!("../../../../examples/p-s3/toys.toml"),
        19_365,
        [("mc", 0.0548, 0.0796), ("seqrules", 0.0730, 0.1142), ("pctm", 0.0738, 0.1130)],
    ),
];

pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SEGUE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {} not found", path.display());
    None
}

#[test]
fn the_published_table_comes_out_of_one_call_per_data_set() {
    let Some(folder) = folder("amazon-2014-s3rec") else { return };
    for (file, settings, n_users, rows) in TABLE {
        let all = SequencesFile::read(&folder.join(file)).unwrap();
        let dataset = Dataset { item_ids: Some(&all.item_ids), ..Dataset::from(all.sequences.view()) };
        let settings: toml::Table = settings.parse().unwrap();
        let fits: Vec<_> = rows
            .iter()
            .map(|(name, ..)| {
                let table = settings["model"][*name].as_table().unwrap();
                (*name, model(|train| fit_recommender(table, &train.fit_input(0))))
            })
            .collect();
        let models: Vec<(&str, &dyn FitAndRecommend)> = fits.iter().map(|(n, m)| (*n, m as _)).collect();
        let report = evaluate(&Protocol::p_s3(), &dataset, &models, &NoObserver).unwrap();
        assert_eq!(report.split.n_test_users, n_users, "{file}");
        for (name, ndcg, recall) in rows {
            for (metric, want) in [("ndcg", ndcg), ("recall", recall)] {
                let got = report.get(name, metric, 10).unwrap();
                let value = got.value.unwrap();
                eprintln!("{file} {name} {metric}@10 {value:.6} {:?} ({want:.4})", got.interval.unwrap());
                assert_eq!(format!("{value:.4}"), format!("{want:.4}"), "{file} {name} {metric}");
            }
        }
    }
}
