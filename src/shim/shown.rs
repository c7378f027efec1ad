//! What cargo has seen of a compile, whoever it came from.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::path::PathBuf;

use crate::text::artifact_in;

/// What cargo has been shown so far, so that a second source of the same compile repeats none of it.
#[derive(Default)]
pub struct Shown {
    pub lines: Vec<Vec<u8>>,
    tail: Vec<u8>,
    pub placed: Vec<PathBuf>,
    /// The metadata that cargo was told of: it ends with an assertion that fails when it is told of the same a second time.
    announced: Vec<String>,
}

impl Shown {
    pub fn stdout(&mut self, bytes: &[u8]) {
        write_to(1, bytes);
    }

    /// Relays whole lines; the beginning of one waits for its end, which may never come.
    pub fn stderr(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let Some(end) = self.tail.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let lines: Vec<u8> = self.tail.drain(..=end).collect();
        let mut relayed = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Some(path) = artifact_in(line).filter(|path| path.ends_with(".rmeta")) {
                if self.announced.contains(&path) {
                    continue;
                }
                self.add_placed(path.clone().into());
                self.announced.push(path);
            }
            relayed.extend_from_slice(line);
            self.lines.push(line.to_vec());
        }
        write_to(2, &relayed);
    }

    /// The daemon has delivered: the last line needs no end.
    pub fn flush(&mut self) {
        write_to(2, &std::mem::take(&mut self.tail));
    }

    /// From now on dependents may read this file: it is never touched again, unless to remove it.
    pub fn add_placed(&mut self, path: PathBuf) {
        self.placed.push(path);
    }

    /// Whether cargo has this very line already; each time it was shown counts once.
    pub fn take(&mut self, line: &[u8]) -> bool {
        let at = self.lines.iter().position(|shown| shown == line);
        at.map(|at| self.lines.swap_remove(at)).is_some()
    }
}

/// Unbuffered. That cargo no longer listens is no reason to stop: its files are still to be put in place.
pub fn write_to(fd: i32, bytes: &[u8]) {
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let _ = file.write_all(bytes);
}
