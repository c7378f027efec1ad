//! `syscall(2)`: what goes past the functions of libc.

use core::ffi::{c_int, c_long};

use crate::chance;
use crate::linux::{self, number, Str, AT_FDCWD};
use crate::log::{self, LINK, STAT, WRITE};
use crate::programs::{exec, File};
use crate::reads::{note_listed, observed, opening};
use crate::writes::{linking, moving};

/// Same numbers on every processor.
const IO_URING_SETUP: usize = 425;
const OPEN_TREE: usize = 428;
const FSOPEN: usize = 430;
const OPENAT2: usize = 437;
const FACCESSAT2: usize = 439;

#[cfg(target_arch = "x86_64")]
mod old {
    pub const OPEN: usize = 2;
    pub const STAT: usize = 4;
    pub const LSTAT: usize = 6;
    pub const ACCESS: usize = 21;
    pub const GETDENTS: usize = 78;
    pub const RENAME: usize = 82;
    pub const MKDIR: usize = 83;
    pub const RMDIR: usize = 84;
    pub const CREAT: usize = 85;
    pub const LINK: usize = 86;
    pub const UNLINK: usize = 87;
    pub const SYMLINK: usize = 88;
    pub const READLINK: usize = 89;
}

hooks! {
    syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long
        = linux::answered(linux::call(number, [a, b, c, d, e, f])) as c_long,
        next => observe(number, [a, b, c, d, e], next);
}

unsafe fn observe(number: usize, [a, b, c, d, e]: [usize; 5], next: impl Fn() -> c_long) -> c_long {
    let dir = a as c_int;
    let second = b as Str;
    let call = &|| next() as isize;
    let answer = match number {
        number::OPENAT => opening(dir, second, c as c_int, call),
        // Its flags are the first word of what the third argument points to.
        OPENAT2 if c != 0 => opening(dir, second, *(c as *const c_int), call),
        number::STATX | number::NEWFSTATAT | number::FACCESSAT | FACCESSAT2 => {
            observed(STAT, dir, second, call)
        }
        number::READLINKAT => observed(LINK, dir, second, call),
        number::GETDENTS64 => listed(dir, call),
        number::MKDIRAT | number::UNLINKAT => observed(WRITE, dir, second, call),
        number::SYMLINKAT => observed(WRITE, b as c_int, c as Str, call),
        number::RENAMEAT | number::RENAMEAT2 => {
            moving((dir, second), (c as c_int, d as Str), || call() as c_int) as isize
        }
        number::LINKAT => {
            linking((dir, second), (c as c_int, d as Str), || call() as c_int) as isize
        }
        number::EXECVE => exec(File::at(AT_FDCWD, a as Str), c as _, &mut |_| {
            call() as c_int
        }) as isize,
        number::EXECVEAT if e == 0 => {
            exec(File::at(dir, second), d as _, &mut |_| call() as c_int) as isize
        }
        number::EXECVEAT | number::OPEN_BY_HANDLE_AT | IO_URING_SETUP | OPEN_TREE | FSOPEN => {
            log::unseen();
            call()
        }
        number::CLOCK_GETTIME => {
            chance::clock_by_number(dir);
            call()
        }
        number::GETRANDOM => {
            chance::random(c as u32, b"getrandom");
            call()
        }
        _ => observe_old(number, a as Str, second, call),
    };
    answer as c_long
}

#[cfg(target_arch = "x86_64")]
unsafe fn observe_old(
    number: usize,
    path: Str,
    second: Str,
    call: impl FnOnce() -> isize,
) -> isize {
    let flags = second as usize as c_int;
    match number {
        old::OPEN => opening(AT_FDCWD, path, flags, call),
        old::CREAT => opening(
            AT_FDCWD,
            path,
            linux::O_WRONLY | linux::O_CREAT | linux::O_TRUNC,
            call,
        ),
        old::STAT | old::LSTAT | old::ACCESS => observed(STAT, AT_FDCWD, path, call),
        old::READLINK => observed(LINK, AT_FDCWD, path, call),
        old::GETDENTS => listed(path as usize as c_int, call),
        old::MKDIR | old::RMDIR | old::UNLINK => observed(WRITE, AT_FDCWD, path, call),
        old::SYMLINK => observed(WRITE, AT_FDCWD, second, call),
        old::RENAME => moving((AT_FDCWD, path), (AT_FDCWD, second), || call() as c_int) as isize,
        old::LINK => linking((AT_FDCWD, path), (AT_FDCWD, second), || call() as c_int) as isize,
        _ => call(),
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn observe_old(_: usize, _: Str, _: Str, call: impl FnOnce() -> isize) -> isize {
    call()
}

unsafe fn listed(fd: c_int, call: impl FnOnce() -> isize) -> isize {
    let answer = call();
    if answer >= 0 {
        note_listed(fd);
    }
    answer
}
