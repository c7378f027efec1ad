//! Absolute paths, for what a program names relative to its directory or to a descriptor. Nothing else is normalised.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;

use crate::directory;
use crate::linux::{self, bytes, number, Str, AT_FDCWD};
use crate::log::unseen;

const MAX: usize = 4096;

struct Buffer {
    bytes: [MaybeUninit<u8>; MAX],
    length: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: [const { MaybeUninit::uninit() }; MAX],
            length: 0,
        }
    }

    fn start(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr().cast()
    }

    fn push(&mut self, more: &[u8]) -> bool {
        if more.len() > MAX - self.length {
            return false;
        }
        unsafe { copy_nonoverlapping(more.as_ptr(), self.start().add(self.length), more.len()) };
        self.length += more.len();
        true
    }

    fn text(&self) -> &[u8] {
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.length) }
    }
}

/// Calls `with` with the path joined to the current directory or to that of the descriptor `dir`; not for an empty path.
#[inline(never)]
pub unsafe fn absolute(dir: c_int, path: Str, with: &mut dyn FnMut(&[u8])) {
    let path = bytes(path.cast());
    match path.first() {
        None => {}
        Some(b'/') => with(path),
        Some(_) => {
            let mut buffer = Buffer::new();
            let based = if dir == AT_FDCWD {
                push_directory(&mut buffer)
            } else {
                push_descriptor(&mut buffer, dir)
            };
            let slash = if buffer.text() == b"/" {
                &b""[..]
            } else {
                b"/"
            };
            if based && buffer.push(slash) && buffer.push(path) {
                with(buffer.text());
            } else {
                unseen();
            }
        }
    }
}

/// Calls `with` with the path of an open file.
pub unsafe fn of_descriptor(fd: c_int, with: &mut dyn FnMut(&[u8])) {
    let mut buffer = Buffer::new();
    if push_descriptor(&mut buffer, fd) {
        with(buffer.text());
    } else {
        unseen();
    }
}

/// Calls `with` with the path of this program; as it was started where there is no `/proc`.
pub unsafe fn of_program(with: &mut dyn FnMut(&[u8])) {
    extern "C" {
        fn getauxval(kind: usize) -> Str;
    }
    const STARTED_AS: usize = 31;
    let mut buffer = Buffer::new();
    if push_link(&mut buffer, c"/proc/self/exe".as_ptr().cast()) {
        with(buffer.text());
    } else {
        absolute(AT_FDCWD, getauxval(STARTED_AS), with);
    }
}

unsafe fn push_directory(buffer: &mut Buffer) -> bool {
    let length = linux::call(number::GETCWD, [buffer.start() as usize, MAX, 0, 0, 0, 0]);
    // The kernel counts the zero. A directory outside of the root is "(unreachable)…".
    buffer.length = if length > 0 { length as usize - 1 } else { 0 };
    buffer.text().first() == Some(&b'/')
}

unsafe fn push_descriptor(buffer: &mut Buffer, fd: c_int) -> bool {
    let mut link = [0; LINK];
    if fd < 0 || push_link(buffer, descriptor_link(fd, &mut link)) {
        return fd >= 0;
    }
    let length = directory::path_of(fd, buffer.start(), MAX);
    buffer.length = if length > 0 { length as usize - 1 } else { 0 };
    buffer.text().first() == Some(&b'/')
}

unsafe fn push_link(buffer: &mut Buffer, link: *const u8) -> bool {
    let length = linux::read_link(AT_FDCWD, link, buffer.start(), MAX);
    buffer.length = if length > 0 { length as usize } else { 0 };
    buffer.text().first() == Some(&b'/')
}

pub const LINK: usize = 32;

/// `/proc/self/fd/N` and a zero.
pub fn descriptor_link(fd: c_int, into: &mut [u8; LINK]) -> *const u8 {
    let mut digits = [0; 10];
    let mut rest = fd.unsigned_abs();
    let mut count = 0;
    for digit in digits.iter_mut() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    let text = b"/proc/self/fd/"
        .iter()
        .chain(digits.iter().take(count).rev());
    for (slot, byte) in into.iter_mut().zip(text) {
        *slot = *byte;
    }
    into.as_ptr()
}

/// Calls `with` for every symbolic link that is followed on the way of an absolute path.
pub unsafe fn links_of(path: &[u8], with: &mut dyn FnMut(&[u8])) {
    const MAX_LINKS: usize = 40;
    let mut way = Buffer::new();
    if !way.push(path) {
        return unseen();
    }
    for _ in 0..MAX_LINKS {
        let Some(followed) = follow_first(&way, with) else {
            return;
        };
        way = followed;
    }
}

/// The path with its first link replaced by what it says.
unsafe fn follow_first(way: &Buffer, with: &mut dyn FnMut(&[u8])) -> Option<Buffer> {
    let path = way.text();
    let ends = (1..=path.len()).filter(|end| matches!(path.get(*end), None | Some(b'/')));
    for end in ends {
        let (link, rest) = path.split_at_checked(end)?;
        let mut named = Buffer::new();
        let mut text = Buffer::new();
        if !named.push(link) || !named.push(b"\0") {
            return None;
        }
        let length = linux::read_link(AT_FDCWD, named.start(), text.start(), MAX);
        if length <= 0 {
            continue;
        }
        text.length = length as usize;
        with(link);
        let parent = link
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let kept = if text.text().first() == Some(&b'/') {
            b""
        } else {
            link.get(..parent)?
        };
        let mut followed = Buffer::new();
        let fits = followed.push(kept) && followed.push(text.text()) && followed.push(rest);
        return fits.then_some(followed);
    }
    None
}
