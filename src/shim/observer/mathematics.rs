//! Functions whose results are other ones with another libm, or on another processor, for which libm has code of its own. A code generator computes
//! what is constant with those of the machine that it runs on, and writes the result down.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::loads;
use crate::log::{self, note, ENV};

static NOTED: AtomicBool = AtomicBool::new(false);

/// Not of other programs: what a linker or an interpreter computes is no part of what a compile is compared by.
#[inline(always)]
fn computed() {
    if !NOTED.load(Relaxed) {
        first();
    }
}

#[cold]
#[inline(never)]
fn first() {
    const NAME: &CStr = c"libm()";
    if log::on() && !log::is_script() && loads::is_compiler() {
        note(ENV, 0, NAME.to_bytes());
        NOTED.store(true, Relaxed);
    }
}

macro_rules! computing {
    ($($name:ident($($arg:ident),*): $type:ty;)*) => {
        hooks! {$(
            $name($($arg: $type),*) -> $type = <$type>::NAN, next => {
                computed();
                next()
            };
        )*}
    };
}

computing! {
    acos(x): f64;
    asin(x): f64;
    atan(x): f64;
    atan2(y, x): f64;
    cos(x): f64;
    cosh(x): f64;
    erf(x): f64;
    exp(x): f64;
    exp2(x): f64;
    exp10(x): f64;
    log(x): f64;
    log10(x): f64;
    log1p(x): f64;
    log2(x): f64;
    pow(x, y): f64;
    sin(x): f64;
    sinh(x): f64;
    tan(x): f64;
    tanh(x): f64;
}
