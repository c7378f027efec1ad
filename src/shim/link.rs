//! The linker here, as this process's child: rustc ran elsewhere, and what it would have given to a linker is here.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::kill::Started;
use crate::observe;
use crate::run::{code_of, each_chunk, Kept, Outcome};
use crate::spent;

/// What is to be linked, and where.
pub struct LinkOrder {
    /// There already, with the objects in it; the notes of the observer go there.
    pub dir: PathBuf,
    pub observer: Option<PathBuf>,
    /// A path, or a name on PATH.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Directories that come before those of PATH.
    pub path: Vec<PathBuf>,
    /// How long it may take, in seconds in which this process was not stopped.
    pub seconds: u32,
}

impl LinkOrder {
    /// What the daemon made for all that belongs to one unit.
    pub fn outer(&self) -> Option<&Path> {
        let outer = self.dir.parent()?;
        let name = outer.file_name()?.as_bytes();
        Some(outer).filter(|_| name.starts_with(b".shoal-"))
    }
}

/// Seconds of a processor. What goes into it was made by somebody else, and may have been made to keep a linker busy.
const MAX_CPU: u64 = 1200;
/// Bytes of one file.
const MAX_FILE: u64 = 8 << 30;
/// SIGKILL. What has taken too long counts as ended by it, however it ended.
const KILLED: i32 = 9;

/// For this process and what it starts from now on.
fn limit_itself() -> io::Result<()> {
    extern "C" {
        fn getrlimit(resource: i32, soft_and_hard: *mut [u64; 2]) -> i32;
        fn setrlimit(resource: i32, soft_and_hard: *const [u64; 2]) -> i32;
    }
    // RLIMIT_CPU, RLIMIT_FSIZE and RLIMIT_CORE, by the same numbers everywhere. A core would be left in the user's directory.
    for (resource, most) in [(0, MAX_CPU), (1, MAX_FILE), (4, 0)] {
        let mut limit = [0; 2];
        let done = unsafe {
            getrlimit(resource, &mut limit) == 0 && {
                limit[0] = most.min(limit[0]);
                setrlimit(resource, &limit) == 0
            }
        };
        if !done {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Runs it as rustc would, and shows nothing of what it says. None if it did not start. It has ended when it and both its streams
/// have; when its time is over, it and all that it has started are killed, and nothing of what it said is known.
pub fn link(order: &LinkOrder) -> Option<Outcome> {
    let started = Instant::now();
    let observer = order.observer.as_deref();
    let observed = observer.and_then(|observer| observe::environment(observer, &order.dir));
    let given = env::var_os("PATH").unwrap_or_default();
    let path = order.path.iter().cloned().chain(env::split_paths(&given));
    let mut command = Command::new(&order.program);
    unsafe { command.pre_exec(limit_itself) };
    let started_by_it = Started::watch();
    let mut child = command
        .args(&order.args)
        .env("PATH", env::join_paths(path).ok()?)
        .env("LC_ALL", "C")
        .env("VSLANG", "1033")
        .env("SHOAL", "off")
        .envs(observed.into_iter().flatten())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let streams = Streams::read(child.stdout.take()?, child.stderr.take()?);
    let mut left = order.seconds;
    let kept = streams.ends(&mut left);
    let ended = kept.and_then(|kept| Some((kept, end_of(&mut child, left)?)));
    let ([stdout, stderr], code) = match ended {
        Some((kept, status)) => (kept, code_of(status)),
        None => {
            end_all(&mut child, &started_by_it);
            (Default::default(), -KILLED)
        }
    };
    Some(Outcome {
        rustc: code,
        exit: code,
        private: None,
        wall_micros: started.elapsed().as_micros() as u64,
        cpu_micros: spent::by_children(),
        stdout,
        stderr,
    })
}

/// What it says on both streams, read as it comes, so that it never waits for a reader.
struct Streams {
    ended: mpsc::Receiver<(usize, Kept)>,
}

impl Streams {
    /// Whoever reads them is never waited for: what a linker leaves behind may hold them open for ever.
    fn read(stdout: impl Read + Send + 'static, stderr: impl Read + Send + 'static) -> Streams {
        let (end, ended) = mpsc::channel();
        let other = end.clone();
        thread::spawn(move || other.send((0, kept(stdout))));
        thread::spawn(move || end.send((1, kept(stderr))));
        Streams { ended }
    }

    /// Both, once they have ended, as for rustc a linker has not ended before that. None if that takes longer than the seconds that
    /// are left.
    fn ends(&self, left: &mut u32) -> Option<[Kept; 2]> {
        let mut both = [None, None];
        // In steps: for a build that was stopped, or a machine asleep, no more than one of them goes by.
        while *left > 0 {
            match self.ended.recv_timeout(Duration::from_secs(1)) {
                Ok((at, kept)) => both[at] = Some(kept),
                Err(RecvTimeoutError::Timeout) => *left -= 1,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if let [Some(_), Some(_)] = both {
                return Some(both.map(Option::unwrap_or_default));
            }
        }
        None
    }
}

fn kept(from: impl Read) -> Kept {
    let mut kept = Kept::default();
    each_chunk(from, |chunk| kept.push(chunk));
    kept
}

/// Its streams have ended, so it is about to. None if it takes longer than so many seconds.
fn end_of(child: &mut Child, seconds: u32) -> Option<ExitStatus> {
    for _ in 0..100 {
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        thread::yield_now();
    }
    for _ in 0..u64::from(seconds) * 1000 {
        thread::sleep(Duration::from_millis(1));
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
    }
    None
}

/// Ends what has taken too long. It is not waited for longer than a moment: a file system that does not answer keeps even the killed.
fn end_all(child: &mut Child, started: &Started) {
    let running = matches!(child.try_wait(), Ok(None)).then(|| child.id());
    started.kill_all(running);
    if running.is_some() {
        let _ = end_of(child, 1);
    }
    // What was just being started at the first look.
    started.kill_all(None);
}
