//! What a build script started and did not wait for.

use crate::kill::adopt;

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
