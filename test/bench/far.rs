//! A long and narrow line between two network namespaces, as no queueing discipline of this kernel makes one.
//! `far NAMESPACE ADDRESS NAMESPACE ADDRESS MS BITS` gives each of the two an interface `far0` with its address (of one /24) and carries
//! packets between them until it is killed: each takes MS milliseconds one way, after it has waited for those before it at BITS a
//! second. What would have to wait for more than half a second is lost, as in a router. Writes a line once the interfaces are up.

use std::collections::VecDeque;
use std::ffi::{c_int, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
}

const NEW_NETWORK: c_int = 0x4000_0000;
const SET_INTERFACE: c_ulong = 0x4004_54ca;
/// Packets of the internet protocol, with nothing before them.
const TUN_WITHOUT_HEADER: u16 = 0x1001;
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const MOST_BYTES: usize = 2048;

#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// The descriptor stays with the namespace in which it was made; this thread must not be used for anything else afterwards.
fn interface(namespace: &str, address: &str) -> File {
    let entered = File::open(format!("/run/netns/{namespace}")).expect("the namespace");
    assert_eq!(unsafe { setns(entered.as_raw_fd(), NEW_NETWORK) }, 0, "not root");
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    let mut request = InterfaceRequest { name: [0; 16], flags: TUN_WITHOUT_HEADER, rest: [0; 22] };
    request.name[..4].copy_from_slice(b"far0");
    let made = unsafe { ioctl(tun.as_raw_fd(), SET_INTERFACE, (&raw mut request).cast()) };
    assert_eq!(made, 0, "no interface");
    for arguments in [
        vec!["addr", "add", address, "dev", "far0"],
        vec!["link", "set", "far0", "up"],
    ] {
        assert!(Command::new("ip").args(arguments).status().expect("ip").success());
    }
    tun
}

type Queue = Arc<(Mutex<VecDeque<(Instant, Vec<u8>)>>, Condvar)>;

fn carry(mut from: File, mut to: File, delay: Duration, bits: f64) {
    let queue: Queue = Queue::default();
    let filled = Arc::clone(&queue);
    thread::spawn(move || {
        let mut bytes = [0; MOST_BYTES];
        let mut free_at = Instant::now();
        while let Ok(length) = from.read(&mut bytes) {
            let now = Instant::now();
            let begins = free_at.max(now);
            if begins - now > LONGEST_WAIT {
                continue;
            }
            free_at = begins + Duration::from_secs_f64(length as f64 * 8.0 / bits);
            filled.0.lock().unwrap().push_back((free_at + delay, bytes[..length].to_vec()));
            filled.1.notify_one();
        }
    });
    thread::spawn(move || {
        loop {
            let mut waiting = queue.0.lock().unwrap();
            while waiting.is_empty() {
                waiting = queue.1.wait(waiting).unwrap();
            }
            let (due, packet) = waiting.pop_front().unwrap();
            drop(waiting);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // An interface that is gone takes nothing; then this process is about to be killed.
            let _ = to.write(&packet);
        }
    });
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [first, address, second, other, ms, bits] = &given[..] else { panic!("six arguments") };
    let ends = [(first, address), (second, other)].map(|(namespace, address)| {
        let (namespace, address) = (namespace.clone(), format!("{address}/24"));
        thread::spawn(move || interface(&namespace, &address)).join().expect("an interface")
    });
    let (delay, bits) = (Duration::from_secs_f64(ms.parse::<f64>().unwrap() / 1000.0), bits.parse().unwrap());
    let [a, b] = ends;
    carry(a.try_clone().unwrap(), b.try_clone().unwrap(), delay, bits);
    carry(b, a, delay, bits);
    println!("up");
    loop {
        thread::park();
    }
}
