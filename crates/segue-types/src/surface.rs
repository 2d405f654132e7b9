//! Surfaces: the places where a listener meets items.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::label::names;

/// Where a slate is shown, or where a play was started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Surface {
    /// The first page: shelves of cards.
    Home = 1,
    /// The queue behind the current track.
    NowPlaying = 2,
    /// The listener's own collection.
    Library = 3,
    /// Search results.
    Search = 4,
    /// An album, artist or playlist page.
    Catalogue = 5,
    /// A playlist made by editors.
    Editorial = 6,
    /// An endless station.
    Radio = 7,
    /// Charts.
    Charts = 8,
    /// Anything else, and imports that do not say.
    Other = 9,
}

names!(Surface {
    Home => "home",
    NowPlaying => "now_playing",
    Library => "library",
    Search => "search",
    Catalogue => "catalogue",
    Editorial => "editorial",
    Radio => "radio",
    Charts => "charts",
    Other => "other",
});
