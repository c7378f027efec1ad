//! rustc or a build script with the observer: a library loaded into it that notes in a file what it reads.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The notes, in the private directory. They are no output.
pub const READS: &str = ".shoal-reads";
const SIZE: u64 = 8 << 20;

/// What a build script starts can be a whole build system: more of it is noted, and also who asks, clocks and random numbers.
const SCRIPT_SIZE: u64 = 64 << 20;
const SCRIPT_SLOTS: u64 = 1 << 16;
const SLOTS_AT: u64 = 40;
const SCRIPT: u64 = 1;

pub type Variables = [(&'static str, OsString); 2];

/// The variables that have the observer loaded and tell it its file, which is made in `dir`. None if that is not possible:
/// then nothing is observed.
pub fn environment(observer: &Path, dir: &Path) -> Option<Variables> {
    variables(observer, dir, |reads| make_notes(reads, SIZE).map(drop))
}

/// The same for a build script.
pub fn script_environment(observer: &Path, dir: &Path) -> Option<Variables> {
    variables(observer, dir, |reads| {
        let header = [SCRIPT_SLOTS.to_le_bytes(), SCRIPT.to_le_bytes()].concat();
        make_notes(reads, SCRIPT_SIZE)?.write_all_at(&header, SLOTS_AT)
    })
}

/// Says in the notes that something happened, or will, that they do not tell.
pub fn mark_unseen(dir: &Path) {
    const FLAGS_AT: u64 = 16;
    const UNSEEN: u64 = 2;
    let notes = OpenOptions::new().write(true).open(dir.join(READS));
    let _ = notes.and_then(|notes| notes.write_all_at(&UNSEEN.to_le_bytes(), FLAGS_AT));
}

fn variables(
    observer: &Path,
    dir: &Path,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> Option<Variables> {
    // The loader complains on stderr of a library that it cannot open. It splits the variable at these and expands `$`.
    let splits = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b':' | b';' | b'$');
    if observer.as_os_str().as_bytes().iter().any(splits) {
        return None;
    }
    File::open(observer)
        .ok()?
        .metadata()
        .ok()
        .filter(|meta| meta.is_file())?;
    let reads = dir.join(READS);
    if make(&reads).is_err() {
        let _ = fs::remove_file(reads);
        return None;
    }
    let mut preload: OsString = observer.into();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|value| !value.is_empty()) {
        preload.push(OsStr::new(":"));
        preload.push(others);
    }
    Some([
        ("LD_PRELOAD", preload),
        ("SHOAL_OBSERVE", reads.into_os_string()),
    ])
}

fn make_notes(path: &Path, size: u64) -> io::Result<File> {
    extern "C" {
        fn signal(signal: i32, action: usize) -> usize;
    }
    const XFSZ: i32 = 25;
    const IGNORE: usize = 1;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // A file longer than this process may write ends the process, unless it does not listen. rustc is to inherit neither.
    let action = unsafe { signal(XFSZ, IGNORE) };
    let made = file.set_len(size);
    unsafe { signal(XFSZ, action) };
    made.map(|()| file)
}
