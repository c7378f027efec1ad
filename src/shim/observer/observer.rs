//! Loaded into rustc or a build script with `LD_PRELOAD`, and so into everything that it starts: notes in a shared file what is read, listed,
//! asked for, started and written. It changes nothing that the program can notice: no allocation, no descriptor that
//! stays open, no change of `errno`, no word printed; where it cannot attach it stays silent. protocols/observer.md
//! is the specification.
//!
//! What runs in a hook may run between fork and exec, in a signal handler or before `main`: atomics and plain system calls only.
#![no_std]

#[macro_use]
mod hook;
mod accounts;
mod chance;
mod directory;
mod environment;
mod image;
mod linux;
mod loads;
mod log;
mod mathematics;
mod network;
mod paths;
mod programs;
mod reads;
mod symbols;
mod syscalls;
mod tools;
mod writes;

extern "C" {
    fn abort() -> !;
}

// No hook can panic; the language wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe { abort() }
}

#[used]
#[link_section = ".init_array"]
static START: unsafe extern "C" fn() = start;

#[used]
#[link_section = ".fini_array"]
static END: unsafe extern "C" fn() = loads::note_new;

unsafe extern "C" fn start() {
    hook::find_all();
    loads::look_around();
    log::attach();
    if !log::on() {
        return;
    }
    paths::of_program(&mut |path| {
        tools::recognise(path);
        log::note(log::ATTACH, 0, path);
    });
    if !loads::is_compiler() {
        loads::note_all();
    }
}
