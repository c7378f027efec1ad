//! The linker here, as this process's child: rustc ran elsewhere, and what it would have given to a linker is here.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::kill::kill_with_all_it_started;
use crate::observe;
use crate::run::{Kept, Outcome};

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

/// For this process and what it starts from now on.
fn limit_itself() -> io::Result<()> {
    #[repr(C)]
    struct Limit {
        soft: u64,
        hard: u64,
    }
    extern "C" {
        fn getrlimit(resource: i32, limit: *mut Limit) -> i32;
        fn setrlimit(resource: i32, limit: *const Limit) -> i32;
    }
    // RLIMIT_CPU and RLIMIT_FSIZE, by the same numbers everywhere.
    for (resource, most) in [(0, MAX_CPU), (1, MAX_FILE)] {
        let mut limit = Limit { soft: 0, hard: 0 };
        let done = unsafe {
            getrlimit(resource, &mut limit) == 0 && {
                limit.soft = limit.soft.min(most);
                setrlimit(resource, &limit) == 0
            }
        };
        if !done {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Runs it as rustc would, and shows nothing of what it says. None if it did not start.
pub fn link(order: &LinkOrder) -> Option<Outcome> {
    let started = Instant::now();
    let observer = order.observer.as_deref();
    let observed = observer.and_then(|observer| observe::environment(observer, &order.dir));
    let given = env::var_os("PATH").unwrap_or_default();
    let path = order.path.iter().cloned().chain(env::split_paths(&given));
    let mut command = Command::new(&order.program);
    unsafe { command.pre_exec(limit_itself) };
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
    let mut stdout = child.stdout.take()?;
    let mut stderr = child.stderr.take()?;
    let child = Arc::new(Mutex::new(child));
    let watch = Watch::start(&child, order.seconds);
    let other = thread::spawn(move || kept(&mut stdout));
    let stderr = kept(&mut stderr);
    let stdout = other.join().unwrap_or_default();
    let status = end_of(&child).ok()?;
    drop(watch);
    let code = status
        .code()
        .or_else(|| Some(-status.signal()?))
        .unwrap_or(1);
    Some(Outcome {
        rustc: code,
        exit: code,
        private: None,
        wall_micros: started.elapsed().as_micros() as u64,
        stdout,
        stderr,
    })
}

fn kept(from: &mut impl Read) -> Kept {
    let (mut kept, mut buffer) = (Kept::default(), [0; 1 << 14]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.push(&buffer[..count]);
    }
    kept
}

/// Waits for it. Whoever would kill it must find out whether its number is still its own, so nobody waits with it held.
fn end_of(child: &Mutex<Child>) -> io::Result<ExitStatus> {
    // Its streams have ended, so it is about to.
    let mut looks = 0;
    loop {
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        drop(child);
        looks += 1;
        if looks < 100 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends a linker that takes too long, with all that it has started.
struct Watch {
    /// Dropped when nothing is to be watched any more.
    over: Option<mpsc::Sender<()>>,
    watching: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn start(child: &Arc<Mutex<Child>>, seconds: u32) -> Watch {
        let (over, ended) = mpsc::channel();
        let child = Arc::clone(child);
        let watching = thread::spawn(move || {
            // In steps: for a build that was stopped, or a machine asleep, no more than one of them goes by.
            for _ in 0..seconds {
                match ended.recv_timeout(Duration::from_secs(1)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(None) = child.try_wait() {
                kill_with_all_it_started(child.id());
            }
        });
        Watch {
            over: Some(over),
            watching: Some(watching),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over = None;
        if let Some(watching) = self.watching.take() {
            let _ = watching.join();
        }
    }
}
