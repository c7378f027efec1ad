//! Calls one function of libc and says what came of it: `probe FUNCTION ARGUMENT…`. Prints the result and errno.

use std::env;
use std::ffi::{c_char, c_int, c_long, c_uint, c_void, CString};
use std::process::exit;
use std::ptr::{null, null_mut};

type Str = *const c_char;
type Pointer = *mut c_void;

extern "C" {
    fn open(path: Str, flags: c_int, ...) -> c_int;
    fn open64(path: Str, flags: c_int, ...) -> c_int;
    fn openat(dir: c_int, path: Str, flags: c_int, ...) -> c_int;
    fn creat(path: Str, mode: c_uint) -> c_int;
    fn fopen(path: Str, mode: Str) -> Pointer;
    fn freopen(path: Str, mode: Str, file: Pointer) -> Pointer;
    fn stat(path: Str, into: Pointer) -> c_int;
    fn lstat64(path: Str, into: Pointer) -> c_int;
    fn fstatat(dir: c_int, path: Str, into: Pointer, flags: c_int) -> c_int;
    fn statx(dir: c_int, path: Str, flags: c_int, mask: c_uint, into: Pointer) -> c_int;
    fn access(path: Str, mode: c_int) -> c_int;
    fn faccessat(dir: c_int, path: Str, mode: c_int, flags: c_int) -> c_int;
    fn readlink(path: Str, into: Pointer, size: usize) -> isize;
    fn realpath(path: Str, into: *mut c_char) -> *mut c_char;
    fn opendir(path: Str) -> Pointer;
    fn fdopendir(fd: c_int) -> Pointer;
    fn scandir(path: Str, into: Pointer, filter: Pointer, order: Pointer) -> c_int;
    fn glob(pattern: Str, flags: c_int, failed: Pointer, into: Pointer) -> c_int;
    fn nftw(path: Str, visit: extern "C" fn() -> c_int, depth: c_int, flags: c_int) -> c_int;
    fn mkdir(path: Str, mode: c_uint) -> c_int;
    fn rmdir(path: Str) -> c_int;
    fn unlink(path: Str) -> c_int;
    fn rename(from: Str, to: Str) -> c_int;
    fn link(from: Str, to: Str) -> c_int;
    fn symlink(text: Str, path: Str) -> c_int;
    fn truncate(path: Str, length: c_long) -> c_int;
    fn chmod(path: Str, mode: c_uint) -> c_int;
    fn utimes(path: Str, times: Pointer) -> c_int;
    fn mkstemp(template: *mut c_char) -> c_int;
    fn getenv(name: Str) -> Str;
    fn secure_getenv(name: Str) -> Str;
    fn setlocale(category: c_int, name: Str) -> Str;
    fn getpwuid(user: c_uint) -> Pointer;
    fn time(into: *mut c_long) -> c_long;
    fn gettimeofday(into: Pointer, zone: Pointer) -> c_int;
    fn clock_gettime(clock: c_int, into: Pointer) -> c_int;
    fn getrandom(into: Pointer, size: usize, flags: c_uint) -> isize;
    fn gethostname(into: Pointer, size: usize) -> c_int;
    fn uname(into: Pointer) -> c_int;
    fn getentropy(into: Pointer, size: usize) -> c_int;
    fn dlopen(name: Str, flags: c_int) -> Pointer;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const u8, length: c_uint) -> c_int;
    fn bind(fd: c_int, address: *const u8, length: c_uint) -> c_int;
    fn sendto(
        fd: c_int,
        from: Pointer,
        size: usize,
        flags: c_int,
        address: *const u8,
        length: c_uint,
    ) -> isize;
    fn sendmsg(fd: c_int, message: *const [usize; 7], flags: c_int) -> isize;
    fn getifaddrs(into: Pointer) -> c_int;
    fn setmntent(path: Str, mode: Str) -> Pointer;
    fn getgrgid(group: c_uint) -> Pointer;
    fn getservbyname(name: Str, protocol: Str) -> Pointer;
    fn localtime(of: *const c_long) -> Pointer;
    fn syscall(number: c_long, ...) -> c_long;
    fn execv(path: Str, argv: *const Str) -> c_int;
    fn execve(path: Str, argv: *const Str, env: *const Str) -> c_int;
    fn execvp(path: Str, argv: *const Str) -> c_int;
    fn execl(path: Str, arg: Str, ...) -> c_int;
    fn execle(path: Str, arg: Str, ...) -> c_int;
    fn execlp(path: Str, arg: Str, ...) -> c_int;
    fn fexecve(fd: c_int, argv: *const Str, env: *const Str) -> c_int;
    fn posix_spawn(
        child: *mut c_int,
        path: Str,
        actions: Pointer,
        how: Pointer,
        argv: *const Str,
        env: *const Str,
    ) -> c_int;
    fn posix_spawnp(
        child: *mut c_int,
        path: Str,
        actions: Pointer,
        how: Pointer,
        argv: *const Str,
        env: *const Str,
    ) -> c_int;
    fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn system(command: Str) -> c_int;
    fn popen(command: Str, mode: Str) -> Pointer;
    fn pclose(file: Pointer) -> c_int;
    fn chdir(path: Str) -> c_int;
    fn fork() -> c_int;
    fn _exit(code: c_int) -> !;
    fn abort() -> !;
    static environ: *const Str;
    static stdin: Pointer;
}

const HERE: c_int = -100;
const DIRECTORY: c_int = if cfg!(target_arch = "aarch64") {
    0o40000
} else {
    0o200000
};

extern "C" fn visit() -> c_int {
    0
}

fn main() {
    let words: Vec<CString> = env::args()
        .map(|word| CString::new(word).unwrap())
        .collect();
    let name = words[1].to_str().unwrap();
    let word = |index: usize| words.get(index + 2).map_or(null(), |word| word.as_ptr());
    let number = |index: usize| {
        words[index + 2]
            .to_str()
            .unwrap()
            .parse::<c_long>()
            .unwrap()
    };
    let (a, b) = (word(0), word(1));
    // The address of a socket of this machine; a name that begins with `=` is no file.
    let local = || {
        let name = words[2].as_bytes();
        match name.strip_prefix(b"=") {
            Some(name) => [&[1, 0, 0], name].concat(),
            None => [&[1, 0], name].concat(),
        }
    };
    let rest: Vec<Str> = (0..words.len() - 1).map(word).collect();
    let argv = rest.as_ptr();
    let mut bytes = [0u8; 4096];
    let into = bytes.as_mut_ptr().cast::<c_void>();
    let result = unsafe {
        match name {
            "open" => open(a, number(1) as c_int, 0o644) as isize,
            "open64" => open64(a, number(1) as c_int, 0o644) as isize,
            "openat" => openat(open(a, DIRECTORY), b, number(2) as c_int, 0o644) as isize,
            "creat" => creat(a, 0o644) as isize,
            "fopen" => fopen(a, b) as isize,
            "freopen" => freopen(a, b, stdin) as isize,
            "stat" => stat(a, into) as isize,
            "lstat64" => lstat64(a, into) as isize,
            "fstatat" => fstatat(HERE, a, into, 0) as isize,
            "statx" => statx(HERE, a, 0, 0x7ff, into) as isize,
            "access" => access(a, 0) as isize,
            "faccessat" => faccessat(HERE, a, 0, 0) as isize,
            "readlink" => readlink(a, into, 4096),
            "realpath" => realpath(a, null_mut()) as isize,
            "opendir" => opendir(a) as isize,
            "fdopendir" => fdopendir(open(a, 0)) as isize,
            "scandir" => scandir(
                a,
                (&mut null_mut::<c_void>()) as *mut _ as Pointer,
                null_mut(),
                null_mut(),
            ) as isize,
            "glob" => glob(a, 0, null_mut(), into) as isize,
            "nftw" => nftw(a, visit, 8, 0) as isize,
            "mkdir" => mkdir(a, 0o755) as isize,
            "rmdir" => rmdir(a) as isize,
            "unlink" => unlink(a) as isize,
            "rename" => rename(a, b) as isize,
            "link" => link(a, b) as isize,
            "symlink" => symlink(a, b) as isize,
            "truncate" => truncate(a, 0) as isize,
            "chmod" => chmod(a, 0o600) as isize,
            "utimes" => utimes(a, null_mut()) as isize,
            "mkstemp" => mkstemp(a.cast_mut()) as isize,
            "getenv" => getenv(a) as isize,
            "secure_getenv" => secure_getenv(a) as isize,
            "setlocale" => setlocale(6, a) as isize,
            "getpwuid" => getpwuid(0) as isize,
            "time" => (time(null_mut()) > 0) as isize,
            "gettimeofday" => gettimeofday(into, null_mut()) as isize,
            "clock_gettime" => clock_gettime(number(0) as c_int, into) as isize,
            "getrandom" => getrandom(into, 8, number(0) as c_uint),
            "gethostname" => gethostname(into, 256) as isize,
            "uname" => uname(into) as isize,
            "getentropy" => getentropy(into, 8) as isize,
            "dlopen" => dlopen(a, 1) as isize,
            "dlopen-abort" => {
                dlopen(a, 1);
                abort()
            }
            "socket" => socket(number(0) as c_int, 1, 0) as isize,
            "connect" => {
                connect(socket(1, 1, 0), local().as_ptr(), local().len() as c_uint) as isize
            }
            "bind" => bind(socket(1, 1, 0), local().as_ptr(), local().len() as c_uint) as isize,
            "sendto" => {
                let address = local();
                let length = address.len() as c_uint;
                sendto(socket(1, 2, 0), into, 1, 0, address.as_ptr(), length)
            }
            "sendmsg" => {
                let address = local();
                let message = [address.as_ptr() as usize, address.len(), 0, 0, 0, 0, 0];
                sendmsg(socket(1, 2, 0), &message, 0)
            }
            "getifaddrs" => getifaddrs(into) as isize,
            "setmntent" => setmntent(a, b) as isize,
            "getgrgid" => getgrgid(0) as isize,
            "getservbyname" => getservbyname(a, null()) as isize,
            "localtime" => localtime(&0) as isize,
            "syscall" => match words.len() {
                4 => syscall(number(0), b) as isize,
                5 => syscall(number(0), HERE, b, number(2)) as isize,
                _ => syscall(number(0), HERE, b, number(2), 0x7ff, into) as isize,
            },
            "execv" => execv(a, argv) as isize,
            "execve-alone" => execve(a, argv, [null()].as_ptr()) as isize,
            "execvp" => execvp(a, argv) as isize,
            "execl" => execl(a, a, b, null::<c_char>()) as isize,
            "execle" => execle(a, a, b, null::<c_char>(), environ) as isize,
            "execlp" => execlp(a, a, b, null::<c_char>()) as isize,
            "fexecve" => fexecve(open(a, 0), argv, environ) as isize,
            "posix_spawn" | "posix_spawnp" => {
                let spawn = if name == "posix_spawn" {
                    posix_spawn
                } else {
                    posix_spawnp
                };
                let mut child = 0;
                let error = spawn(&mut child, a, null_mut(), null_mut(), argv, environ);
                waitpid(child, null_mut(), 0);
                error as isize
            }
            "system" => system(a) as isize,
            "popen" => pclose(popen(a, c"r".as_ptr())) as isize,
            "chdir" => chdir(a) as isize + open(b, 0) as isize,
            "fork" => {
                let child = fork();
                if child == 0 {
                    _exit((open(a, 0) < 0).into());
                }
                waitpid(child, null_mut(), 0);
                0
            }
            // Breaks the rule that a path is one.
            "fault" => open(64 as Str, 0) as isize,
            "abort" => {
                open(a, 0);
                abort()
            }
            "wait" => {
                open(a, 0);
                println!("waiting");
                std::io::stdin().read_line(&mut String::new()).unwrap() as isize
            }
            _ => exit(2),
        }
    };
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    println!(
        "{} {}",
        result.signum(),
        if result == -1 || result == 0 {
            errno
        } else {
            0
        }
    );
}
