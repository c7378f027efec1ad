//! The linker here, as this process's child: rustc ran elsewhere, and what it would have given to a linker is here.

use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
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

/// Runs it as rustc would, and shows nothing of what it says. None if it did not start.
pub fn link(order: &LinkOrder) -> Option<Outcome> {
    let started = Instant::now();
    let observer = order.observer.as_deref();
    let observed = observer.and_then(|observer| observe::environment(observer, &order.dir));
    let given = env::var_os("PATH").unwrap_or_default();
    let path = order.path.iter().cloned().chain(env::split_paths(&given));
    let mut child = Command::new(&order.program)
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
