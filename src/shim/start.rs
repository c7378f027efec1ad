//! rustc as a child of this process: its arguments, its environment, a file for arguments that are too long.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};

use crate::args::{with_out_dir, without_incremental};
use crate::call::Call;
use crate::observe::Variables;

const E2BIG: i32 = 7;

/// What a rustc of ours has beside the remaps that cargo did not ask for.
pub struct Start<'a> {
    pub call: &'a Call,
    pub private: Option<&'a Path>,
    pub without_incremental: bool,
    pub observed: Option<&'a Variables>,
}

impl Start<'_> {
    /// Starts it. A command line that is too long goes through a file, as cargo does it; that is to be removed afterwards.
    pub fn rustc(&self) -> Option<(Child, Option<PathBuf>)> {
        // Of two that match, rustc obeys the later one: whoever gives flags of this kind themselves is to get what they ask for.
        let remaps: Vec<OsString> = self
            .call
            .remaps
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={from}={to}").into())
            .collect();
        let (program, named) = self.call.program.split_first()?;
        let spawn = |args: &[OsString]| {
            Command::new(program)
                .args(named)
                .args(args)
                .envs(self.observed.into_iter().flatten().cloned())
                // A cargo that is started from inside this compile must not wait for the slot that this compile holds.
                .env("SHOAL", "off")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        };
        let full = self.args();
        let as_given = full == self.call.expanded;
        let given = if as_given { &self.call.args } else { &full };
        match spawn(&[&remaps, given.as_slice()].concat()) {
            Ok(child) => Some((child, None)),
            Err(error) if error.raw_os_error() == Some(E2BIG) => {
                let args = [remaps, full].concat();
                if args.iter().any(|arg| arg.as_bytes().contains(&b'\n')) {
                    return None;
                }
                let path = own_name(&self.call.cwd.join(&self.call.out_dir), "args");
                fs::write(&path, args.join(OsStr::new("\n")).as_bytes()).ok()?;
                let at_file = [OsStr::new("@"), path.as_os_str()].into_iter().collect();
                Some((spawn(&[at_file]).ok()?, Some(path)))
            }
            Err(_) => None,
        }
    }

    fn args(&self) -> Vec<OsString> {
        let mut args = self.call.expanded.clone();
        if self.without_incremental {
            args = without_incremental(&args);
        }
        match self.private {
            Some(dir) => with_out_dir(&args, dir),
            None => args,
        }
    }
}

/// A path in this directory that is this process's own. Starting with a dot, it is no library to rustc.
pub fn own_name(dir: &Path, what: &str) -> PathBuf {
    dir.join(format!(".shoal-{}-{what}", process::id()))
}
