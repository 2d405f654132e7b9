//! What an arm changes: a piece of configuration laid over the server's own.
//!
//! A patch is a table shaped like the configuration. Tables merge, other values replace. A list
//! whose entries have a name (shelves: `id`, heads of the ranker: `head`) can be patched by that
//! name, or put into another order by listing names; an entry that is not listed is left out:
//!
//! ```toml
//! [experiment.arms.config.surface.home.shelf.made_for_you]
//! epsilon = 0.01                     # one setting of one shelf
//! [experiment.arms.config.surface.home]
//! shelf = ["popular", "made_for_you"]  # two shelves, in this order
//! ```

use std::collections::BTreeSet;

use segue_types::Surface;
use serde_json::{Map, Value};

use crate::config::EngineConfig;

/// What decides how the server runs rather than what a slate is: not for arms to change.
const FIXED: &[&str] = &[
    "experiment",
    "holdout",
    "state",
    "serving.source_threads",
    "serving.candidate_sampling_rate",
    "serving.popularity_half_life_days",
];

/// The names by which entries of a list can be patched.
const NAMES: &[&str] = &["id", "head"];

/// `base` with every patch laid over it in order, checked.
///
/// # Errors
/// What is wrong, in words that name the setting.
pub fn lay_over<'a>(
    base: &EngineConfig,
    patches: impl IntoIterator<Item = &'a Map<String, Value>>,
) -> Result<EngineConfig, String> {
    let mut json = serde_json::to_value(base).map_err(|e| e.to_string())?;
    let mut is_changed = false;
    for patch in patches.into_iter().filter(|patch| !patch.is_empty()) {
        for path in paths(patch) {
            if let Some(fixed) = FIXED.iter().find(|fixed| meets(fixed, &path)) {
                return Err(format!(
                    "`{path}`: `{fixed}` belongs to the whole server; an arm may change `surface`, `ranker` and budgets of `serving`"
                ));
            }
        }
        merge_table(&mut json, patch, "")?;
        is_changed = true;
    }
    if !is_changed {
        return Ok(base.clone());
    }
    let config: EngineConfig = serde_json::from_value(json).map_err(|e| e.to_string())?;
    config.check().map_err(|e| e.to_string())?;
    Ok(config)
}

/// The settings a patch names, as dotted paths.
#[must_use]
pub fn paths(patch: &Map<String, Value>) -> BTreeSet<String> {
    fn walk(table: &Map<String, Value>, at: &str, out: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = join(at, key);
            match value {
                Value::Object(inner) if !inner.is_empty() => walk(inner, &path, out),
                _ => {
                    out.insert(path);
                }
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(patch, "", &mut out);
    out
}

/// Whether two dotted paths name the same setting or one lies inside the other.
#[must_use]
pub fn meets(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The surfaces whose slates a setting can change.
#[must_use]
pub fn surfaces_of(path: &str) -> Vec<Surface> {
    if path.starts_with("surface.home") {
        vec![Surface::Home]
    } else if path.starts_with("surface.now_playing") {
        vec![Surface::NowPlaying]
    } else {
        vec![Surface::Home, Surface::NowPlaying]
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

fn merge(target: &mut Value, patch: &Value, at: &str) -> Result<(), String> {
    match (&mut *target, patch) {
        (Value::Object(_), Value::Object(patch)) => merge_table(target, patch, at),
        (Value::Array(list), Value::Object(patch)) => merge_list(list, patch, at),
        (Value::Array(list), Value::Array(names))
            if !names.is_empty()
                && names.iter().all(Value::is_string)
                && list.first().is_some_and(Value::is_object) =>
        {
            *target = Value::Array(in_order(list, names, at)?);
            Ok(())
        }
        _ => {
            *target = patch.clone();
            Ok(())
        }
    }
}

fn merge_table(target: &mut Value, patch: &Map<String, Value>, at: &str) -> Result<(), String> {
    let Value::Object(table) = target else { return Err(format!("`{at}` is not a table")) };
    for (key, value) in patch {
        let path = join(at, key);
        match table.get_mut(key) {
            Some(inner) => merge(inner, value, &path)?,
            None => {
                let known: Vec<&str> = table.keys().map(String::as_str).collect();
                return Err(format!("`{path}` is not a setting; here are {}", known.join(", ")));
            }
        }
    }
    Ok(())
}

/// Patches entries by their name.
fn merge_list(list: &mut [Value], patch: &Map<String, Value>, at: &str) -> Result<(), String> {
    for (name, value) in patch {
        let path = join(at, name);
        let Some(entry) = list.iter_mut().find(|entry| name_of(entry) == Some(name)) else {
            return Err(unknown(list, &path));
        };
        merge(entry, value, &path)?;
    }
    Ok(())
}

/// The entries of these names, in this order.
fn in_order(list: &[Value], names: &[Value], at: &str) -> Result<Vec<Value>, String> {
    names
        .iter()
        .filter_map(Value::as_str)
        .map(|name| {
            let entry = list.iter().find(|entry| name_of(entry) == Some(name));
            entry.cloned().ok_or_else(|| unknown(list, &join(at, name)))
        })
        .collect()
}

fn unknown(list: &[Value], path: &str) -> String {
    let known: Vec<&str> = list.iter().filter_map(name_of).collect();
    format!("`{path}`: there is no entry of that name; here are {}", known.join(", "))
}

fn name_of(entry: &Value) -> Option<&str> {
    NAMES.iter().find_map(|name| entry.get(*name)).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(toml: &str) -> Result<EngineConfig, String> {
        let patch: Map<String, Value> = toml::from_str(toml).unwrap();
        lay_over(&EngineConfig::default(), [&patch])
    }

    #[test]
    fn one_setting_of_one_shelf_changes_and_nothing_else() {
        let got = patched("[surface.home.shelf.made_for_you]\nepsilon = 0.25").unwrap();
        let mut want = EngineConfig::default();
        want.surface.home.shelf[1].epsilon = 0.25;
        assert_eq!(got, want);
    }

    #[test]
    fn shelves_are_put_in_order_by_name() {
        let got = patched("[surface.home]\nshelf = [\"popular\", \"jump_back_in\"]").unwrap();
        let ids: Vec<_> = got.surface.home.shelf.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["popular", "jump_back_in"]);
    }

    #[test]
    fn a_list_of_names_replaces_and_a_head_is_patched_by_its_name() {
        let text = "[surface.home.shelf.made_for_you]\nsources = [\"popular\"]\n\
                    [ranker.heads.completion]\nweight = 0.0\n[ranker]\nartifact = \"other\"";
        let got = patched(text).unwrap();
        assert_eq!(got.surface.home.shelf[1].sources, ["popular"]);
        assert_eq!((got.ranker.heads[1].weight, got.ranker.artifact.as_str()), (0.0, "other"));
    }

    #[test]
    fn an_empty_patch_is_the_base_itself() {
        assert_eq!(lay_over(&EngineConfig::default(), [&Map::new()]).unwrap(), EngineConfig::default());
    }

    #[test]
    fn a_mistake_is_named() {
        let message = |toml: &str| patched(toml).unwrap_err();
        assert!(message("[surface.home.shelf.mde_for_you]\nepsilon = 0.1").contains("mde_for_you"));
        assert!(message("[surface.home.shelf.mde_for_you]\nepsilon = 0.1").contains("made_for_you"));
        assert!(message("[surface.home.shelf.popular]\nepsilom = 0.1").contains("epsilom"));
        assert!(message("[surface.home.shelf.popular]\nepsilon = 7.0").contains("share in [0, 1]"));
        assert!(message("[surface.home.shelf.popular]\nepsilon = \"x\"").contains("expected f64"));
        assert!(message("[surface.home]\nshelf = [\"nothing\"]").contains("nothing"));
        assert!(message("[state]\nsegment_bytes = 5000").contains("whole server"));
        assert!(message("[serving]\nsource_threads = 1").contains("whole server"));
        assert!(message("[surface]\nradio = 1").contains("surface.radio"));
    }

    #[test]
    fn a_path_knows_its_surface_and_what_it_meets() {
        assert_eq!(surfaces_of("surface.home.shelf.popular.limit"), [Surface::Home]);
        assert_eq!(surfaces_of("surface.now_playing.queue.limit"), [Surface::NowPlaying]);
        assert_eq!(surfaces_of("ranker.artifact").len(), 2);
        assert!(meets("surface.home", "surface.home.shelf"));
        assert!(!meets("surface.home", "surface.homes"));
    }
}
