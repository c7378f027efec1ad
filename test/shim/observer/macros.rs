//! A procedural macro that looks at everything a macro can look at, and says what it saw.

extern crate proc_macro;

use proc_macro::TokenStream;
use std::hint::black_box;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};
use std::{env, fs, thread};

extern "C" {
    fn gethostname(into: *mut u8, size: usize) -> i32;
    fn uname(into: *mut u8) -> i32;
}

/// What is another thing each time, or on each machine, and what is not.
#[proc_macro]
pub fn ask(what: TokenStream) -> TokenStream {
    let mut bytes = [0u8; 4096];
    match what.to_string().as_str() {
        "date" => drop(SystemTime::now()),
        "date_in_a_thread" => drop(thread::spawn(SystemTime::now).join()),
        "since" => drop(Instant::now().elapsed()),
        "date_of_a_program" => drop(Command::new("date").output().unwrap()),
        "system_of_a_program" => drop(Command::new("uname").arg("-n").output().unwrap()),
        "sine" => drop(black_box(black_box(0.3_f64).sin())),
        "small_sine" => drop(black_box(black_box(0.3_f32).sin())),
        "growth" => drop(black_box(black_box(0.3_f64).exp_m1())),
        "host" => drop(unsafe { gethostname(bytes.as_mut_ptr(), 256) }),
        "system" => drop(unsafe { uname(bytes.as_mut_ptr()) }),
        _ => {}
    }
    TokenStream::new()
}

#[proc_macro]
pub fn look(_: TokenStream) -> TokenStream {
    let dir = PathBuf::from(env::var("LOOK_DIR").unwrap());
    let seen = [
        fs::read_to_string(dir.join("outside.txt")).unwrap(),
        listed(&dir.join("listed")),
        format!("{:?}", dir.join("absent.txt").metadata().is_ok()),
        format!("{:?} {:?}", env::var("LOOK_SET"), env::var("LOOK_UNSET")),
        fs::read_link(dir.join("a-link"))
            .unwrap()
            .display()
            .to_string(),
        fs::canonicalize(dir.join("a-link"))
            .unwrap()
            .display()
            .to_string(),
        in_threads(&dir),
        told(Command::new(dir.join("script.sh")).arg(dir.join("by-script.txt"))),
        told(
            Command::new("sh")
                .args(["-c", "read line < \"$1\"; echo \"$line\"", "sh"])
                .arg(dir.join("by-sh.txt")),
        ),
        elsewhere(&dir),
        descriptors(),
    ];
    format!("pub const SEEN: &str = {:?};", seen.join("\n"))
        .parse()
        .unwrap()
}

fn listed(dir: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    format!("{names:?}")
}

fn in_threads(dir: &Path) -> String {
    let read = |index: u32| fs::read_to_string(dir.join(format!("thread-{index}.txt"))).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|index| scope.spawn(move || read(index)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

fn elsewhere(dir: &Path) -> String {
    let before = env::current_dir().unwrap();
    env::set_current_dir(dir.join("listed")).unwrap();
    let text = fs::read_to_string("../relative.txt").unwrap();
    env::set_current_dir(before).unwrap();
    text
}

/// What this process has open: numbers, and of what kind.
fn descriptors() -> String {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let kind = fs::metadata(entry.path()).map(|meta| meta.file_type());
            let text = kind.map(|kind| {
                format!(
                    "{} {} {}",
                    kind.is_file(),
                    kind.is_fifo(),
                    kind.is_char_device()
                )
            });
            format!("{:?} {text:?}", entry.file_name())
        })
        .collect();
    open.sort();
    open.join(",")
}
