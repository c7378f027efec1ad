//! Functions whose results are other ones with another libm, or on another processor, for which libm has code of its own. A code generator computes
//! what is constant with those of the machine that it runs on, and writes the result down; so may a procedural macro, also with functions that no
//! code generator asks for by itself.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::hook::Next;
use crate::loads;
use crate::log::{self, note, ENV};

static NOTED: AtomicBool = AtomicBool::new(false);

/// Not of other programs: what a linker or an interpreter computes is no part of what a compile is compared by.
#[inline(always)]
fn computed(counts: fn(usize) -> bool, caller: usize) {
    if !NOTED.load(Relaxed) {
        first(counts, caller);
    }
}

fn anybody(_: usize) -> bool {
    true
}

#[cold]
#[inline(never)]
fn first(counts: fn(usize) -> bool, caller: usize) {
    const NAME: &CStr = c"libm()";
    if log::on() && !log::is_script() && loads::is_compiler() && counts(caller) {
        note(ENV, 0, NAME.to_bytes());
        NOTED.store(true, Relaxed);
    }
}

/// Whoever has a function of its own by such a name, with other arguments, is given what it would have been given without this: every register
/// in which there can be arguments stays as it is.
macro_rules! computing {
    ($counts:path: $($name:ident, $plan:ident;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push rax", "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push r10", "sub rsp, 136",
                "movups [rsp], xmm0", "movups [rsp + 16], xmm1", "movups [rsp + 32], xmm2", "movups [rsp + 48], xmm3",
                "movups [rsp + 64], xmm4", "movups [rsp + 80], xmm5", "movups [rsp + 96], xmm6", "movups [rsp + 112], xmm7",
                "mov rdi, [rsp + 200]",
                "call {plan}",
                "mov r11, rax",
                "movups xmm7, [rsp + 112]", "movups xmm6, [rsp + 96]", "movups xmm5, [rsp + 80]", "movups xmm4, [rsp + 64]",
                "movups xmm3, [rsp + 48]", "movups xmm2, [rsp + 32]", "movups xmm1, [rsp + 16]", "movups xmm0, [rsp]",
                "add rsp, 136", "pop r10", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi", "pop rax",
                "jmp r11",
                plan = sym $plan,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-224]!",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]", "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]", "str x8, [sp, #80]",
                "stp q0, q1, [sp, #96]", "stp q2, q3, [sp, #128]", "stp q4, q5, [sp, #160]", "stp q6, q7, [sp, #192]",
                "mov x0, x30",
                "bl {plan}",
                "mov x16, x0",
                "ldp q0, q1, [sp, #96]", "ldp q2, q3, [sp, #128]", "ldp q4, q5, [sp, #160]", "ldp q6, q7, [sp, #192]",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]", "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]", "ldr x8, [sp, #80]",
                "ldp x29, x30, [sp], #224",
                "br x16",
                plan = sym $plan,
            );
        }

        unsafe extern "C" fn $plan(caller: usize) -> usize {
            #[used]
            #[link_section = "shoal_next"]
            static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
            computed($counts, caller);
            match NEXT.target() {
                0 => beside(concat!(stringify!($name), "\0"), caller, $name as *const () as usize),
                target => target,
            }
        }
    )*};
}

/// A program that was not linked with libm may load a library that was, or that has such a function of its own: as libclang, which is loaded by a
/// build script. Nothing is kept of what was found: both may be gone the next time.
#[cold]
#[inline(never)]
unsafe fn beside(name: &'static str, caller: usize, not: usize) -> usize {
    match loads::find_beside(name.as_ptr(), caller, not) {
        0 => missing as *const () as usize,
        target => target,
    }
}

/// Asked of nobody who has not looked whether there is one.
extern "C" fn missing() -> usize {
    0
}

computing! {
    anybody:
    acos, acos_plan;
    asin, asin_plan;
    atan, atan_plan;
    atan2, atan2_plan;
    cos, cos_plan;
    cosh, cosh_plan;
    erf, erf_plan;
    exp, exp_plan;
    exp2, exp2_plan;
    exp10, exp10_plan;
    log, log_plan;
    log10, log10_plan;
    log1p, log1p_plan;
    log2, log2_plan;
    pow, pow_plan;
    sin, sin_plan;
    sinh, sinh_plan;
    tan, tan_plan;
    tanh, tanh_plan;
}

// Some of these a compiler calls to find out what it should do, and a macro for what it writes.
computing! {
    loads::came_later:
    acosf, acosf_plan;
    acosh, acosh_plan;
    acoshf, acoshf_plan;
    asinf, asinf_plan;
    asinh, asinh_plan;
    asinhf, asinhf_plan;
    atan2f, atan2f_plan;
    atanf, atanf_plan;
    atanh, atanh_plan;
    atanhf, atanhf_plan;
    cbrt, cbrt_plan;
    cbrtf, cbrtf_plan;
    cosf, cosf_plan;
    coshf, coshf_plan;
    erfc, erfc_plan;
    erfcf, erfcf_plan;
    erff, erff_plan;
    exp10f, exp10f_plan;
    exp2f, exp2f_plan;
    expf, expf_plan;
    expm1, expm1_plan;
    expm1f, expm1f_plan;
    hypot, hypot_plan;
    hypotf, hypotf_plan;
    lgamma, lgamma_plan;
    lgamma_r, lgamma_r_plan;
    lgammaf, lgammaf_plan;
    lgammaf_r, lgammaf_r_plan;
    log10f, log10f_plan;
    log1pf, log1pf_plan;
    log2f, log2f_plan;
    logf, logf_plan;
    powf, powf_plan;
    sincos, sincos_plan;
    sincosf, sincosf_plan;
    sinf, sinf_plan;
    sinhf, sinhf_plan;
    tanf, tanf_plan;
    tanhf, tanhf_plan;
    tgamma, tgamma_plan;
    tgammaf, tgammaf_plan;
}
