//! The model card of an artifact: what people read first, written from the manifest and the settings.
//!
//! Its head is the YAML that the Hugging Face hub reads ("Model Cards", Mitchell et al. 2019, in the hub's
//! layout). The text holds nothing that the manifest does not, so equal models have equal cards.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::{Manifest, RANKERS, RECOMMENDERS};

/// What an evaluation measured of a model of the same kind, settings and snapshot as an artifact, fitted
/// anew on the part before the split.
///
/// It is no part of the artifact, whose bytes are those of its training; it goes into the card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Snapshot that was split.
    pub snapshot_id: String,
    /// Registered kind of the model.
    pub kind: String,
    /// All its settings, defaults written out.
    pub settings: serde_json::Value,
    /// How it was measured, in a sentence without an end.
    pub protocol: String,
    /// Listeners asked.
    pub n_users: u64,
    /// Confidence of the intervals, such as .95.
    pub confidence: f64,
    /// One value per metric.
    pub metrics: Vec<MeasuredMetric>,
}

/// One metric of [`Measured`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredMetric {
    /// Such as `ndcg@10`.
    pub name: String,
    /// Mean over listeners; absent if no listener has one.
    pub value: Option<f64>,
    /// Ends of its interval.
    pub interval: Option<[f64; 2]>,
    /// Listeners that have a value.
    pub n_users: u64,
}

impl Measured {
    /// Why this was not measured of a model like the artifact; `None` if it was.
    #[must_use]
    pub fn differs_from(&self, manifest: &Manifest, settings: &serde_json::Value) -> Option<String> {
        let snapshot = manifest.meta.snapshot_id.as_deref().unwrap_or("none");
        if self.snapshot_id != snapshot {
            return Some(format!("it is of snapshot {}, the artifact of {snapshot}", self.snapshot_id));
        }
        if self.kind != manifest.kind {
            return Some(format!("it is of a `{}`, the artifact is a `{}`", self.kind, manifest.kind));
        }
        let nothing = serde_json::Map::new();
        let [ours, theirs] = [&self.settings, settings].map(|s| s.as_object().unwrap_or(&nothing));
        let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let written =
            |value: Option<&serde_json::Value>| value.map_or("absent".to_owned(), |v| v.to_string());
        names.into_iter().find(|name| ours.get(*name) != theirs.get(*name)).map(|name| {
            format!(
                "it is of `{name}` {}, the artifact of {}",
                written(ours.get(name)),
                written(theirs.get(name))
            )
        })
    }
}

/// The text of `README.md`, with what an evaluation measured in place of "not measured".
///
/// # Errors
/// Why the evaluation is not one of a model like the artifact.
pub fn measured_card(
    manifest: &Manifest,
    settings: &serde_json::Value,
    measured: &Measured,
) -> Result<String, String> {
    match measured.differs_from(manifest, settings) {
        Some(why) => Err(why),
        None => Ok(card(manifest, settings, Some(measured))),
    }
}

/// The text of `README.md`.
pub(crate) fn model_card(manifest: &Manifest, settings: &serde_json::Value) -> String {
    card(manifest, settings, None)
}

fn card(manifest: &Manifest, settings: &serde_json::Value, evaluation: Option<&Measured>) -> String {
    let meta = &manifest.meta;
    let about = about(&manifest.kind);
    let mut card = head(manifest);
    let _ = write!(card, "# `{}`\n\n{about}\n\n## Where it comes from\n\n", manifest.kind);
    let snapshot = meta.snapshot_id.as_deref().map_or("not recorded".to_owned(), |id| format!("`{id}`"));
    let until = meta.until.map_or("the end of the snapshot".to_owned(), |t| format!("{} (UTC ms)", t.0));
    let version = if meta.code_version.is_empty() { "not recorded" } else { &meta.code_version };
    let _ = writeln!(card, "- Data snapshot: {snapshot}, known before {until}");
    let _ = writeln!(card, "- Items: {}", manifest.n_items);
    let _ = writeln!(card, "- Seed: {}, code version: {version}", meta.seed);
    for (name, note) in meta.notes.iter().filter(|(name, _)| *name != "protocol") {
        let _ = writeln!(card, "- {}: {}", plain(name), plain(note));
    }
    card.push_str("\n## Measured\n\n");
    if evaluation.is_none() || !meta.metrics.is_empty() {
        card.push_str(&measured(&meta.metrics, meta.notes.get("protocol").map(String::as_str)));
    }
    if let Some(evaluation) = evaluation {
        card.push_str(&evaluated(evaluation));
    }
    let _ = write!(
        card,
        "\n## Intended use\n\n{}\n\n## Limits\n\n{}\n\n## Files\n\n",
        intended(&manifest.kind),
        limits(manifest, evaluation.is_some())
    );
    card.push_str("| file | bytes | SHA-256 |\n|---|---:|---|\n");
    for (name, file) in &manifest.files {
        let _ = writeln!(card, "| `{name}` | {} | `{}` |", file.n_bytes, file.sha256);
    }
    let settings = serde_json::to_string_pretty(settings).unwrap_or_default();
    let _ = write!(card, "\n## Settings\n\n```json\n{settings}\n```\n\n## Use\n\n");
    card.push_str("`segue model pull FOLDER --name NAME --publish` checks it and serves it.");
    if has_torch_twin(&manifest.kind) {
        card.push_str(" `segue_torch.load(FOLDER)` gives it as a PyTorch module.");
    }
    card.push('\n');
    card
}

fn head(manifest: &Manifest) -> String {
    let licence = &manifest.meta.licence_note;
    let mut head = "---\nlibrary_name: segue\n".to_owned();
    if licence.is_empty() {
        head.push_str("license: unknown\n");
    } else {
        // A JSON string is a YAML string.
        let quoted = serde_json::Value::from(licence.as_str());
        let _ = write!(head, "license: other\nlicense_name: {quoted}\n");
    }
    let part = if is_ranker(&manifest.kind) { "ranking" } else { "retrieval" };
    let _ = write!(head, "tags:\n- segue\n- recommender-system\n- {part}\n- {}\n---\n\n", manifest.kind);
    head
}

fn measured(metrics: &BTreeMap<String, f64>, protocol: Option<&str>) -> String {
    if metrics.is_empty() {
        return "Nothing was measured when it was saved; `segue evaluate` measures it.\n".to_owned();
    }
    let protocol = protocol.map_or("not recorded".to_owned(), plain);
    let mut out = format!("Protocol: {protocol}\n\n| metric | value | interval |\n|---|---:|---|\n");
    let is_end = |name: &str| {
        [".low", ".high"].iter().any(|end| name.strip_suffix(end).is_some_and(|n| metrics.contains_key(n)))
    };
    for (name, value) in metrics.iter().filter(|(name, _)| !is_end(name)) {
        let end = |which: &str| metrics.get(&format!("{name}.{which}"));
        let interval = match (end("low"), end("high")) {
            (Some(low), Some(high)) => format!("{low:.6} to {high:.6}"),
            _ => "–".to_owned(),
        };
        let _ = writeln!(out, "| {} | {value:.6} | {interval} |", plain(name));
    }
    out
}

fn evaluated(measured: &Measured) -> String {
    let mut out = format!(
        "Protocol: {}, {} listeners\n\nMeasured of a model of the same kind, settings and snapshot that was \
         fitted anew on the plays before the split; this one is fitted on all of them.\n\n\
         | metric | value | {} % interval over listeners | listeners |\n|---|---:|---|---:|\n",
        plain(&measured.protocol),
        measured.n_users,
        100.0 * measured.confidence
    );
    for metric in &measured.metrics {
        let value = metric.value.map_or("–".to_owned(), |v| format!("{v:.6}"));
        let interval =
            metric.interval.map_or("–".to_owned(), |[low, high]| format!("{low:.6} to {high:.6}"));
        let _ = writeln!(out, "| {} | {value} | {interval} | {} |", plain(&metric.name), metric.n_users);
    }
    out
}

fn is_ranker(kind: &str) -> bool {
    RANKERS.iter().any(|line| line.kind == kind)
}

fn has_torch_twin(kind: &str) -> bool {
    ["sasrec", "esasrec", "hstu"].contains(&kind)
}

fn about(kind: &str) -> &'static str {
    let models = RECOMMENDERS.iter().map(|line| (line.kind, line.about));
    let rankers = RANKERS.iter().map(|line| (line.kind, line.about));
    models.chain(rankers).find(|(k, _)| *k == kind).map_or("A model of Segue.", |(_, about)| about)
}

fn intended(kind: &str) -> &'static str {
    if is_ranker(kind) {
        "Probabilities for candidates of a slate of the service whose log it was trained on."
    } else {
        "Candidates for a listener of the service whose log it was trained on; a ranker and a selector come after it."
    }
}

fn limits(manifest: &Manifest, is_evaluated: bool) -> String {
    let mut limits = vec!["It repeats what its log shows, popular items and the taste of the past included."];
    if !is_ranker(&manifest.kind) {
        limits.push("It knows the items of its own table only; others are passed over.");
    }
    if manifest.meta.metrics.is_empty() && !is_evaluated {
        limits.push("Its quality is not recorded here.");
    }
    if manifest.meta.licence_note.is_empty() {
        limits.push("What its training data permits is not recorded.");
    }
    limits.iter().map(|l| format!("- {l}")).collect::<Vec<_>>().join("\n")
}

/// Text of a manifest on one line of a table, without what Markdown would take for its own.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' => ' ',
            '|' | '<' | '>' | '`' => '\'',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArtifactMeta;

    #[test]
    fn an_evaluation_is_taken_into_the_card_of_the_model_it_is_about_and_of_no_other() {
        let settings = serde_json::json!({ "d": 64, "dropout": 0.2 });
        let manifest = Manifest {
            format_version: 1,
            artifact_id: String::new(),
            kind: "esasrec".to_owned(),
            meta: ArtifactMeta { snapshot_id: Some("s1".to_owned()), ..ArtifactMeta::default() },
            n_items: 3,
            item_keys_sha256: String::new(),
            files: BTreeMap::new(),
        };
        let metric = |name: &str, value, interval| MeasuredMetric {
            name: name.to_owned(),
            value,
            interval,
            n_users: 40,
        };
        let measured = Measured {
            snapshot_id: "s1".to_owned(),
            kind: "esasrec".to_owned(),
            settings: settings.clone(),
            protocol: "global-time | seen".to_owned(),
            n_users: 41,
            confidence: 0.95,
            metrics: vec![
                metric("ndcg@10", Some(0.0635), Some([0.061, 0.066])),
                metric("recall@10", None, None),
            ],
        };
        let card = measured_card(&manifest, &settings, &measured).unwrap();
        assert!(card.contains("Protocol: global-time ' seen, 41 listeners\n"), "{card}");
        assert!(card.contains("| metric | value | 95 % interval over listeners | listeners |"), "{card}");
        assert!(card.contains("| ndcg@10 | 0.063500 | 0.061000 to 0.066000 | 40 |"), "{card}");
        assert!(card.contains("| recall@10 | – | – | 40 |"), "{card}");
        assert!(
            !card.contains("Nothing was measured") && !card.contains("quality is not recorded"),
            "{card}"
        );

        let refused = |measured: &Measured| measured_card(&manifest, &settings, measured).unwrap_err();
        let other = Measured { snapshot_id: "s2".to_owned(), ..measured.clone() };
        assert_eq!(refused(&other), "it is of snapshot s2, the artifact of s1");
        let other = Measured { kind: "hstu".to_owned(), ..measured.clone() };
        assert_eq!(refused(&other), "it is of a `hstu`, the artifact is a `esasrec`");
        let other = Measured { settings: serde_json::json!({ "d": 32, "dropout": 0.2 }), ..measured.clone() };
        assert_eq!(refused(&other), "it is of `d` 32, the artifact of 64");
        let other = Measured { settings: serde_json::json!({ "d": 64 }), ..measured };
        assert_eq!(refused(&other), "it is of `dropout` absent, the artifact of 0.2");
    }

    #[test]
    fn the_card_shows_metrics_with_their_intervals_and_escapes_what_others_wrote() {
        let metrics = [("ndcg@10", 0.0635), ("ndcg@10.low", 0.061), ("ndcg@10.high", 0.066), ("loss", 7.5)];
        let meta = ArtifactMeta {
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
            licence_note: "research: \"only\"".to_owned(),
            notes: [("origin", "a|b\n# c"), ("protocol", "P-S3")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            ..ArtifactMeta::default()
        };
        let manifest = Manifest {
            format_version: 1,
            artifact_id: String::new(),
            kind: "esasrec".to_owned(),
            meta,
            n_items: 3,
            item_keys_sha256: String::new(),
            files: BTreeMap::new(),
        };
        let card = model_card(&manifest, &serde_json::json!({ "d": 64 }));
        assert!(card.starts_with("---\nlibrary_name: segue\n"), "{card}");
        assert!(card.contains("license: other\nlicense_name: \"research: \\\"only\\\"\"\n"), "{card}");
        assert!(card.contains("| ndcg@10 | 0.063500 | 0.061000 to 0.066000 |"), "{card}");
        assert!(card.contains("| loss | 7.500000 | – |"), "{card}");
        assert!(!card.contains("ndcg@10.low"), "{card}");
        assert!(card.contains("- origin: a'b # c\n") && card.contains("Protocol: P-S3"), "{card}");
        assert_eq!(card, model_card(&manifest, &serde_json::json!({ "d": 64 })));
    }
}
