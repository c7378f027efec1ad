//! Functions that start programs.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null, null_mut};

use crate::environment::{self, Vars};
use crate::hook::Next;
use crate::image::{self, Image};
use crate::linux::{self, answered, bytes, number, Str, AT_FDCWD};
use crate::log::{self, note, EXEC};
use crate::paths::{absolute, descriptor_link, of_descriptor, LINK};
use crate::{loads, reads};

type Pointer = *mut c_void;
type Argv = *const Str;

/// A file to start: a path, or a name that is looked up along PATH.
#[derive(Clone, Copy)]
pub struct File {
    dir: c_int,
    path: Str,
    is_name: bool,
}

impl File {
    pub fn at(dir: c_int, path: Str) -> Self {
        Self {
            dir,
            path,
            is_name: false,
        }
    }

    unsafe fn searched(path: Str) -> Self {
        let is_name = !bytes(path.cast()).contains(&b'/');
        Self {
            dir: AT_FDCWD,
            path,
            is_name,
        }
    }

    /// Whether it is what a sandbox has in place of a linker: it looks at nothing but what the compiler made.
    #[inline(never)]
    unsafe fn is_recorder(&self) -> bool {
        let named = environment::value(environment::vars(), b"SHOAL_LINKER").unwrap_or(b"");
        !self.is_name && !named.is_empty() && bytes(self.path.cast()) == named
    }

    /// Whether it is what cargo calls in place of rustc. Called by a build script it looks at nothing, and becomes rustc.
    #[inline(never)]
    unsafe fn is_wrapper(&self) -> bool {
        let named = environment::value(environment::vars(), b"SHOAL_WRAPPER").unwrap_or(b"");
        !self.is_name && !named.is_empty() && bytes(self.path.cast()) == named
    }

    #[inline(never)]
    unsafe fn look(&self) -> Image {
        let name = bytes(self.path.cast());
        match self.is_name {
            _ if name.is_empty() => Image::Missing(linux::ENOENT),
            true => image::look_along_path(name),
            false => image::look(self.dir, self.path.cast()),
        }
    }

    #[inline(never)]
    unsafe fn note(&self, errno: i32) {
        match self.is_name {
            true => note(EXEC, errno, bytes(self.path.cast())),
            false => absolute(self.dir, self.path, &mut |path| note(EXEC, errno, path)),
        }
    }
}

/// Whether a program with this environment will note what it does in the same file.
#[inline(never)]
unsafe fn carries_us(vars: Vars) -> bool {
    let preloads = environment::value(vars, b"LD_PRELOAD").unwrap_or(b"");
    let file = environment::value(vars, b"SHOAL_OBSERVE").unwrap_or(b"");
    log::is_path(file)
        && preloads
            .split(is_separator)
            .any(|name| name == loads::own_name())
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b':' | b' ')
}

const MAX_VARS: usize = 4096;
const MAX_PRELOADS: usize = 4096;
const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// Runs with a copy of the environment in which this library is not to be loaded; with the original if it is too large.
#[inline(never)]
unsafe fn without_us(vars: Vars, run: &mut dyn FnMut(Vars) -> c_int) -> c_int {
    let mut copy = [null(); MAX_VARS + 1];
    let mut preloads = [0u8; MAX_PRELOADS];
    let mut length = 0;
    for index in 0.. {
        let entry: Str = if vars.is_null() {
            null()
        } else {
            *vars.add(index)
        };
        if entry.is_null() {
            break;
        }
        let Some(slot) = copy.get_mut(length).filter(|_| length < MAX_VARS) else {
            return run(vars);
        };
        *slot = entry;
        length += 1;
        let Some(names) = bytes(entry.cast()).strip_prefix(PRELOAD) else {
            continue;
        };
        if names.len() + PRELOAD.len() >= MAX_PRELOADS {
            return run(vars);
        }
        let others = names
            .split(is_separator)
            .filter(|name| *name != loads::own_name() && !name.is_empty());
        let text = PRELOAD
            .iter()
            .chain(others.flat_map(|name| name.iter().chain(b":")));
        preloads
            .iter_mut()
            .zip(text)
            .for_each(|(slot, byte)| *slot = *byte);
        *slot = preloads.as_ptr().cast();
    }
    run(copy.as_ptr())
}

/// `run` returns only when it fails.
#[inline(never)]
pub unsafe fn exec(file: File, vars: Vars, run: &mut dyn FnMut(Vars) -> c_int) -> c_int {
    if !log::on() {
        return run(vars);
    }
    let image = file.look();
    file.note(if let Image::Missing(errno) = image {
        errno
    } else {
        0
    });
    loads::note_new();
    let result = match image {
        Image::Watched | Image::Unwatched
            if carries_us(vars) && (image == Image::Watched || file.is_wrapper()) =>
        {
            log::expect(1);
            let result = run(vars);
            log::expect(-1);
            result
        }
        Image::Missing(_) => run(vars),
        _ if file.is_recorder() => run(vars),
        Image::Foreign => {
            log::unseen();
            without_us(vars, run)
        }
        Image::Watched | Image::Unwatched => {
            log::unseen();
            run(vars)
        }
    };
    file.note(linux::errno());
    result
}

/// `run` returns an error number, or 0.
#[inline(never)]
unsafe fn spawn(file: File, vars: Vars, run: &mut dyn FnMut(Vars) -> c_int) -> c_int {
    if !log::on() {
        return run(vars);
    }
    let image = file.look();
    let errno = if image == Image::Foreign {
        without_us(vars, run)
    } else {
        run(vars)
    };
    if errno == 0 && image == Image::Unwatched && file.is_wrapper() {
        count(Image::Watched, vars);
    } else if errno == 0 && !(image == Image::Unwatched && file.is_recorder()) {
        count(image, vars);
    }
    file.note(errno);
    errno
}

#[inline(never)]
unsafe fn count(image: Image, vars: Vars) {
    if image == Image::Watched && carries_us(vars) {
        log::expect(1);
    } else {
        log::unseen();
    }
}

/// A command for the shell, started inside of libc.
unsafe fn shell<R>(next: impl FnOnce() -> R) -> R {
    let shell = File::at(AT_FDCWD, c"/bin/sh".as_ptr());
    if log::on() {
        shell.note(0);
        count(shell.look(), environment::vars());
    }
    next()
}

unsafe fn exec_descriptor(fd: c_int, vars: Vars, next: impl FnOnce() -> c_int) -> c_int {
    if !log::on() {
        return next();
    }
    of_descriptor(fd, &mut |path| note(EXEC, 0, path));
    let mut link = [0; LINK];
    count(image::look(AT_FDCWD, descriptor_link(fd, &mut link)), vars);
    next()
}

unsafe fn exec_at(
    dir: c_int,
    path: Str,
    flags: c_int,
    vars: Vars,
    next: impl Fn() -> c_int,
) -> c_int {
    if bytes(path.cast()).is_empty() && flags != 0 {
        return exec_descriptor(dir, vars, next);
    }
    exec(File::at(dir, path), vars, &mut |_| next())
}

macro_rules! next {
    ($name:ident) => {{
        #[used]
        #[link_section = "shoal_next"]
        static NEXT: Next = Next::new(concat!(stringify!($name), "\0"));
        NEXT.target()
    }};
}

type ExecWith = unsafe extern "C" fn(Str, Argv, Vars) -> c_int;
type SpawnWith = unsafe extern "C" fn(*mut c_int, Str, Pointer, Pointer, Argv, Vars) -> c_int;

unsafe fn exec_with(target: usize, path: Str, argv: Argv, vars: Vars) -> c_int {
    core::mem::transmute::<usize, ExecWith>(target)(path, argv, vars)
}

hooks! {
    execve(path: Str, argv: Argv, vars: Vars) -> c_int = -1, _next
        => exec(File::at(AT_FDCWD, path), vars, &mut |vars| exec_with(next!(execve), path, argv, vars));
    execv(path: Str, argv: Argv) -> c_int = -1, _next
        => exec(File::at(AT_FDCWD, path), environment::vars(), &mut |vars| exec_with(next!(execve), path, argv, vars));
    execvp(path: Str, argv: Argv) -> c_int = -1, _next
        => exec(File::searched(path), environment::vars(), &mut |vars| exec_with(next!(execvpe), path, argv, vars));
    execvpe(path: Str, argv: Argv, vars: Vars) -> c_int = -1, _next
        => exec(File::searched(path), vars, &mut |vars| exec_with(next!(execvpe), path, argv, vars));
    execveat(dir: c_int, path: Str, argv: Argv, vars: Vars, flags: c_int) -> c_int
        = answered(linux::call(number::EXECVEAT, [dir as usize, path as usize, argv as usize, vars as usize, flags as usize, 0])) as c_int,
        next => exec_at(dir, path, flags, vars, next);
    fexecve(fd: c_int, argv: Argv, vars: Vars) -> c_int = -1, next => exec_descriptor(fd, vars, next);
    posix_spawn(child: *mut c_int, path: Str, actions: Pointer, how: Pointer, argv: Argv, vars: Vars) -> c_int = linux::ENOSYS, _next
        => spawn(File::at(AT_FDCWD, path), vars, &mut |vars| {
            core::mem::transmute::<usize, SpawnWith>(next!(posix_spawn))(child, path, actions, how, argv, vars)
        });
    posix_spawnp(child: *mut c_int, path: Str, actions: Pointer, how: Pointer, argv: Argv, vars: Vars) -> c_int = linux::ENOSYS, _next
        => spawn(File::searched(path), vars, &mut |vars| {
            core::mem::transmute::<usize, SpawnWith>(next!(posix_spawnp))(child, path, actions, how, argv, vars)
        });
    system(command: Str) -> c_int = -1, next => if command.is_null() { next() } else { shell(next) };
    popen(command: Str, mode: Str) -> *mut c_char = null_mut(), next => shell(next);
}

macro_rules! listed {
    ($($name:ident, $plan:ident, $file:expr;)*) => {
        before! { $($name, $plan;)* }
        $(unsafe extern "C" fn $plan(path: Str) -> usize {
            if log::on() {
                before_exec($file(path));
            }
            next!($name)
        })*
    };
}

listed! {
    execl, before_execl, |path| File::at(AT_FDCWD, path);
    execle, before_execle, |path| File::at(AT_FDCWD, path);
    execlp, before_execlp, |path| File::searched(path);
}

/// Where it cannot be seen what came of it: if it fails, one program too many is expected.
#[inline(never)]
unsafe fn before_exec(file: File) {
    let image = file.look();
    file.note(if let Image::Missing(errno) = image {
        errno
    } else {
        0
    });
    loads::note_new();
    match image {
        Image::Missing(_) => {}
        Image::Watched => log::expect(1),
        Image::Unwatched | Image::Foreign => log::unseen(),
    }
}

hooks! {
    posix_spawn_file_actions_addopen(actions: Pointer, fd: c_int, path: Str, flags: c_int, mode: u32) -> c_int = linux::ENOSYS, next => {
        reads::note_later_open(path, flags);
        next()
    };
}
