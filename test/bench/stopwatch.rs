//! Times a rustc wrapper from its start to its exit, as `RUSTC_WRAPPER` before it: becomes the wrapper, which keeps the process
//! that cargo started, while a child waits for that process to end and writes down crate, file name suffix and microseconds. With
//! `STOPWATCH_EMPTY` it writes down what a process takes that does nothing, started just before.
use std::ffi::{c_int, c_long, c_void};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{exit, Command};
use std::time::Instant;
use std::{env, fs};

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

extern "C" {
    fn fork() -> c_int;
    fn close(fd: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn poll(fds: *mut PollFd, count: usize, timeout: c_int) -> c_int;
    fn close_range(first: u32, last: u32, flags: c_int) -> c_int;
}

const PIDFD_OPEN: c_long = 434;
const POLLIN: i16 = 1;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.is_empty() {
        return;
    }
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let extra = args.iter().find_map(|arg| arg.strip_prefix("extra-filename="));
    if let (Some(name), Some(extra)) = (value("--crate-name"), extra) {
        let unit = format!("{name}{extra}");
        let start = Instant::now();
        if env::var_os("STOPWATCH_EMPTY").is_some() {
            let program = env::current_exe().expect("this program");
            Command::new(program).status().expect("this program");
            log(&unit, start);
            become_wrapper(&args);
        }
        let parent = std::process::id() as c_int;
        // One thread, and the child does nothing but wait and write.
        match unsafe { fork() } {
            0 => {
                wait_for(parent);
                log(&unit, start);
                exit(0);
            }
            pid => assert!(pid > 0, "fork"),
        }
    }
    become_wrapper(&args);
}

fn log(unit: &str, start: Instant) {
    let line = format!("{unit} {}\n", start.elapsed().as_micros());
    let log = env::var("STOPWATCH_LOG").expect("STOPWATCH_LOG");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(log).expect("log");
    file.write_all(line.as_bytes()).expect("log");
}

fn become_wrapper(args: &[String]) -> ! {
    let program = env::var("STOPWATCH_PROGRAM").expect("STOPWATCH_PROGRAM");
    panic!("{}", Command::new(program).args(args).exec());
}

fn wait_for(process: c_int) {
    unsafe {
        // cargo waits for the end of these pipes.
        close_range(0, u32::MAX, 0);
        let fd = syscall(PIDFD_OPEN, process, 0 as *const c_void) as c_int;
        let mut waited = PollFd { fd, events: POLLIN, revents: 0 };
        poll(&mut waited, 1, -1);
        close(fd);
    }
}
