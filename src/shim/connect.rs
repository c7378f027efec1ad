//! Connecting to a daemon that may hang: connect() on a Unix socket blocks for good once the backlog is full.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection, if there is one within `wait`, which also bounds each later write. The time that a socket may take to send
/// bounds its connect() too (unix(7), socket(7)), but the standard library has no socket that is not connected yet.
#[cfg(target_os = "linux")]
pub fn connect_within(socket: &Path, wait: Duration) -> Option<UnixStream> {
    use std::mem::size_of;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;

    /// `struct sockaddr_un`.
    #[repr(C)]
    struct Address {
        family: u16,
        path: [u8; 108],
    }
    extern "C" {
        #[link_name = "socket"]
        fn open(domain: i32, kind: i32, protocol: i32) -> i32;
        fn connect(fd: i32, address: *const Address, length: u32) -> i32;
    }
    const AF_UNIX: u16 = 1;
    const SOCK_STREAM: i32 = 1;
    const SOCK_CLOEXEC: i32 = 0o2000000;

    let bytes = socket.as_os_str().as_bytes();
    let mut path = [0; 108];
    // A zero byte ends it.
    if bytes.is_empty() || bytes.len() >= path.len() || bytes.contains(&0) {
        return None;
    }
    path[..bytes.len()].copy_from_slice(bytes);
    let family = AF_UNIX;
    let address = Address { family, path };
    let fd = unsafe { open(AF_UNIX.into(), SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return None;
    }
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    stream.set_write_timeout(Some(wait)).ok()?;
    let length = size_of::<Address>() as u32;
    let connected = unsafe { connect(stream.as_raw_fd(), &address, length) };
    (connected == 0).then_some(stream)
}

/// Beside the main thread, which goes on after `wait`.
#[cfg(not(target_os = "linux"))]
pub fn connect_within(socket: &Path, wait: Duration) -> Option<UnixStream> {
    use std::sync::mpsc;
    use std::thread;

    std::fs::symlink_metadata(socket).ok()?;
    let (sender, receiver) = mpsc::channel();
    let path = socket.to_path_buf();
    let connecting = move || sender.send(UnixStream::connect(path));
    thread::Builder::new().spawn(connecting).ok()?;
    let stream = receiver.recv_timeout(wait).ok()?.ok()?;
    stream.set_write_timeout(Some(wait)).ok()?;
    Some(stream)
}
