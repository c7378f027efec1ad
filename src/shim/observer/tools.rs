//! What kind of program this is: of those that everybody knows it is known what they do with what they ask for.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

const OTHER: u8 = 0;
/// Compares times to see what has to be made; anything else that it asks for may be for its rules.
const BUILDER: u8 = 1;
/// Compilers, assemblers, linkers, archivers: ask for the variables that they obey, and for the time to name what is temporary.
const TOOL: u8 = 2;
/// Asks for the time to say it.
const DATE: u8 = 3;
/// Asks what the machine is called to say it.
const NAME: u8 = 4;

static KIND: AtomicU8 = AtomicU8::new(OTHER);

const TOOLS: [&[u8]; 34] = [
    b"cc",
    b"gcc",
    b"g++",
    b"c++",
    b"cpp",
    b"cc1",
    b"cc1plus",
    b"clang",
    b"clang++",
    b"clang-cpp",
    b"collect2",
    b"lto-wrapper",
    b"lto1",
    b"as",
    b"ld",
    b"ld.bfd",
    b"ld.gold",
    b"ld.lld",
    b"lld",
    b"ld64",
    b"mold",
    b"rust-lld",
    b"ar",
    b"ranlib",
    b"nm",
    b"strip",
    b"objcopy",
    b"objdump",
    b"readelf",
    b"nasm",
    b"yasm",
    b"rustc",
    b"rustdoc",
    b"clippy-driver",
];
const BUILDERS: [&[u8]; 6] = [
    b"make",
    b"gmake",
    b"ninja",
    b"ninja-build",
    b"samu",
    b"cmake",
];

/// By the path of the program itself. Until then it counts as one of which nothing is known.
pub fn recognise(path: &[u8]) {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let kind = if is_among(&TOOLS, name) {
        TOOL
    } else if is_among(&BUILDERS, name) {
        BUILDER
    } else if matches!(name, b"date" | b"gdate") {
        DATE
    } else if matches!(name, b"hostname" | b"uname") {
        NAME
    } else {
        OTHER
    };
    KIND.store(kind, Relaxed);
}

/// Also with a target before it and a version behind: `x86_64-linux-gnu-gcc-12`. `gen-as` is somebody's own.
fn is_among(names: &[&[u8]], name: &[u8]) -> bool {
    let plain = without_version(name);
    let mut parts = plain.rsplitn(2, |byte| *byte == b'-');
    let last = parts.next().unwrap_or(plain);
    let before = parts.next().unwrap_or(b"");
    let is_target = before == b"llvm" || before.contains(&b'-');
    let last = if is_target { last } else { plain };
    [name, plain, last].iter().any(|each| names.contains(each))
}

fn without_version(name: &[u8]) -> &[u8] {
    let is_version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    match name.iter().rposition(|byte| !is_version(byte)) {
        Some(at) if name.get(at) == Some(&b'-') => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// Whether what it asks of the environment is known by the names that it asks for.
pub fn is_tool() -> bool {
    KIND.load(Relaxed) == TOOL
}

/// Whether that it looks at a clock means nothing.
pub fn compares_times() -> bool {
    matches!(KIND.load(Relaxed), BUILDER | TOOL)
}

/// Whether it looks at a clock for whoever has started it.
pub fn tells_time() -> bool {
    KIND.load(Relaxed) == DATE
}

/// Whether it asks what the machine is called for whoever has started it.
pub fn tells_name() -> bool {
    KIND.load(Relaxed) == NAME
}
