//! Which models are compared, with which settings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use segue_models::registry;
use serde::Deserialize;

/// `[model.NAME]` tables and where they were found.
pub(super) struct Settings {
    /// Tables by name.
    pub(super) model: BTreeMap<String, toml::Table>,
    /// Where they come from, for people.
    pub(super) origin: String,
}

/// The part of a settings file that is read here; `segue.toml` is one too.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    model: BTreeMap<String, toml::Table>,
}

/// Published settings by the name of the data file, and what other files get.
const BUILT_IN: [(&str, &str, &str); 3] = [
    ("Beauty", "examples/p-s3/beauty.toml", include_str!("../../../../../examples/p-s3/beauty.toml")),
    (
        "Sports_and_Outdoors",
        "examples/p-s3/sports.toml",
        include_str!("../../../../../examples/p-s3/sports.toml"),
    ),
    ("Toys_and_Games", "examples/p-s3/toys.toml", include_str!("../../../../../examples/p-s3/toys.toml")),
];
const DEFAULT: (&str, &str) =
    ("examples/p-s3/default.toml (untuned)", include_str!("../../../../../examples/p-s3/default.toml"));

impl Settings {
    /// Reads a file of `[model.NAME]` tables.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text, path.display().to_string())
    }

    /// Settings for a benchmark file: `NAME.toml` beside it, else the published ones of a set of that
    /// name, else settings tuned on nothing.
    pub(super) fn for_data(data: &Path) -> Result<Self> {
        let file = data.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.split('.').next().unwrap_or_default();
        let beside = data.with_file_name(format!("{stem}.toml"));
        if beside.is_file() {
            return Self::read(&beside);
        }
        let (origin, text) =
            BUILT_IN.iter().find(|b| b.0 == stem).map_or(DEFAULT, |&(_, origin, text)| (origin, text));
        Self::parse(text, origin.to_owned())
    }

    fn parse(text: &str, origin: String) -> Result<Self> {
        let file: File = toml::from_str(text).with_context(|| origin.clone())?;
        Ok(Self { model: file.model, origin })
    }

    /// The tables of the models asked for, or all of them. A name without a table may be a kind, which
    /// then has its defaults.
    pub(super) fn choose(&self, names: &[String]) -> Result<Vec<(String, toml::Table)>> {
        if names.is_empty() {
            return Ok(self.model.clone().into_iter().collect());
        }
        names
            .iter()
            .map(|name| {
                if let Some(table) = self.model.get(name) {
                    return Ok((name.clone(), table.clone()));
                }
                if registry::recommender_kind(name).is_err() {
                    let kinds = segue_models::retrieval::RECOMMENDERS.iter().map(|k| k.kind);
                    bail!(
                        "no model `{name}` in {}; it names {}\nhint: a kind works too, with its defaults: {}",
                        self.origin,
                        self.model.keys().cloned().collect::<Vec<_>>().join(", "),
                        kinds.collect::<Vec<_>>().join(", ")
                    );
                }
                let kind = toml::Value::from(name.as_str());
                Ok((name.clone(), toml::Table::from_iter([("kind".to_owned(), kind)])))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_file_finds_its_settings_by_name() {
        let beauty = Settings::for_data(Path::new("/nowhere/Beauty.txt.zst")).unwrap();
        assert_eq!(beauty.origin, "examples/p-s3/beauty.toml");
        assert_eq!(beauty.model["pctm"]["tau"].as_float(), Some(11_250.0));
        let other = Settings::for_data(Path::new("LastFM.txt")).unwrap();
        assert!(other.origin.contains("untuned") && other.model.contains_key("mc"));

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Beauty.toml"), "[model.m]\nkind = \"markov\"\n").unwrap();
        let own = Settings::for_data(&folder.path().join("Beauty.txt")).unwrap();
        assert_eq!(own.model.keys().collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn every_built_in_table_is_a_model() {
        for (origin, text) in BUILT_IN.map(|b| (b.1, b.2)).into_iter().chain([DEFAULT]) {
            for (name, table) in Settings::parse(text, origin.to_owned()).unwrap().model {
                let (kind, settings) = registry::split_kind(&table).unwrap();
                let checked = registry::recommender_kind(&kind).and_then(|k| k.settings(&settings));
                assert!(checked.is_ok(), "{origin} {name}: {checked:?}");
            }
        }
    }

    #[test]
    fn a_kind_is_a_model_with_its_defaults_and_anything_else_is_not() {
        let settings = Settings::for_data(Path::new("x.txt")).unwrap();
        let chosen = settings.choose(&["mc".into(), "co_listen".into()]).unwrap();
        assert_eq!(chosen[1].1["kind"].as_str(), Some("co_listen"));
        let error = settings.choose(&["oracle".into()]).unwrap_err().to_string();
        assert!(error.contains("oracle") && error.contains("pctm") && error.contains("item_knn"), "{error}");
    }
}
