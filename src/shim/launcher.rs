//! A copy of this program in the place of a build script, and the real one beside it: so that somebody is asked when cargo runs
//! the script. It depends on nothing but what lies in its own directory.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hint::black_box;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::call::{option, var, Call};
use crate::script;
use crate::start::own_name;

/// In every launcher, of whichever version, and in no build script.
static MARK: &[u8] = b"shoal launcher 7d1c94e08ab3f265\0";

/// The real one. A directory has one build script, which cargo calls by two names.
const REAL: &str = "build-script.real";

/// Becomes the build script that this is in the place of, as cargo started it: arguments, environment, directory, streams and
/// process stay what they are. Or ends as the script would have, if a daemon knows how that is. Why that failed; None if this is in
/// the place of none.
pub fn launch(own: &Path, args: &[OsString]) -> Option<io::Error> {
    let script = script_beside(own);
    let name = own.file_name().map(OsStr::as_bytes).unwrap_or_default();
    match script {
        Some(script) => {
            if let Some(code) = script::attend(&script, args) {
                crate::end(code);
            }
            Some(Command::new(script).arg0(own).args(args).exec())
        }
        None if name.starts_with(b"build-script") || name.starts_with(b"build_script") => {
            let gone = format!("{REAL} is missing beside it; `cargo clean` helps");
            Some(io::Error::new(io::ErrorKind::NotFound, gone))
        }
        None => None,
    }
}

fn script_beside(own: &Path) -> Option<PathBuf> {
    // A link to this file leads to where it lies itself.
    let here = env::current_exe().unwrap_or_else(|_| own.to_path_buf());
    let script = here.parent()?.join(REAL);
    let id = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    (id(&script)? != id(&here)?).then_some(script)
}

/// Puts this program in the place of the build script that was just compiled. If that cannot be done, the script stays where it is.
pub fn install(call: &Call) {
    if let Some(script) = compiled_script(call) {
        let dir = script.parent().unwrap_or(Path::new("/"));
        let (copy, real) = (own_name(dir, "launcher"), own_name(dir, "script"));
        let _ = replace(&script, &copy, &real);
        let _ = fs::remove_file(&copy);
        let _ = fs::remove_file(&real);
    }
}

/// At every moment there is one of the two at the script's own name, and the launcher only when the real one is beside it.
fn replace(script: &Path, copy: &Path, real: &Path) -> io::Result<()> {
    let (info, own) = (fs::symlink_metadata(script)?, env::current_exe()?);
    if !info.is_file() || is_launcher(script)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fs::copy(&own, copy)?;
    fs::set_permissions(copy, info.permissions())?;
    fs::hard_link(script, real).or_else(|_| fs::copy(script, real).map(drop))?;
    fs::rename(real, script.with_file_name(REAL))?;
    fs::rename(copy, script)
}

/// Whether it is a launcher already, of this version or another: the script that it is in the place of would be lost.
fn is_launcher(script: &Path) -> io::Result<bool> {
    // It is to lie in this program as it is, whatever the compiler makes of comparing with it.
    let mark = black_box(MARK);
    let is_mark = |part: &[u8]| part.first() == mark.first() && part == mark;
    Ok(fs::read(script)?.windows(mark.len()).any(is_mark))
}

/// The file that cargo is going to run as a build script, if it is certain that it will and that it will do nothing else with it. A
/// program of the user's can have the same name: cargo tells those what they are called, and puts them elsewhere.
fn compiled_script(call: &Call) -> Option<PathBuf> {
    let args = &call.expanded;
    let name = option(args, "--crate-name")?;
    let package = var("CARGO_PKG_NAME")?;
    let is_bin = option(args, "--crate-type") == Some(OsStr::new("bin"));
    // What only checks it leaves there what it was before.
    let is_made = call.links_outputs();
    let is_test = args.iter().any(|arg| arg == "--test");
    let told = ["CARGO_BIN_NAME", "OUT_DIR"];
    if !name.as_bytes().starts_with(b"build_script_")
        || !is_bin
        || !is_made
        || is_test
        || option(args, "--target").is_some()
        || told.into_iter().any(|name| env::var_os(name).is_some())
    {
        return None;
    }
    let extra = extra_filename(args)?;
    let out = call.cwd.join(&call.out_dir);
    let file = [name.as_bytes(), extra].concat();
    is_place_of(&out, package.as_bytes(), extra)?
        .then(|| out.join(OsStr::from_bytes(&file)))
        .filter(|path| path.is_file())
}

/// Whether it is `build/PACKAGE-HASH` or, in cargo's new layout, `build/PACKAGE/HASH/out`; `extra` is `-HASH`.
fn is_place_of(out: &Path, package: &[u8], extra: &[u8]) -> Option<bool> {
    let mut parts = out.components().rev().map(|part| part.as_os_str());
    let last = parts.next()?;
    let fits = if last == "out" {
        extra.strip_prefix(b"-")? == parts.next()?.as_bytes() && parts.next()?.as_bytes() == package
    } else {
        last.as_bytes() == [package, extra].concat()
    };
    Some(fits && parts.next()? == "build")
}

/// `-C extra-filename=…`.
fn extra_filename(args: &[OsString]) -> Option<&[u8]> {
    args.iter().find_map(|arg| {
        let arg = arg.as_bytes();
        arg.strip_prefix(b"-C")
            .unwrap_or(arg)
            .strip_prefix(b"extra-filename=")
    })
}
