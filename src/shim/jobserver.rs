//! The jobserver cargo shares with its children: a pipe that holds one byte for each job that may start.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::call::var;

pub const RELEASED: u8 = 1;
const TAKEN_BACK: u8 = 2;
const DEBT: u8 = 3;

#[cfg(target_os = "macos")]
const O_NONBLOCK: i32 = 0x4;
#[cfg(not(target_os = "macos"))]
const O_NONBLOCK: i32 = 0x800;

/// Both ends are opened afresh: non-blocking is a property of the description, and the inherited one is everybody's.
pub struct Jobserver {
    read: File,
    write: File,
    released: bool,
}

impl Jobserver {
    /// None if there is no jobserver, or one whose ends cannot be opened afresh (descriptors where there is no /proc).
    pub fn from_env() -> Option<Jobserver> {
        let flags = var("CARGO_MAKEFLAGS")?;
        let words = flags.as_bytes().split(|byte| *byte == b' ');
        let prefixes: [&[u8]; 2] = [b"--jobserver-auth=", b"--jobserver-fds="];
        let auth = words
            .filter_map(|word| {
                prefixes
                    .iter()
                    .find_map(|prefix| word.strip_prefix(*prefix))
            })
            .next_back()?;
        let auth = std::str::from_utf8(auth).ok()?;
        let (read, write) = match auth.strip_prefix("fifo:") {
            // Opened for both, an end of a fifo never waits for the other one.
            Some(path) => (open(path, true, true)?, open(path, true, true)?),
            None => {
                let (read, write) = auth.split_once(',')?;
                let own = |fd: &str| Some(format!("/proc/self/fd/{}", fd.parse::<u32>().ok()?));
                (
                    open(&own(read)?, true, false)?,
                    open(&own(write)?, false, true)?,
                )
            }
        };
        Some(Jobserver {
            read,
            write,
            released: false,
        })
    }

    /// Gives this process's token back. To repay a debt nothing is written: the token goes to whoever went without, and one
    /// is taken back later all the same, so that the pipe holds as many as at the start. False if nothing was done.
    pub fn release(&mut self, repay: bool) -> bool {
        if self.released || !(repay || self.write.write_all(b"+").is_ok()) {
            return false;
        }
        self.released = true;
        true
    }

    /// Takes a token again, waiting at most `wait`; gives the state to report, or None if none was released.
    pub fn take_back(&mut self, wait: Duration) -> Option<u8> {
        if !std::mem::take(&mut self.released) {
            return None;
        }
        let until = Instant::now() + wait;
        loop {
            match self.read.read(&mut [0]) {
                Ok(1) => return Some(TAKEN_BACK),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                _ => return Some(DEBT),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(DEBT);
            }
            await_readable(&self.read, left);
        }
    }
}

/// Opens one end without blocking; None unless it is a pipe, for the descriptors named may have been closed and reused.
fn open(path: impl AsRef<Path>, read: bool, write: bool) -> Option<File> {
    let file = OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .ok()?;
    file.metadata().ok()?.file_type().is_fifo().then_some(file)
}

fn await_readable(file: &File, wait: Duration) {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    #[cfg(target_os = "macos")]
    type Count = u32;
    #[cfg(not(target_os = "macos"))]
    type Count = std::ffi::c_ulong;
    extern "C" {
        fn poll(fds: *mut PollFd, count: Count, timeout_ms: i32) -> i32;
    }
    const POLLIN: i16 = 1;
    let mut fd = PollFd {
        fd: file.as_raw_fd(),
        events: POLLIN,
        revents: 0,
    };
    unsafe { poll(&mut fd, 1, wait.as_millis().clamp(1, 60_000) as i32) };
}
