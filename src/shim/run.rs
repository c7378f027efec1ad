//! rustc here, as this process's child: its output relayed as it comes, its files put in place.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::Instant;

use crate::call::Call;
use crate::observe;
use crate::shown::{write_to, Shown};
use crate::spent;
use crate::start::{own_name, Start};
use crate::text::{artifact_in, in_dep_info, Paths};

/// Two of these and the rest of RAN fit into a frame.
const KEEP: usize = (8 << 20) - 64;
/// Made when rustc has ended: an output that was written to after that is not what rustc made.
const DONE: &str = ".shoal-done";
/// SIGILL, SIGABRT, SIGBUS, SIGSEGV, and a program that could not be loaded.
pub const CRASHED: [i32; 5] = [-4, -6, -7, -11, 127];

/// How rustc is to be run. The default is as cargo asked.
#[derive(Default)]
pub struct Order {
    /// rustc's out-dir, apart from the real one.
    pub private: Option<PathBuf>,
    /// The library that notes in the private directory what the compile reads.
    pub observer: Option<PathBuf>,
    pub without_incremental: bool,
    /// Whether to wait, once rustc has ended and that is reported, for the end of the stream.
    pub linger: bool,
}

/// What one run of rustc came to. Codes are negative for a death by that signal.
pub struct Outcome {
    /// How rustc ended.
    pub rustc: i32,
    /// How this process is to end: not 0 if what rustc made must not be used.
    pub exit: i32,
    /// The private directory, if this run used it.
    pub private: Option<PathBuf>,
    pub wall_micros: u64,
    /// Of a processor, by this process's children so far.
    pub cpu_micros: u64,
    pub stdout: Kept,
    pub stderr: Kept,
}

/// The head of a stream, as long as a frame allows.
#[derive(Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    pub cut: bool,
}

impl Kept {
    pub fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(KEEP - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        self.cut |= fits < bytes.len();
    }
}

/// Runs rustc with the remaps of the call, as ordered, and puts what it made in place. None if it did not start.
///
/// With a file placed already, the run always goes into a directory apart, and nothing is put beside a file that differs
/// from what was placed: the outcome is then a failure, and the placed file is gone. Such a file was made without
/// `-C incremental`, which is part of what a crate is to its dependents; so that is left out here too.
pub fn run_rustc(call: &Call, order: &Order, shown: Shown) -> Option<Outcome> {
    // Whatever is found in it later was made by this run: a directory that holds something is not used.
    let make = |dir: &Path| {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.and_then(|()| fs::read_dir(dir))
            .is_ok_and(|mut entries| entries.next().is_none())
    };
    let mut own = None;
    let mut dir = order.private.clone().filter(|dir| make(dir));
    let observer = order.observer.as_deref().zip(dir.as_deref());
    let observed = observer.and_then(|(observer, dir)| observe::environment(observer, dir));
    let without_incremental = order.without_incremental || !shown.placed.is_empty();
    if dir.is_none() && !shown.placed.is_empty() {
        let apart = own_name(&call.cwd.join(&call.out_dir), "run");
        // What a killed process of the same id may have left.
        let _ = fs::remove_dir_all(&apart);
        own = Some(apart).filter(|dir| make(dir));
        dir = own.clone();
    }
    let used = dir.clone().filter(|_| own.is_none());
    let mut run = Run::new(call, dir, without_incremental, shown);
    run.observed = observed;
    let outcome = run.finish();
    if let Some(dir) = own {
        let _ = fs::remove_dir_all(dir);
    }
    outcome.map(|outcome| Outcome {
        private: used,
        ..outcome
    })
}

struct Run<'a> {
    call: &'a Call,
    private: Option<PathBuf>,
    without_incremental: bool,
    /// The variables with which this run is observed.
    observed: Option<observe::Variables>,
    out_dir: PathBuf,
    paths: Paths,
    shown: Shown,
    /// What this run itself has shown, in case it has to be repeated.
    forwarded: Vec<Vec<u8>>,
    /// Outputs dealt with, relative to the out-dir.
    done: Vec<PathBuf>,
    /// Files placed before and found equal to what rustc made here.
    equal: Vec<PathBuf>,
    /// What rustc made here is not what was placed before.
    differs: bool,
    /// An output could not be put in place.
    stuck: bool,
}

impl<'a> Run<'a> {
    fn new(
        call: &'a Call,
        private: Option<PathBuf>,
        without_incremental: bool,
        shown: Shown,
    ) -> Self {
        let pair = private
            .as_deref()
            .and_then(Path::to_str)
            .zip(call.out_dir.to_str());
        let paths = Paths::new(pair, &call.remaps_shown());
        // Placed files and no directory apart to compare them in: that they are equal can no longer be shown.
        let differs = private.is_none() && !shown.placed.is_empty();
        Run {
            call,
            private,
            without_incremental,
            observed: None,
            out_dir: call.cwd.join(&call.out_dir),
            paths,
            shown,
            forwarded: Vec::new(),
            done: Vec::new(),
            equal: Vec::new(),
            differs,
            stuck: false,
        }
    }

    fn finish(mut self) -> Option<Outcome> {
        let mut outcome = self.rustc()?;
        if self.observed.is_some() && CRASHED.contains(&outcome.rustc) {
            return self.repeat_unobserved();
        }
        if let Some(dir) = self.private.clone() {
            self.place_rest(&dir, outcome.rustc == 0);
        }
        let placed = std::mem::take(&mut self.shown.placed);
        if self.stuck && outcome.rustc == 0 && placed.is_empty() {
            // A full disk or the like. rustc in the very out-dir gets through, or says what is wrong.
            self.shown.lines.append(&mut self.forwarded);
            return Run::new(self.call, None, self.without_incremental, self.shown).finish();
        }
        for path in placed {
            if self.differs || self.stuck || !self.equal.contains(&self.call.cwd.join(&path)) {
                let _ = fs::remove_file(path);
                outcome.exit = if outcome.exit == 0 { 1 } else { outcome.exit };
            }
        }
        Some(outcome)
    }

    /// A crash may be the observer's doing, or that of a disk too full for its notes. What this run has announced counts as
    /// placed, and there is nothing to collect.
    fn repeat_unobserved(mut self) -> Option<Outcome> {
        if let Some(dir) = &self.private {
            let _ = fs::remove_dir_all(dir);
        }
        let announced = self
            .done
            .iter()
            .filter(|done| done.extension().is_some_and(|kind| kind == "rmeta"))
            .map(|done| self.out_dir.join(done))
            .filter(|path| !self.equal.contains(path));
        self.shown.placed.extend(announced);
        self.shown.lines.append(&mut self.forwarded);
        let order = Order {
            without_incremental: self.without_incremental,
            ..Order::default()
        };
        run_rustc(self.call, &order, self.shown)
    }

    fn rustc(&mut self) -> Option<Outcome> {
        let started = Instant::now();
        let start = Start {
            call: self.call,
            private: self.private.as_deref(),
            without_incremental: self.without_incremental,
            observed: self.observed.as_ref(),
        };
        let (mut child, argfile) = start.rustc()?;
        let stdout = child.stdout.take()?;
        let relay = thread::spawn(move || relay_stdout(stdout));
        let mut reader = BufReader::with_capacity(1 << 16, child.stderr.take()?);
        let (mut line, mut stderr) = (Vec::new(), Kept::default());
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            stderr.push(&line);
            self.forward(&line);
            line.clear();
        }
        drop(reader);
        let stdout = relay.join().unwrap_or_default();
        let status = child.wait().ok()?;
        if let Some(dir) = &self.private {
            let _ = fs::File::create(dir.join(DONE));
        }
        if let Some(path) = argfile {
            let _ = fs::remove_file(path);
        }
        let code = code_of(status);
        let wall_micros = started.elapsed().as_micros() as u64;
        Some(Outcome {
            rustc: code,
            exit: code,
            private: None,
            wall_micros,
            cpu_micros: spent::by_children(),
            stdout,
            stderr,
        })
    }

    /// One line of stderr on its way to cargo. What it announces is in place before it goes on.
    fn forward(&mut self, line: &[u8]) {
        let output = artifact_in(line).and_then(|path| {
            let below = Path::new(&path).strip_prefix(self.private.as_ref()?).ok()?;
            Some(below.to_path_buf())
        });
        if output.is_some_and(|output| !self.place(&output)) {
            return;
        }
        let line = self.paths.restored(line);
        if self.shown.take(&line) {
            return;
        }
        write_to(2, &line);
        if self.private.is_some() {
            self.forwarded.push(line.into_owned());
        }
    }

    /// Puts one output in place; true if it may be announced.
    fn place(&mut self, output: &Path) -> bool {
        let Some(private) = self.private.as_deref() else {
            return true;
        };
        if self.differs || self.stuck {
            return false;
        }
        if self.done.iter().any(|done| done == output) {
            return true;
        }
        let (from, to) = (private.join(output), self.out_dir.join(output));
        let same_path = |path: &PathBuf| self.call.cwd.join(path) == to;
        if self.shown.placed.iter().any(same_path) {
            self.differs = !same_bytes(&from, &to);
            if self.differs {
                return false;
            }
            let announced = |line: &Vec<u8>| {
                artifact_in(line).is_some_and(|path| self.call.cwd.join(path) == to)
            };
            let announce = !self.shown.lines.iter().any(announced);
            self.done.push(output.to_path_buf());
            self.equal.push(to);
            return announce;
        }
        let temporary = own_name(to.parent().unwrap_or(&self.out_dir), "new");
        let made = if output.extension().is_some_and(|kind| kind == "d") {
            self.write_dep_info(private, &from, &temporary)
        } else {
            // What is only checked gets another time stamp from cargo, which must not reach the daemon's link of it.
            let linked = if self.call.links_outputs() {
                fs::hard_link(&from, &temporary)
            } else {
                Err(io::ErrorKind::Unsupported.into())
            };
            linked.or_else(|_| fs::copy(&from, &temporary).map(drop))
        };
        self.stuck = made.and_then(|()| fs::rename(&temporary, &to)).is_err();
        // A rename onto another link of the same file does nothing and leaves both names.
        let _ = fs::remove_file(&temporary);
        if !self.stuck {
            self.done.push(output.to_path_buf());
        }
        !self.stuck
    }

    fn write_dep_info(&self, private: &Path, from: &Path, to: &Path) -> io::Result<()> {
        let text = fs::read(from)?;
        match private.to_str().zip(self.call.out_dir.to_str()) {
            Some((private, real)) => fs::write(to, in_dep_info(&text, private, real)),
            None => fs::write(to, text),
        }
    }

    /// Places what was not announced. After a failure that is only what diagnostics point at: the names of long types.
    fn place_rest(&mut self, dir: &Path, succeeded: bool) {
        let (Some(private), Ok(entries)) = (self.private.clone(), fs::read_dir(dir)) else {
            self.stuck |= succeeded;
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(output) = path.strip_prefix(&private) else {
                continue;
            };
            if output == Path::new(observe::READS) || output == Path::new(DONE) {
                continue;
            }
            if path.is_dir() {
                if succeeded && !self.differs {
                    self.stuck |= fs::create_dir_all(self.out_dir.join(output)).is_err();
                    self.place_rest(&path, true);
                }
            } else if succeeded
                || output
                    .as_os_str()
                    .as_bytes()
                    .windows(11)
                    .any(|part| part == b".long-type-")
            {
                self.place(output);
            }
        }
    }
}

fn same_bytes(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

fn relay_stdout(from: impl Read) -> Kept {
    let mut kept = Kept::default();
    each_chunk(from, |chunk| {
        kept.push(chunk);
        write_to(1, chunk);
    });
    kept
}

/// A stream as it comes, to its end.
pub fn each_chunk(mut from: impl Read, mut with: impl FnMut(&[u8])) {
    let mut buffer = [0; 1 << 14];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => with(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The exit code, or the negative number of the signal that it died of.
pub fn code_of(status: ExitStatus) -> i32 {
    let signal = || Some(-status.signal()?);
    status.code().or_else(signal).unwrap_or(1)
}
