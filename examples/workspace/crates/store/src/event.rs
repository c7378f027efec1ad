use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shelf_model::Link;
use shelf_slug::Slug;

/// One line of the journal. Lines are only ever added, so every variant and field stays readable for good.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A link came onto the shelf.
    Added(Link),
    /// A link was followed.
    Visited {
        /// The link.
        slug: Slug,
        /// When.
        at: Timestamp,
    },
    /// A link was taken off the shelf.
    Removed {
        /// The link.
        slug: Slug,
    },
}
