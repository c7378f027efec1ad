//! The daemon: where it is, what it announced, and the conversation about one compile.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::call::{var, Call};
use crate::deliver::{deliver, Source, State, Target};
use crate::jobserver::{self, Jobserver};
use crate::run::{Order, Outcome};
use crate::shown::Shown;

const VERSION: u16 = 3;
const MAX_FRAME: usize = 16 << 20;
const FIRST_FRAME: Duration = Duration::from_secs(2);
const NEXT_FRAME: Duration = Duration::from_secs(5);
/// How long a build may take longer for the sake of the next one.
const LINGER: Duration = Duration::from_secs(1);
const SEND: Duration = Duration::from_secs(2);
const MAX_ANNOUNCE: u64 = 1 << 20;

const HELLO: u8 = 0x01;
const COMPILE: u8 = 0x02;
const RAN: u8 = 0x03;
const TOKEN: u8 = 0x04;
const DELIVERED: u8 = 0x05;
const WELCOME: u8 = 0x81;
const RELEASE: u8 = 0x82;
const STDOUT: u8 = 0x83;
const STDERR: u8 = 0x84;
const RUN: u8 = 0x85;
const EXIT: u8 = 0x86;
const BEAT: u8 = 0x87;
const PLACED: u8 = 0x89;
const DELIVER: u8 = 0x8a;

pub fn socket_path() -> Option<PathBuf> {
    if let Some(path) = var("SHOAL_SOCKET") {
        return Some(path.into());
    }
    let below = |name: &str, rest: &str| Some(Path::new(&var(name)?).join(rest));
    below("SHOAL_HOME", "run/shoal.sock")
        .or_else(|| below("XDG_RUNTIME_DIR", "shoal/shoal.sock"))
        .or_else(|| below("XDG_STATE_HOME", "shoal/run/shoal.sock"))
        .or_else(|| below("HOME", ".local/state/shoal/run/shoal.sock"))
}

/// The remaps in the `announce` file beside the socket; None if there is no such file.
pub fn read_announce(socket: &Path) -> Option<Vec<(OsString, OsString)>> {
    let mut bytes = Vec::new();
    fs::File::open(socket.with_file_name("announce"))
        .ok()?
        .take(MAX_ANNOUNCE)
        .read_to_end(&mut bytes)
        .ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if lines.next() != Some(b"shoal 1") {
        return Some(Vec::new());
    }
    let remap = |line: &[u8]| {
        let mut pair = line
            .strip_prefix(b"remap\t")?
            .split(|byte| *byte == b'\t')
            .map(|part| part.to_vec());
        match (pair.next(), pair.next(), pair.next()) {
            (Some(from), Some(to), None) => {
                Some((OsString::from_vec(from), OsString::from_vec(to)))
            }
            _ => None,
        }
    };
    Some(lines.filter_map(remap).collect())
}

pub enum Verdict {
    /// The daemon delivered: end with this code.
    Exit(i32),
    /// Run rustc here, in this way, and report.
    Run(Order),
    /// Run rustc here as if there were no daemon.
    Alone,
}

pub struct Daemon {
    stream: UnixStream,
}

impl Daemon {
    /// Connects beside the main thread: connect() on a Unix socket blocks for good once the backlog of a daemon that hangs is full.
    pub fn connect(socket: &Path) -> Option<Daemon> {
        if fs::symlink_metadata(socket).is_err() {
            return None;
        }
        let (sender, receiver) = mpsc::channel();
        let path = socket.to_path_buf();
        thread::Builder::new()
            .spawn(move || sender.send(UnixStream::connect(path)))
            .ok()?;
        let stream = receiver.recv_timeout(FIRST_FRAME).ok()?.ok()?;
        stream.set_write_timeout(Some(SEND)).ok()?;
        Some(Daemon { stream })
    }

    /// Asks and obeys until there is a verdict; None on any trouble.
    pub fn converse(
        &mut self,
        call: &Call,
        jobs: &mut Option<Jobserver>,
        shown: &mut Shown,
    ) -> Option<Verdict> {
        let mut hello = VERSION.to_be_bytes().to_vec();
        put(&mut hello, b"shoal");
        hello.push(0);
        // Together, so that the daemon is woken once.
        let mut first = framed(HELLO, &hello)?;
        first.extend(framed(COMPILE, &compile(call, jobs.is_some()))?);
        self.stream.write_all(&first).ok()?;
        if self.frame(FIRST_FRAME)? != (WELCOME, VERSION.to_be_bytes().to_vec()) {
            return None;
        }
        loop {
            let (kind, body) = self.frame(NEXT_FRAME)?;
            match kind {
                BEAT if body.is_empty() => {}
                RELEASE if body.len() <= 1 => {
                    let repay = body.first() == Some(&1);
                    if jobs.as_mut().is_some_and(|jobs| jobs.release(repay)) {
                        self.token(jobserver::RELEASED)?;
                    }
                }
                STDOUT => shown.stdout(bytes_in(&body)?),
                STDERR => shown.stderr(bytes_in(&body)?),
                PLACED => shown.add_placed(path_of(bytes_in(&body)?)?),
                RUN => return Some(Verdict::Run(order_in(&body)?)),
                DELIVER => {
                    let (targets, stderr) = delivery_in(&body)?;
                    let report = |state, identities: &[String]| self.delivered(state, identities);
                    if deliver(&targets, stderr, shown, report) {
                        return Some(self.settled(0, jobs, shown));
                    }
                }
                EXIT => {
                    let code = i32::from_be_bytes(body.try_into().ok()?);
                    return Some(self.settled(code, jobs, shown));
                }
                // REFUSE, and what this version does not know.
                _ => return None,
            }
        }
    }

    /// cargo has everything that there is of the unit.
    fn settled(&mut self, code: i32, jobs: &mut Option<Jobserver>, shown: &mut Shown) -> Verdict {
        shown.flush();
        let back = jobs
            .as_mut()
            .and_then(|jobs| jobs.take_back(Duration::ZERO));
        if let Some(state) = back {
            self.token(state);
        }
        Verdict::Exit(code)
    }

    /// Reports how far a delivery has come.
    fn delivered(&mut self, state: State, identities: &[String]) {
        let (state, errno) = match state {
            State::Metadata => (0, 0),
            State::Done => (1, 0),
            State::Failed(errno) => (2, errno),
        };
        let mut body = vec![state];
        put_list(&mut body, identities, |body, one| put(body, one.as_bytes()));
        body.extend_from_slice(&i32::to_be_bytes(errno));
        // Without a daemon the unit is in place all the same.
        self.send(DELIVERED, &body);
    }

    /// Reports what became of the jobserver token.
    pub fn token(&mut self, state: u8) -> Option<()> {
        self.send(TOKEN, &[state])
    }

    /// Reports how the run that was ordered ended.
    pub fn ran(&mut self, outcome: &Outcome) -> Option<()> {
        self.send(RAN, &ran(outcome))
    }

    /// Waits until the daemon has what it wants of the outputs: with the end of this process cargo may end, and with it
    /// the target directory or the machine's uptime.
    pub fn linger(&mut self) {
        let _ = self.frame(LINGER);
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        self.stream.write_all(&framed(kind, body)?).ok()
    }

    /// The next whole frame, if it comes within `wait`.
    fn frame(&mut self, wait: Duration) -> Option<(u8, Vec<u8>)> {
        let until = Instant::now() + wait;
        let mut head = [0; 5];
        self.fill(&mut head, until)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if !(1..=MAX_FRAME).contains(&length) {
            return None;
        }
        let mut body = vec![0; length - 1];
        self.fill(&mut body, until)?;
        Some((head[4], body))
    }

    fn fill(&mut self, buffer: &mut [u8], until: Instant) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).ok()?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return None,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

/// None when it is too long.
fn framed(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let length = body.len() + 1;
    if length > MAX_FRAME {
        return None;
    }
    let mut frame = Vec::with_capacity(length + 4);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(body);
    Some(frame)
}

fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn put_list<T>(body: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    body.extend_from_slice(&(items.len() as u32).to_be_bytes());
    items.iter().for_each(|one| item(body, one));
}

fn compile(call: &Call, has_jobserver: bool) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, call.cwd.as_os_str().as_bytes());
    let argv: Vec<&OsString> = call.program.iter().chain(&call.args).collect();
    put_list(&mut body, &argv, |body, arg| put(body, arg.as_bytes()));
    let env: Vec<(OsString, OsString)> = env::vars_os().collect();
    put_list(&mut body, &env, |body, (key, value)| {
        put(body, &[key.as_bytes(), b"=", value.as_bytes()].concat())
    });
    body.extend_from_slice(&process::id().to_be_bytes());
    body.extend_from_slice(&parent_id().to_be_bytes());
    body.push(has_jobserver.into());
    put_list(&mut body, &call.remaps, |body, (from, to)| {
        put(body, from.as_bytes());
        put(body, to.as_bytes());
    });
    body
}

fn ran(outcome: &Outcome) -> Vec<u8> {
    let mut body = outcome.rustc.to_be_bytes().to_vec();
    body.extend_from_slice(&outcome.wall_micros.to_be_bytes());
    body.push((outcome.stdout.cut || outcome.stderr.cut).into());
    put(&mut body, &outcome.stdout.bytes);
    put(&mut body, &outcome.stderr.bytes);
    body
}

/// A body that is one `bytes` and nothing more.
fn bytes_in(body: &[u8]) -> Option<&[u8]> {
    let (bytes, rest) = split_bytes(body)?;
    rest.is_empty().then_some(bytes)
}

/// One `bytes`, and what follows it.
fn split_bytes(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let rest = &body[4..];
    Some((rest.get(..length as usize)?, &rest[length as usize..]))
}

fn order_in(body: &[u8]) -> Option<Order> {
    let (private, rest) = split_bytes(body)?;
    let (observer, flags) = split_bytes(rest)?;
    let path = |bytes: &[u8]| match bytes {
        [] => Some(None),
        bytes => path_of(bytes).map(Some),
    };
    let &[without_incremental @ (0 | 1), linger @ (0 | 1)] = flags else {
        return None;
    };
    Some(Order {
        private: path(private)?,
        observer: path(observer)?,
        without_incremental: without_incremental == 1,
        linger: linger == 1,
    })
}

/// What is to be delivered, and what is to be shown after it.
fn delivery_in(body: &[u8]) -> Option<(Vec<Target<'_>>, &[u8])> {
    let count = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let mut rest = &body[4..];
    let mut targets = Vec::new();
    for _ in 0..count {
        let (&from, after) = rest.split_first()?;
        let (source, after) = split_bytes(after)?;
        let (path, after) = split_bytes(after)?;
        let (&executable @ (0 | 1), after) = after.split_first()? else {
            return None;
        };
        let (line, after) = split_bytes(after)?;
        let (&is_metadata @ (0 | 1), after) = after.split_first()? else {
            return None;
        };
        rest = after;
        targets.push(Target {
            source: match from {
                0 => Source::File(path_of(source)?),
                1 => Source::Text(source),
                _ => return None,
            },
            path: path_of(path)?,
            executable: executable == 1,
            line,
            is_metadata: is_metadata == 1,
        });
    }
    Some((targets, bytes_in(rest)?))
}

/// An absolute path. rustc takes no argument that is not UTF-8.
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    let path = Path::new(std::str::from_utf8(bytes).ok()?);
    path.is_absolute().then(|| path.to_path_buf())
}
