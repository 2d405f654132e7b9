//! Replay: the slate again, from its record alone.

use std::collections::HashMap;

use segue_types::slate::ItemDisplay;
use segue_types::{Slate, SlateRecord};

use crate::compose::{SlateHead, assemble};

/// The bytes of the slate inside the JSON of its record: exactly what was served.
///
/// The slate is the record's last field, so it is the text from its name to the closing brace.
/// Cut out rather than parsed and written again, since that could round a number differently.
#[must_use]
pub fn served_bytes(record_json: &str) -> Option<&str> {
    const NAME: &str = ",\"slate\":";
    let at = record_json.rfind(&format!("{NAME}{{\"slate_id\":"))?;
    record_json[at + NAME.len()..].strip_suffix('}')
}

/// Runs the selectors again over the recorded pools and lays the slate out. Displays are those of
/// the record: facts of the catalogue at that moment.
#[must_use]
pub fn recompose(record: &SlateRecord) -> Slate {
    let cards = record.slate.shelves.iter().flat_map(|shelf| &shelf.cards);
    let displays: HashMap<&str, &ItemDisplay> = cards.map(|c| (c.item_id.as_str(), &c.display)).collect();
    let head = SlateHead {
        slate_id: record.request.request_id.clone().unwrap_or_default(),
        surface: record.slate.surface,
        user_id: record.request.user_id.clone(),
        composed_at: record.now,
        degraded: record.slate.degraded.clone(),
        empty_reason: record.slate.empty_reason.clone(),
    };
    assemble(head, &record.shelves, record.seed, |item_id| {
        displays.get(item_id).map_or_else(ItemDisplay::default, |d| (*d).clone())
    })
}

/// What differs between two slates, in words; at most 20 lines.
#[must_use]
pub fn differences(served: &Slate, again: &Slate) -> Vec<String> {
    let mut out = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b && out.len() < 20 {
            out.push(format!("{what}: served {a}, now {b}"));
        }
    };
    differ("slate_id", served.slate_id.clone(), again.slate_id.clone());
    differ("composed_at", served.composed_at.0.to_string(), again.composed_at.0.to_string());
    differ("slate_propensity", served.slate_propensity.to_string(), again.slate_propensity.to_string());
    differ("empty_reason", format!("{:?}", served.empty_reason), format!("{:?}", again.empty_reason));
    let stages =
        |s: &Slate| s.degraded.iter().map(|d| format!("{}:{}", d.stage, d.cause)).collect::<Vec<_>>();
    differ("degraded", stages(served).join(" "), stages(again).join(" "));
    let ids = |s: &Slate| s.shelves.iter().map(|shelf| shelf.shelf_id.clone()).collect::<Vec<_>>();
    differ("shelves", ids(served).join(" "), ids(again).join(" "));
    for shelf in &served.shelves {
        let Some(other) = again.shelves.iter().find(|s| s.shelf_id == shelf.shelf_id) else { continue };
        let at = &shelf.shelf_id;
        differ(&format!("{at}: title"), shelf.title.clone(), other.title.clone());
        let n = shelf.cards.len().max(other.cards.len());
        for i in 0..n {
            let (a, b) = (shelf.cards.get(i), other.cards.get(i));
            let item = |c: Option<&segue_types::Card>| c.map_or("nothing".to_owned(), |c| c.item_id.clone());
            differ(&format!("{at}[{i}]"), item(a), item(b));
            if let (Some(a), Some(b)) = (a, b)
                && a.item_id == b.item_id
            {
                differ(&format!("{at}[{i}] score"), a.score.to_string(), b.score.to_string());
                let (p, q) = (a.prefix_propensity.to_string(), b.prefix_propensity.to_string());
                differ(&format!("{at}[{i}] prefix_propensity"), p, q);
                differ(&format!("{at}[{i}] source"), a.source.clone(), b.source.clone());
                differ(&format!("{at}[{i}] reason"), format!("{:?}", a.reason), format!("{:?}", b.reason));
                if a.display != b.display {
                    differ(
                        &format!("{at}[{i}] display"),
                        format!("{:?}", a.display),
                        format!("{:?}", b.display),
                    );
                }
            }
        }
    }
    out
}
