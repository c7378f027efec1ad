//! What cargo asked for: which calls are compiles of its own, and which paths of this machine they must not show.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::args::takes_next;

/// A directory that no machine has.
const NOWHERE: &str = "/nonexistent/shoal";

/// One compile as cargo issued it.
pub struct Call {
    /// rustc, as cargo named it; after clippy-driver if that runs in its place.
    pub program: Vec<OsString>,
    pub args: Vec<OsString>,
    /// The arguments with an `@argfile` replaced by its lines.
    pub expanded: Vec<OsString>,
    pub out_dir: PathBuf,
    pub cwd: PathBuf,
    /// `--remap-path-prefix` pairs, in the order in which they come before cargo's arguments.
    pub remaps: Vec<(String, String)>,
}

impl Call {
    /// None for whatever is not plainly a compile of cargo's own: probes, `-`, calls of build scripts, other programs.
    pub fn from_cargo(argv: &[OsString]) -> Option<Call> {
        if is_off() || env::var_os("CARGO_CFG_TARGET_ARCH").is_some() {
            return None;
        }
        let named = |at: usize, name: &str| {
            argv.get(at)
                .is_some_and(|arg| Path::new(arg).file_name() == Some(OsStr::new(name)))
        };
        let driven = named(0, "clippy-driver");
        if !named(driven.into(), "rustc") {
            return None;
        }
        let (program, args) = argv.split_at(1 + usize::from(driven));
        let mut expanded = Vec::with_capacity(args.len());
        for arg in args {
            match arg.as_bytes().strip_prefix(b"@") {
                Some(file) => expanded.extend(lines_of(&fs::read(OsStr::from_bytes(file)).ok()?)),
                None => expanded.push(arg.clone()),
            }
        }
        let probe = |arg: &OsString| {
            let arg = arg.as_bytes();
            matches!(arg, b"-" | b"-vV" | b"-Vv" | b"-V" | b"--version")
                || arg.starts_with(b"--print")
                || arg.starts_with(b"-o")
        };
        if expanded.iter().any(probe) || option(&expanded, "--crate-name")? == "___" {
            return None;
        }
        option(&expanded, "--emit")?;
        let out_dir = PathBuf::from(option(&expanded, "--out-dir")?);
        let cwd = env::current_dir().ok()?;
        Some(Call {
            program: program.to_vec(),
            args: args.to_vec(),
            expanded,
            out_dir,
            cwd,
            remaps: Vec::new(),
        })
    }

    /// All remaps of this compile: the announced ones, then the roots of this machine. rustc obeys the last that matches.
    pub fn remaps_after(&self, announced: Vec<(OsString, OsString)>) -> Vec<(String, String)> {
        let mut all = announced;
        let mut add = |from: &Path, to: OsString| all.push((from.into(), to));
        if self.caps_lints() {
            // rustc reads the sources of other crates where it can undo a remap, and what it finds there moves spans,
            // and with them the crate's hash. Two prefixes of one name cannot be undone: then no machine finds any.
            for part in ["registry/src", "git/checkouts"] {
                add(Path::new(NOWHERE), Path::new("/cargo").join(part).into());
            }
        }
        let cargo_home =
            var("CARGO_HOME").or_else(|| Some(Path::new(&var("HOME")?).join(".cargo").into()));
        let mut vendored = false;
        if let Some(home) = cargo_home
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
        {
            for part in ["registry/src", "git/checkouts"] {
                // Component by component: a trailing slash in the variable must not become part of the prefix.
                let from: PathBuf = home.join(part).components().collect();
                let real = real_of(&from);
                let below = real.as_ref().is_some_and(|real| self.cwd.starts_with(real));
                vendored |= below || self.cwd.starts_with(&from);
                // cargo names sources through the link, and the working directory is never a link. Whatever else the user
                // compiles meets this directory as cargo names it, and is to undo that.
                if let Some(real) = real.filter(|_| below || self.caps_lints()) {
                    add(&real, Path::new("/cargo").join(part).into());
                }
                add(&from, Path::new("/cargo").join(part).into());
            }
        }
        if let (false, Some(source)) = (vendored, self.crate_root()) {
            if Path::new(source).is_relative() {
                add(&self.cwd, ".".into());
            } else if let Some((name, version)) =
                var("CARGO_PKG_NAME").zip(var("CARGO_PKG_VERSION"))
            {
                let to: OsString = [OsStr::new("/cargo/deps/"), &name, OsStr::new("-"), &version]
                    .into_iter()
                    .collect();
                add(&self.cwd, to.clone());
                let named = var("CARGO_MANIFEST_DIR").map(PathBuf::from);
                if let Some(named) = named.filter(|dir| real_of(dir).as_ref() == Some(&self.cwd)) {
                    add(&named, to);
                }
            }
        }
        if let Some(out) = var("OUT_DIR") {
            add(
                Path::new(&out),
                Path::new("/cargo/build-dir").join(below_build(&out)).into(),
            );
        }
        // rustc takes no argument that is not UTF-8, and reads the pair as split at its last `=`.
        let usable = |(from, to): (OsString, OsString)| {
            Some((from.into_string().ok()?, to.into_string().ok()?))
        };
        let sound =
            |(from, to): &(String, String)| !from.is_empty() && from != "/" && !to.contains('=');
        all.into_iter().filter_map(usable).filter(sound).collect()
    }

    /// The remaps that rustc's messages can show: not those of paths that cargo's own arguments remap, because these win.
    pub fn remaps_shown(&self) -> Vec<(String, String)> {
        let name = "--remap-path-prefix";
        let values = self.expanded.iter().enumerate().filter_map(|(at, arg)| {
            match arg.as_bytes().strip_prefix(name.as_bytes())? {
                b"" => self.expanded.get(at + 1)?.to_str(),
                rest => std::str::from_utf8(rest.strip_prefix(b"=")?).ok(),
            }
        });
        let own: Vec<&str> = values
            .filter_map(|value| Some(value.rsplit_once('=')?.0))
            .collect();
        let wins = |from: &String| own.iter().any(|own| Path::new(from).starts_with(own));
        let shown = self.remaps.iter().filter(|(from, _)| !wins(from));
        shown.cloned().collect()
    }

    /// cargo caps the lints of whatever is not the user's own: nobody sees these diagnostics unless the compile fails.
    fn caps_lints(&self) -> bool {
        self.expanded
            .iter()
            .any(|arg| arg.as_bytes().starts_with(b"--cap-lints"))
    }

    /// Whether more than metadata is made.
    pub fn links_outputs(&self) -> bool {
        let emit = option(&self.expanded, "--emit").map(OsStr::as_bytes);
        emit.is_some_and(|kinds| {
            kinds
                .split(|byte| *byte == b',')
                .any(|kind| kind == b"link")
        })
    }

    /// The positional `.rs` argument.
    fn crate_root(&self) -> Option<&OsString> {
        let mut value = false;
        self.expanded.iter().find(|arg| {
            let is_value = value;
            value = !value && takes_next(arg);
            let arg = arg.as_bytes();
            arg.ends_with(b".rs") && !arg.starts_with(b"-") && !is_value
        })
    }
}

/// Whether somebody wants this program to be as if it were not there.
pub fn is_off() -> bool {
    var("SHOAL").is_some_and(|value| value == "off" || value == "0")
}

/// An environment variable that is set and not empty.
pub fn var(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Where an absolute path with symbolic links on its way leads; None if there are none.
fn real_of(path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    (path.is_absolute() && real != path).then_some(real)
}

/// The value of `--name VALUE` or `--name=VALUE`.
pub fn option<'a>(args: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    args.iter().enumerate().find_map(|(at, arg)| {
        match arg.as_bytes().strip_prefix(name.as_bytes())? {
            b"" => args.get(at + 1).map(OsString::as_os_str),
            rest => rest.strip_prefix(b"=").map(OsStr::from_bytes),
        }
    })
}

/// An argfile as rustc reads it: an argument a line, an empty line an empty argument, no quoting.
fn lines_of(file: &[u8]) -> Vec<OsString> {
    let body = file.strip_suffix(b"\n").unwrap_or(file);
    if file.is_empty() {
        return Vec::new();
    }
    body.split(|byte| *byte == b'\n')
        .map(|line| OsStr::from_bytes(line.strip_suffix(b"\r").unwrap_or(line)).into())
        .collect()
}

/// What names a build script's OUT_DIR on every machine: what follows its last `/build/`, else its last two components.
fn below_build(out_dir: &OsStr) -> PathBuf {
    let bytes = out_dir.as_bytes();
    if let Some(at) = bytes.windows(7).rposition(|part| part == b"/build/") {
        return OsStr::from_bytes(&bytes[at + 7..]).into();
    }
    let parts: Vec<_> = Path::new(out_dir).components().collect();
    parts[parts.len().saturating_sub(2)..].iter().collect()
}
