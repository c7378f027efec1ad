//! A unit that the daemon has as a whole, put in place by this process: the daemon has other units to look up meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::shown::Shown;
use crate::start::own_name;

/// One file and where it belongs.
pub struct Target<'a> {
    pub source: Source<'a>,
    pub path: PathBuf,
    pub executable: bool,
    /// Shown when the file is in place.
    pub line: &'a [u8],
    /// Dependents read it as soon as its line is shown.
    pub is_metadata: bool,
}

pub enum Source<'a> {
    /// To be copied.
    File(PathBuf),
    Text(&'a [u8]),
}

pub enum State {
    /// The metadata is in place and about to be announced.
    Metadata,
    Done,
    /// By this error of the system; what was in place before it stays.
    Failed(i32),
}

/// Puts all in place, in order, and shows what belongs to it: the metadata at once, since others wait for it, everything else
/// at the end. `report` is called before that with the identities of the files placed since its last call.
/// Nobody else is needed for this once it has begun. False: it failed, and what is in place by then stays.
pub fn deliver(
    targets: &[Target],
    stderr: &[u8],
    shown: &mut Shown,
    mut report: impl FnMut(State, &[String]),
) -> bool {
    let (mut identities, mut lines) = (Vec::new(), Vec::new());
    for target in targets {
        match place(target) {
            Ok(identity) => identities.push(identity),
            Err(error) => {
                report(
                    State::Failed(error.raw_os_error().unwrap_or(0)),
                    &identities,
                );
                shown.stderr(&lines);
                return false;
            }
        }
        lines.extend_from_slice(target.line);
        if target.is_metadata {
            shown.add_placed(target.path.clone());
            report(State::Metadata, &std::mem::take(&mut identities));
            shown.stderr(&std::mem::take(&mut lines));
        }
    }
    report(State::Done, &identities);
    lines.extend_from_slice(stderr);
    shown.stderr(&lines);
    true
}

/// Under a name of its own first, so that nobody sees half a file and a link at the final name is replaced, not followed.
/// Access is as this process may give it: that is how rustc would have made the file.
fn place(target: &Target) -> io::Result<String> {
    let temporary = own_name(target.path.parent().unwrap_or(Path::new("/")), "new");
    // What a killed process of the same id may have left.
    let made = match write(target, &temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary).and_then(|()| write(target, &temporary))
        }
        made => made,
    };
    let placed = made.and_then(|identity| {
        fs::rename(&temporary, &target.path)?;
        Ok(identity)
    });
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

fn write(target: &Target, temporary: &Path) -> io::Result<String> {
    let mode = if target.executable { 0o777 } else { 0o666 };
    let create = || {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(temporary)
    };
    let file = match &target.source {
        // What the store has of it is opened first: that is what may be missing.
        Source::File(path) => {
            let mut from = File::open(path)?;
            let mut to = create()?;
            io::copy(&mut from, &mut to)?;
            to
        }
        Source::Text(text) => {
            let mut to = create()?;
            to.write_all(text)?;
            to
        }
    };
    let stat = file.metadata()?;
    let mtime = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
    Ok(format!(
        "{}:{}:{}:{mtime}",
        stat.dev(),
        stat.ino(),
        stat.size()
    ))
}
