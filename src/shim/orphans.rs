//! What a build script started and did not wait for.

/// Whether such processes come to this one, to be known of. Linux only.
pub fn adopt(yes: bool) {
    #[cfg(target_os = "linux")]
    {
        extern "C" {
            fn prctl(option: i32, ...) -> i32;
        }
        const SET_CHILD_SUBREAPER: i32 = 36;
        unsafe { prctl(SET_CHILD_SUBREAPER, usize::from(yes)) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = yes;
}

/// Whether one of them goes on now that the script has ended: what it will do nobody will have seen.
pub fn are_left() -> bool {
    extern "C" {
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    }
    const NO_HANG: i32 = 1;
    // Of whatever this process becomes it is no business.
    adopt(false);
    loop {
        match unsafe { waitpid(-1, std::ptr::null_mut(), NO_HANG) } {
            0 => return true,
            gone if gone > 0 => {}
            _ => return false,
        }
    }
}
