//! Where a directory lies, in a process without `/proc`: the sandbox of a lender has none.

use core::arch::asm;
use core::ffi::c_int;
use core::ptr::null_mut;

use crate::linux::{self, number};

/// Writes the path of an open directory and a zero. Returns the bytes written, with the zero, or a negative error number.
///
/// Only of the current directory the kernel tells the path, and only another thread can have another one than this. So a
/// thread is started for a moment, with a current directory of its own; this one stands still meanwhile, as in
/// vfork. No signal comes to it, and no `wait` of the program sees it.
pub unsafe fn path_of(fd: c_int, into: *mut u8, size: usize) -> isize {
    let all = !0u64;
    const SET: usize = 2;
    const MASK: usize = 8;
    let mut mask = 0u64;
    let mut answer = -1isize;
    linux::call(
        number::RT_SIGPROCMASK,
        [
            SET,
            &raw const all as usize,
            &raw mut mask as usize,
            MASK,
            0,
            0,
        ],
    );
    ask_in_thread(fd, into, size, &raw mut answer);
    linux::call(
        number::RT_SIGPROCMASK,
        [
            SET,
            &raw const mask as usize,
            null_mut::<u8>() as usize,
            MASK,
            0,
            0,
        ],
    );
    answer
}

/// `CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK | CLONE_THREAD`, and not `CLONE_FS`. A thread with descriptors of its own the sandbox
/// does not let start.
const SHARING: usize = 0x100 | 0x400 | 0x800 | 0x4000 | 0x10000;

// Both stand on the same stack, so the new thread must not touch it.

#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn ask_in_thread(fd: c_int, into: *mut u8, size: usize, answer: *mut isize) {
    asm!(
        "syscall",
        "test rax, rax",
        "jnz 3f",
        "mov eax, 81", // fchdir
        "mov rdi, r12",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "mov eax, 79", // getcwd
        "mov rdi, r13",
        "mov rsi, r14",
        "syscall",
        "2:",
        "mov [r15], rax",
        "mov eax, 60", // exit
        "xor edi, edi",
        "syscall",
        "3:",
        inlateout("rax") number::CLONE => _,
        inlateout("rdi") SHARING => _,
        inlateout("rsi") 0usize => _,
        in("rdx") 0usize,
        in("r10") 0usize,
        in("r8") 0usize,
        in("r12") fd as usize,
        in("r13") into,
        in("r14") size,
        in("r15") answer,
        lateout("rcx") _,
        lateout("r11") _,
    );
}

#[cfg(target_arch = "aarch64")]
#[inline(never)]
unsafe fn ask_in_thread(fd: c_int, into: *mut u8, size: usize, answer: *mut isize) {
    asm!(
        "svc 0",
        "cbnz x0, 3f",
        "mov x8, 50", // fchdir
        "mov x0, x9",
        "svc 0",
        "cbnz x0, 2f",
        "mov x8, 17", // getcwd
        "mov x0, x10",
        "mov x1, x11",
        "svc 0",
        "2:",
        "str x0, [x12]",
        "mov x8, 93", // exit
        "mov x0, 0",
        "svc 0",
        "3:",
        inlateout("x8") number::CLONE => _,
        inlateout("x0") SHARING => _,
        inlateout("x1") 0usize => _,
        in("x2") 0usize,
        in("x3") 0usize,
        in("x4") 0usize,
        in("x9") fd as usize,
        in("x10") into,
        in("x11") size,
        in("x12") answer,
    );
}
