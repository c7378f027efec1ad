//! rustc or a build script with the observer: a library loaded into it that notes in a file what it reads.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::call::var;

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

/// Whether the notes tell of something that a second run would do once more: outside of `own` and of the directories for temporary files
/// something was changed, or somebody was reached who is not this machine. What cannot be read tells nothing.
pub fn went_beyond(dir: &Path, own: &Path) -> bool {
    let named = ["TMPDIR", "TMP", "TEMP", "TEMPDIR"];
    let mut within: Vec<PathBuf> = named.into_iter().filter_map(var).map(Into::into).collect();
    if within.is_empty() {
        within.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
    }
    within.extend([own, dir, Path::new("/dev")].map(PathBuf::from));
    let is_within = |path: &Path| within.iter().any(|each| path.starts_with(each));
    records(&dir.join(READS))
        .unwrap_or_default()
        .iter()
        .any(|record| match record {
            (WRITE, path) => !is_within(&without_dots(path)),
            (NET, _) => true,
            _ => false,
        })
}

const WRITE: u8 = 6;
const NET: u8 = 9;

/// Kind and path of each note of something that succeeded. protocols/observer.md says how they lie there.
fn records(notes: &Path) -> io::Result<Vec<(u8, PathBuf)>> {
    const HEADER: usize = 64;
    let file = File::open(notes)?;
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, 0)?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (used, slots) = (number(&head[8..16]), number(&head[40..48]));
    let start = HEADER as u64 + 8 * slots.min(1 << 20);
    let mut area = vec![0; used.min(SCRIPT_SIZE) as usize];
    file.read_exact_at(&mut area, start)?;
    let mut found = Vec::new();
    let mut rest = area.as_slice();
    while let Some((head, _)) = rest.split_at_checked(12) {
        let (total, length) = (number(&head[0..4]) as usize, number(&head[4..6]) as usize);
        let Some(path) = rest.get(12..12 + length).filter(|_| total >= 12 + length) else {
            break;
        };
        if head[6..8] == [0, 0] {
            found.push((head[8], PathBuf::from(OsStr::from_bytes(path))));
        }
        rest = rest.get(total..).unwrap_or_default();
    }
    Ok(found)
}

/// By its text alone, as a script writes `$OUT_DIR/x/../y`.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
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
