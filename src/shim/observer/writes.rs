//! Functions that change the file system: what a compile wrote itself is none of its inputs.

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use core::ptr::null_mut;

use crate::linux;
use crate::linux::{answered, bytes, call, number, Str, AT_FDCWD};
use crate::log::{self, note, LINK, OPEN, STAT, WRITE};
use crate::paths::{absolute, of_descriptor};
use crate::reads::{note_result, observed, opening};

type Pointer = *mut c_void;

unsafe fn write_to(dir: c_int, path: Str, next: impl FnOnce() -> c_int) -> c_int {
    observed(WRITE, dir, path, next)
}

/// Who made something has learnt that it was not there.
unsafe fn making(dir: c_int, path: Str, next: impl FnOnce() -> c_int) -> c_int {
    let result = next();
    if result >= 0 {
        note_before(linux::ENOENT, dir, path);
    }
    note_result(WRITE, dir, path, result < 0);
    result
}

/// Who could remove or change something has learnt that it was there.
unsafe fn finding(dir: c_int, path: Str, next: impl FnOnce() -> c_int) -> c_int {
    let result = next();
    if result >= 0 {
        note_before(0, dir, path);
    }
    note_result(WRITE, dir, path, result < 0);
    result
}

/// What was there before a build script changed it: of directories for temporary files that is a question like any other.
#[inline(never)]
pub unsafe fn note_before(errno: i32, dir: c_int, path: Str) {
    if log::on() && log::is_script() {
        absolute(dir, path, &mut |path| note(STAT, errno, path));
    }
}

unsafe fn pointing(text: Str, dir: c_int, path: Str, next: impl FnOnce() -> c_int) -> c_int {
    let result = making(dir, path, next);
    if result >= 0 && log::on() && log::is_script() {
        note_target(text, dir, path);
    }
    result
}

/// Where a link leads that a build script made: what is read through it has a path of its own in OUT_DIR. Of a directory nobody could
/// tell what is read in it.
#[inline(never)]
unsafe fn note_target(text: Str, dir: c_int, path: Str) {
    let fd = linux::open(dir, path.cast(), linux::O_PATH);
    if fd < 0 {
        if bytes(text.cast()).first() == Some(&b'/') {
            note(STAT, linux::ENOENT, bytes(text.cast()));
        }
        return;
    }
    let is_directory = linux::fstat(fd).is_none_or(|stat| stat.mode & 0o170000 == 0o040000);
    of_descriptor(fd, &mut |target| match is_directory {
        true => note(LINK, linux::EISDIR, target),
        false => note(OPEN, 0, target),
    });
    linux::close(fd);
}

/// The old name stands for content that the new one has from now on.
pub unsafe fn moving(from: (c_int, Str), to: (c_int, Str), next: impl FnOnce() -> c_int) -> c_int {
    let result = linking(from, to, next);
    note_result(WRITE, from.0, from.1, result < 0);
    result
}

pub unsafe fn linking(from: (c_int, Str), to: (c_int, Str), next: impl FnOnce() -> c_int) -> c_int {
    let result = next();
    note_result(OPEN, from.0, from.1, result < 0);
    note_result(WRITE, to.0, to.1, result < 0);
    result
}

unsafe fn joining(from: (c_int, Str), to: (c_int, Str), next: impl FnOnce() -> c_int) -> c_int {
    let result = next();
    if result >= 0 {
        note_before(linux::ENOENT, to.0, to.1);
    }
    linking(from, to, || result)
}

/// The template says what the file is called only when there is one.
unsafe fn temporary<R: crate::hook::Outcome>(template: *mut c_char, next: impl FnOnce() -> R) -> R {
    let result = next();
    if !result.failed() && log::on() {
        note_result(WRITE, AT_FDCWD, template, false);
    }
    result
}

const CREATE: c_int = linux::O_WRONLY | linux::O_CREAT | linux::O_TRUNC;

hooks! {
    creat(path: Str, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, CREATE, next);
    creat64(path: Str, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, CREATE, next);
    mkdir(path: Str, mode: c_uint) -> c_int = -1, next => making(AT_FDCWD, path, next);
    mkdirat(dir: c_int, path: Str, mode: c_uint) -> c_int = -1, next => making(dir, path, next);
    mkfifo(path: Str, mode: c_uint) -> c_int = -1, next => making(AT_FDCWD, path, next);
    mkfifoat(dir: c_int, path: Str, mode: c_uint) -> c_int = -1, next => making(dir, path, next);
    mknod(path: Str, mode: c_uint, device: u64) -> c_int = -1, next => making(AT_FDCWD, path, next);
    mknodat(dir: c_int, path: Str, mode: c_uint, device: u64) -> c_int = -1, next => making(dir, path, next);
    rmdir(path: Str) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    unlink(path: Str) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    unlinkat(dir: c_int, path: Str, flags: c_int) -> c_int = -1, next => finding(dir, path, next);
    remove(path: Str) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    rename(from: Str, to: Str) -> c_int = -1, next => moving((AT_FDCWD, from), (AT_FDCWD, to), next);
    renameat(from_dir: c_int, from: Str, to_dir: c_int, to: Str) -> c_int = -1, next => moving((from_dir, from), (to_dir, to), next);
    renameat2(from_dir: c_int, from: Str, to_dir: c_int, to: Str, flags: c_uint) -> c_int
        = answered(call(number::RENAMEAT2, [from_dir as usize, from as usize, to_dir as usize, to as usize, flags as usize, 0])) as c_int,
        next => moving((from_dir, from), (to_dir, to), next);
    link(from: Str, to: Str) -> c_int = -1, next => joining((AT_FDCWD, from), (AT_FDCWD, to), next);
    linkat(from_dir: c_int, from: Str, to_dir: c_int, to: Str, flags: c_int) -> c_int = -1, next => joining((from_dir, from), (to_dir, to), next);
    symlink(text: Str, path: Str) -> c_int = -1, next => pointing(text, AT_FDCWD, path, next);
    symlinkat(text: Str, dir: c_int, path: Str) -> c_int = -1, next => pointing(text, dir, path, next);
    truncate(path: Str, length: c_long) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    truncate64(path: Str, length: i64) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    chmod(path: Str, mode: c_uint) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    lchmod(path: Str, mode: c_uint) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    fchmodat(dir: c_int, path: Str, mode: c_uint, flags: c_int) -> c_int = -1, next => finding(dir, path, next);
    chown(path: Str, owner: c_uint, group: c_uint) -> c_int = -1, next => write_to(AT_FDCWD, path, next);
    lchown(path: Str, owner: c_uint, group: c_uint) -> c_int = -1, next => write_to(AT_FDCWD, path, next);
    fchownat(dir: c_int, path: Str, owner: c_uint, group: c_uint, flags: c_int) -> c_int = -1, next => write_to(dir, path, next);
    utime(path: Str, times: Pointer) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    utimes(path: Str, times: Pointer) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    lutimes(path: Str, times: Pointer) -> c_int = -1, next => finding(AT_FDCWD, path, next);
    futimesat(dir: c_int, path: Str, times: Pointer) -> c_int = -1, next => write_to(dir, path, next);
    utimensat(dir: c_int, path: Str, times: Pointer, flags: c_int) -> c_int = -1, next => finding(dir, path, next);
    setxattr(path: Str, name: Str, value: Pointer, size: usize, flags: c_int) -> c_int = -1, next => write_to(AT_FDCWD, path, next);
    lsetxattr(path: Str, name: Str, value: Pointer, size: usize, flags: c_int) -> c_int = -1, next => write_to(AT_FDCWD, path, next);

    mkstemp(template: *mut c_char) -> c_int = -1, next => temporary(template, next);
    mkstemp64(template: *mut c_char) -> c_int = -1, next => temporary(template, next);
    mkostemp(template: *mut c_char, flags: c_int) -> c_int = -1, next => temporary(template, next);
    mkostemp64(template: *mut c_char, flags: c_int) -> c_int = -1, next => temporary(template, next);
    mkstemps(template: *mut c_char, suffix: c_int) -> c_int = -1, next => temporary(template, next);
    mkstemps64(template: *mut c_char, suffix: c_int) -> c_int = -1, next => temporary(template, next);
    mkostemps(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int = -1, next => temporary(template, next);
    mkostemps64(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int = -1, next => temporary(template, next);
    mkdtemp(template: *mut c_char) -> *mut c_char = null_mut(), next => temporary(template, next);
}
