//! Reasons in words for the listener.

use segue_types::ItemKey;

use crate::query::Query;

fn title(query: &Query, key: ItemKey) -> Option<String> {
    query.catalogue.item(key, query.now).map(|item| item.display_title().to_owned())
}

/// Why a card is there: what explains it, else what its source means.
#[must_use]
pub fn reason(query: &Query, source: &str, item: ItemKey, because: Option<ItemKey>) -> Option<String> {
    if let Some(title) = because.filter(|&b| b != item).and_then(|b| title(query, b)) {
        return Some(if because == query.current {
            format!("Goes with {title}")
        } else {
            format!("Because you played {title}")
        });
    }
    match source {
        "recent" => {
            let plays = query.state.interactions().item(item).map_or(0, |i| i.n_plays);
            Some(if plays > 1 { format!("Played {plays} times") } else { "Played lately".to_owned() })
        }
        "new_releases" => {
            let artist = query.item(item).and_then(|i| i.artist_names.first().cloned());
            Some(artist.map_or_else(|| "New release".to_owned(), |name| format!("New from {name}")))
        }
        "popular" => Some(match query.market.as_deref() {
            Some(market) if !query.popular.list(market).is_empty() => format!("Popular in {market}"),
            _ => "Popular".to_owned(),
        }),
        _ if !query.consent || query.user.is_none() => Some("Popular".to_owned()),
        _ => Some("Fits what you listen to".to_owned()),
    }
}

/// A configured text with `{because}` filled in; without an item it reads "what you play".
#[must_use]
pub fn fill(text: &str, query: &Query, anchor: Option<ItemKey>) -> String {
    if !text.contains("{because}") {
        return text.to_owned();
    }
    let words = anchor.and_then(|key| title(query, key)).unwrap_or_else(|| "what you play".to_owned());
    text.replace("{because}", &words)
}
