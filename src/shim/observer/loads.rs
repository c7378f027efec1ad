//! Which libraries the process has, and whose code a call came from.

use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr::null;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::hook::Next;
use crate::linux::{self, absence, bytes, number, Str, AT_FDCWD, EINVAL};
use crate::log::{self, note, LOAD, STAT};
use crate::paths::absolute;
use crate::{environment, tools};

#[repr(C)]
pub struct Segment {
    pub kind: u32,
    flags: u32,
    offset: u64,
    pub address: usize,
    physical: usize,
    file_size: usize,
    size: usize,
    align: usize,
}

/// `struct dl_phdr_info`.
#[repr(C)]
pub struct Object {
    pub base: usize,
    pub name: *const u8,
    segments: *const Segment,
    segment_count: u16,
    loaded: u64,
    unloaded: u64,
}

pub type Visit = unsafe extern "C" fn(*const Object, usize, *mut c_void) -> c_int;

extern "C" {
    fn dl_iterate_phdr(visit: Visit, data: *mut c_void) -> c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(handle: *mut c_void) -> c_int;
}

const INTERPRETER: u32 = 3;
const LOADABLE: u32 = 1;

/// First and last address of the compiler's own code: the program, librustc_driver, libLLVM.
static TRUSTED: [[AtomicUsize; 2]; 8] = [const { [AtomicUsize::new(0), AtomicUsize::new(0)] }; 8];
static TRUSTED_COUNT: AtomicUsize = AtomicUsize::new(0);
/// The same of all that was loaded when the program began; of more than these nobody can tell.
static STARTED_WITH: [[AtomicUsize; 2]; 64] = [const { [AtomicUsize::new(0), AtomicUsize::new(0)] }; 64];
static STARTED_WITH_COUNT: AtomicUsize = AtomicUsize::new(0);
static LOOKED: AtomicBool = AtomicBool::new(false);
static COMPILER: AtomicBool = AtomicBool::new(false);
/// The compiler and its macros share one standard library: a call from there says nothing.
static SHARED_STD: AtomicBool = AtomicBool::new(false);
static OWN_NAME: AtomicPtr<u8> = AtomicPtr::new(null::<u8>().cast_mut());
static OWN_LOADER: AtomicPtr<u8> = AtomicPtr::new(null::<u8>().cast_mut());
/// Objects that were noted, and how many had been unloaded by then.
static NOTED: AtomicU64 = AtomicU64::new(0);
static UNLOADED: AtomicU64 = AtomicU64::new(0);
static STARTED_AS: AtomicUsize = AtomicUsize::new(0);
/// A library was loaded by its name, and not noted yet where it was found.
static LOOKED_UP: AtomicBool = AtomicBool::new(false);

/// What the process has loaded, the program first and then in the order in which the loader searches.
pub unsafe fn each_object(visit: Visit, data: *mut c_void) {
    dl_iterate_phdr(visit, data);
}

/// Reads from what the program started with who is the compiler here.
pub unsafe fn look_around() {
    STARTED_AS.store(process(), Relaxed);
    dl_iterate_phdr(look_at, &mut 0u64 as *mut u64 as *mut c_void);
    LOOKED.store(true, Release);
}

unsafe extern "C" fn look_at(object: *const Object, _: usize, count: *mut c_void) -> c_int {
    let object = &*object;
    let index = count.cast::<u64>();
    let name = base_name(bytes(object.name));
    let (low, high) = extent(object);
    let here = look_around as *const () as usize;
    let at = STARTED_WITH_COUNT.fetch_add(1, Relaxed);
    if let Some([from, to]) = STARTED_WITH.get(at) {
        from.store(low, Relaxed);
        to.store(high, Relaxed);
    }
    if *index == 0 {
        if let Some(segment) = segments(object)
            .iter()
            .find(|segment| segment.kind == INTERPRETER)
        {
            OWN_LOADER.store((object.base + segment.address) as *mut u8, Relaxed);
        }
    } else if (low..high).contains(&here) {
        OWN_NAME.store(object.name.cast_mut(), Relaxed);
    }
    if name.starts_with(b"librustc_driver") {
        COMPILER.store(true, Relaxed);
    }
    if *index == 0 || name.starts_with(b"librustc_driver") || name.starts_with(b"libLLVM") {
        if let Some([from, to]) = TRUSTED.get(TRUSTED_COUNT.load(Relaxed)) {
            from.store(low, Relaxed);
            to.store(high, Relaxed);
            TRUSTED_COUNT.fetch_add(1, Relaxed);
        }
    }
    note_shared_std(name);
    *index += 1;
    NOTED.store(*index, Relaxed);
    UNLOADED.store(object.unloaded, Relaxed);
    0
}

fn note_shared_std(name: &[u8]) {
    if name.starts_with(b"libstd-") {
        SHARED_STD.store(true, Relaxed);
    }
}

pub unsafe fn segments(object: &Object) -> &[Segment] {
    core::slice::from_raw_parts(object.segments, usize::from(object.segment_count))
}

pub unsafe fn extent(object: &Object) -> (usize, usize) {
    let loadable = || {
        segments(object)
            .iter()
            .filter(|segment| segment.kind == LOADABLE)
    };
    let low = loadable().map(|segment| segment.address).min().unwrap_or(0);
    let high = loadable()
        .map(|segment| segment.address + segment.size)
        .max()
        .unwrap_or(0);
    (object.base + low, object.base + high)
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

pub fn is_compiler() -> bool {
    COMPILER.load(Relaxed)
}

/// The path under which the loader knows this library.
pub fn own_name<'a>() -> &'a [u8] {
    unsafe { bytes(OWN_NAME.load(Relaxed)) }
}

/// The loader that the program asked for; null if it asked for none.
pub fn own_loader() -> *const u8 {
    OWN_LOADER.load(Relaxed)
}

/// 0: the compiler itself, or a program that is no compiler. 1: anything else in a compiler, such as a macro; of a build script,
/// any program that is no tool.
pub fn origin(caller: usize) -> u8 {
    if log::on() && log::is_script() && !is_compiler() {
        return u8::from(!tools::is_tool());
    }
    // Nothing else is loaded yet.
    if !LOOKED.load(Acquire) || !is_compiler() {
        return 0;
    }
    u8::from(!is_in(&TRUSTED, caller) || SHARED_STD.load(Relaxed))
}

/// Whether a call came from what a compiler has loaded since it began: a procedural macro. Not from what was there from the start, such as a
/// library that somebody has preloaded; nor where the compiler and its macros share one standard library, and nobody can tell.
pub fn is_macro(caller: usize) -> bool {
    LOOKED.load(Acquire)
        && is_compiler()
        && !SHARED_STD.load(Relaxed)
        && STARTED_WITH_COUNT.load(Relaxed) <= STARTED_WITH.len()
        && !is_in(&STARTED_WITH, caller)
}

/// Whether a call came from what a compiler has loaded since it began, or may have: for what is no harm where nobody can tell.
pub fn came_later(caller: usize) -> bool {
    let is_known = STARTED_WITH_COUNT.load(Relaxed) <= STARTED_WITH.len();
    LOOKED.load(Acquire) && is_compiler() && !(is_known && is_in(&STARTED_WITH, caller))
}

fn is_in(extents: &[[AtomicUsize; 2]], address: usize) -> bool {
    extents
        .iter()
        .any(|[from, to]| (from.load(Relaxed)..to.load(Relaxed)).contains(&address))
}

struct Names {
    address: usize,
    names: [*const u8; 64],
    count: usize,
}

/// What libraries that were loaded since the program began can call by that name, and what is there for the program itself is not what it was meant
/// to be: `not`. The one that an address lies in is asked first, with what it was loaded with; where that says nothing, as when a function ends
/// with the call of another, whichever has it. 0 when there is none. `name` ends with a zero.
pub unsafe fn find_beside(name: *const u8, address: usize, not: usize) -> usize {
    let mut found = Names {
        address,
        names: [null(); 64],
        count: 1,
    };
    dl_iterate_phdr(name_object, &mut found as *mut Names as *mut c_void);
    for object in found.names.iter().take(found.count) {
        if object.is_null() {
            continue;
        }
        let (lazily, if_loaded) = (1, 4);
        let open = core::mem::transmute::<usize, Open>(DLOPEN.target());
        let handle = open(object.cast(), lazily | if_loaded);
        if handle.is_null() {
            continue;
        }
        let target = dlsym(handle, name.cast()) as usize;
        dlclose(handle);
        if target != 0 && target != not {
            return target;
        }
    }
    0
}

unsafe extern "C" fn name_object(object: *const Object, _: usize, names: *mut c_void) -> c_int {
    let (object, names) = (&*object, &mut *names.cast::<Names>());
    let (low, high) = extent(object);
    let name = bytes(object.name);
    if !name.contains(&b'/') || name == own_name() {
        return 0;
    }
    let at = match (low..high).contains(&names.address) {
        true => 0,
        false => names.count,
    };
    if let Some(slot) = names.names.get_mut(at) {
        *slot = object.name;
        names.count += usize::from(at != 0);
    }
    0
}

pub unsafe fn note_all() {
    note_from_index(0);
}

/// Everything loaded since the last time, by the process that the loader started. In one that was forked the loader's lock may
/// be held for ever by a thread that is not there; what its libraries are, its parent knew.
pub unsafe extern "C" fn note_new() {
    if !log::on() {
        return;
    }
    if process() == STARTED_AS.load(Relaxed) {
        note_from_index(NOTED.load(Relaxed));
        if LOOKED_UP.swap(false, Relaxed) {
            log::expect(-1);
        }
    } else if LOOKED_UP.load(Relaxed) {
        log::unseen();
    }
}

fn process() -> usize {
    unsafe { linux::call(number::GETPID, [0; 6]) as usize }
}

struct Walk {
    index: u64,
    from: u64,
}

unsafe fn note_from_index(from: u64) {
    let mut walk = Walk { index: 0, from };
    dl_iterate_phdr(note_object, &mut walk as *mut Walk as *mut c_void);
    NOTED.store(walk.index, Relaxed);
}

unsafe extern "C" fn note_object(object: *const Object, _: usize, walk: *mut c_void) -> c_int {
    let (object, walk) = (&*object, &mut *walk.cast::<Walk>());
    // New objects come last, unless one before them went.
    if UNLOADED.swap(object.unloaded, Relaxed) != object.unloaded {
        walk.from = 0;
    }
    let name = bytes(object.name);
    if walk.index >= walk.from && name.contains(&b'/') && name != own_name() {
        note_shared_std(base_name(name));
        absolute(AT_FDCWD, object.name.cast(), &mut |path| {
            note(LOAD, 0, path)
        });
        note_passed(name);
    }
    walk.index += 1;
    0
}

/// Of a build script: directories in which the loader looked for a library before it found it.
unsafe fn note_passed(name: &[u8]) {
    let vars = environment::vars();
    let Some(dirs) = environment::value(vars, b"LD_LIBRARY_PATH").filter(|_| log::is_script())
    else {
        return;
    };
    let base = base_name(name);
    for dir in dirs.split(|byte| matches!(byte, b':' | b';')) {
        let mut candidate = [0u8; 4096];
        let slash = if dir.is_empty() { &b"."[..] } else { b"" };
        if dir.len() + base.len() + 3 > candidate.len() {
            return log::unseen();
        }
        let text = dir.iter().chain(slash).chain(b"/").chain(base);
        candidate
            .iter_mut()
            .zip(text)
            .for_each(|(slot, byte)| *slot = *byte);
        match absence(AT_FDCWD, candidate.as_ptr()) {
            0 => return,
            errno => absolute(AT_FDCWD, candidate.as_ptr().cast(), &mut |path| {
                note(STAT, errno, path)
            }),
        }
    }
}

#[used]
#[link_section = "shoal_next"]
static DLOPEN: Next = Next::new("dlopen\0");
#[used]
#[link_section = "shoal_next"]
static DLMOPEN: Next = Next::new("dlmopen\0");

type Open = unsafe extern "C" fn(Str, c_int) -> *mut c_void;

before! {
    dlopen, before_dlopen;
    dlmopen, before_dlmopen;
}

/// A name without a slash is looked up along the paths of the caller, which must not become this library.
unsafe extern "C" fn before_dlopen(name: Str, _flags: c_int) -> usize {
    let text = bytes(name.cast());
    if text.contains(&b'/') && text.first() != Some(&b'$') {
        return open_path as *const () as usize;
    }
    if !text.is_empty() {
        note(LOAD, 0, text);
        // A process that ends without a word leaves one too many.
        if !LOOKED_UP.swap(true, Relaxed) {
            log::expect(1);
        }
    }
    DLOPEN.target()
}

unsafe extern "C" fn open_path(name: Str, flags: c_int) -> *mut c_void {
    note_new();
    let handle = core::mem::transmute::<usize, Open>(DLOPEN.target())(name, flags);
    let errno = match handle.is_null() {
        false => 0,
        true => Some(absence(AT_FDCWD, name.cast()))
            .filter(|errno| *errno != 0)
            .unwrap_or(EINVAL),
    };
    absolute(AT_FDCWD, name, &mut |path| note(LOAD, errno, path));
    // The lock was free a moment ago, in a forked process too.
    if log::on() {
        note_from_index(NOTED.load(Relaxed));
    }
    handle
}

/// Another namespace has its own libc, which this library does not stand in front of.
unsafe extern "C" fn before_dlmopen(_space: c_long, _name: *const c_char) -> usize {
    log::unseen();
    DLMOPEN.target()
}
