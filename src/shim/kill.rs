//! The end of a process and of everything that it has started.

use std::fs;

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

const KILL: i32 = 9;
#[cfg(target_os = "macos")]
const STOP: i32 = 17;
#[cfg(not(target_os = "macos"))]
const STOP: i32 = 19;

/// Kills a child of this process that was not waited for yet, and what it has started, as far as that is not somebody else's child
/// by now. Where the system lists no children, it is killed alone.
pub fn kill_with_all_it_started(pid: u32) {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        // One that stands still starts nothing after that, and its children keep their numbers until it asks for them.
        signal(pid, STOP);
        found.extend(children_of(pid));
        next += 1;
    }
    for &pid in &found {
        signal(pid, KILL);
    }
}

fn signal(pid: u32, number: i32) {
    if let Ok(pid @ 2..) = i32::try_from(pid) {
        unsafe { kill(pid, number) };
    }
}

/// Of all its threads.
fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers: Vec<u32> = list.split(' ').filter_map(|word| word.parse().ok()).collect();
            numbers
        })
        .collect()
}
