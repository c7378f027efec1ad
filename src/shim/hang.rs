//! Word among shims that the daemon hangs: who has waited in vain leaves a mark, so that the others of a build need not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Beside the socket; a daemon that lives removes it.
const MARK: &str = "hung";
/// A mark that nobody has removed for longer than this is tried once more.
const HOLDS: Duration = Duration::from_secs(600);

fn mark_of(socket: &Path) -> PathBuf {
    socket.with_file_name(MARK)
}

/// Whether somebody has waited in vain lately. A time in the future tells nothing.
pub fn is_marked(socket: &Path) -> bool {
    let info = fs::symlink_metadata(mark_of(socket)).ok();
    let modified = info
        .filter(|info| info.is_file())
        .and_then(|info| info.modified().ok());
    let age = modified.and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age < HOLDS)
}

/// Leaves the mark. Before the connection is closed: that is when a daemon that lives after all removes it.
pub fn mark(socket: &Path) {
    let _ = fs::write(mark_of(socket), "\n");
}

/// A wait, and whether it was in vain.
pub struct Wait {
    since: Instant,
    most: Duration,
}

impl Wait {
    pub fn of(most: Duration) -> Wait {
        let since = Instant::now();
        Wait { since, most }
    }

    pub fn until(&self) -> Instant {
        self.since + self.most
    }

    /// The system's clock for timeouts goes in coarser steps than this one.
    pub fn is_over(&self) -> bool {
        self.since.elapsed() + Duration::from_millis(20) >= self.most
    }
}
