//! What cargo starts instead of rustc (`RUSTC_WRAPPER`): it asks the daemon on this machine what becomes of a compile and
//! obeys. On any trouble it runs rustc itself, with the same remap flags, so that the bytes are the same. It never prints
//! a word of its own and ends as rustc ended. A copy of it in the place of a build script is that script's launcher. protocols/local.md is the specification.

mod args;
mod call;
mod connect;
mod daemon;
mod deliver;
mod frames;
mod hang;
mod jobserver;
mod kill;
mod launcher;
mod link;
mod observe;
mod orphans;
mod record;
mod run;
mod script;
mod shown;
mod spent;
mod start;
mod text;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command};
use std::time::Duration;

use call::Call;
use daemon::{Daemon, Verdict};
use jobserver::Jobserver;
use run::Order;
use shown::Shown;

const TOKEN_WAIT: Duration = Duration::from_secs(10);

fn main() {
    let mut argv: Vec<OsString> = env::args_os().collect();
    let own = PathBuf::from(if argv.is_empty() {
        OsString::new()
    } else {
        argv.remove(0)
    });
    if own.file_name().is_some_and(|name| name == record::NAME) {
        process::exit(record::record(&own, argv));
    }
    if let Some(error) = launcher::launch(&own, &argv) {
        eprintln!("shoal: {}: {error}", own.display());
        process::exit(127);
    }
    let Some((mut call, socket)) = Call::from_cargo(&argv).zip(daemon::socket_path()) else {
        exec(&argv)
    };
    let announce = daemon::read_announce(&socket);
    let hangs = hang::is_marked(&socket);
    let mut daemon = (!hangs).then(|| Daemon::connect(&socket)).flatten();
    if announce.is_none() && daemon.is_none() && !hangs {
        exec(&argv);
    }
    let announced = announce.unwrap_or_default();
    call.remaps = call.remaps_after(announced.remaps);
    let done = |code: i32| -> ! {
        if announced.launches && code == 0 {
            launcher::install(&call);
        }
        end(code)
    };

    let mut jobs = Jobserver::from_env();
    let mut shown = Shown::default();
    let verdict = match daemon.as_mut() {
        Some(daemon) => daemon
            .converse(&call, &mut jobs, &mut shown)
            .unwrap_or(Verdict::Alone),
        None => Verdict::Alone,
    };
    let order = match verdict {
        Verdict::Exit(code) => done(code),
        Verdict::Run(order) => order,
        Verdict::Alone => {
            daemon = None;
            Order::default()
        }
    };
    let token = jobs.as_mut().and_then(|jobs| jobs.take_back(TOKEN_WAIT));
    if let (Some(daemon), Some(state)) = (daemon.as_mut(), token) {
        daemon.token(state);
    }
    let Some(outcome) = run::run_rustc(&call, &order, shown) else {
        exec(&argv)
    };
    let told = daemon
        .as_mut()
        .is_some_and(|daemon| daemon.ran(&outcome).is_some());
    if let (Some(daemon), true) = (daemon.as_mut(), told && order.linger) {
        daemon.linger();
    }
    if let (Some(dir), false) = (&outcome.private, told) {
        let _ = fs::remove_dir_all(dir);
    }
    done(outcome.exit)
}

/// Becomes rustc, as cargo asked for it.
fn exec(argv: &[OsString]) -> ! {
    if let Some((program, args)) = argv.split_first() {
        let _ = Command::new(program).args(args).exec();
    }
    process::exit(127)
}

/// Ends as rustc ended: with its code or, if it is negative, by the same signal.
fn end(code: i32) -> ! {
    extern "C" {
        fn raise(signal: i32) -> i32;
        fn signal(signal: i32, action: usize) -> usize;
        fn setrlimit(resource: i32, soft_and_hard: *const [u64; 2]) -> i32;
    }
    const CORE: i32 = 4;
    if code < 0 {
        // rustc has dumped its core already, if cores are wanted at all.
        unsafe {
            setrlimit(CORE, &[0, 0]);
            signal(-code, 0);
            raise(-code);
        }
        process::exit(128 - code)
    }
    process::exit(code)
}
