import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { GuestLimits } from '../../src/execute/limits.ts'
import type { Outcome } from '../../src/execute/runner.ts'
import { emptyWork, makeCanary, prelude, reportOf as reportIn } from './hostile-support.ts'
import { assertStopped, Lender, okResult } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

/** Lies outside of every sandbox, and must never be in an output. */
const canary = makeCanary()
const secret = join(lender.dir, 'secret.rs')
writeFileSync(secret, `pub const SECRET: &str = "${canary}";\n`)
process.env.SHOAL_TEST_CANARY = canary

let count = 0
/** Compiles a crate whose macro runs `body`, and which holds what it returns. */
async function attack(body: string, limits?: Partial<GuestLimits>, crate = `victim${count++}`): Promise<Outcome> {
  const source = `${prelude}#[proc_macro] pub fn attack(_: TokenStream) -> TokenStream { ${body} }\n`
  const deps = lender.procMacro(`mac${count++}`, source)
  const name = /^lib(\w+)-/.exec(Object.keys(deps)[0] ?? '')?.[1] ?? ''
  const prepared = await lender.prepare({ crate, files: { 'src/lib.rs': `${name}::attack!();` }, deps })
  return lender.run(prepared, limits ? { limits } : {})
}

const reportOf = (outcome: Outcome): Promise<string> => reportIn(outcome, lender, canary)

const processesWith = (word: string): string[] =>
  readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(word)
    } catch {
      return false
    }
  })

describe('reading', { skip }, () => {
  test('files of the host cannot be included', async () => {
    for (const source of [
      'pub const P: &str = include_str!("/etc/passwd");',
      `pub const P: &str = include_str!(${JSON.stringify(secret)});`,
      `#[path = ${JSON.stringify(secret)}] pub mod secret;`,
      `pub const P: &[u8] = include_bytes!(concat!("../../../../../../../..", ${JSON.stringify(secret)}));`,
      'pub const P: &str = include_str!("/proc/self/environ");',
      'pub const P: &str = env!("SHOAL_TEST_CANARY");',
    ]) {
      const outcome = await lender.run(await lender.prepare({ crate: 'reads', files: { 'src/lib.rs': source } }))
      assert.ok(outcome.kind === 'failed', source)
      assert.ok(!outcome.stderr.includes(canary))
    }
  })

  test('a macro finds no file, no variable, no socket and no descriptor of the host', async () => {
    const server = createServer((socket) => socket.end(canary))
    await new Promise<void>((resolve) => server.listen(join(lender.dir, 'sock'), resolve))
    const tcp = createServer((socket) => socket.end(canary))
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
    const address = tcp.address()
    const port = typeof address === 'object' ? address?.port : 0
    try {
      const report = await reportOf(
        await attack(`
          let mut r: Vec<String> = vec![];
          for path in [${JSON.stringify(secret)}, "/etc/passwd", "/proc/1/environ", "/proc/self/environ", "/proc/self/mountinfo", "/proc/net/tcp", "/root/.ssh", "/home", "/dev/shm", "/sys"] {
              if std::fs::metadata(path).is_ok() || std::fs::read(path).is_ok() { r.push(format!("read {path}")) }
          }
          for (name, value) in std::env::vars() {
              if !name.starts_with("CARGO_") && name != "RUSTC_ICE" && name != "PWD" { r.push(format!("env {name}={value}")) }
          }
          if std::net::TcpStream::connect(("127.0.0.1", ${port})).is_ok() { r.push("tcp".into()) }
          if std::net::UdpSocket::bind("0.0.0.0:0").is_ok() { r.push("udp".into()) }
          if std::os::unix::net::UnixStream::connect(${JSON.stringify(join(lender.dir, 'sock'))}).is_ok() { r.push("unix".into()) }
          if std::os::unix::net::UnixStream::pair().is_ok() { r.push("pair".into()) }
          for fd in 3..1024 {
              // What rustc itself opened is closed on exec; what was handed down is not. /dev/null tells nothing.
              let flags = unsafe { fcntl(fd, 1) };
              if flags < 0 || flags & 1 == 1 { continue }
              let file = unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
              let rdev = std::os::unix::fs::MetadataExt::rdev(&file.metadata().unwrap());
              std::mem::forget(file);
              if rdev != 0x103 { r.push(format!("fd {fd}")) }
          }
          let mut top: Vec<String> = std::fs::read_dir("/").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
          top.retain(|n| !n.starts_with("shoal-")); top.sort();
          text(format!("<<{} top={}>>", r.join(" "), top.join(",")))`),
      )
      assert.match(report, /^ top=(lib,lib64,proc,tmp|lib,lib64,proc,tmp,usr)$/)
    } finally {
      server.close()
      tcp.close()
    }
  })
})

describe('doing', { skip }, () => {
  test('a macro writes nowhere but to its outputs and /tmp, and starts nothing', async () => {
    const outside = join(lender.dir, 'planted')
    const report = await reportOf(
      await attack(`
        let mut r: Vec<String> = vec![];
        let src = std::env::current_dir().unwrap();
        let deps = format!("{}/../deps/planted", out());
        for path in ["/planted".to_string(), ${JSON.stringify(outside)}.to_string(), format!("{}/src/lib.rs", src.display()), deps] {
            if std::fs::write(&path, "x").is_ok() { r.push(format!("wrote {path}")) }
        }
        if std::fs::write("/tmp/mine", "x").is_err() { r.push("no tmp".into()) }
        let program = std::env::args().next().unwrap();
        if std::process::Command::new(&program).arg("-V").output().is_ok() { r.push("process".into()) }
        if std::os::unix::fs::symlink("/etc/passwd", format!("{}/s", out())).is_ok() { r.push("symlink".into()) }
        std::fs::write(format!("{}/f", out()), "x").unwrap();
        if std::fs::hard_link(format!("{}/f", out()), format!("{}/g", out())).is_ok() { r.push("link".into()) }
        if std::fs::set_permissions(format!("{}/f", out()), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).is_ok() { r.push("suid".into()) }
        if unsafe { syscall(${process.arch === 'x64' ? 272 : 97}, 0x10000000 as c_long) } == 0 { r.push("unshare".into()) }
        if unsafe { syscall(${process.arch === 'x64' ? 101 : 117}, 16 as c_long, 1 as c_long, 0 as c_long, 0 as c_long) } == 0 { r.push("ptrace".into()) }
        text(format!("<<{}>>", r.join(" ")))`),
    )
    assert.equal(report, '')
    assert.ok(!readdirSync(lender.dir).includes('planted'))
  })

  test('an undeclared file beside the outputs is not collected', async () => {
    const result = okResult(
      await attack('std::fs::write(format!("{}/extra.rlib", out()), "x").unwrap(); text("<<>>".into())'),
    )
    assert.equal(result.outputs.length, 2)
  })

  test('what rustc left is not accepted when something else changed it at the end', async () => {
    const atEnd = (body: string): string =>
      `extern "C" fn end() { ${body} } unsafe { atexit(end); } text("<<>>".into())`
    const refused = { code: 'ERR_OUTPUT' }
    await assert.rejects(attack(atEnd('let _ = std::fs::remove_file(library() + ".rlib");')), refused)
    await assert.rejects(attack(atEnd('std::fs::write(library() + ".rmeta", "other").unwrap();')), refused)
    const directory =
      'std::fs::remove_file(library() + ".rlib").unwrap(); std::fs::create_dir(library() + ".rlib").unwrap();'
    await assert.rejects(attack(atEnd(directory)), refused)
    await assert.rejects(attack('println!("hello"); text("<<>>".into())'), refused)
  })
})

describe('limits', { skip }, () => {
  const forever = 'loop { std::thread::sleep(std::time::Duration::from_secs(3600)); }'

  test('an endless compile ends at its deadline', async () => {
    const crate = `endless_${randomBytes(6).toString('hex')}`
    await assert.rejects(attack('loop { std::hint::black_box(0); }', { wallMs: 500 }, crate), { code: 'ERR_DEADLINE' })
    assert.deepEqual(processesWith(crate), [])
  })

  test('a flood on standard error or standard output is cut', async () => {
    for (const print of ['eprintln', 'println']) {
      const flood = `let line = "x".repeat(65536); loop { ${print}!("{line}"); }`
      await assert.rejects(attack(flood, { stdioBytes: 1 << 20 }), { code: 'ERR_LIMIT' })
    }
  })

  test('memory that no per-process limit counts is seen', async () => {
    const take = `let file = std::fs::OpenOptions::new().read(true).write(true).create(true).open("/tmp/mapped").unwrap();
    let size = 200usize << 20; file.set_len(size as u64).unwrap();
    unsafe {
      let at = mmap(std::ptr::null_mut(), size, 3, 1, std::os::fd::AsRawFd::as_raw_fd(&file), 0) as *mut u8;
      for page in (0..size).step_by(4096) { *at.add(page) = 1; }
    } ${forever}`
    await assert.rejects(attack(take, { memoryBytes: 150 << 20 }), { code: 'ERR_LIMIT' })
  })

  test('threads are counted', async () => {
    const spawn = `for _ in 0..300 { std::thread::Builder::new().stack_size(65536).spawn(|| ${forever}).unwrap(); } ${forever}`
    await assertStopped(attack(spawn, { tasks: 100 }), lender)
  })

  test('output is counted, whether it lies there or was deleted while open', async () => {
    const write = 'std::io::Write::write_all(&mut f, &vec![1u8; 8 << 20]).unwrap();'
    const many = `for n in 0..8 { let mut f = std::fs::File::create(format!("{}/{n}", out())).unwrap(); ${write} } ${forever}`
    await assert.rejects(attack(many, { outBytes: 32 << 20 }), { code: 'ERR_LIMIT' })
    const gone = `let mut kept = vec![]; for n in 0..12 { let p = format!("{}/{n}", out()); let mut f = std::fs::File::create(&p).unwrap(); ${write} std::fs::remove_file(&p).unwrap(); kept.push(f); } ${forever}`
    await assert.rejects(attack(gone, { outBytes: 32 << 20 }), { code: 'ERR_LIMIT' })
  })

  test('directories nested without end are seen, and removed', async () => {
    const nest = `
      std::env::set_current_dir(out()).unwrap();
      for _ in 0..2000 { std::fs::create_dir("a_rather_long_directory_name").unwrap(); std::env::set_current_dir("a_rather_long_directory_name").unwrap(); }
      std::fs::create_dir("closed").unwrap();
      std::fs::set_permissions("closed", std::os::unix::fs::PermissionsExt::from_mode(0)).unwrap();
      ${forever}`
    await assert.rejects(attack(nest), { code: 'ERR_LIMIT' })
    await lender.executor.idle()
    assert.deepEqual(readdirSync(`${lender.dir}/work`).sort(), emptyWork)
  })
})

describe('paths', { skip }, () => {
  test('a crate that bakes the path that it was compiled under is not portable', async () => {
    for (const [source, build] of [
      ['pub const DIR: &str = env!("CARGO_MANIFEST_DIR");'],
      ['pub const DIR: &str = env!("OUT_DIR");', { x: '' }],
      [
        '#[macro_export] macro_rules! dir { () => { env!("CARGO_MANIFEST_DIR") } }\npub fn f() -> &\'static str { dir!() }',
      ],
    ] as const) {
      const unit = { crate: 'bound', files: { 'src/lib.rs': source }, ...(build ? { build } : {}) }
      await assert.rejects(lender.run(await lender.prepare(unit)), { code: 'ERR_PATH_BOUND' }, source)
    }
  })

  test('nor is one whose macro changes the case of it, quotes it or takes a part of it', async () => {
    for (const body of [
      'text(std::env::current_dir().unwrap().display().to_string().to_uppercase())',
      'text(format!("{:?}", std::env::current_dir().unwrap()))',
      'text(out().split("/").nth(1).unwrap().replace("shoal-", ""))',
    ]) {
      await assert.rejects(attack(body), { code: 'ERR_PATH_BOUND' }, body)
    }
  })

  test('nor is one whose diagnostics or metadata alone hold it', async () => {
    await assert.rejects(attack('eprintln!("in {}", out().replace("/", "|")); text("<<>>".into())'), {
      code: 'ERR_PATH_BOUND',
    })
    const announced: string[] = []
    const unit = { crate: 'early_bound', files: { 'src/lib.rs': 'pub const DIR: &str = env!("CARGO_MANIFEST_DIR");' } }
    await assert.rejects(lender.run(await lender.prepare(unit), { onRmeta: ({ name }) => announced.push(name) }), {
      code: 'ERR_PATH_BOUND',
    })
    assert.deepEqual(announced, [])
  })
})

describe('aborting', { skip }, () => {
  test('kills the compile and leaves no process and no file', async () => {
    const crate = `aborted_${randomBytes(6).toString('hex')}`
    const deps = lender.procMacro(
      'sleeper',
      `${prelude}#[proc_macro] pub fn attack(_: TokenStream) -> TokenStream { loop { std::thread::sleep(std::time::Duration::from_secs(3600)); } }`,
    )
    const prepared = await lender.prepare({ crate, files: { 'src/lib.rs': 'sleeper::attack!();' }, deps })
    const stop = new AbortController()
    const running = lender.run(prepared, { signal: stop.signal })
    while (processesWith(crate).length === 0) await setImmediate()
    stop.abort(new Error('no longer wanted'))
    await assert.rejects(running, /no longer wanted/)
    assert.deepEqual(processesWith(crate), [])
    await lender.executor.idle()
    assert.deepEqual(readdirSync(`${lender.dir}/work`).sort(), emptyWork)
  })

  test('at any moment of the start leaves nothing either', async () => {
    const crate = `cut_${randomBytes(6).toString('hex')}`
    const prepared = await lender.prepare({ crate, files: { 'src/lib.rs': 'pub fn f() {}' } })
    // From before the first process, over the moments in which bubblewrap sets up, to rustc itself.
    for (let round = 0; round < 30; round++) {
      const stop = new AbortController()
      const running = lender.run(prepared, { signal: stop.signal })
      let over = false
      const end = running
        .catch((error: Error) => assert.equal(error.message, 'cut'))
        .finally(() => {
          over = true
        })
      for (let seen = 0; !over && seen < round - 5; ) {
        seen += Math.sign(processesWith(crate).length)
        await setImmediate()
      }
      stop.abort(new Error('cut'))
      await end
      assert.deepEqual(processesWith(crate), [])
    }
    await lender.executor.idle()
    assert.deepEqual(readdirSync(`${lender.dir}/work`).sort(), emptyWork)
  })
})
