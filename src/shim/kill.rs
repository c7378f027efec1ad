//! The end of a process and of everything that it has started.

use std::fs;
use std::process;

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

const KILL: i32 = 9;
#[cfg(target_os = "macos")]
const STOP: i32 = 17;
#[cfg(not(target_os = "macos"))]
const STOP: i32 = 19;

/// Somebody who starts faster than it is looked for must not keep this process looking.
const MAX_LOOKS: u32 = 100;

/// What this process has started while this lived, and all that those have started. Where the system has it so, it becomes a child of
/// this process when its own parent ends, so that it is found.
pub struct Started {
    /// Children of whoever became this process, say.
    before: Vec<u32>,
}

impl Started {
    pub fn watch() -> Started {
        adopt(true);
        let before = children_of(process::id());
        Started { before }
    }

    /// Kills all of it that is to be found; where the system lists no children, that is this child alone.
    /// The child, if any, was not waited for yet.
    pub fn kill_all(&self, child: Option<u32>) {
        let mut found: Vec<u32> = child.into_iter().collect();
        let mut next = 0;
        for _ in 0..MAX_LOOKS {
            while let Some(&pid) = found.get(next) {
                // One that stands still starts nothing after that, and its children keep their numbers until it asks for them.
                signal(pid, STOP);
                add(&mut found, children_of(pid));
                next += 1;
            }
            // Who has lost its parent meanwhile.
            let mut own = children_of(process::id());
            own.retain(|pid| !self.before.contains(pid));
            add(&mut found, own);
            if next == found.len() {
                break;
            }
        }
        for &pid in &found {
            signal(pid, KILL);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        adopt(false);
    }
}

fn add(found: &mut Vec<u32>, more: Vec<u32>) {
    for pid in more {
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
}

fn signal(pid: u32, number: i32) {
    if let Ok(pid @ 2..) = i32::try_from(pid) {
        unsafe { kill(pid, number) };
    }
}

/// Whether this process becomes the parent of those below it that have lost theirs.
#[cfg(target_os = "linux")]
pub fn adopt(does: bool) {
    use std::ffi::{c_int, c_ulong};
    extern "C" {
        fn prctl(option: c_int, ...) -> c_int;
    }
    const SET_CHILD_SUBREAPER: c_int = 36;
    let none: c_ulong = 0;
    unsafe { prctl(SET_CHILD_SUBREAPER, c_ulong::from(does), none, none, none) };
}

#[cfg(not(target_os = "linux"))]
pub fn adopt(_does: bool) {}

/// Of all its threads.
fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers: Vec<u32> = list
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            numbers
        })
        .collect()
}
