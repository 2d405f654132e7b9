//! The model card of an artifact: what people read first, written from the manifest and the settings.
//!
//! Its head is the YAML that the Hugging Face hub reads ("Model Cards", Mitchell et al. 2019, in the hub's
//! layout). The text holds nothing that the manifest does not, so equal models have equal cards.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Manifest, RANKERS, RECOMMENDERS};

/// The text of `README.md`.
pub(crate) fn model_card(manifest: &Manifest, settings: &serde_json::Value) -> String {
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
    card.push_str(&measured(&meta.metrics, meta.notes.get("protocol").map(String::as_str)));
    let _ = write!(
        card,
        "\n## Intended use\n\n{}\n\n## Limits\n\n{}\n\n## Files\n\n",
        intended(&manifest.kind),
        limits(manifest)
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

fn limits(manifest: &Manifest) -> String {
    let mut limits = vec!["It repeats what its log shows, popular items and the taste of the past included."];
    if !is_ranker(&manifest.kind) {
        limits.push("It knows the items of its own table only; others are passed over.");
    }
    if manifest.meta.metrics.is_empty() {
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
