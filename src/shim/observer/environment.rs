//! The environment: who asks for which variable.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;

use crate::linux::{bytes, Str};
use crate::log::{self, note_from, ENV};
use crate::{linux, loads, tools};

/// Pointers to `NAME=value`, a null at the end.
pub type Vars = *const Str;

extern "C" {
    #[link_name = "environ"]
    static ENVIRON: Vars;
}

pub fn vars() -> Vars {
    unsafe { ENVIRON }
}

/// None until libc has begun.
pub fn started() -> Option<Vars> {
    Some(vars()).filter(|vars| !vars.is_null())
}

/// The entries of an environment, in order.
pub unsafe fn entries<'a>(vars: Vars) -> impl Iterator<Item = &'a [u8]> {
    let mut at = vars;
    core::iter::from_fn(move || unsafe {
        if at.is_null() || (*at).is_null() {
            return None;
        }
        let entry = bytes((*at).cast());
        at = at.add(1);
        Some(entry)
    })
}

/// Not by `getenv`, which is hooked.
pub unsafe fn value<'a>(vars: Vars, name: &[u8]) -> Option<&'a [u8]> {
    entries(vars).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

macro_rules! asked_by_caller {
    ($($name:ident, $next:ident, $plan:ident;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name(name: Str) -> *mut c_char {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("mov rsi, [rsp]", "jmp {plan}", plan = sym $plan);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("mov x1, x30", "b {plan}", plan = sym $plan);
        }

        #[used]
        #[link_section = "shoal_next"]
        static $next: crate::hook::Next = crate::hook::Next::new(concat!(stringify!($name), "\0"));

        unsafe extern "C" fn $plan(name: Str, caller: usize) -> *mut c_char {
            let found = match $next.target() {
                0 => null_mut(),
                target => core::mem::transmute::<usize, unsafe extern "C" fn(Str) -> *mut c_char>(target)(name),
            };
            let errno = if found.is_null() { linux::ENOENT } else { 0 };
            note_from(ENV, loads::origin(caller), errno, bytes(name.cast()));
            found
        }
    )*};
}

asked_by_caller! {
    getenv, GETENV, getenv_by;
    secure_getenv, SECURE_GETENV, secure_getenv_by;
    __secure_getenv, OLD_SECURE_GETENV, old_secure_getenv_by;
}

/// The working directory is asked for like a variable: what matters is who does.
macro_rules! directory_by_caller {
    ($($name:ident, $next:ident, $plan:ident;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name(buffer: *mut c_char, size: usize) -> *mut c_char {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("mov rdx, [rsp]", "jmp {plan}", plan = sym $plan);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("mov x2, x30", "b {plan}", plan = sym $plan);
        }

        #[used]
        #[link_section = "shoal_next"]
        static $next: crate::hook::Next = crate::hook::Next::new(concat!(stringify!($name), "\0"));

        unsafe extern "C" fn $plan(buffer: *mut c_char, size: usize, caller: usize) -> *mut c_char {
            note_from(ENV, loads::origin(caller), 0, b"getcwd()");
            match $next.target() {
                0 => null_mut(),
                target => core::mem::transmute::<
                    usize,
                    unsafe extern "C" fn(*mut c_char, usize) -> *mut c_char,
                >(target)(buffer, size),
            }
        }
    )*};
}

directory_by_caller! {
    getcwd, GETCWD, getcwd_by;
    get_current_dir_name, CURRENT_DIR_NAME, current_dir_name_by;
}

/// What the machine is called, asked by a build script or a procedural macro, or by a program that either has started to be told.
fn machine(caller: usize, name: &[u8]) {
    let counts = || match log::is_script() {
        true => !tools::is_tool(),
        false => loads::is_macro(caller) || tools::tells_name(),
    };
    if log::on() && counts() {
        note_from(ENV, 1, 0, name);
    }
}

fn ask(name: &[u8]) -> bool {
    let value = unsafe { value(vars(), name) };
    note_from(
        ENV,
        0,
        if value.is_some() { 0 } else { linux::ENOENT },
        name,
    );
    value.is_some_and(|value| !value.is_empty())
}

/// What libc asks for itself when a program wants the user's locale.
unsafe fn locale(name: Str) {
    if name.is_null() || *name != 0 || ask(b"LC_ALL") {
        return;
    }
    for category in [
        &b"LC_CTYPE"[..],
        b"LC_COLLATE",
        b"LC_MESSAGES",
        b"LC_NUMERIC",
        b"LC_TIME",
        b"LANG",
        b"LANGUAGE",
    ] {
        ask(category);
    }
}

hooks_by_caller! {
    gethostname, gethostname_by, "rdx", "x2", (into: *mut c_char, size: usize) -> c_int = -1, caller, next => {
        machine(caller, b"gethostname()");
        next()
    };
    uname, uname_by, "rsi", "x1", (into: *mut c_void) -> c_int = -1, caller, next => {
        machine(caller, b"uname()");
        next()
    };
}

hooks! {
    setlocale(category: c_int, name: Str) -> *mut c_char = null_mut(), next => {
        locale(name);
        next()
    };
    newlocale(mask: c_int, name: Str, base: *mut c_void) -> *mut c_void = null_mut(), next => {
        locale(name);
        next()
    };
}
