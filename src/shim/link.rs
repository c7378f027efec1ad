//! The linker here, as this process's child: rustc ran elsewhere, and what it would have given to a linker is here.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

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

/// For this process and what it starts from now on.
fn limit_processor() -> io::Result<()> {
    #[repr(C)]
    struct Limit {
        soft: u64,
        hard: u64,
    }
    extern "C" {
        fn getrlimit(resource: i32, limit: *mut Limit) -> i32;
        fn setrlimit(resource: i32, limit: *const Limit) -> i32;
    }
    const CPU: i32 = 0;
    let mut limit = Limit { soft: 0, hard: 0 };
    let done = unsafe {
        getrlimit(CPU, &mut limit) == 0 && {
            limit.soft = limit.soft.min(MAX_CPU);
            setrlimit(CPU, &limit) == 0
        }
    };
    done.then_some(()).ok_or_else(io::Error::last_os_error)
}

/// Runs it as rustc would, and shows nothing of what it says. None if it did not start.
pub fn link(order: &LinkOrder) -> Option<Outcome> {
    let started = Instant::now();
    let observer = order.observer.as_deref();
    let observed = observer.and_then(|observer| observe::environment(observer, &order.dir));
    let given = env::var_os("PATH").unwrap_or_default();
    let path = order.path.iter().cloned().chain(env::split_paths(&given));
    let mut command = Command::new(&order.program);
    unsafe { command.pre_exec(limit_processor) };
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
    let other = thread::spawn(move || kept(&mut stdout));
    let stderr = kept(&mut child.stderr.take()?);
    let stdout = other.join().unwrap_or_default();
    let status = child.wait().ok()?;
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
