//! The daemon: where it is, what it announced, and the conversation about one compile.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::call::{var, Call};
use crate::connect::connect_within;
use crate::deliver::{deliver, State};
use crate::frames::{
    self, bytes_in, delivery_in, framed, link_in, order_in, path_of, put, MAX_FRAME,
};
use crate::hang::{self, Wait};
use crate::jobserver::{self, Jobserver};
use crate::link::link;
use crate::run::{Order, Outcome};
use crate::script::{Answer, Script};
use crate::shown::Shown;

const VERSION: u16 = 6;
const FIRST_FRAME: Duration = Duration::from_secs(2);
const NEXT_FRAME: Duration = Duration::from_secs(5);
/// How long a build may take longer for the sake of the next one.
const LINGER: Duration = Duration::from_secs(1);
/// For connecting, too.
const SEND: Duration = Duration::from_secs(2);
const MAX_ANNOUNCE: u64 = 1 << 20;

const HELLO: u8 = 0x01;
const COMPILE: u8 = 0x02;
const RAN: u8 = 0x03;
const TOKEN: u8 = 0x04;
const DELIVERED: u8 = 0x05;
const LINKED: u8 = 0x06;
const SCRIPT: u8 = 0x07;
const WELCOME: u8 = 0x81;
const RELEASE: u8 = 0x82;
const STDOUT: u8 = 0x83;
const STDERR: u8 = 0x84;
const RUN: u8 = 0x85;
const EXIT: u8 = 0x86;
const BEAT: u8 = 0x87;
const PLACED: u8 = 0x89;
const DELIVER: u8 = 0x8a;
const LINK: u8 = 0x8b;
const WATCH: u8 = 0x8c;
const RECALLED: u8 = 0x8d;

/// Where the daemon listens; None where that could be somebody else's: what is sent there is the whole environment.
pub fn socket_path() -> Option<PathBuf> {
    named_socket().filter(|socket| is_own(socket))
}

/// The directory is no link, belongs to this user, and nobody else can put anything into it; what lies there is a socket of this user.
fn is_own(socket: &Path) -> bool {
    extern "C" {
        fn geteuid() -> u32;
    }
    let user = unsafe { geteuid() };
    let is_private =
        |dir: fs::Metadata| dir.is_dir() && dir.uid() == user && dir.mode() & 0o022 == 0;
    let directory = socket
        .parent()
        .and_then(|dir| fs::symlink_metadata(dir).ok());
    let is_mine = |info: fs::Metadata| info.file_type().is_socket() && info.uid() == user;
    directory.is_some_and(is_private) && fs::symlink_metadata(socket).map_or(true, is_mine)
}

fn named_socket() -> Option<PathBuf> {
    if let Some(path) = var("SHOAL_SOCKET") {
        return Some(path.into());
    }
    let below = |name: &str, rest: &str| Some(Path::new(&var(name)?).join(rest));
    below("SHOAL_HOME", "run/shoal.sock")
        .or_else(|| below("XDG_RUNTIME_DIR", "shoal/shoal.sock"))
        .or_else(|| below("XDG_STATE_HOME", "shoal/run/shoal.sock"))
        .or_else(|| below("HOME", ".local/state/shoal/run/shoal.sock"))
}

/// What a daemon has announced of every compile on this machine.
#[derive(Default)]
pub struct Announced {
    pub remaps: Vec<(OsString, OsString)>,
    /// Whether build scripts are to be started by a launcher.
    pub launches: bool,
}

/// What the `announce` file beside the socket says; None if there is no such file.
pub fn read_announce(socket: &Path) -> Option<Announced> {
    let mut bytes = Vec::new();
    fs::File::open(socket.with_file_name("announce"))
        .ok()?
        .take(MAX_ANNOUNCE)
        .read_to_end(&mut bytes)
        .ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if lines.next() != Some(b"shoal 1") {
        return Some(Announced::default());
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
    Some(Announced {
        launches: lines.clone().any(|line| line == b"launch"),
        remaps: lines.filter_map(remap).collect(),
    })
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
    socket: PathBuf,
}

impl Daemon {
    pub fn connect(socket: &Path) -> Option<Daemon> {
        let wait = Wait::of(SEND);
        let Some(stream) = connect_within(socket, SEND) else {
            if wait.is_over() {
                hang::mark(socket);
            }
            return None;
        };
        let socket = socket.to_path_buf();
        Some(Daemon { stream, socket })
    }

    /// Asks and obeys until there is a verdict; None on any trouble.
    pub fn converse(
        &mut self,
        call: &Call,
        jobs: &mut Option<Jobserver>,
        shown: &mut Shown,
    ) -> Option<Verdict> {
        let mut linked_in = None;
        let verdict = self.obey(call, jobs, shown, &mut linked_in);
        // Whose it was may be gone, and cargo knows nothing of it.
        if let (None, Some(dir)) = (&verdict, linked_in) {
            let _ = fs::remove_dir_all(dir);
        }
        verdict
    }

    /// `linked_in` becomes the directory of the daemon's in which a linker ran.
    fn obey(
        &mut self,
        call: &Call,
        jobs: &mut Option<Jobserver>,
        shown: &mut Shown,
        linked_in: &mut Option<PathBuf>,
    ) -> Option<Verdict> {
        self.begin(COMPILE, &frames::compile(call, jobs.is_some()))?;
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
                LINK => {
                    let order = link_in(&body)?;
                    *linked_in = order.outer().map(Path::to_path_buf);
                    let outcome = link(&order)?;
                    self.send(LINKED, &frames::ran(&outcome))?;
                }
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

    /// Says hello and what this is about; None unless it is welcome.
    fn begin(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        let mut hello = VERSION.to_be_bytes().to_vec();
        put(&mut hello, b"shoal");
        hello.push(0);
        // Together, so that the daemon is woken once.
        let mut first = framed(HELLO, &hello)?;
        first.extend(framed(kind, body)?);
        let wait = Wait::of(SEND);
        if self.stream.write_all(&first).is_err() {
            return self.gone(&wait);
        }
        let welcome = (WELCOME, VERSION.to_be_bytes().to_vec());
        (self.frame(FIRST_FRAME)? == welcome).then_some(())
    }

    /// Asks what is known of a build script; None on any trouble.
    pub fn ask(&mut self, script: &Script) -> Option<Answer> {
        self.begin(SCRIPT, &frames::script(script))?;
        loop {
            let (kind, body) = self.frame(NEXT_FRAME)?;
            match kind {
                BEAT if body.is_empty() => {}
                WATCH => return Some(Answer::Watch(frames::watch_in(&body)?)),
                RECALLED => return Some(Answer::Recalled(body)),
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
        // Without a daemon the unit is in place all the same.
        self.send(DELIVERED, &frames::delivered(state, identities));
    }

    /// Reports what became of the jobserver token.
    pub fn token(&mut self, state: u8) -> Option<()> {
        self.send(TOKEN, &[state])
    }

    /// Reports how the run that was ordered ended.
    pub fn ran(&mut self, outcome: &Outcome) -> Option<()> {
        self.send(RAN, &frames::ran(outcome))
    }

    /// Waits until the daemon has what it wants of the outputs: with the end of this process cargo may end, and with it
    /// the target directory or the machine's uptime.
    pub fn linger(&mut self) {
        let _ = self.frame_until(Instant::now() + LINGER);
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        self.stream.write_all(&framed(kind, body)?).ok()
    }

    /// Nothing came of it; others are told if that took as long as it could.
    fn gone<T>(&self, wait: &Wait) -> Option<T> {
        if wait.is_over() {
            hang::mark(&self.socket);
        }
        None
    }

    /// The next whole frame, if it comes in time.
    fn frame(&mut self, most: Duration) -> Option<(u8, Vec<u8>)> {
        let wait = Wait::of(most);
        self.frame_until(wait.until()).or_else(|| self.gone(&wait))
    }

    fn frame_until(&mut self, until: Instant) -> Option<(u8, Vec<u8>)> {
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
