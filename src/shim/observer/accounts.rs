//! Files of the system that libc opens by itself for whoever asks: calls within libc pass no hook.

use core::ffi::{c_int, c_uint, c_void, CStr};
use core::ptr::null_mut;

use crate::linux::{Str, AT_FDCWD};
use crate::log::{self, OPEN};
use crate::reads::{flags_of, note_state, opening, walking};

type Pointer = *mut c_void;

unsafe fn asking<R>(file: &CStr, next: impl FnOnce() -> R) -> R {
    note_state(OPEN, file.as_ptr());
    note_state(OPEN, c"/etc/nsswitch.conf".as_ptr());
    next()
}

unsafe fn users<R>(next: impl FnOnce() -> R) -> R {
    asking(c"/etc/passwd", next)
}

unsafe fn groups<R>(next: impl FnOnce() -> R) -> R {
    asking(c"/etc/group", next)
}

unsafe fn services<R>(next: impl FnOnce() -> R) -> R {
    asking(c"/etc/services", next)
}

unsafe fn protocols<R>(next: impl FnOnce() -> R) -> R {
    asking(c"/etc/protocols", next)
}

/// Who is logged in, and what this machine is called besides: of the moment. Compilers do not ask.
unsafe fn of_the_moment<R>(next: impl FnOnce() -> R) -> R {
    if log::on() && log::is_script() {
        return walking(next);
    }
    next()
}

hooks! {
    getpwnam(name: Str) -> Pointer = null_mut(), next => users(next);
    getpwnam_r(name: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => users(next);
    getpwuid(user: c_uint) -> Pointer = null_mut(), next => users(next);
    getpwuid_r(user: c_uint, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => users(next);
    getpwent() -> Pointer = null_mut(), next => users(next);
    getpwent_r(into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => users(next);
    getgrnam(name: Str) -> Pointer = null_mut(), next => groups(next);
    getgrnam_r(name: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => groups(next);
    getgrgid(group: c_uint) -> Pointer = null_mut(), next => groups(next);
    getgrgid_r(group: c_uint, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => groups(next);
    getgrent() -> Pointer = null_mut(), next => groups(next);
    getgrent_r(into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => groups(next);
    getgrouplist(user: Str, group: c_uint, into: Pointer, count: Pointer) -> c_int = -1, next => groups(next);
    getservbyname(name: Str, protocol: Str) -> Pointer = null_mut(), next => services(next);
    getservbyname_r(name: Str, protocol: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => services(next);
    getservbyport(port: c_int, protocol: Str) -> Pointer = null_mut(), next => services(next);
    getservbyport_r(port: c_int, protocol: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => services(next);
    getservent() -> Pointer = null_mut(), next => services(next);
    getprotobyname(name: Str) -> Pointer = null_mut(), next => protocols(next);
    getprotobyname_r(name: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => protocols(next);
    getprotobynumber(number: c_int) -> Pointer = null_mut(), next => protocols(next);
    getprotobynumber_r(number: c_int, into: Pointer, buffer: Pointer, size: usize, found: Pointer) -> c_int = -1, next => protocols(next);
    getprotoent() -> Pointer = null_mut(), next => protocols(next);
    setmntent(path: Str, mode: Str) -> Pointer = null_mut(), next => opening(AT_FDCWD, path, flags_of(mode), next);
    getlogin() -> Pointer = null_mut(), next => of_the_moment(next);
    getlogin_r(into: Pointer, size: usize) -> c_int = -1, next => of_the_moment(next);
    getutent() -> Pointer = null_mut(), next => of_the_moment(next);
    getutxent() -> Pointer = null_mut(), next => of_the_moment(next);
    gethostid() -> isize = -1, next => of_the_moment(next);
}
