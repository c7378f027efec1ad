import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Executor } from '../../src/execute/executor.ts'
import type { GuestLimits } from '../../src/execute/limits.ts'
import { copyObject, readLinkObjects } from '../../src/plan/link-objects.ts'
import { keptShim } from '../support/programs.ts'
import { guestsOf } from './hostile-support.ts'
import { assertStopped, Lender, okResult, type Prepared, type Unit } from './support.ts'

const lender = new Lender()
await lender.start()
const { path: recorder } = await keptShim('rustc', join(lender.dir, 'bin'))
const needs = { blocks: lender.store, clock: systemClock, log: silentLogger, env: process.env }
const linking = new Executor(needs, { workDir: join(lender.dir, 'linking'), processors: 2, recorder })
await linking.start()
after(async () => {
  await linking.idle()
  await lender.stop()
})
const skip = linking.tier === 'none' ? `no sandbox here: ${linking.reason}` : false

/** The same unit as a program. */
async function program(unit: Unit): Promise<Prepared> {
  const prepared = await lender.prepare({ ...unit, emit: 'dep-info,link' })
  const stem = `${unit.crate}-0123456789abcdef`
  const { action } = prepared
  const argv = action.argv.map((argument, at) => (action.argv[at - 1] === '--crate-type' ? 'bin' : argument))
  const outputs = [[`${stem}.d`, 'dep-info'] as const, [`${stem}.objects`, 'link'] as const].map(([name, kind]) => [
    name,
    kind,
  ])
  return { ...prepared, action: { ...action, argv, outputs: outputs as typeof action.outputs } }
}

const run = (
  { action, inputs }: Prepared,
  by = linking,
  limits: Partial<GuestLimits> = {},
  signal = new AbortController().signal,
) =>
  by.run({
    action,
    limits,
    inputs,
    toolchain: lender.toolchain,
    signal,
    onRmeta: () => undefined,
  })

describe('a program in the sandbox', { skip }, () => {
  test('is compiled up to the linker: the same objects each time, and not a path of the sandbox', async () => {
    const unit = await program({ crate: 'app', files: { 'src/lib.rs': 'fn main() { println!("{}", 6 * 7) }' } })
    const [first, second] = [okResult(await run(unit)), okResult(await run(unit))]
    const [objects] = first.outputs
    assert.ok(objects)
    assert.equal(objects.name, 'app-0123456789abcdef.objects')
    assert.deepEqual(first.outputs, second.outputs)
    const bytes = await lender.bytes(objects.cid)
    assert.doesNotMatch(Buffer.from(bytes).toString('latin1'), /\/shoal-\d{32}/)
    const path = join(lender.dir, 'objects')
    writeFileSync(path, bytes)
    const { args, files } = readLinkObjects(path)
    assert.ok(args.includes('\0out\0/app-0123456789abcdef') && args.includes('\0file\0/0'), args.join('\n'))
    for (const [at, file] of files.entries()) copyObject(path, file, `${path}-${at}`, unit.action.target)
  })

  test('is refused where nothing can take the place of a linker', async () => {
    const unit = await program({ crate: 'app', files: { 'src/lib.rs': 'fn main() {}' } })
    await assert.rejects(run(unit, lender.executor), { code: 'ERR_OUTPUT' })
  })

  test('has macros that can start nothing but what lies inside, and no process beside themselves', async () => {
    const deps = lender.procMacro(
      'starter',
      `use proc_macro::TokenStream;
extern "C" { fn fork() -> i32; fn syscall(number: i64, ...) -> i64; fn _exit(code: i32) -> !; }
#[proc_macro] pub fn start(_: TokenStream) -> TokenStream {
    let shell = std::process::Command::new("/bin/sh").arg("-c").arg("true").status().is_ok();
    let forked = unsafe { match fork() { 0 => _exit(0), pid => pid > 0 } };
    #[cfg(target_arch = "x86_64")] let (clone, socket) = (56, 41);
    #[cfg(target_arch = "aarch64")] let (clone, socket) = (220, 198);
    let cloned = unsafe { match syscall(clone, 17i64, 0i64, 0i64, 0i64, 0i64) { 0 => _exit(0), pid => pid > 0 } };
    let opened = unsafe { syscall(socket, 1i64, 1i64, 0i64) >= 0 };
    format!("fn main() {{ compile_error!(\\"{shell} {forked} {cloned} {opened}\\") }}").parse().unwrap()
}
`,
    )
    const unit = await program({ crate: 'app', deps, files: { 'src/lib.rs': 'starter::start!();' } })
    const outcome = await run(unit)
    assert.equal(outcome.kind, 'failed')
    assert.match(outcome.kind === 'failed' ? outcome.stderr : '', /false false false false/)
  })

  for (const [what, limits] of [
    ['tasks', { tasks: 30 }],
    ['memory', { memoryBytes: 512 << 20 }],
  ] as const) {
    test(`answers for the ${what} of all that its macros start, from whatever thread`, async () => {
      // Each takes as much as nothing stands in the way of.
      const eats = what === 'memory' ? 'let all = vec![1u8; 300 << 20]; assert_eq!(all[all.len() - 1], 1);' : ''
      const started = join(lender.dir, what)
      writeFileSync(`${started}.rs`, `fn main() { ${eats} std::thread::sleep(std::time::Duration::from_secs(20)) }`)
      execFileSync('rustc', ['-C', 'panic=abort', '-C', 'strip=symbols', '-o', started, `${started}.rs`])
      const deps = lender.procMacro(
        `starts_${what}`,
        `use proc_macro::TokenStream;
#[proc_macro] pub fn start(_: TokenStream) -> TokenStream {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write("/tmp/started", include_bytes!("${started}")).unwrap();
    std::fs::set_permissions("/tmp/started", std::fs::Permissions::from_mode(0o755)).unwrap();
    std::thread::spawn(|| {
        let start = |_| std::process::Command::new("/tmp/started").spawn().unwrap();
        let all: Vec<_> = (0..${what === 'memory' ? 4 : 60}).map(start).collect();
        for mut each in all { each.wait().unwrap(); }
    }).join().unwrap();
    TokenStream::new()
}
`,
      )
      const files = { 'src/lib.rs': `starts_${what}::start!(); fn main() {}` }
      const unit = await program({ crate: 'app', deps, files })
      await assertStopped(run(unit, linking, limits), lender)
    })
  }

  test('answers for what programs that have ended wrote into files that are gone', async () => {
    const started = join(lender.dir, 'writes')
    const source = 'fn main() { std::io::Write::write_all(&mut std::io::stdout(), &vec![1u8; 8 << 20]).unwrap() }'
    writeFileSync(`${started}.rs`, source)
    execFileSync('rustc', ['-C', 'panic=abort', '-C', 'strip=symbols', '-o', started, `${started}.rs`])
    const deps = lender.procMacro(
      'has_written',
      `use proc_macro::TokenStream;
extern "C" { fn signal(number: i32, handler: usize) -> usize; }
#[proc_macro] pub fn start(_: TokenStream) -> TokenStream {
    use std::os::unix::fs::PermissionsExt;
    // SIGCHLD: what nobody waits for is added to nobody's account.
    unsafe { signal(17, 1) };
    std::fs::write("/tmp/writes", include_bytes!("${started}")).unwrap();
    std::fs::set_permissions("/tmp/writes", std::fs::Permissions::from_mode(0o755)).unwrap();
    let dir = std::env::args().skip_while(|a| a != "--out-dir").nth(1).unwrap();
    let kept: Vec<_> = (0..16).map(|n| {
        let path = format!("{dir}/{n}");
        let file = std::fs::File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::process::Command::new("/tmp/writes").stdout(file.try_clone().unwrap()).status().unwrap_err();
        file
    }).collect();
    std::thread::sleep(std::time::Duration::from_secs(20));
    drop(kept);
    TokenStream::new()
}
`,
    )
    const unit = await program({
      crate: 'app',
      deps,
      files: { 'src/lib.rs': 'has_written::start!(); fn main() {}' },
    })
    await assert.rejects(run(unit, linking, { outBytes: 64 << 20, wallMs: 15_000 }), {
      code: 'ERR_LIMIT',
      message: /^output: /,
    })
  })

  test('ends before the disk is full, and is not said to have written too much', {
    skip: process.getuid?.() === 0 ? false : 'only root mounts',
  }, async (t) => {
    const small = join(lender.dir, 'small')
    mkdirSync(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128m', 'tmpfs', small])
    t.after(() => execFileSync('umount', ['-l', small]))
    const executor = new Executor(needs, { workDir: join(small, 'work'), processors: 2, recorder })
    await executor.start()
    t.after(() => executor.stop())
    const deps = lender.procMacro(
      'fills',
      `use proc_macro::TokenStream;
use std::{io::Write, time::Duration};
#[proc_macro] pub fn start(_: TokenStream) -> TokenStream {
    let dir = std::env::args().skip_while(|a| a != "--out-dir").nth(1).unwrap();
    let mut file = std::fs::File::create(format!("{dir}/large")).unwrap();
    // A quarter of what is there is left when it is first looked at.
    for _ in 0..40 { std::thread::sleep(Duration::from_millis(100)); let _ = file.write_all(&vec![1u8; 4 << 20]); }
    std::thread::sleep(Duration::from_secs(20));
    TokenStream::new()
}
`,
    )
    const unit = await program({ crate: 'app', deps, files: { 'src/lib.rs': 'fills::start!(); fn main() {}' } })
    await assert.rejects(run(unit, executor, { wallMs: 15_000 }), { code: 'ERR_DISK_FULL' })
  })

  test('stands still with all that its macros have started', async () => {
    const started = join(lender.dir, 'stays')
    writeFileSync(`${started}.rs`, 'fn main() { std::thread::sleep(std::time::Duration::from_secs(600)) }')
    execFileSync('rustc', ['-C', 'strip=symbols', '-o', started, `${started}.rs`])
    const deps = lender.procMacro(
      'starts_one',
      `use proc_macro::TokenStream;
#[proc_macro] pub fn start(_: TokenStream) -> TokenStream {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write("/tmp/stays", include_bytes!("${started}")).unwrap();
    std::fs::set_permissions("/tmp/stays", std::fs::Permissions::from_mode(0o755)).unwrap();
    std::process::Command::new("/tmp/stays").status().unwrap();
    TokenStream::new()
}
`,
    )
    const unit = await program({ crate: 'app', deps, files: { 'src/lib.rs': 'starts_one::start!(); fn main() {}' } })
    const stop = new AbortController()
    const ended = assert.rejects(run(unit, linking, {}, stop.signal), { message: 'enough' })
    try {
      await until('stays', 'S')
      linking.standstill.hold()
      await until('stays', 'T')
      linking.standstill.letGo()
      await until('stays', 'S')
    } finally {
      stop.abort(new Error('enough'))
      await ended
    }
  })
})

/** Waits for a guest of that name to be in that state, as the kernel calls it. */
async function until(name: string, state: string): Promise<void> {
  for (let tries = 0; tries < 4000; tries++) {
    for (const pid of guestsOf(lender.dir)) {
      try {
        if (readFileSync(`/proc/${pid}/stat`, 'latin1').includes(`(${name}) ${state} `)) return
      } catch {
        // It has ended meanwhile.
      }
    }
    await delay(5)
  }
  throw new Error(`${name} is never ${state}`)
}
