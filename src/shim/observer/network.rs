//! Functions that reach beyond this machine or this process.

use core::ffi::{c_int, c_uint, c_void};
use core::ptr::null_mut;

use crate::linux::{self, bytes, Str};
use crate::log::{self, note, NET};

type Pointer = *mut c_void;

const LOCAL: c_int = 1;

/// The family of an address. A local one is a path: a program on this machine that answers.
unsafe fn reached(address: *const u8, length: c_uint) {
    if address.is_null() || length < 3 || !log::on() {
        return;
    }
    let family = address.cast::<u16>().read_unaligned();
    if c_int::from(family) != LOCAL {
        return note_family(c_int::from(family));
    }
    let path = core::slice::from_raw_parts(address.add(2), (length as usize - 2).min(108));
    let end = path
        .iter()
        .skip(1)
        .position(|byte| *byte == 0)
        .map_or(path.len(), |at| at + 1);
    let name = path.get(..end).unwrap_or(b"");
    // A name that begins with a zero is no file.
    note(NET, 0, name.strip_prefix(b"\0").unwrap_or(name));
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
    getaddrinfo(name: Str, service: Str, hints: Pointer, into: Pointer) -> c_int = -1, next => resolving(name, next);
    gethostbyname(name: Str) -> Pointer = null_mut(), next => resolving(name, next);
    gethostbyname2(name: Str, family: c_int) -> Pointer = null_mut(), next => resolving(name, next);
}
