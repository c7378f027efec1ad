//! Functions that reach beyond this machine or this process.

use core::ffi::{c_int, c_uint, c_void};
use core::ptr::null_mut;

use crate::linux::{self, bytes, Str, AT_FDCWD};
use crate::log::{self, note, NET, STAT, WRITE};
use crate::paths::absolute;
use crate::writes::note_before;

type Pointer = *mut c_void;

const LOCAL: c_int = 1;
const MAX_NAME: usize = 108;
const EADDRINUSE: i32 = 98;

/// The family of an address, and the name of a local one.
unsafe fn named<'a>(address: *const u8, length: c_uint) -> Option<(c_int, &'a [u8])> {
    if address.is_null() || length < 3 || !log::on() {
        return None;
    }
    let family = c_int::from(address.cast::<u16>().read_unaligned());
    if family != LOCAL {
        return Some((family, b""));
    }
    let path = core::slice::from_raw_parts(address.add(2), (length as usize - 2).min(MAX_NAME));
    let end = path
        .iter()
        .skip(1)
        .position(|byte| *byte == 0)
        .map_or(path.len(), |at| at + 1);
    Some((family, path.get(..end).unwrap_or(b"")))
}

/// The family of an address. A local one is a path: a program on this machine that answers.
unsafe fn reached(address: *const u8, length: c_uint) {
    match named(address, length) {
        // A name that begins with a zero is no file.
        Some((LOCAL, name)) => note(NET, 0, name.strip_prefix(b"\0").unwrap_or(name)),
        Some((family, _)) => note_family(family),
        None => {}
    }
}

/// A local name that others can reach from now on: a file, unless it begins with a zero.
unsafe fn bound(address: *const u8, length: c_uint, errno: i32) {
    let Some((LOCAL, name)) = named(address, length) else {
        return;
    };
    if name.first() == Some(&0) {
        return note(NET, 0, name.strip_prefix(b"\0").unwrap_or(name));
    }
    let mut path = [0u8; MAX_NAME + 1];
    path.iter_mut()
        .zip(name)
        .for_each(|(slot, byte)| *slot = *byte);
    let path: Str = path.as_ptr().cast();
    match errno {
        0 => {
            note_before(linux::ENOENT, AT_FDCWD, path);
            absolute(AT_FDCWD, path, &mut |path| note(WRITE, 0, path));
        }
        EADDRINUSE => absolute(AT_FDCWD, path, &mut |path| note(STAT, 0, path)),
        _ => absolute(AT_FDCWD, path, &mut |path| note(STAT, errno, path)),
    }
}

/// Of the kernel's `struct msghdr` what comes first.
#[repr(C)]
pub struct Message {
    address: *const u8,
    length: c_uint,
}

/// Whether the kernel has read what it was given, so that it can be read here.
fn was_read(result: isize) -> bool {
    const EBADF: i32 = 9;
    const ENOTSOCK: i32 = 88;
    result >= 0 || !matches!(linux::errno(), EBADF | ENOTSOCK | linux::EFAULT)
}

fn note_family(family: c_int) {
    let name: &[u8] = match family {
        2 => b"inet",
        10 => b"inet6",
        16 => b"netlink",
        _ => b"other",
    };
    note(NET, 0, name);
}

unsafe fn resolving<R>(name: Str, next: impl FnOnce() -> R) -> R {
    note(NET, 0, bytes(name.cast()));
    next()
}

/// Looks for what the network of this machine is; libc's own sockets are not seen.
unsafe fn looking<R>(next: impl FnOnce() -> R) -> R {
    note(NET, 0, b"network");
    next()
}

hooks! {
    socket(family: c_int, kind: c_int, protocol: c_int) -> c_int = -1, next => {
        let fd = next();
        // Also a local one that a sandbox denies: elsewhere somebody might have answered.
        if family != LOCAL || fd < 0 {
            note_family(family);
        }
        fd
    };
    connect(fd: c_int, address: *const u8, length: c_uint) -> c_int = -1, next => {
        let result = next();
        if result == 0 || linux::errno() != linux::EFAULT {
            reached(address, length);
        }
        result
    };
    bind(fd: c_int, address: *const u8, length: c_uint) -> c_int = -1, next => {
        let result = next();
        if was_read(result as isize) {
            bound(address, length, if result == 0 { 0 } else { linux::errno() });
        }
        result
    };
    sendto(fd: c_int, from: Pointer, size: usize, flags: c_int, address: *const u8, length: c_uint) -> isize = -1, next => {
        let result = next();
        if was_read(result) {
            reached(address, length);
        }
        result
    };
    sendmsg(fd: c_int, message: *const Message, flags: c_int) -> isize = -1, next => {
        let result = next();
        if was_read(result) && !message.is_null() {
            reached((*message).address, (*message).length);
        }
        result
    };
    getaddrinfo(name: Str, service: Str, hints: Pointer, into: Pointer) -> c_int = -1, next => resolving(name, next);
    gethostbyname(name: Str) -> Pointer = null_mut(), next => resolving(name, next);
    gethostbyname2(name: Str, family: c_int) -> Pointer = null_mut(), next => resolving(name, next);
    gethostbyname_r(name: Str, into: Pointer, buffer: Pointer, size: usize, found: Pointer, errno: Pointer) -> c_int = -1, next => resolving(name, next);
    getifaddrs(into: Pointer) -> c_int = -1, next => looking(next);
    if_nameindex() -> Pointer = null_mut(), next => looking(next);
    if_nametoindex(name: Str) -> c_uint = 0, next => looking(next);
    if_indextoname(index: c_uint, into: Pointer) -> Pointer = null_mut(), next => looking(next);
    getnameinfo(address: *const u8, length: c_uint, host: Pointer, host_size: c_uint, service: Pointer, service_size: c_uint, flags: c_int) -> c_int = -1, next => looking(next);
    gethostbyaddr(address: *const u8, length: c_uint, family: c_int) -> Pointer = null_mut(), next => looking(next);
}
