//! Clocks and random numbers: what a build script makes of them is another thing each time. Clocks are noted of procedural macros
//! too, not of the compiler that they are in, nor of programs that they start, but for `date`; random numbers are noted of scripts only.
//!
//! `time` is what compilers ask for `__DATE__`, and cmake for a time stamp in a text: it counts whoever asks. Every other clock is
//! asked by tools for the names of temporary files and to compare files. Seeds of hash tables are no reason: nearly every program
//! in Rust asks for one, and marks it (`GRND_INSECURE`).

use core::ffi::{c_int, c_long, c_uint, c_void};
use core::ptr::null_mut;

use crate::linux::{self, answered, call, number};
use crate::log::{self, note, CLOCK, RANDOM};
use crate::{loads, tools};

type Pointer = *mut c_void;

const GRND_INSECURE: c_uint = 4;

/// Whose time is that of the world; the others count from when the machine or the program began.
fn is_of_the_world(clock: c_int) -> bool {
    const REALTIME: c_int = 0;
    const REALTIME_COARSE: c_int = 5;
    const REALTIME_ALARM: c_int = 8;
    const TAI: c_int = 11;
    matches!(clock, REALTIME | REALTIME_COARSE | REALTIME_ALARM | TAI)
}

fn clock(caller: usize, name: &[u8]) {
    let counts = || match log::is_script() {
        true => !tools::compares_times(),
        false => loads::is_macro(caller) || tools::tells_time(),
    };
    if log::on() && counts() {
        note(CLOCK, 0, name);
    }
}

fn clock_of(clock_id: c_int, caller: usize, name: &[u8]) {
    if is_of_the_world(clock_id) {
        clock(caller, name);
    }
}

/// By `syscall(2)`, of which it is not told who calls.
pub fn clock_by_number(clock_id: c_int) {
    if log::is_script() {
        clock_of(clock_id, 0, b"clock_gettime");
    }
}

pub fn random(flags: c_uint, name: &[u8]) {
    if flags & GRND_INSECURE == 0 && log::on() && log::is_script() && !tools::is_tool() {
        note(RANDOM, 0, name);
    }
}

/// A file that is opened for reading.
pub fn device(path: &[u8]) {
    if log::is_script() && matches!(path, b"/dev/urandom" | b"/dev/random") {
        random(0, path);
    }
}

/// What a compiler makes of the time of a source (`__TIMESTAMP__`), and everybody of a time that nobody has asked for otherwise: with the
/// zone of this machine, which libc reads for itself.
fn shown_here() {
    if log::on() && log::is_script() {
        note(CLOCK, 0, b"localtime");
    }
}

hooks_by_caller! {
    time, time_by, "rsi", "x1", (into: *mut c_long) -> c_long = -1, caller, next => {
        if log::on() && (log::is_script() || loads::is_macro(caller)) {
            note(CLOCK, 0, b"time");
        }
        next()
    };
    gettimeofday, gettimeofday_by, "rdx", "x2", (into: Pointer, zone: Pointer) -> c_int = -1, caller, next => {
        clock(caller, b"gettimeofday");
        next()
    };
    clock_gettime, clock_gettime_by, "rdx", "x2", (clock_id: c_int, into: Pointer) -> c_int
        = answered(call(number::CLOCK_GETTIME, [clock_id as usize, into as usize, 0, 0, 0, 0])) as c_int, caller, next => {
        clock_of(clock_id, caller, b"clock_gettime");
        next()
    };
    timespec_get, timespec_get_by, "rdx", "x2", (into: Pointer, base: c_int) -> c_int = 0, caller, next => {
        clock(caller, b"timespec_get");
        next()
    };
    ftime, ftime_by, "rsi", "x1", (into: Pointer) -> c_int = -1, caller, next => {
        clock(caller, b"ftime");
        next()
    };
}

hooks! {
    localtime(of: Pointer) -> Pointer = null_mut(), next => {
        shown_here();
        next()
    };
    localtime_r(of: Pointer, into: Pointer) -> Pointer = null_mut(), next => {
        shown_here();
        next()
    };
    ctime(of: Pointer) -> Pointer = null_mut(), next => {
        shown_here();
        next()
    };
    ctime_r(of: Pointer, into: Pointer) -> Pointer = null_mut(), next => {
        shown_here();
        next()
    };
    mktime(of: Pointer) -> c_long = -1, next => {
        shown_here();
        next()
    };
    getrandom(into: Pointer, size: usize, flags: c_uint) -> isize
        = answered(call(number::GETRANDOM, [into as usize, size, flags as usize, 0, 0, 0])), next => {
        random(flags, b"getrandom");
        next()
    };
    getentropy(into: Pointer, size: usize) -> c_int = unavailable(), next => {
        random(0, b"getentropy");
        next()
    };
}

unsafe fn unavailable() -> c_int {
    answered(-(linux::ENOSYS as isize)) as c_int
}
