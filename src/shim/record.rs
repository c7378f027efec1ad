//! What a lender gives to rustc as its linker, in the sandbox: it links nothing, and keeps what a linker elsewhere needs: the
//! arguments, and every file that rustc made for it. protocols/action.md specifies the file that this writes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As what this program is to be started.
pub const NAME: &str = "shoal-linker";
const MAGIC: &[u8] = b"shoal-link 1\n";
/// An option whose value is a file of rustc's.
const WITH_FILE: &[u8] = b"-Wl,--version-script=";

/// 0 if all was kept.
pub fn record(program: &Path, args: Vec<OsString>) -> i32 {
    match Record::new(program, args).and_then(Record::write) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            1
        }
    }
}

struct Record {
    output: PathBuf,
    args: Vec<Vec<u8>>,
    files: Vec<PathBuf>,
}

impl Record {
    /// `program` lies beside the roots: in a directory beside theirs.
    fn new(program: &Path, given: Vec<OsString>) -> io::Result<Record> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_string());
        let marker = program
            .parent()
            .and_then(Path::parent)
            .ok_or_else(|| wrong("no place"))?;
        let out = marker.join("out");
        let given = expanded(given)?;
        let at = given
            .iter()
            .rposition(|arg| arg == "-o")
            .ok_or_else(|| wrong("no output"))?;
        let output: PathBuf = given.get(at + 1).ok_or_else(|| wrong("no output"))?.into();
        let (mut args, mut files) = (Vec::new(), Vec::new());
        let mut given = given.into_iter();
        while let Some(arg) = given.next() {
            if arg == "-L" {
                let dir = given
                    .next()
                    .ok_or_else(|| wrong("-L without a directory"))?;
                // rustc's own, for libraries that it makes up; its name differs each time.
                if Path::new(&dir).starts_with(&out) {
                    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
                        return Err(wrong("a library of rustc's own"));
                    }
                    continue;
                }
                args.push(b"-L".to_vec());
                args.push(named(dir.as_bytes(), marker));
                continue;
            }
            let bytes = arg.as_bytes();
            // Beside the toolchain's own, rustc names one that would lie where its libraries are in the sandbox.
            if bytes
                .strip_prefix(b"-B")
                .is_some_and(|dir| !Path::new(OsStr::from_bytes(dir)).starts_with(marker))
            {
                continue;
            }
            let option = if bytes.starts_with(WITH_FILE) {
                WITH_FILE
            } else {
                b""
            };
            let path = PathBuf::from(OsString::from_vec(bytes[option.len()..].to_vec()));
            if path != output && path.starts_with(&out) && path.is_file() {
                args.push([option, format!("\0file\0/{}", files.len()).as_bytes()].concat());
                files.push(path);
            } else {
                args.push(named(bytes, marker));
            }
        }
        Ok(Record {
            output,
            args,
            files,
        })
    }

    fn write(self) -> io::Result<()> {
        let length = |count: usize| (count as u32).to_be_bytes();
        let mut path = self.output.clone().into_os_string();
        path.push(".objects");
        let mut to = BufWriter::with_capacity(1 << 18, File::create(path)?);
        to.write_all(MAGIC)?;
        to.write_all(&length(self.args.len()))?;
        for arg in &self.args {
            to.write_all(&length(arg.len()))?;
            to.write_all(arg)?;
        }
        let mut files = Vec::with_capacity(self.files.len());
        to.write_all(&length(self.files.len()))?;
        for path in &self.files {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            to.write_all(&size.to_be_bytes())?;
            files.push((file, size));
        }
        for (mut file, size) in files {
            if io::copy(&mut file, &mut to)? != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        to.flush()?;
        File::create(&self.output).map(drop)
    }
}

/// The arguments with a response file replaced by what it says: one on a line, spaces and backslashes escaped.
fn expanded(args: Vec<OsString>) -> io::Result<Vec<OsString>> {
    let mut all = Vec::with_capacity(args.len());
    for arg in args {
        let Some(file) = arg.as_bytes().strip_prefix(b"@") else {
            all.push(arg);
            continue;
        };
        let text = fs::read(Path::new(&OsString::from_vec(file.to_vec())))?;
        let body = text.strip_suffix(b"\n").unwrap_or(&text);
        all.extend(body.split(|byte| *byte == b'\n').map(unescaped));
    }
    Ok(all)
}

fn unescaped(line: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' {
            *bytes.next().unwrap_or(byte)
        } else {
            *byte
        });
    }
    OsString::from_vec(plain)
}

/// Every root that lies below `marker` by its name, as in actions.
fn named(text: &[u8], marker: &Path) -> Vec<u8> {
    let prefix = [marker.as_os_str().as_bytes(), b"/"].concat();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(prefix.len()).position(|part| part == prefix) {
        let after = &rest[at + prefix.len()..];
        let end = after
            .iter()
            .position(|byte| !byte.is_ascii_lowercase())
            .unwrap_or(after.len());
        out.extend_from_slice(&rest[..at]);
        out.push(0);
        out.extend_from_slice(&after[..end]);
        out.push(0);
        rest = &after[end..];
    }
    out.extend_from_slice(rest);
    out
}
