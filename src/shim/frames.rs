//! What the frames of the local protocol hold; protocols/local.md is the specification.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process;

use crate::call::Call;
use crate::deliver::{Source, State, Target};
use crate::link::LinkOrder;
use crate::run::{Order, Outcome};
use crate::script::{Recalled, Script, Watch};

pub const MAX_FRAME: usize = 16 << 20;

/// None when it is too long.
pub fn framed(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let length = body.len() + 1;
    if length > MAX_FRAME {
        return None;
    }
    let mut frame = Vec::with_capacity(length + 4);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(body);
    Some(frame)
}

pub fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn put_list<T>(body: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    body.extend_from_slice(&(items.len() as u32).to_be_bytes());
    items.iter().for_each(|one| item(body, one));
}

pub fn compile(call: &Call, has_jobserver: bool) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, call.cwd.as_os_str().as_bytes());
    let argv: Vec<&OsString> = call.program.iter().chain(&call.args).collect();
    put_list(&mut body, &argv, |body, arg| put(body, arg.as_bytes()));
    put_process(&mut body);
    body.push(has_jobserver.into());
    put_list(&mut body, &call.remaps, |body, (from, to)| {
        put(body, from.as_bytes());
        put(body, to.as_bytes());
    });
    body
}

/// The environment, this process, and who started it.
fn put_process(body: &mut Vec<u8>) {
    let env: Vec<(OsString, OsString)> = env::vars_os().collect();
    put_list(body, &env, |body, (key, value)| {
        put(body, &[key.as_bytes(), b"=", value.as_bytes()].concat())
    });
    body.extend_from_slice(&process::id().to_be_bytes());
    body.extend_from_slice(&parent_id().to_be_bytes());
}

pub fn script(script: &Script) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, script.cwd.as_os_str().as_bytes());
    put(&mut body, script.program.as_os_str().as_bytes());
    put_process(&mut body);
    body.extend_from_slice(&script.umask.to_be_bytes());
    put(&mut body, script.spare.as_os_str().as_bytes());
    body
}

/// How a build script is to be observed.
pub fn watch_in(body: &[u8]) -> Option<Watch> {
    let (observer, rest) = split_bytes(body)?;
    let (dir, rest) = split_bytes(rest)?;
    Some(Watch {
        observer: path_of(observer)?,
        dir: path_of(dir)?,
        wrapper: text_of(bytes_in(rest)?)?.into(),
    })
}

/// What a build script said when it ran.
pub fn recalled_in(body: &[u8]) -> Option<Recalled<'_>> {
    let (stdout, rest) = split_bytes(body)?;
    let stderr = bytes_in(rest)?;
    Some(Recalled { stdout, stderr })
}

pub fn ran(outcome: &Outcome) -> Vec<u8> {
    let mut body = outcome.rustc.to_be_bytes().to_vec();
    body.extend_from_slice(&outcome.wall_micros.to_be_bytes());
    body.extend_from_slice(&outcome.cpu_micros.to_be_bytes());
    body.push((outcome.stdout.cut || outcome.stderr.cut).into());
    put(&mut body, &outcome.stdout.bytes);
    put(&mut body, &outcome.stderr.bytes);
    body
}

pub fn delivered(state: State, identities: &[String]) -> Vec<u8> {
    let (state, errno) = match state {
        State::Metadata => (0, 0),
        State::Done => (1, 0),
        State::Failed(errno) => (2, errno),
    };
    let mut body = vec![state];
    put_list(&mut body, identities, |body, one| put(body, one.as_bytes()));
    body.extend_from_slice(&i32::to_be_bytes(errno));
    body
}

/// A body that is one `bytes` and nothing more.
pub fn bytes_in(body: &[u8]) -> Option<&[u8]> {
    let (bytes, rest) = split_bytes(body)?;
    rest.is_empty().then_some(bytes)
}

/// One `bytes`, and what follows it.
fn split_bytes(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let rest = &body[4..];
    Some((rest.get(..length as usize)?, &rest[length as usize..]))
}

pub fn order_in(body: &[u8]) -> Option<Order> {
    let (private, rest) = split_bytes(body)?;
    let (observer, flags) = split_bytes(rest)?;
    let path = |bytes: &[u8]| match bytes {
        [] => Some(None),
        bytes => path_of(bytes).map(Some),
    };
    let &[without_incremental @ (0 | 1), linger @ (0 | 1)] = flags else {
        return None;
    };
    Some(Order {
        private: path(private)?,
        observer: path(observer)?,
        without_incremental: without_incremental == 1,
        linger: linger == 1,
    })
}

/// What is to be linked.
pub fn link_in(body: &[u8]) -> Option<LinkOrder> {
    let (dir, rest) = split_bytes(body)?;
    let (observer, rest) = split_bytes(rest)?;
    let (program, rest) = split_bytes(rest)?;
    let (args, rest) = list_in(rest, |bytes| text_of(bytes).map(OsString::from))?;
    let (path, rest) = list_in(rest, path_of)?;
    let seconds = u32::from_be_bytes(rest.try_into().ok()?);
    let observer = match observer {
        [] => None,
        bytes => Some(path_of(bytes)?),
    };
    Some(LinkOrder {
        dir: path_of(dir)?,
        observer,
        program: text_of(program).filter(|name| !name.is_empty())?.into(),
        args,
        path,
        seconds,
    })
}

fn list_in<T>(body: &[u8], item: impl Fn(&[u8]) -> Option<T>) -> Option<(Vec<T>, &[u8])> {
    let count = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let (mut rest, mut items) = (&body[4..], Vec::new());
    for _ in 0..count {
        let (bytes, after) = split_bytes(rest)?;
        items.push(item(bytes)?);
        rest = after;
    }
    Some((items, rest))
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What is to be delivered, and what is to be shown after it.
pub fn delivery_in(body: &[u8]) -> Option<(Vec<Target<'_>>, &[u8])> {
    let count = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let mut rest = &body[4..];
    let mut targets = Vec::new();
    for _ in 0..count {
        let (&from, after) = rest.split_first()?;
        let (source, after) = split_bytes(after)?;
        let (path, after) = split_bytes(after)?;
        let (&executable @ (0 | 1), after) = after.split_first()? else {
            return None;
        };
        let (line, after) = split_bytes(after)?;
        let (&is_metadata @ (0 | 1), after) = after.split_first()? else {
            return None;
        };
        rest = after;
        targets.push(Target {
            source: match from {
                0 => Source::File(path_of(source)?),
                1 => Source::Text(source),
                _ => return None,
            },
            path: path_of(path)?,
            executable: executable == 1,
            line,
            is_metadata: is_metadata == 1,
        });
    }
    Some((targets, bytes_in(rest)?))
}

/// An absolute path. rustc takes no argument that is not UTF-8.
pub fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    let path = Path::new(std::str::from_utf8(bytes).ok()?);
    path.is_absolute().then(|| path.to_path_buf())
}
