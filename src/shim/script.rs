//! A build script as this process's child, observed, or what it did the last time in its place.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use crate::call::{is_off, var};
use crate::daemon::{self, Daemon};
use crate::frames::recalled_in;
use crate::kill::adopt;
use crate::run::{code_of, each_chunk, Kept, Outcome, CRASHED};
use crate::shown::write_to;
use crate::start::own_name;
use crate::{hang, observe, orphans, spent};

/// A build script that cargo runs.
pub struct Script {
    pub program: PathBuf,
    pub cwd: PathBuf,
    pub umask: u32,
    out_dir: PathBuf,
    /// Where the daemon puts what the script would leave: beside OUT_DIR, so that it is moved there at once.
    pub spare: PathBuf,
}

/// How it is to be observed.
pub struct Watch {
    pub observer: PathBuf,
    /// For the notes; this process makes it.
    pub dir: PathBuf,
    /// What stands before rustc in the script's environment and is known to be this very program; empty if it is not.
    pub wrapper: OsString,
}

/// What it said when it ran.
pub struct Recalled<'a> {
    pub stdout: &'a [u8],
    pub stderr: &'a [u8],
}

pub enum Answer {
    Watch(Watch),
    /// What it left lies in the spare directory. The body of a frame.
    Recalled(Vec<u8>),
}

/// Has the daemon say what becomes of a script. How it ended, negative by a signal; None if it is still to be run, as if nobody had
/// been asked.
pub fn attend(program: &Path, args: &[OsString]) -> Option<i32> {
    let script = Script::from_cargo(program, args)?;
    let socket = daemon::socket_path()?;
    if !daemon::read_announce(&socket)?.launches || hang::is_marked(&socket) {
        return None;
    }
    let mut daemon = Daemon::connect(&socket)?;
    let end = script.obey(&mut daemon);
    if end.is_none() {
        let _ = fs::remove_dir_all(&script.spare);
    }
    end
}

impl Script {
    /// None for whatever is not plainly cargo's.
    fn from_cargo(program: &Path, args: &[OsString]) -> Option<Script> {
        let told = [
            "TARGET",
            "HOST",
            "PROFILE",
            "RUSTC",
            "CARGO_MANIFEST_DIR",
            "CARGO_CFG_TARGET_ARCH",
        ];
        // Inside of what is observed already somebody else has asked.
        let inside = var("SHOAL_OBSERVE").is_some();
        if is_off() || inside || !args.is_empty() || told.iter().any(|name| var(name).is_none()) {
            return None;
        }
        if inherits_files() {
            return None;
        }
        let out_dir = PathBuf::from(var("OUT_DIR")?);
        let parent = out_dir.parent().filter(|dir| dir.is_absolute())?;
        Some(Script {
            program: program.to_path_buf(),
            cwd: env::current_dir().ok()?,
            umask: umask(),
            spare: own_name(parent, "out"),
            out_dir,
        })
    }

    fn obey(&self, daemon: &mut Daemon) -> Option<i32> {
        match daemon.ask(self)? {
            Answer::Watch(watch) => self.observed(&watch, daemon),
            Answer::Recalled(body) => {
                let said = recalled_in(&body)?;
                if !self.put_in_place() {
                    return None;
                }
                write_to(2, said.stderr);
                write_to(1, said.stdout);
                Some(0)
            }
        }
    }

    /// Has the spare directory take the place of OUT_DIR. False if that cannot be done: then OUT_DIR is what it was.
    fn put_in_place(&self) -> bool {
        // An empty directory gives way to another one.
        if fs::rename(&self.spare, &self.out_dir).is_ok() {
            return true;
        }
        let Some(parent) = self.out_dir.parent() else {
            return false;
        };
        let old = own_name(parent, "old");
        let _ = fs::remove_dir_all(&old);
        let moved = fs::rename(&self.out_dir, &old).is_ok();
        let placed = moved && fs::rename(&self.spare, &self.out_dir).is_ok();
        if moved && !placed {
            let _ = fs::rename(&old, &self.out_dir);
        }
        let _ = fs::remove_dir_all(&old);
        if !placed {
            let _ = fs::remove_dir_all(&self.spare);
        }
        placed
    }

    /// Runs it and reports. None if it did not start, or if the observer may be why it failed: then OUT_DIR is empty again, and nothing
    /// was said.
    fn observed(&self, watch: &Watch, daemon: &mut Daemon) -> Option<i32> {
        DirBuilder::new().mode(0o700).create(&watch.dir).ok()?;
        let outcome = self.run(watch);
        let goes_again = outcome
            .as_ref()
            .is_some_and(|outcome| self.may_run_again(outcome, &watch.dir));
        let told = outcome
            .as_ref()
            .filter(|outcome| daemon.ran(outcome).is_some());
        if told.is_some() {
            daemon.linger();
        } else {
            let _ = fs::remove_dir_all(&watch.dir);
        }
        let outcome = outcome?;
        // Whatever it is that went wrong, it must not be that it was observed.
        if goes_again && empty(&self.out_dir).is_ok() {
            return None;
        }
        if !outcome.stderr.cut {
            write_to(2, &outcome.stderr.bytes);
        }
        if !outcome.stdout.cut {
            write_to(1, &outcome.stdout.bytes);
        }
        Some(outcome.exit)
    }

    /// Whether it is to run once more, because it may have ended like this for no other reason than that it was observed. Not when it would
    /// say the same twice or, unless it has crashed, do something elsewhere twice: the daemon has it run by itself the next time.
    fn may_run_again(&self, outcome: &Outcome, notes: &Path) -> bool {
        let is_unsaid = !outcome.stdout.cut && !outcome.stderr.cut;
        let repeats = || observe::went_beyond(notes, &self.out_dir);
        may_be_ours(outcome.exit) && is_unsaid && (CRASHED.contains(&outcome.exit) || !repeats())
    }

    fn run(&self, watch: &Watch) -> Option<Outcome> {
        let variables = observe::script_environment(&watch.observer, &watch.dir)?;
        let started = Instant::now();
        let mut child = self.start(watch, variables)?;
        leave_signals_to(&child);
        let stdout = child.stdout.take()?;
        let holding = thread::spawn(move || hold(stdout, 1));
        let stderr = hold(child.stderr.take()?, 2);
        let stdout = holding.join().unwrap_or_default();
        let status = child.wait().ok()?;
        if orphans::are_left() {
            observe::mark_unseen(&watch.dir);
        }
        let exit = code_of(status);
        let wall_micros = started.elapsed().as_micros() as u64;
        Some(Outcome {
            rustc: exit,
            exit,
            private: None,
            wall_micros,
            cpu_micros: spent::by_children(),
            stdout,
            stderr,
        })
    }

    fn start(&self, watch: &Watch, variables: observe::Variables) -> Option<Child> {
        let name = env::args_os().next()?;
        let mut command = Command::new(&self.program);
        command
            .arg0(name)
            .envs(variables)
            // What the script starts by the name of this program is to become rustc, whatever else it is told.
            .env("SHOAL", "off")
            .env("SHOAL_WRAPPER", &watch.wrapper)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        die_with_us(&mut command);
        adopt(true);
        command.spawn().ok()
    }
}

static CHILD: AtomicI32 = AtomicI32::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What a terminal sends, the script gets by itself; what somebody sends to this process is meant for it.
fn leave_signals_to(child: &Child) {
    extern "C" {
        fn signal(signal: i32, action: usize) -> usize;
    }
    const INT: i32 = 2;
    const QUIT: i32 = 3;
    CHILD.store(child.id() as i32, Relaxed);
    for number in [INT, QUIT, TERM] {
        unsafe { signal(number, pass_on as *const () as usize) };
    }
}

const TERM: i32 = 15;

extern "C" fn pass_on(number: i32) {
    extern "C" {
        fn kill(process: i32, signal: i32) -> i32;
    }
    INTERRUPTED.store(true, Relaxed);
    if number == TERM {
        unsafe { kill(CHILD.load(Relaxed), number) };
    }
}

/// Whether a script that ended like this might have ended otherwise by itself: not if somebody wanted it to end.
fn may_be_ours(exit: i32) -> bool {
    let failed = exit > 0 || CRASHED.contains(&exit);
    failed && !INTERRUPTED.load(Relaxed)
}

/// Whoever kills the script that cargo started means the real one.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    extern "C" {
        fn prctl(option: i32, ...) -> i32;
    }
    const SET_DEATH_SIGNAL: i32 = 1;
    const KILL: usize = 9;
    unsafe {
        command.pre_exec(|| {
            prctl(SET_DEATH_SIGNAL, KILL);
            Ok(())
        })
    };
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_: &mut Command) {}

/// Whether there is an open file that a script could read, beside its three streams: what it holds nobody could tell.
fn inherits_files() -> bool {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return false;
    };
    let number = |name: &OsString| name.to_str().and_then(|name| name.parse::<u32>().ok());
    entries
        .flatten()
        .filter(|entry| number(&entry.file_name()).is_some_and(|fd| fd > 2))
        .any(|entry| fs::metadata(entry.path()).is_ok_and(|file| file.is_file()))
}

fn umask() -> u32 {
    #[cfg(target_os = "linux")]
    type Bits = u32;
    #[cfg(not(target_os = "linux"))]
    type Bits = u16;
    extern "C" {
        #[link_name = "umask"]
        fn set(mask: Bits) -> Bits;
    }
    // There is no other thread yet, and no other way to look.
    let mask = unsafe { set(0o077) };
    unsafe { set(mask) };
    mask as u32
}

fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// cargo looks at what a script says when it has ended: until then it is kept back, as long as there is room.
fn hold(from: impl Read, to: i32) -> Kept {
    let mut kept = Kept::default();
    each_chunk(from, |chunk| {
        let was_cut = kept.cut;
        let before = kept.bytes.len();
        kept.push(chunk);
        if kept.cut {
            if !was_cut {
                write_to(to, &kept.bytes[..before]);
            }
            write_to(to, chunk);
        }
    });
    kept
}
