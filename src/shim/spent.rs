//! Processor time.

/// Microseconds of a processor that children of this process took which have ended, theirs included; 0 when that is not known.
pub fn by_children() -> u64 {
    // As the kernels of Linux and macOS lay it out: of what follows nothing is read.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Time {
        seconds: i64,
        micros: i32,
        rest: i32,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Usage {
        user: Time,
        system: Time,
        others: [i64; 14],
    }
    extern "C" {
        fn getrusage(who: i32, usage: *mut Usage) -> i32;
    }
    const CHILDREN: i32 = -1;
    let mut usage = Usage::default();
    if unsafe { getrusage(CHILDREN, &mut usage) } != 0 {
        return 0;
    }
    let micros = |time: Time| time.seconds as u64 * 1_000_000 + time.micros as u64;
    micros(usage.user) + micros(usage.system)
}
