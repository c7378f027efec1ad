//! rustc with the observer: a library loaded into it that notes in a file what the compile reads.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The notes, in the private directory. They are no output.
pub const READS: &str = ".shoal-reads";
const SIZE: u64 = 8 << 20;

pub type Variables = [(&'static str, OsString); 2];

/// The variables that have the observer loaded and tell it its file, which is made in `dir`. None if that is not possible:
/// then nothing is observed.
pub fn environment(observer: &Path, dir: &Path) -> Option<Variables> {
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
    if make_notes(&reads).is_err() {
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

fn make_notes(path: &Path) -> io::Result<()> {
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
    let made = file.set_len(SIZE);
    unsafe { signal(XFSZ, action) };
    made
}
