//! What starting a file will mean: whether this library is loaded into the program.

use core::ffi::c_int;

use crate::linux::{self, bytes, number, AT_FDCWD};
use crate::log::{self, note, EXEC};
use crate::paths::absolute;
use crate::{environment, loads};

#[derive(Clone, Copy, PartialEq)]
pub enum Image {
    /// Cannot be started; the error number.
    Missing(i32),
    /// Loads this library, if its environment says so.
    Watched,
    /// Static, or privileged: its loader passes this library by.
    Unwatched,
    /// Of another processor or another libc: its loader would complain of this library.
    Foreign,
}

const MAX_SCRIPTS: u32 = 4;
const HEAD: usize = 256;
const MAX_PATH: usize = 4096;

/// `path` ends with a zero.
pub unsafe fn look(dir: c_int, path: *const u8) -> Image {
    look_through(dir, path, MAX_SCRIPTS)
}

unsafe fn look_through(dir: c_int, path: *const u8, scripts: u32) -> Image {
    let fd = linux::open(dir, path, linux::O_NONBLOCK);
    if fd == -linux::EACCES || fd < 0 && linux::absence(dir, path) == 0 {
        return Image::Unwatched;
    }
    if fd < 0 {
        return Image::Missing(-fd);
    }
    let mut head = [0u8; HEAD + 1];
    let length = linux::read_at(fd, 0, head.as_mut_ptr(), HEAD);
    let image = match head.get(..length).unwrap_or(b"") {
        _ if is_directory(fd) => Image::Missing(linux::EACCES),
        _ if is_privileged(fd) => Image::Unwatched,
        [0x7f, b'E', b'L', b'F', ..] => of_elf(fd, &head, is_of_system(bytes(path))),
        [b'#', b'!', line @ ..] => of_script(line, scripts),
        // Left to the shell by those that would start it.
        _ => next_script(c"/bin/sh".as_ptr().cast(), scripts),
    };
    linux::close(fd);
    image
}

unsafe fn next_script(path: *const u8, scripts: u32) -> Image {
    match scripts.checked_sub(1) {
        None => Image::Unwatched,
        Some(scripts) => look_through(AT_FDCWD, path, scripts),
    }
}

unsafe fn of_script(line: &[u8], scripts: u32) -> Image {
    let mut path = [0u8; HEAD + 1];
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = line.iter().skip_while(|byte| blank(byte));
    let name = name.take_while(|byte| !blank(byte) && !matches!(**byte, b'\n' | 0));
    path.iter_mut()
        .zip(name)
        .for_each(|(slot, byte)| *slot = *byte);
    next_script(path.as_ptr(), scripts)
}

unsafe fn of_elf(fd: c_int, head: &[u8; HEAD + 1], is_known: bool) -> Image {
    const CLASS_64_LITTLE: [u8; 2] = [2, 1];
    const SEGMENT: usize = 56;
    const INTERPRETER: u32 = 3;
    const MAX_SEGMENTS: u16 = 64;
    if head[4..6] != CLASS_64_LITTLE || u16_at(head, 18) != linux::MACHINE {
        return Image::Foreign;
    }
    let table = u64_at(head, 32);
    if usize::from(u16_at(head, 54)) != SEGMENT {
        return Image::Unwatched;
    }
    for index in 0..u16_at(head, 56).min(MAX_SEGMENTS) {
        let mut segment = [0u8; SEGMENT];
        linux::read_at(
            fd,
            table.wrapping_add(u64::from(index) * SEGMENT as u64),
            segment.as_mut_ptr(),
            SEGMENT,
        );
        if u32_at(&segment, 0) == INTERPRETER {
            let mut name = [0u8; HEAD + 1];
            linux::read_at(fd, u64_at(&segment, 8), name.as_mut_ptr(), HEAD);
            return if is_own_loader(name.as_ptr()) && (is_known || !wants_to_be_first(fd)) {
                Image::Watched
            } else {
                Image::Foreign
            };
        }
    }
    Image::Unwatched
}

/// Where nobody installs what has a sanitizer in it: to look for one in each program costs more than all else here.
fn is_of_system(path: &[u8]) -> bool {
    const DIRECTORIES: [&[u8]; 7] = [
        b"/usr/bin/",
        b"/usr/sbin/",
        b"/usr/lib/",
        b"/usr/libexec/",
        b"/bin/",
        b"/sbin/",
        b"/lib/",
    ];
    let leads_away = || path.windows(4).any(|part| part == b"/../");
    DIRECTORIES.iter().any(|dir| path.starts_with(dir)) && !leads_away()
}

/// Sanitizers end a program in which another library was loaded before theirs. Names of libraries are near the start of a file.
unsafe fn wants_to_be_first(fd: c_int) -> bool {
    const CHUNK: usize = 4096;
    const CHUNKS: u64 = 16;
    const NAMES: [&[u8]; 5] = [
        b"libasan.so",
        b"libtsan.so",
        b"liblsan.so",
        b"libhwasan.so",
        b"__asan_init",
    ];
    if !log::is_script() {
        return false;
    }
    (0..CHUNKS).any(|index| {
        // A name can lie across the end of one.
        let mut bytes = [0u8; CHUNK + 16];
        let length = linux::read_at(fd, index * CHUNK as u64, bytes.as_mut_ptr(), bytes.len());
        let read = bytes.get(..length).unwrap_or(b"");
        let may_begin = |at: &usize| matches!(read.get(*at), Some(b'l' | b'_'));
        (0..read.len()).filter(may_begin).any(|at| {
            let rest = read.get(at..).unwrap_or(b"");
            NAMES.iter().any(|name| rest.starts_with(name))
        })
    })
}

unsafe fn is_own_loader(path: *const u8) -> bool {
    let own = loads::own_loader();
    if own.is_null() {
        return false;
    }
    if bytes(own) == bytes(path) {
        return true;
    }
    let file = |path| linux::stat(path).map(|stat| (stat.device, stat.inode));
    file(own).is_some_and(|own| file(path) == Some(own))
}

unsafe fn is_directory(fd: c_int) -> bool {
    linux::fstat(fd).is_some_and(|stat| stat.mode & 0o170000 == 0o040000)
}

unsafe fn is_privileged(fd: c_int) -> bool {
    const SET_IDS: u32 = 0o6000;
    let name = c"security.capability".as_ptr() as usize;
    let mut value = [0u8; 64];
    let args = [
        fd as usize,
        name,
        value.as_mut_ptr() as usize,
        value.len(),
        0,
        0,
    ];
    linux::fstat(fd).is_none_or(|stat| stat.mode & SET_IDS != 0)
        || linux::call(number::FGETXATTR, args) > 0
}

fn u16_at(bytes: &[u8; HEAD + 1], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8; 56], at: usize) -> u32 {
    number_at(bytes, at, 4) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number_at(bytes, at, 8)
}

fn number_at(bytes: &[u8], at: usize, size: usize) -> u64 {
    let used = bytes.iter().skip(at).take(size);
    used.rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What execvp(3) and its like will start for a name without a slash.
pub unsafe fn look_along_path(name: &[u8]) -> Image {
    let path = environment::value(environment::vars(), b"PATH").unwrap_or(b"/bin:/usr/bin");
    let mut result = Image::Missing(linux::ENOENT);
    for dir in path.split(|byte| *byte == b':') {
        let mut candidate = [0u8; MAX_PATH];
        let slash = if dir.is_empty() { &b""[..] } else { b"/" };
        if dir.len() + slash.len() + name.len() >= MAX_PATH {
            continue;
        }
        let text = dir.iter().chain(slash).chain(name);
        candidate
            .iter_mut()
            .zip(text)
            .for_each(|(slot, byte)| *slot = *byte);
        let image = look(AT_FDCWD, candidate.as_ptr());
        let errno = match image {
            Image::Missing(errno) => errno,
            _ => 0,
        };
        // PATH can be one that the script has made: then its name alone does not say where a program is looked for.
        if log::is_script() {
            absolute(AT_FDCWD, candidate.as_ptr().cast(), &mut |path| {
                note(EXEC, errno, path)
            });
        }
        match image {
            Image::Missing(linux::ENOENT) => {}
            Image::Missing(errno) => result = Image::Missing(errno),
            found => return found,
        }
    }
    result
}
