//! Functions that read the file system.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;

use crate::chance;
use crate::hook::Outcome;
use crate::linux::{self, absence, answered, bytes, number, Str, AT_FDCWD};
use crate::log::{self, note, ENV, LINK, LIST, OPEN, STAT, WRITE};
use crate::paths::{absolute, of_descriptor};
use crate::writes;

type Pointer = *mut c_void;

/// Notes what came of asking for a path.
pub unsafe fn observed<R: Outcome>(kind: u8, dir: c_int, path: Str, next: impl FnOnce() -> R) -> R {
    let result = next();
    note_result(kind, dir, path, result.failed());
    result
}

#[inline(never)]
pub unsafe fn note_result(kind: u8, dir: c_int, path: Str, failed: bool) {
    let errno = if failed { linux::errno() } else { 0 };
    if !log::on() || errno == linux::EFAULT {
        return;
    }
    absolute(dir, path, &mut |path| {
        note(kind, errno, path);
        // Who could not change it has learnt whether it exists.
        if let (WRITE, Some(found)) = (kind, existence(errno)) {
            note(STAT, found, path);
        }
    });
}

fn existence(errno: i32) -> Option<i32> {
    match errno {
        linux::EEXIST | linux::ENOTEMPTY => Some(0),
        linux::ENOENT | linux::ENOTDIR => Some(errno),
        _ => None,
    }
}

/// An open, by what its flags say that happens to the file.
pub unsafe fn opening<R: Outcome>(
    dir: c_int,
    path: Str,
    flags: c_int,
    next: impl FnOnce() -> R,
) -> R {
    let missing = missing_before(dir, path, flags);
    let result = next();
    note_opened(dir, path, flags, missing, result.failed());
    result
}

fn reads(flags: c_int) -> bool {
    let fresh =
        flags & linux::O_TRUNC != 0 || flags & linux::O_EXCL != 0 && flags & linux::O_CREAT != 0;
    flags & linux::O_WRONLY == 0 && !fresh
}

/// Whether there is nothing yet where a file may be made that is also read.
unsafe fn missing_before(dir: c_int, path: Str, flags: c_int) -> bool {
    let may = reads(flags) && flags & linux::O_CREAT != 0 && log::on();
    may && absence(dir, path.cast()) == linux::ENOENT
}

#[inline(never)]
unsafe fn note_opened(dir: c_int, path: Str, flags: c_int, was_missing: bool, failed: bool) {
    if flags & linux::O_PATH != 0 {
        return note_result(STAT, dir, path, failed);
    }
    if flags & linux::O_TMPFILE == linux::O_TMPFILE {
        return;
    }
    let is_new = flags & linux::O_EXCL != 0 && flags & linux::O_CREAT != 0;
    if is_new && !failed {
        writes::note_before(linux::ENOENT, dir, path);
    }
    if was_missing && !failed {
        absolute(dir, path, &mut |path| note(OPEN, linux::ENOENT, path));
    } else if reads(flags) {
        let kind = if flags & linux::O_DIRECTORY != 0 {
            LIST
        } else {
            OPEN
        };
        note_result(kind, dir, path, failed);
        if log::is_script() {
            absolute(dir, path, &mut chance::device);
        }
    }
    if flags & (linux::O_WRONLY | linux::O_RDWR | linux::O_CREAT | linux::O_TRUNC) != 0 {
        note_result(WRITE, dir, path, failed);
    }
}

/// A file that the start of a program will open.
pub unsafe fn note_later_open(path: Str, flags: c_int) {
    if flags & (linux::O_WRONLY | linux::O_RDWR | linux::O_CREAT) != 0 {
        absolute(AT_FDCWD, path, &mut |path| note(WRITE, 0, path));
    } else {
        note_state(OPEN, path);
    }
}

/// The flags of open(2) for a mode of fopen(3).
pub unsafe fn flags_of(mode: Str) -> c_int {
    let mode = bytes(mode.cast());
    let access = if mode.contains(&b'+') {
        linux::O_RDWR
    } else {
        linux::O_WRONLY
    };
    let access = match mode.contains(&b'x') {
        true => access | linux::O_EXCL,
        false => access,
    };
    match mode.first() {
        Some(b'w') => access | linux::O_CREAT | linux::O_TRUNC,
        Some(b'a') => access | linux::O_CREAT | linux::O_APPEND,
        _ if mode.contains(&b'+') => access,
        _ => 0,
    }
}

unsafe fn listing<R: Outcome>(fd: c_int, next: impl FnOnce() -> R) -> R {
    let result = next();
    if !result.failed() {
        note_listed(fd);
    }
    result
}

/// What was opened as a directory was noted then.
pub unsafe fn note_listed(fd: c_int) {
    if log::on() && linux::flags_of(fd) & linux::O_DIRECTORY == 0 {
        of_descriptor(fd, &mut |path| note(LIST, 0, path));
    }
}

/// The text of a link. Of a descriptor of a build script's own that leads to a file it is where that file lies: it was noted by the path that it
/// was opened by, so what is learnt here is where the links on that path's way lead.
unsafe fn reading_link(
    dir: c_int,
    path: Str,
    into: Pointer,
    next: impl FnOnce() -> isize,
) -> isize {
    let result = next();
    if result > 0 && log::on() && log::is_script() && is_own_descriptor(bytes(path.cast())) {
        let text = core::slice::from_raw_parts(into.cast::<u8>(), result.unsigned_abs());
        let is_elsewhere = |dir: &&[u8]| text.starts_with(dir);
        let is_file = text.first() == Some(&b'/') && !text.ends_with(b" (deleted)");
        let places: [&[u8]; 3] = [b"/dev/", b"/proc/", b"/memfd:"];
        if is_file && !places.iter().any(is_elsewhere) {
            note(ENV, 0, b"readlink()");
            return result;
        }
    }
    note_result(LINK, dir, path, result.failed());
    result
}

fn is_own_descriptor(path: &[u8]) -> bool {
    let number = path.strip_prefix(b"/proc/self/fd/").unwrap_or(b"");
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// `realpath`: every link on the way is read.
unsafe fn resolving(path: Str, next: impl FnOnce() -> *mut c_char) -> *mut c_char {
    let result = observed(STAT, AT_FDCWD, path, next);
    if !result.is_null() && log::on() {
        let resolved = bytes(result.cast());
        // With the buffer of the caller, the result may be all there is left of the path.
        if !core::ptr::eq(result, path) && resolved != bytes(path.cast()) {
            absolute(AT_FDCWD, path, &mut |path| {
                crate::paths::links_of(path, &mut |link| note(LINK, 0, link))
            });
        }
    }
    result
}

/// What glob(3) reads: one directory, or it cannot be said.
unsafe fn globbing(pattern: Str, next: impl FnOnce() -> c_int) -> c_int {
    let result = next();
    let pattern = bytes(pattern.cast());
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'{' | b'~' | b'\\');
    let Some(first) = pattern.iter().position(special) else {
        note_asked(pattern);
        return result;
    };
    let (fixed, rest) = pattern.split_at_checked(first).unwrap_or_default();
    if rest
        .iter()
        .any(|byte| matches!(byte, b'/' | b'{' | b'~' | b'\\'))
    {
        log::unseen();
        return result;
    }
    let end = fixed
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let dir = fixed
        .get(..end)
        .filter(|dir| !dir.is_empty())
        .unwrap_or(b"./");
    with_zero(dir, |dir| note_state(LIST, dir));
    result
}

unsafe fn note_asked(path: &[u8]) {
    with_zero(path, |path| note_state(STAT, path));
}

pub unsafe fn note_state(kind: u8, path: Str) {
    let errno = absence(AT_FDCWD, path.cast());
    absolute(AT_FDCWD, path, &mut |path| note(kind, errno, path));
}

unsafe fn with_zero(text: &[u8], with: impl FnOnce(Str)) {
    let mut copy = [0u8; 4096];
    if text.len() >= copy.len() {
        return log::unseen();
    }
    copy.iter_mut()
        .zip(text)
        .for_each(|(slot, byte)| *slot = *byte);
    with(copy.as_ptr().cast());
}

/// Walks a whole tree inside of libc.
pub unsafe fn walking<R>(next: impl FnOnce() -> R) -> R {
    log::unseen();
    next()
}

hooks! {
    open(path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    open64(path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    __open(path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    __open64(path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    __open_2(path: Str, flags: c_int) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    __open64_2(path: Str, flags: c_int) -> c_int = -1, next => opening(AT_FDCWD, path, flags, next);
    openat(dir: c_int, path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(dir, path, flags, next);
    openat64(dir: c_int, path: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => opening(dir, path, flags, next);
    __openat_2(dir: c_int, path: Str, flags: c_int) -> c_int = -1, next => opening(dir, path, flags, next);
    __openat64_2(dir: c_int, path: Str, flags: c_int) -> c_int = -1, next => opening(dir, path, flags, next);
    fopen(path: Str, mode: Str) -> Pointer = null_mut(), next => opening(AT_FDCWD, path, flags_of(mode), next);
    fopen64(path: Str, mode: Str) -> Pointer = null_mut(), next => opening(AT_FDCWD, path, flags_of(mode), next);
    freopen(path: Str, mode: Str, file: Pointer) -> Pointer = null_mut(), next => opening(AT_FDCWD, path, flags_of(mode), next);
    freopen64(path: Str, mode: Str, file: Pointer) -> Pointer = null_mut(), next => opening(AT_FDCWD, path, flags_of(mode), next);

    stat(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    stat64(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    lstat(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    lstat64(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    fstatat(dir: c_int, path: Str, into: Pointer, flags: c_int) -> c_int = -1, next => observed(STAT, dir, path, next);
    fstatat64(dir: c_int, path: Str, into: Pointer, flags: c_int) -> c_int = -1, next => observed(STAT, dir, path, next);
    __xstat(version: c_int, path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    __xstat64(version: c_int, path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    __lxstat(version: c_int, path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    __lxstat64(version: c_int, path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    __fxstatat(version: c_int, dir: c_int, path: Str, into: Pointer, flags: c_int) -> c_int = -1, next => observed(STAT, dir, path, next);
    __fxstatat64(version: c_int, dir: c_int, path: Str, into: Pointer, flags: c_int) -> c_int = -1, next => observed(STAT, dir, path, next);
    statx(dir: c_int, path: Str, flags: c_int, mask: c_uint, into: Pointer) -> c_int
        = answered(linux::call(number::STATX, [dir as usize, path as usize, flags as usize, mask as usize, into as usize, 0])) as c_int,
        next => observed(STAT, dir, path, next);
    statfs(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    statfs64(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    statvfs(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    statvfs64(path: Str, into: Pointer) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    access(path: Str, mode: c_int) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    faccessat(dir: c_int, path: Str, mode: c_int, flags: c_int) -> c_int = -1, next => observed(STAT, dir, path, next);
    euidaccess(path: Str, mode: c_int) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    eaccess(path: Str, mode: c_int) -> c_int = -1, next => observed(STAT, AT_FDCWD, path, next);
    getxattr(path: Str, name: Str, into: Pointer, size: usize) -> isize = -1, next => observed(STAT, AT_FDCWD, path, next);
    lgetxattr(path: Str, name: Str, into: Pointer, size: usize) -> isize = -1, next => observed(STAT, AT_FDCWD, path, next);
    listxattr(path: Str, into: Pointer, size: usize) -> isize = -1, next => observed(STAT, AT_FDCWD, path, next);
    llistxattr(path: Str, into: Pointer, size: usize) -> isize = -1, next => observed(STAT, AT_FDCWD, path, next);

    readlink(path: Str, into: Pointer, size: usize) -> isize = -1, next => reading_link(AT_FDCWD, path, into, next);
    readlinkat(dir: c_int, path: Str, into: Pointer, size: usize) -> isize = -1, next => reading_link(dir, path, into, next);
    __readlink_chk(path: Str, into: Pointer, size: usize, limit: usize) -> isize = -1, next => reading_link(AT_FDCWD, path, into, next);
    __readlinkat_chk(dir: c_int, path: Str, into: Pointer, size: usize, limit: usize) -> isize = -1, next => reading_link(dir, path, into, next);
    realpath(path: Str, into: *mut c_char) -> *mut c_char = null_mut(), next => resolving(path, next);
    __realpath_chk(path: Str, into: *mut c_char, limit: usize) -> *mut c_char = null_mut(), next => resolving(path, next);
    canonicalize_file_name(path: Str) -> *mut c_char = null_mut(), next => resolving(path, next);

    opendir(path: Str) -> Pointer = null_mut(), next => observed(LIST, AT_FDCWD, path, next);
    fdopendir(fd: c_int) -> Pointer = null_mut(), next => listing(fd, next);
    getdents64(fd: c_int, into: Pointer, size: usize) -> isize
        = answered(linux::call(number::GETDENTS64, [fd as usize, into as usize, size, 0, 0, 0])), next => listing(fd, next);
    getdirentries(fd: c_int, into: Pointer, size: usize, base: Pointer) -> isize = -1, next => listing(fd, next);
    getdirentries64(fd: c_int, into: Pointer, size: usize, base: Pointer) -> isize = -1, next => listing(fd, next);
    scandir(path: Str, into: Pointer, filter: Pointer, order: Pointer) -> c_int = -1, next => observed(LIST, AT_FDCWD, path, next);
    scandir64(path: Str, into: Pointer, filter: Pointer, order: Pointer) -> c_int = -1, next => observed(LIST, AT_FDCWD, path, next);
    scandirat(dir: c_int, path: Str, into: Pointer, filter: Pointer, order: Pointer) -> c_int = -1, next => observed(LIST, dir, path, next);
    scandirat64(dir: c_int, path: Str, into: Pointer, filter: Pointer, order: Pointer) -> c_int = -1, next => observed(LIST, dir, path, next);
    glob(pattern: Str, flags: c_int, failed: Pointer, into: Pointer) -> c_int = -1, next => globbing(pattern, next);
    glob64(pattern: Str, flags: c_int, failed: Pointer, into: Pointer) -> c_int = -1, next => globbing(pattern, next);

    ftw(path: Str, visit: Pointer, depth: c_int) -> c_int = -1, next => walking(next);
    ftw64(path: Str, visit: Pointer, depth: c_int) -> c_int = -1, next => walking(next);
    nftw(path: Str, visit: Pointer, depth: c_int, flags: c_int) -> c_int = -1, next => walking(next);
    nftw64(path: Str, visit: Pointer, depth: c_int, flags: c_int) -> c_int = -1, next => walking(next);
    fts_open(paths: Pointer, options: c_int, order: Pointer) -> Pointer = null_mut(), next => walking(next);
    fts64_open(paths: Pointer, options: c_int, order: Pointer) -> Pointer = null_mut(), next => walking(next);
    open_by_handle_at(mount: c_int, handle: Pointer, flags: c_int) -> c_int = -1, next => walking(next);
    wordexp(words: Str, into: Pointer, flags: c_int) -> c_int = -1, next => walking(next);

    shm_open(name: Str, flags: c_int, mode: c_uint) -> c_int = -1, next => walking(next);
}
