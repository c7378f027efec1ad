//! A hook stands in front of a libc function of the same name and calls it.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::symbols::{hash_of, Found, Tables};

extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    // The linker's names for the ends of the section in which every `Next` lies.
    static __start_shoal_next: Next;
    static __stop_shoal_next: Next;
}

/// The definition that the program would have without this library.
#[repr(C)]
pub struct Next {
    name: *const u8,
    target: AtomicUsize,
    hash: u32,
}

unsafe impl Sync for Next {}

impl Next {
    /// `name` ends with a zero.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: name.as_ptr(),
            target: AtomicUsize::new(0),
            hash: hash_of(name),
        }
    }

    /// 0 when this libc has no such function.
    pub fn target(&self) -> usize {
        match self.target.load(Relaxed) {
            0 => unsafe { self.find() },
            target => target,
        }
    }

    #[inline(never)]
    unsafe fn find(&self) -> usize {
        let next = -1isize as *mut c_void;
        let target = dlsym(next, self.name.cast()) as usize;
        self.target.store(target, Relaxed);
        target
    }
}

/// At the start, because the loader's lock may be held for ever in a process that was forked.
pub unsafe fn find_all() {
    let tables = Tables::read();
    let mut next = &raw const __start_shoal_next;
    while next < &raw const __stop_shoal_next {
        match tables.find((*next).hash, (*next).name) {
            Found::At(target) => (*next).target.store(target, Relaxed),
            Found::Nowhere => {}
            Found::Unclear => drop((*next).find()),
        }
        next = next.add(1);
    }
}

/// The call of the libc function of that name, or what is answered when libc has none.
macro_rules! call_of {
    ($name:ident($($arg:ident: $type:ty),*) -> $ret:ty = $missing:expr) => {{
        #[used]
        #[link_section = "shoal_next"]
        static NEXT: $crate::hook::Next = $crate::hook::Next::new(concat!(stringify!($name), "\0"));
        || -> $ret {
            match NEXT.target() {
                0 => $missing,
                target => core::mem::transmute::<usize, unsafe extern "C" fn($($type),*) -> $ret>(target)($($arg),*),
            }
        }
    }};
}

/// `name(arguments) -> result = what it answers when libc has no such function, next => body`. In the body `next()` is
/// the call of the libc function.
macro_rules! hooks {
    ($($name:ident($($arg:ident: $type:ty),*) -> $ret:ty = $missing:expr, $next:ident => $body:expr;)*) => {$(
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            let $next = call_of!($name($($arg: $type),*) -> $ret = $missing);
            $body
        }
    )*};
}

/// As `hooks!`, of one or two arguments; the body is told besides what address the call came from. `plan` is what it is called.
macro_rules! hooks_by_caller {
    ($($name:ident, $plan:ident, $x64:literal, $arm64:literal,
        ($($arg:ident: $type:ty),*) -> $ret:ty = $missing:expr, $caller:ident, $next:ident => $body:expr;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(concat!("mov ", $x64, ", [rsp]"), "jmp {plan}", plan = sym $plan);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(concat!("mov ", $arm64, ", x30"), "b {plan}", plan = sym $plan);
        }

        unsafe extern "C" fn $plan($($arg: $type,)* $caller: usize) -> $ret {
            let $next = call_of!($name($($arg: $type),*) -> $ret = $missing);
            $body
        }
    )*};
}

/// Calls `$plan` with the first six arguments and goes on with what it returns, as if nothing had been in between: for
/// functions that look at who calls them, and for those with any number of arguments.
macro_rules! before {
    ($($name:ident, $plan:path;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push rax", "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9",
                "call {plan}",
                "mov r11, rax",
                "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi", "pop rax",
                "jmp r11",
                plan = sym $plan,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]", "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]",
                "bl {plan}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]", "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                "br x16",
                plan = sym $plan,
            );
        }
    )*};
}

/// How a function says that it failed.
pub trait Outcome {
    fn failed(&self) -> bool;
}

impl Outcome for c_int {
    fn failed(&self) -> bool {
        *self < 0
    }
}

impl Outcome for isize {
    fn failed(&self) -> bool {
        *self < 0
    }
}

impl<T> Outcome for *mut T {
    fn failed(&self) -> bool {
        self.is_null()
    }
}
