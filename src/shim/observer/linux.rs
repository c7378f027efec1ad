//! System calls without libc: they leave `errno` alone and pass no hook.

use core::arch::asm;
use core::ffi::{c_char, c_int};

/// A C string of the program: may be null.
pub type Str = *const c_char;

pub const AT_FDCWD: c_int = -100;
pub const ENOENT: i32 = 2;
pub const EACCES: i32 = 13;
pub const EFAULT: i32 = 14;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const EINVAL: i32 = 22;
pub const ENOSYS: i32 = 38;
pub const ENOTEMPTY: i32 = 39;
pub const EOPNOTSUPP: i32 = 95;

pub const O_WRONLY: c_int = 1;
pub const O_RDWR: c_int = 2;
pub const O_CREAT: c_int = 0o100;
pub const O_EXCL: c_int = 0o200;
pub const O_TRUNC: c_int = 0o1000;
pub const O_APPEND: c_int = 0o2000;
pub const O_NONBLOCK: c_int = 0o4000;
pub const O_CLOEXEC: c_int = 0o2000000;
pub const O_PATH: c_int = 0o10000000;

#[cfg(target_arch = "x86_64")]
mod arch {
    use core::ffi::c_int;
    pub const O_DIRECTORY: c_int = 0o200000;
    pub const O_TMPFILE: c_int = 0o20200000;
    /// `e_machine` of this processor's programs.
    pub const MACHINE: u16 = 62;
    pub mod number {
        pub const CLOSE: usize = 3;
        pub const FSTAT: usize = 5;
        pub const MMAP: usize = 9;
        pub const MUNMAP: usize = 11;
        pub const RT_SIGPROCMASK: usize = 14;
        pub const PREAD64: usize = 17;
        pub const MADVISE: usize = 28;
        pub const CLONE: usize = 56;
        pub const GETPID: usize = 39;
        pub const EXECVE: usize = 59;
        pub const FCNTL: usize = 72;
        pub const GETCWD: usize = 79;
        pub const FGETXATTR: usize = 193;
        pub const GETDENTS64: usize = 217;
        pub const CLOCK_GETTIME: usize = 228;
        pub const OPENAT: usize = 257;
        pub const MKDIRAT: usize = 258;
        pub const NEWFSTATAT: usize = 262;
        pub const UNLINKAT: usize = 263;
        pub const RENAMEAT: usize = 264;
        pub const LINKAT: usize = 265;
        pub const SYMLINKAT: usize = 266;
        pub const READLINKAT: usize = 267;
        pub const FACCESSAT: usize = 269;
        pub const FALLOCATE: usize = 285;
        pub const OPEN_BY_HANDLE_AT: usize = 304;
        pub const RENAMEAT2: usize = 316;
        pub const GETRANDOM: usize = 318;
        pub const EXECVEAT: usize = 322;
        pub const STATX: usize = 332;
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use core::ffi::c_int;
    pub const O_DIRECTORY: c_int = 0o40000;
    pub const O_TMPFILE: c_int = 0o20040000;
    /// `e_machine` of this processor's programs.
    pub const MACHINE: u16 = 183;
    pub mod number {
        pub const FGETXATTR: usize = 10;
        pub const GETCWD: usize = 17;
        pub const FCNTL: usize = 25;
        pub const MKDIRAT: usize = 34;
        pub const UNLINKAT: usize = 35;
        pub const SYMLINKAT: usize = 36;
        pub const LINKAT: usize = 37;
        pub const RENAMEAT: usize = 38;
        pub const FALLOCATE: usize = 47;
        pub const FACCESSAT: usize = 48;
        pub const OPENAT: usize = 56;
        pub const CLOSE: usize = 57;
        pub const GETDENTS64: usize = 61;
        pub const PREAD64: usize = 67;
        pub const READLINKAT: usize = 78;
        pub const NEWFSTATAT: usize = 79;
        pub const FSTAT: usize = 80;
        pub const CLOCK_GETTIME: usize = 113;
        pub const RT_SIGPROCMASK: usize = 135;
        pub const MUNMAP: usize = 215;
        pub const CLONE: usize = 220;
        pub const GETPID: usize = 172;
        pub const EXECVE: usize = 221;
        pub const MMAP: usize = 222;
        pub const MADVISE: usize = 233;
        pub const OPEN_BY_HANDLE_AT: usize = 265;
        pub const RENAMEAT2: usize = 276;
        pub const GETRANDOM: usize = 278;
        pub const EXECVEAT: usize = 281;
        pub const STATX: usize = 291;
    }
}

pub use arch::{number, MACHINE, O_DIRECTORY, O_TMPFILE};

/// The kernel's answer: negative is an error number.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: usize, args: [usize; 6]) -> isize {
    let answer: isize;
    asm!(
        "syscall",
        inlateout("rax") number => answer,
        in("rdi") args[0],
        in("rsi") args[1],
        in("rdx") args[2],
        in("r10") args[3],
        in("r8") args[4],
        in("r9") args[5],
        lateout("rcx") _,
        lateout("r11") _,
        options(nostack),
    );
    answer
}

/// The kernel's answer: negative is an error number.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: usize, args: [usize; 6]) -> isize {
    let answer: isize;
    asm!(
        "svc #0",
        in("x8") number,
        inlateout("x0") args[0] => answer,
        in("x1") args[1],
        in("x2") args[2],
        in("x3") args[3],
        in("x4") args[4],
        in("x5") args[5],
        options(nostack),
    );
    answer
}

extern "C" {
    fn __errno_location() -> *mut c_int;
}

pub fn errno() -> i32 {
    unsafe { *__errno_location() }
}

/// What a libc function does with the kernel's answer.
pub fn answered(answer: isize) -> isize {
    if answer >= 0 {
        return answer;
    }
    unsafe { *__errno_location() = -answer as i32 };
    -1
}

/// A descriptor that nobody inherits, or a negative error number.
pub unsafe fn open(dir: c_int, path: *const u8, flags: c_int) -> c_int {
    let flags = flags | O_CLOEXEC;
    call(
        number::OPENAT,
        [dir as usize, path as usize, flags as usize, 0, 0, 0],
    ) as c_int
}

pub unsafe fn close(fd: c_int) {
    call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
}

/// 0, or the error number with which somebody who asks for the path is answered.
pub unsafe fn absence(dir: c_int, path: *const u8) -> i32 {
    -call(number::FACCESSAT, [dir as usize, path as usize, 0, 0, 0, 0]) as i32
}

/// Bytes read at an offset of an open file; what is not there is not filled.
pub unsafe fn read_at(fd: c_int, offset: u64, into: *mut u8, size: usize) -> usize {
    let read = call(
        number::PREAD64,
        [fd as usize, into as usize, size, offset as usize, 0, 0],
    );
    if read < 0 {
        0
    } else {
        read as usize
    }
}

/// Length of the link's text, or a negative error number.
pub unsafe fn read_link(dir: c_int, path: *const u8, into: *mut u8, size: usize) -> isize {
    call(
        number::READLINKAT,
        [dir as usize, path as usize, into as usize, size, 0, 0],
    )
}

/// The flags with which it was opened, or a negative error number.
pub unsafe fn flags_of(fd: c_int) -> c_int {
    const GET_FLAGS: usize = 3;
    call(number::FCNTL, [fd as usize, GET_FLAGS, 0, 0, 0, 0]) as c_int
}

/// The kernel's `struct stat`, as far as it is read here: the two processors order it differently.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stat {
    pub device: u64,
    pub inode: u64,
    #[cfg(target_arch = "x86_64")]
    _links: u64,
    pub mode: u32,
    #[cfg(target_arch = "aarch64")]
    _links: u32,
    _owners: [u32; 2],
    #[cfg(target_arch = "x86_64")]
    _pad: u32,
    _special: u64,
    #[cfg(target_arch = "aarch64")]
    _pad: u64,
    pub size: u64,
    _rest: [u64; 16],
}

pub unsafe fn fstat(fd: c_int) -> Option<Stat> {
    let mut stat = core::mem::zeroed::<Stat>();
    (call(
        number::FSTAT,
        [fd as usize, &mut stat as *mut Stat as usize, 0, 0, 0, 0],
    ) == 0)
        .then_some(stat)
}

pub unsafe fn stat(path: *const u8) -> Option<Stat> {
    let mut stat = core::mem::zeroed::<Stat>();
    let args = [
        AT_FDCWD as usize,
        path as usize,
        &mut stat as *mut Stat as usize,
        0,
        0,
        0,
    ];
    (call(number::NEWFSTATAT, args) == 0).then_some(stat)
}

/// The bytes of a C string, without the zero. Empty when it is null.
pub unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    let mut length = 0;
    while !text.is_null() && *text.add(length) != 0 {
        length += 1;
    }
    if length == 0 {
        return &[];
    }
    core::slice::from_raw_parts(text, length)
}
