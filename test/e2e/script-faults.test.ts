import assert from 'node:assert/strict'
import { chmod, cp, link, mkdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { type Built, buildAnew, outDirOf, type Texts, withLaunchers, writeAll } from '../support/scripts.ts'

/** A script that does what a variable says; what it found out is in one file of OUT_DIR. */
const files: Texts = {
  'Cargo.toml': `[package]\nname = "asks"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n`,
  'src/lib.rs': '',
  'c/x.h': '1',
  't.sh': '#!/bin/sh\n',
  'd/x': '',
  'e/x': '',
  'f/x': '',
  'build.rs': `use std::{env, fs, path::Path, process::Command};
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let beside = env::var("BESIDE").unwrap();
    let path = env::var("PATH").unwrap();
    let here = env::var("CARGO_MANIFEST_DIR").unwrap();
    let temporary = env::temp_dir();
    let sh = |script: &str| {
        let done = Command::new("sh").args(["-c", script]).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let found = match env::var("DEED").unwrap().as_str() {
        "reads above" => fs::read_to_string(Path::new(&here).parent().unwrap().join("above")).unwrap(),
        "names itself" => Path::new(&here).file_name().unwrap().to_str().unwrap().to_string(),
        "echoes" => sh("echo $USER $NODE_ENV \${PATH%%:*}"),
        "goes through" => format!("{:?}", env::vars().filter(|(name, _)| name.starts_with("NODE_ENV")).collect::<Vec<_>>()),
        "makes" => {
            fs::write(format!("{out}/Makefile"), "X ?= 1\\nall:\\n\\t@echo $(X)\\n").unwrap();
            let done = Command::new("make").args(["-s", "-C", &out]).output().unwrap();
            String::from_utf8(done.stdout).unwrap()
        }
        "copies" => { fs::copy("t.sh", format!("{out}/t.sh")).unwrap(); String::new() }
        "is link" => format!("{}", fs::symlink_metadata("d").unwrap().file_type().is_symlink()),
        "resolves" => Path::new("d/x").canonicalize().unwrap().strip_prefix(&here).unwrap().display().to_string(),
        "opens" => {
            use std::os::fd::AsRawFd;
            let file = fs::File::open("d/x").unwrap();
            let place = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            place.strip_prefix(&here).unwrap().display().to_string()
        }
        "asks streams" => format!("{:?}", fs::read_link("/proc/self/fd/1").unwrap()),
        "finds" => {
            let path = format!("{beside}/one:{beside}/two:{path}");
            let done = Command::new("generate").env("PATH", path).output().unwrap();
            String::from_utf8(done.stdout).unwrap()
        }
        "removes" => format!("{}", fs::remove_file(temporary.join("marker")).is_ok()),
        "locks" => {
            let made = fs::create_dir(temporary.join("lock")).is_ok();
            if made { fs::remove_dir(temporary.join("lock")).unwrap(); }
            format!("{made}")
        }
        "links" => {
            std::os::unix::fs::symlink(format!("{here}/c"), format!("{out}/l")).unwrap();
            fs::read_to_string(format!("{out}/l/x.h")).unwrap()
        }
        "points" => {
            std::os::unix::fs::symlink(format!("{here}/c/x.h"), format!("{out}/l")).unwrap();
            fs::read_to_string(format!("{out}/l")).unwrap()
        }
        "asks machine" => fs::read_to_string("/proc/uptime").unwrap(),
        "asks parent" => fs::read_to_string(format!("/proc/{}/comm", std::os::unix::process::parent_id())).unwrap(),
        "names variables" => format!("{:?}", env::vars().map(|(name, _)| name).collect::<Vec<_>>()),
        "loads" => {
            let libraries = format!("{beside}/one:{beside}/two");
            let done = Command::new(format!("{beside}/main")).env("LD_LIBRARY_PATH", libraries).status().unwrap();
            format!("{}", done.code().unwrap())
        }
        "sanitizes" => {
            fs::write(format!("{out}/a.c"), "int main(void) { return 0; }").unwrap();
            let file = |name: &str| format!("{out}/{name}");
            let cc = Command::new("cc").args(["-fsanitize=address", &file("a.c"), "-o", &file("a")]).status().unwrap();
            let works = cc.success() && Command::new(file("a")).output().unwrap().status.success();
            format!("{} {works}", cc.success())
        }
        "copies with its time" => sh("cp -p c/x.h $OUT_DIR/x.h"),
        "counts names" => format!("{}", std::os::unix::fs::MetadataExt::nlink(&fs::metadata("c/x.h").unwrap())),
        "compiles its time" => {
            fs::write(format!("{out}/a.c"), "const char *when = __TIMESTAMP__;").unwrap();
            let done = Command::new("cc").args(["-c", &format!("{out}/a.c"), "-o", &format!("{out}/a.o")]).status();
            format!("{}", done.unwrap().success())
        }
        "reads mounts" => {
            extern "C" { fn setmntent(path: *const u8, mode: *const u8) -> *const u8; fn getmntent(file: *const u8) -> *const *const i8; }
            let file = unsafe { setmntent(format!("{beside}/mounts\0").as_ptr(), b"r\0".as_ptr()) };
            unsafe { std::ffi::CStr::from_ptr((*getmntent(file)).cast()) }.to_str().unwrap().to_string()
        }
        "listens" => {
            let _ = fs::remove_file(format!("{beside}/socket"));
            format!("{}", std::os::unix::net::UnixListener::bind(format!("{beside}/socket")).is_ok())
        }
        "fails elsewhere" => {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(format!("{beside}/failed")).unwrap();
            std::io::Write::write_all(&mut file, b"x").unwrap();
            std::process::exit(3)
        }
        "tries" => {
            fs::write(format!("{out}/a.c"), "int main(void) { return 0; }").unwrap();
            sh("cc $OUT_DIR/a.c -o $OUT_DIR/a && $OUT_DIR/a && rm $OUT_DIR/a && cc $OUT_DIR/a.c -o $TMPDIR/a && $TMPDIR/a && rm $TMPDIR/a && echo works")
        }
        "leaves a child" => sh("(sleep 2; echo late > $OUT_DIR/late) >/dev/null 2>&1 </dev/null & echo now"),
        other => panic!("{other}"),
    };
    fs::write(format!("{out}/found"), found).unwrap();
}
`,
}

describe('what a build script can find out', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string
  let beside: string
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    beside = join(cluster.dir, 'beside')
    dir = join(cluster.dir, 'checkout/asks')
    for (const each of ['one', 'two', 'tmp']) await mkdir(join(beside, each), { recursive: true })
    await writeAll(dir, files)
    await writeFile(join(cluster.dir, 'checkout/above'), 'first')
  })
  after(() => cluster.close())

  const build = (deed: string, env: NodeJS.ProcessEnv = {}, at = dir): Promise<Built> =>
    buildAnew(node, at, { env: { DEED: deed, BESIDE: beside, TMPDIR: join(beside, 'tmp'), ...env } })
  const outcome = ({ runs, code, stderr }: Built): string => {
    assert.equal(code, 0, stderr)
    return `${runs.get('asks')?.outcome} ${runs.get('asks')?.reason}`
  }
  const found = async (at = dir): Promise<string> =>
    (await readFile(join(await outDirOf(at, 'asks'), 'found'), 'utf8')).trim()
  const ran = 'compiled-here '
  const recalled = 'recalled-here '
  /** Runs, is recalled; and runs again after a change, with another result. */
  async function differs(deed: string, was: string, now: string, change: () => Promise<NodeJS.ProcessEnv | undefined>) {
    const env = deed === 'echoes' ? { USER: 'ada' } : {}
    assert.match(outcome(await build(deed, env)), /^compiled-here (path-bound)?$/, deed)
    assert.equal(await found(), was, deed)
    assert.equal(outcome(await build(deed, env)), recalled, deed)
    const more = await change()
    assert.match(outcome(await build(deed, { ...env, ...more })), /^compiled-here/, `${deed}, changed`)
    assert.equal(await found(), now, `${deed}, changed`)
  }

  test('of its place is not said in another one', async () => {
    const other = join(cluster.dir, 'another/place')
    await cp(dir, other, { recursive: true, filter: (path) => !path.endsWith('/target') })
    await writeFile(join(cluster.dir, 'another/above'), 'second')
    for (const [deed, here, there] of [
      ['reads above', 'first', 'second'],
      ['names itself', 'asks', 'place'],
    ] as const) {
      assert.equal(outcome(await build(deed)), ran)
      assert.equal(await found(), here)
      assert.equal(outcome(await build(deed)), recalled)
      assert.equal(outcome(await build(deed, {}, other)), ran)
      assert.equal(await found(other), there)
    }
  })

  test('of variables that nobody asks for makes it run when they change', async () => {
    const first = (process.env.PATH ?? '').split(':')[0]
    await differs('echoes', `ada ${first}`, 'bob production /first', async () => ({
      USER: 'bob',
      NODE_ENV: 'production',
      PATH: `/first:${process.env.PATH}`,
    }))
    await differs('goes through', '[]', '[("NODE_ENV", "production")]', async () => ({ NODE_ENV: 'production' }))
    await differs('makes', '1', '2', async () => ({ MAKEFLAGS: 'X=2' }))
    assert.equal(outcome(await build('makes', { MAKEFLAGS: '-j3 --jobserver-auth=3,4' })), recalled)
  })

  test('of modes and links makes it run when they change', async () => {
    await differs('copies', '', '', async () => void (await chmod(join(dir, 't.sh'), 0o755)))
    const pointed = async () => {
      await rm(join(dir, 'd'), { recursive: true })
      await symlink('e', join(dir, 'd'))
      return undefined
    }
    await differs('is link', 'false', 'true', pointed)
    await rm(join(dir, 'd'))
    await writeAll(dir, { 'd/x': '' })
    await differs('resolves', 'd/x', 'e/x', pointed)
    await differs('opens', 'e/x', 'f/x', async () => {
      await rm(join(dir, 'd'))
      await symlink('f', join(dir, 'd'))
      return undefined
    })
  })

  test('of programs and libraries that are not there makes it run when they are', async () => {
    const says = (text: string): string => `#!/bin/sh\necho ${text}\n`
    await writeAll(beside, { 'two/generate': says('second') })
    await chmod(join(beside, 'two/generate'), 0o755)
    await differs('finds', 'second', 'first', async () => {
      await writeFile(join(beside, 'one/generate'), says('first'), { mode: 0o755 })
      return undefined
    })
    const compile = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await capture('cc', args, { cwd: beside })
      assert.equal(code, 0, stderr)
    }
    await writeAll(beside, {
      '1.c': 'int f(void) { return 1; }',
      '2.c': 'int f(void) { return 2; }',
      'main.c': 'int f(void); int main(void) { return f(); }',
    })
    await compile('-shared', '-fPIC', '2.c', '-o', 'two/libf.so')
    await compile('main.c', '-o', 'main', '-Ltwo', '-lf')
    await differs('loads', '2', '1', async () => void (await compile('-shared', '-fPIC', '1.c', '-o', 'one/libf.so')))
  })

  test('of a directory for temporary files is what was there before', async () => {
    const marker = join(beside, 'tmp/marker')
    await writeFile(marker, '')
    assert.equal(outcome(await build('removes')), 'compiled-here source-changed')
    assert.equal(await found(), 'true')
    assert.equal(outcome(await build('removes')), ran)
    assert.equal(await found(), 'false')
    await differs('locks', 'true', 'false', async () => void (await mkdir(join(beside, 'tmp/lock'))))
  })

  test('through links in OUT_DIR is what lies there', async () => {
    assert.equal(outcome(await build('links')), 'compiled-here unobserved')
    await differs('points', '1', '2', async () => void (await writeFile(join(dir, 'c/x.h'), '2')))
  })

  test('of the machine, of its parent or of the observer is not kept', async () => {
    assert.equal(outcome(await build('asks machine')), 'compiled-here source-changed')
    assert.equal(outcome(await build('asks streams')), 'compiled-here source-changed')
    assert.equal(outcome(await build('asks parent')), 'compiled-here unobserved')
    assert.equal(outcome(await build('names variables')), 'compiled-here unusual-output')
    // What it writes two seconds later must not lie in the way of the scripts that come after it.
    const apart = { CARGO_TARGET_DIR: join(cluster.dir, 'apart') }
    assert.equal(outcome(await build('leaves a child', apart)), 'compiled-here unobserved')
  })

  test('of times, names and sockets makes it run when they change, or each time', async () => {
    const header = join(dir, 'c/x.h')
    const old = new Date('2020-01-02T03:04:05.678Z')
    await utimes(header, old, old)
    await differs('copies with its time', '', '', async () => void (await utimes(header, new Date(0), new Date(0))))
    await differs('counts names', '1', '2', async () => void (await link(header, join(beside, 'x.h'))))
    await rm(join(beside, 'x.h'))
    await writeFile(join(beside, 'mounts'), 'first / x y 0 0\n')
    await differs('reads mounts', 'first', 'second', async () => {
      await writeFile(join(beside, 'mounts'), 'second / x y 0 0\n')
      return undefined
    })
    assert.equal(outcome(await build('compiles its time')), 'compiled-here clock')
    assert.equal(outcome(await build('listens')), 'compiled-here writes-elsewhere')
  })

  test('of a program that it makes, tries and removes is kept', async () => {
    assert.match(outcome(await build('tries')), /^compiled-here (path-bound)?$/)
    assert.equal(await found(), 'works')
    assert.equal(outcome(await build('tries')), recalled)
  })

  test('of a failure that nobody but the script is to blame for is what it did once', async () => {
    for (const [times, how] of [
      [1, 'compiled-here failed'],
      [2, 'passed-through failed'],
    ] as const) {
      const { code, runs } = await build('fails elsewhere')
      assert.equal(code, 101)
      assert.equal(`${runs.get('asks')?.outcome} ${runs.get('asks')?.reason}`, how)
      assert.equal(await readFile(join(beside, 'failed'), 'utf8'), 'x'.repeat(times))
    }
  })

  test('of a program that wants to be without the observer is what it is without it', async (t) => {
    const built = await build('sanitizes')
    if ((await found()).startsWith('false')) return t.skip('this compiler has no address sanitizer')
    assert.equal(outcome(built), 'compiled-here unobserved')
    assert.equal(await found(), 'true true')
  })
})
