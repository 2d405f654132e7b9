//! `docs/configuration.md`, generated from the configuration types and their documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use utoipa::{PartialSchema, ToSchema};

/// The reference page of a configuration type whose default is `defaults`.
pub(crate) fn page<T: ToSchema + PartialSchema>(intro: &str, defaults: &Value) -> String {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let types: BTreeMap<String, Value> = named
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or(Value::Null)))
        .collect();
    let root = serde_json::to_value(T::schema()).unwrap_or(Value::Null);
    let mut out = format!("{intro}\n");
    table(&mut out, "", &root, Some(defaults), &types);
    out
}

/// One table of `segue.toml`, its fields first, then the tables inside it.
fn table(
    out: &mut String,
    path: &str,
    schema: &Value,
    defaults: Option<&Value>,
    types: &BTreeMap<String, Value>,
) {
    let Some(fields) = schema["properties"].as_object() else { return };
    let (mut rows, mut inner) = (String::new(), Vec::new());
    for (name, field) in fields {
        let default = defaults.and_then(|d| d.get(name));
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match shape(field, types) {
            Shape::Table(schema) => inner.push((place, schema, default.cloned(), false)),
            Shape::Tables(schema) => {
                let example = default.and_then(|d| d.get(0)).cloned();
                inner.push((place, schema, example, true));
            }
            Shape::Value(kind) => {
                let default = default.map_or_else(String::new, literal);
                let about =
                    field["description"].as_str().unwrap_or("").replace('\n', " ").replace('|', "\\|");
                let _ = writeln!(rows, "| `{name}` | {kind} | {default} | {about} |");
            }
        }
    }
    if !path.is_empty() {
        let _ = writeln!(out, "\n## `[{path}]`\n");
        if let Some(about) = schema["description"].as_str() {
            let _ = writeln!(out, "{about}\n");
        }
    }
    if !rows.is_empty() {
        let _ = write!(out, "| field | type | default | meaning |\n|---|---|---|---|\n{rows}");
    }
    for (place, schema, default, repeats) in inner {
        let place = if repeats { format!("[{place}]") } else { place };
        table(out, &place, schema, default.as_ref(), types);
    }
}

enum Shape<'a> {
    Table(&'a Value),
    Tables(&'a Value),
    Value(String),
}

fn shape<'a>(field: &'a Value, types: &'a BTreeMap<String, Value>) -> Shape<'a> {
    let resolved = resolve(field, types);
    if resolved["properties"].is_object() {
        return Shape::Table(resolved);
    }
    if resolved["type"] == "array" {
        let items = resolve(&resolved["items"], types);
        if items["properties"].is_object() {
            return Shape::Tables(items);
        }
        return Shape::Value(format!("list of {}", kind(items)));
    }
    Shape::Value(kind(resolved))
}

fn resolve<'a>(field: &'a Value, types: &'a BTreeMap<String, Value>) -> &'a Value {
    let reference = field["$ref"].as_str().or_else(|| {
        ["allOf", "oneOf"].iter().find_map(|k| field[k].as_array()?.iter().find_map(|v| v["$ref"].as_str()))
    });
    match reference.and_then(|r| types.get(r.rsplit('/').next().unwrap_or(r))) {
        Some(found) => resolve(found, types),
        None => field,
    }
}

fn kind(schema: &Value) -> String {
    if let Some(names) = schema["enum"].as_array() {
        return names
            .iter()
            .filter_map(Value::as_str)
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|n| *n != "null").unwrap_or("value")
        }
        _ => "value",
    };
    match name {
        "boolean" => "true or false",
        "string" => "text",
        other => other,
    }
    .to_owned()
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => format!("`{other}`").replace('|', "\\|"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    /// A group.
    #[derive(Serialize, Default, ToSchema)]
    struct Group {
        /// Cards at most.
        limit: u32,
        /// Rows.
        row: Vec<Row>,
    }

    #[derive(Serialize, Default, ToSchema)]
    struct Row {
        /// Stable id.
        id: String,
    }

    #[derive(Serialize, Default, ToSchema)]
    struct Root {
        group: Group,
    }

    #[test]
    fn fields_become_rows_with_type_default_and_meaning() {
        let page = page::<Root>("# Reference", &serde_json::to_value(Root::default()).unwrap());
        assert!(page.contains("## `[group]`"), "{page}");
        assert!(page.contains("| `limit` | integer | `0` | Cards at most. |"), "{page}");
        assert!(page.contains("## `[[group.row]]`"), "{page}");
        assert!(page.contains("| `id` | text |  | Stable id. |"), "{page}");
    }
}
