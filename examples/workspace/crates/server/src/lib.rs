//! The HTTP face of a shelf: a JSON API under `/links`, and `/{slug}` for people.

mod clock;
mod error;
mod routes;
mod serve;

pub use clock::{Clock, system_clock};
pub use error::ApiError;
pub use routes::router;
pub use serve::serve;

use shelf_store::Shelf;
use std::sync::Arc;
use tokio::sync::RwLock;

/// What every request shares.
#[derive(Clone)]
pub struct App {
    /// The links.
    pub shelf: Arc<RwLock<Shelf>>,
    /// Where the time of changes comes from.
    pub clock: Clock,
}
