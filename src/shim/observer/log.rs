//! The shared file: a header, a table of what was noted already, and the records.

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::environment;
use crate::linux::{self, number};

pub const OPEN: u8 = 1;
pub const STAT: u8 = 2;
pub const LIST: u8 = 3;
pub const LINK: u8 = 4;
pub const EXEC: u8 = 5;
pub const WRITE: u8 = 6;
pub const ENV: u8 = 7;
pub const LOAD: u8 = 8;
pub const NET: u8 = 9;
pub const ATTACH: u8 = 10;
pub const CLOCK: u8 = 11;
pub const RANDOM: u8 = 12;

const OVERFLOW: u64 = 1;
const UNSEEN: u64 = 2;

const MAGIC: u64 = u64::from_le_bytes(*b"shoalob1");
const CURSOR: usize = 8;
const FLAGS: usize = 16;
const EXPECTED: usize = 24;
const ATTACHED: usize = 32;
/// Said by whoever made the file.
const SLOTS_WANTED: usize = 40;
const PURPOSE: usize = 48;
/// Bytes of the file, from its start, that have room on the disk.
const BACKED: usize = 56;
const TABLE: usize = 64;
const USUAL_SLOTS: usize = 8192;
const MAX_SLOTS: usize = 1 << 20;
const NEIGHBOURS: usize = 16;
/// Slots that are tried first: what lies together is mapped at once, and most have no need of more.
const NEAR_SLOTS: usize = 4096;
const RECORD: usize = 12;
const MAX_PATH: usize = 4096;
/// What is allocated at a time of a file that is all holes: a page that the disk has no room for would end the program.
const CHUNK: u64 = 256 << 10;

const UNTRIED: u8 = 0;
const TRIED: u8 = 1;

static STATE: AtomicU8 = AtomicU8::new(UNTRIED);
static BASE: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static SIZE: AtomicU64 = AtomicU64::new(0);
static SLOTS: AtomicUsize = AtomicUsize::new(USUAL_SLOTS);
static IS_SCRIPT: AtomicBool = AtomicBool::new(false);
/// The file's path and a zero; the environment may be written over.
static PATH: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

pub fn on() -> bool {
    if STATE.load(Relaxed) == UNTRIED {
        attach();
    }
    !BASE.load(Relaxed).is_null()
}

/// Once. Others than the start call it because the allocator and the libraries of a program may come first.
#[inline(never)]
pub fn attach() {
    if STATE.load(Relaxed) != UNTRIED {
        return;
    }
    unsafe {
        // Before libc has begun, there is none.
        let Some(vars) = environment::started() else {
            return;
        };
        STATE.store(TRIED, Relaxed);
        if let Some(path) = environment::value(vars, b"SHOAL_OBSERVE") {
            map(path);
        }
    }
}

unsafe fn map(path: &[u8]) {
    if path.first() != Some(&b'/') || path.len() >= PATH.len() {
        return;
    }
    for (slot, byte) in PATH.iter().zip(path) {
        slot.store(*byte, Relaxed);
    }
    let fd = open();
    if fd < 0 {
        return;
    }
    if let Some(base) = map_open(fd) {
        BASE.store(base, Release);
        word(base, ATTACHED).fetch_add(1, Relaxed);
    }
    linux::close(fd);
}

unsafe fn map_open(fd: c_int) -> Option<*mut u8> {
    const REGULAR: u32 = 0o100000;
    const KIND: u32 = 0o170000;
    const READ_WRITE: usize = 3;
    const SHARED: usize = 1;
    const RANDOM: usize = 1;
    let stat = linux::fstat(fd)?;
    let mut head = [0u8; TABLE];
    linux::read_at(fd, 0, head.as_mut_ptr(), TABLE);
    let slots = match number_at(&head, SLOTS_WANTED) as usize {
        0 => USUAL_SLOTS,
        slots => slots.min(MAX_SLOTS),
    };
    let area = area_after(slots) as u64;
    let fits = stat.size >= area + RECORD as u64 && stat.size <= 1 << 30;
    let first = stat.size.min(area.next_multiple_of(CHUNK));
    // To ask for room that is there takes time for each page of it.
    let has_room = || number_at(&head, BACKED) >= first || allocate(fd, 0, first);
    if stat.mode & KIND != REGULAR || !fits || !has_room() {
        return None;
    }
    let size = stat.size as usize;
    let base = linux::call(number::MMAP, [0, size, READ_WRITE, SHARED, fd as usize, 0]);
    if (-4095..0).contains(&base) {
        return None;
    }
    // Or the first page that is touched brings the disk's whole read-ahead of zeros with it: a millisecond.
    linux::call(number::MADVISE, [base as usize, size, RANDOM, 0, 0, 0]);
    let base = base as *mut u8;
    let magic = word(base, 0).compare_exchange(0, MAGIC, Relaxed, Relaxed);
    if !matches!(magic, Ok(_) | Err(MAGIC)) {
        linux::call(number::MUNMAP, [base as usize, size, 0, 0, 0, 0]);
        return None;
    }
    SIZE.store(stat.size, Relaxed);
    word(base, BACKED).fetch_max(first, Relaxed);
    SLOTS.store(slots, Relaxed);
    IS_SCRIPT.store(number_at(&head, PURPOSE) == 1, Relaxed);
    Some(base)
}

/// A number of the header.
fn number_at(head: &[u8; TABLE], offset: usize) -> u64 {
    let bytes = head.iter().skip(offset).take(8).rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Where the records begin.
fn area_after(slots: usize) -> usize {
    TABLE + 8 * slots
}

/// Whether what is observed is a build script: then it matters who asks, and clocks and random numbers are noted.
pub fn is_script() -> bool {
    IS_SCRIPT.load(Relaxed)
}

/// The file to which this process's environment points, or an error number.
unsafe fn open() -> c_int {
    const NO_FOLLOW: c_int = if cfg!(target_arch = "aarch64") {
        0o100000
    } else {
        0o400000
    };
    linux::open(
        linux::AT_FDCWD,
        PATH.as_ptr().cast(),
        linux::O_RDWR | linux::O_NONBLOCK | NO_FOLLOW,
    )
}

/// False when the disk is full. File systems that cannot allocate ahead have to be trusted.
unsafe fn allocate(fd: c_int, from: u64, to: u64) -> bool {
    const KEEP_SIZE: usize = 1;
    let args = [
        fd as usize,
        KEEP_SIZE,
        from as usize,
        (to - from) as usize,
        0,
        0,
    ];
    let answer = linux::call(number::FALLOCATE, args) as i32;
    matches!(-answer, 0 | linux::EOPNOTSUPP | linux::ENOSYS)
}

unsafe fn has_room(base: *mut u8, end: u64) -> bool {
    let from = word(base, BACKED).load(Relaxed);
    if end <= from {
        return true;
    }
    let to = SIZE.load(Relaxed).min(end.next_multiple_of(CHUNK));
    let fd = open();
    if fd < 0 {
        return false;
    }
    let allocated = allocate(fd, from, to);
    linux::close(fd);
    if allocated {
        word(base, BACKED).fetch_max(to, Relaxed);
    }
    allocated
}

/// Whether a path is that of the file, as this process was told it.
pub fn is_path(path: &[u8]) -> bool {
    let known = PATH.iter().map(|slot| slot.load(Relaxed));
    on() && known.take_while(|byte| *byte != 0).eq(path.iter().copied())
}

/// Something happened that cannot be observed.
pub fn unseen() {
    flag(UNSEEN);
}

fn flag(bit: u64) {
    if on() {
        unsafe { word(BASE.load(Relaxed), FLAGS).fetch_or(bit, Relaxed) };
    }
}

/// Programs that were started and will attach: as many must have attached in the end, besides the first.
pub fn expect(more: i64) {
    if on() {
        unsafe { word(BASE.load(Relaxed), EXPECTED).fetch_add(more as u64, Relaxed) };
    }
}

/// `errno` is 0 for what was found.
pub fn note(kind: u8, errno: i32, path: &[u8]) {
    note_from(kind, 0, errno, path);
}

#[inline(never)]
pub fn note_from(kind: u8, origin: u8, errno: i32, path: &[u8]) {
    if !on() {
        return;
    }
    if path.len() > MAX_PATH {
        return unseen();
    }
    unsafe { append(BASE.load(Relaxed), kind, origin, errno, path) }
}

unsafe fn append(base: *mut u8, kind: u8, origin: u8, errno: i32, path: &[u8]) {
    let hash = hash(kind, origin, errno, path);
    if is_known(base, hash) {
        return;
    }
    let total = (RECORD + path.len()).next_multiple_of(8);
    let at = area_after(SLOTS.load(Relaxed)) as u64
        + word(base, CURSOR).fetch_add(total as u64, Relaxed);
    let end = at + total as u64;
    if end > SIZE.load(Relaxed) || !has_room(base, end) {
        return flag(OVERFLOW);
    }
    let record = base.add(at as usize);
    record
        .add(4)
        .cast::<u16>()
        .write((path.len() as u16).to_le());
    record.add(6).cast::<u16>().write((errno as u16).to_le());
    record.add(8).write(kind);
    record.add(9).write(origin);
    core::ptr::copy_nonoverlapping(path.as_ptr(), record.add(RECORD), path.len());
    let length = AtomicU32::from_ptr(record.cast());
    length.store((total as u32).to_le(), Release);
    // Only now: a process that is killed in between must not keep others from noting the same.
    remember(base, hash);
}

unsafe fn word<'a>(base: *mut u8, offset: usize) -> &'a AtomicU64 {
    AtomicU64::from_ptr(base.add(offset).cast())
}

unsafe fn slot<'a>(base: *mut u8, hash: u64, step: usize) -> &'a AtomicU64 {
    let slots = SLOTS.load(Relaxed);
    let within = match step < NEIGHBOURS {
        true => slots.min(NEAR_SLOTS),
        false => slots,
    };
    let at = (hash as usize).wrapping_add(step % NEIGHBOURS) % within;
    word(base, TABLE + 8 * at)
}

unsafe fn is_known(base: *mut u8, hash: u64) -> bool {
    (0..2 * NEIGHBOURS)
        .map(|step| slot(base, hash, step).load(Acquire))
        .take_while(|held| *held != 0)
        .any(|held| held == hash)
}

unsafe fn remember(base: *mut u8, hash: u64) {
    for step in 0..2 * NEIGHBOURS {
        match slot(base, hash, step).compare_exchange(0, hash, Release, Relaxed) {
            Err(held) if held != hash => {}
            _ => return,
        }
    }
}

/// FNV-1a, and never 0.
fn hash(kind: u8, origin: u8, errno: i32, path: &[u8]) -> u64 {
    let head = [kind, origin, errno as u8, (errno >> 8) as u8];
    let bytes = head.iter().chain(path);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash.max(1)
}
