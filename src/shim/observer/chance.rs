//! Clocks and random numbers: what a build script makes of them is another thing each time. Noted of scripts only.
//!
//! `time` is what compilers ask for `__DATE__`, and cmake for a time stamp in a text: it counts whoever asks. Every other clock is
//! asked by tools for the names of temporary files and to compare files. Seeds of hash tables are no reason: nearly every program
//! in Rust asks for one, and marks it (`GRND_INSECURE`).

use core::ffi::{c_int, c_long, c_uint, c_void};
use core::ptr::null_mut;

use crate::linux::{self, answered, call, number};
use crate::log::{self, note, CLOCK, RANDOM};
use crate::tools;

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

pub fn clock(name: &[u8]) {
    if log::on() && log::is_script() && !tools::compares_times() {
        note(CLOCK, 0, name);
    }
}

pub fn clock_of(clock_id: c_int, name: &[u8]) {
    if is_of_the_world(clock_id) {
        clock(name);
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
    time(into: *mut c_long) -> c_long = -1, next => {
        if log::on() && log::is_script() {
            note(CLOCK, 0, b"time");
        }
        next()
    };
    gettimeofday(into: Pointer, zone: Pointer) -> c_int = -1, next => {
        clock(b"gettimeofday");
        next()
    };
    clock_gettime(clock_id: c_int, into: Pointer) -> c_int
        = answered(call(number::CLOCK_GETTIME, [clock_id as usize, into as usize, 0, 0, 0, 0])) as c_int, next => {
        clock_of(clock_id, b"clock_gettime");
        next()
    };
    timespec_get(into: Pointer, base: c_int) -> c_int = 0, next => {
        clock(b"timespec_get");
        next()
    };
    ftime(into: Pointer) -> c_int = -1, next => {
        clock(b"ftime");
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
