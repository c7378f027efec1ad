//! rustc's arguments, one list made from another.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Long options whose value may stand in an argument of its own.
const WITH_VALUE: [&str; 27] = [
    "allow",
    "cap-lints",
    "cfg",
    "check-cfg",
    "codegen",
    "color",
    "crate-name",
    "crate-type",
    "deny",
    "diagnostic-width",
    "edition",
    "emit",
    "env-set",
    "error-format",
    "explain",
    "extern",
    "forbid",
    "force-warn",
    "json",
    "out-dir",
    "print",
    "remap-path-prefix",
    "remap-path-scope",
    "sysroot",
    "target",
    "unstable-features",
    "warn",
];

/// Whether the argument is an option whose value is the next argument, whatever that looks like.
pub fn takes_next(arg: &OsStr) -> bool {
    match arg.as_bytes() {
        [b'-', b'A' | b'C' | b'D' | b'F' | b'L' | b'W' | b'Z' | b'l' | b'o'] => true,
        [b'-', b'-', name @ ..] => WITH_VALUE.iter().any(|known| known.as_bytes() == name),
        _ => false,
    }
}

/// The same compile with another out-dir.
pub fn with_out_dir(args: &[OsString], dir: &Path) -> Vec<OsString> {
    let mut next = false;
    let with = |arg: &OsString| {
        if std::mem::take(&mut next) {
            return dir.into();
        }
        next = arg == "--out-dir";
        if arg.as_bytes().starts_with(b"--out-dir=") {
            return [OsStr::new("--out-dir="), dir.as_os_str()]
                .into_iter()
                .collect();
        }
        arg.clone()
    };
    args.iter().map(with).collect()
}

/// The same compile without `-C incremental=…`, however that is spelt.
pub fn without_incremental(args: &[OsString]) -> Vec<OsString> {
    let names_it = |value: &[u8]| value.starts_with(b"incremental=");
    let mut kept = Vec::with_capacity(args.len());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let bytes = arg.as_bytes();
        let joined = bytes
            .strip_prefix(b"-C")
            .or_else(|| bytes.strip_prefix(b"--codegen="));
        let value = rest.as_slice().first().filter(|_| takes_next(arg));
        let apart = value.filter(|_| matches!(bytes, b"-C" | b"--codegen"));
        if value.is_some() {
            rest.next();
        }
        if !(joined.is_some_and(names_it) || apart.is_some_and(|value| names_it(value.as_bytes())))
        {
            kept.extend([Some(arg), value].into_iter().flatten().cloned());
        }
    }
    kept
}
