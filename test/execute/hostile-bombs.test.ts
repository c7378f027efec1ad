import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import { codeOf } from '../../src/base/errors.ts'
import type { GuestLimits } from '../../src/execute/limits.ts'
import { emptyWork, guestsOf, Macros } from './hostile-support.ts'
import { Lender, okResult } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

const MiB = 1 << 20
/** Whatever grows is stopped long before this, or the code of the error is another one. */
const wallMs = 15_000

interface Bomb {
  body: string
  limits?: Partial<GuestLimits>
  /** Default: `ERR_LIMIT`. */
  code?: string
  /** The kernel refuses it to the process, and the compiler gives up. */
  refused?: boolean
}

const file = (flags: string): string =>
  `let file = std::fs::OpenOptions::new().write(true).create(true)${flags}.open(&path).unwrap(); let fd = std::os::fd::AsRawFd::as_raw_fd(&file);`

const bombs: Record<string, Bomb> = {
  memory: {
    body: 'let mut all: Vec<Vec<u8>> = vec![]; loop { all.push(vec![1; 8 << 20]) }',
    limits: { memoryBytes: 256 * MiB },
    refused: true,
  },
  memory_in_tmp: {
    body: `let mut n = 0; loop { n += 1; if std::fs::write(format!("/tmp/{n}"), vec![1u8; 4 << 20]).is_err() { std::process::exit(7) } }`,
    limits: { tmpBytes: 64 * MiB },
    refused: true,
  },
  mapped_twice_over: {
    body: `let path = "/tmp/mapped"; ${file('.read(true)')} unsafe { ftruncate(fd, 200 << 20);
      for _ in 0..4 { let at = mmap(std::ptr::null_mut(), 200 << 20, 3, 1, fd, 0) as *mut u8; for page in (0..200usize << 20).step_by(4096) { *at.add(page) = 1 } } } forever()`,
    limits: { memoryBytes: 300 * MiB },
  },
  // Of memory that is only read the kernel keeps no page, but a table of pages for each two megabytes.
  tables_of_pages: {
    body: `unsafe { loop {
      let at = mmap(std::ptr::null_mut(), 1 << 36, 1, 0x4022, -1, 0) as usize; if at == usize::MAX { forever() }
      for table in (0..1usize << 36).step_by(2 << 20) { std::ptr::read_volatile((at + table) as *const u8); }
    } }`,
    limits: { memoryBytes: 300 * MiB },
  },
  // Written, and then mapped nowhere: it stays.
  shared_memory: {
    body: `unsafe {
      let at = mmap(std::ptr::null_mut(), 4 << 30, 3, 0x21, -1, 0) as usize; if at == usize::MAX { std::process::exit(7) }
      extern "C" { fn madvise(at: usize, size: usize, advice: c_int) -> c_int; }
      for part in (0..4usize << 30).step_by(4 << 20) { std::ptr::write_bytes((at + part) as *mut u8, 1, 4 << 20); madvise(at + part, 4 << 20, 4); }
      std::process::exit(0) }`,
    limits: { memoryBytes: 300 * MiB },
    refused: true,
  },
  files_in_tmp: { body: 'let mut n = 0u64; loop { n += 1; let _ = std::fs::create_dir(format!("/tmp/{n}")); }' },
  files_in_out: {
    body: 'let dir = out(); let mut n = 0u64; loop { n += 1; let _ = std::fs::File::create(format!("{dir}/{n}")); }',
  },
  // Taken without being written, deleted and kept open: in no directory and in no count of what was written.
  hidden_room: {
    body: `let mut kept = vec![]; let mut taken = 0u64;
      for n in 0..64 {
          let path = format!("{}/{n}", out()); ${file('')}
          if unsafe { fallocate(fd, 0, 0, 16 << 20) } == 0 { taken += 1 } else { std::io::Write::write_all(&mut &file, &vec![1; 16 << 20]).unwrap() }
          std::fs::remove_file(&path).unwrap(); kept.push(file);
      }
      forever()`,
    limits: { outBytes: 64 * MiB },
  },
  one_file: {
    body: `let path = format!("{}/large", out()); ${file('')} loop { if std::io::Write::write_all(&mut &file, &vec![1; 4 << 20]).is_err() { forever() } }`,
    limits: { outBytes: 32 * MiB },
    refused: true,
  },
  // Refused as often as it asks, so the kernel says that it is at its limit, or whoever looks sees it there.
  threads: {
    body: 'loop { let _ = std::thread::Builder::new().stack_size(65536).spawn(|| forever()); }',
    limits: { tasks: 64, wallMs: 2000 },
  },
  threads_at_once: {
    body: 'fn more() { for _ in 0..2 { let _ = std::thread::Builder::new().stack_size(65536).spawn(more); } forever() } more(); forever()',
    limits: { tasks: 64, wallMs: 2000 },
  },
  one_line: { body: 'eprint!("{}", "x".repeat(16 << 20)); forever()', limits: { stdioBytes: MiB } },
  // What a parser would make a hundred times as much memory of.
  nested_notification: {
    body: `let deep = 3 << 20; eprintln!("{{\\"artifact\\":{}{}}}", "[".repeat(deep), "]".repeat(deep)); forever()`,
    limits: { wallMs: 1500 },
    code: 'ERR_DEADLINE',
  },
  many_notifications: {
    body: 'loop { eprintln!("{{\\"artifact\\":\\"{}.rmeta\\",\\"emit\\":\\"metadata\\"}}", library()) }',
    code: 'ERR_OUTPUT',
  },
  silence: {
    body: 'unsafe { for fd in 0..1024 { close(fd); } } forever()',
    limits: { wallMs: 500 },
    code: 'ERR_DEADLINE',
  },
  deaf: {
    body: `unsafe { extern "C" { fn signal(number: c_int, handler: usize) -> usize; } for number in 1..65 { signal(number, 1); } } loop { std::hint::black_box(0); }`,
    limits: { wallMs: 500 },
    code: 'ERR_DEADLINE',
  },
  descriptors: {
    body: `let mut all = vec![]; loop { match std::fs::File::open(std::env::args().next().unwrap()) { Ok(file) => all.push(file), Err(_) => forever() } }`,
    limits: { wallMs: 1000 },
    code: 'ERR_DEADLINE',
  },
}

const macros = skip
  ? undefined
  : new Macros(lender, Object.fromEntries(Object.entries(bombs).map(([name, { body }]) => [name, body])))

function threadsOf(pid: string): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length
  } catch (error) {
    assert.ok(['ENOENT', 'ESRCH'].includes(codeOf(error) ?? ''), String(error))
    return 0
  }
}

test('the sandbox is the one that is meant to be tried', {
  skip: process.env.SHOAL_TEST_TIER ? false : 'any will do',
}, () => {
  assert.equal(lender.executor.tier, process.env.SHOAL_TEST_TIER)
})

describe('a bomb', { skip }, () => {
  const largest = (): number => Math.round(process.resourceUsage().maxRSS / 1024)

  afterEach(async () => {
    await lender.executor.idle()
    assert.deepEqual(guestsOf(lender.dir), [])
    assert.deepEqual(readdirSync(join(lender.dir, 'work')).sort(), emptyWork)
    assert.ok(largest() < 512, `this process came to ${largest()} MB`)
  })

  for (const [name, { limits = {}, code = 'ERR_LIMIT', refused = false }] of Object.entries(bombs)) {
    test(`of ${name.replaceAll('_', ' ')} is stopped`, async (t) => {
      assert.ok(macros)
      const from = performance.now()
      try {
        const outcome = await macros.run(name, { limits: { wallMs, ...limits } })
        assert.ok(refused && outcome.kind === 'failed', outcome.kind)
      } catch (error) {
        assert.equal(codeOf(error), code, String(error))
      }
      t.diagnostic(`${Math.round(performance.now() - from)} ms, this process at most ${largest()} MB`)
    })
  }

  test('of threads never has more of them than it may, by the kernel and not by who looks', async () => {
    assert.ok(macros)
    const tasks = 64
    const bomb = macros.run('threads_at_once', { limits: { wallMs, tasks } }).catch((error: unknown) => error)
    let [most, isOver] = [0, false]
    bomb.finally(() => {
      isOver = true
    })
    while (!isOver) {
      const counts = guestsOf(lender.dir).map((pid) => threadsOf(pid))
      most = Math.max(most, ...counts)
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(most <= tasks + 4, `${most} threads`)
  })

  test('harms no honest compile beside it, nor the next one', async () => {
    assert.ok(macros)
    const stop = new AbortController()
    const bad = ['threads', 'files_in_out', 'deaf'].map((name) =>
      macros.run(name, { signal: stop.signal, limits: { wallMs, tasks: 4096 } }).catch((error: unknown) => error),
    )
    const honest = await lender.prepare({ crate: 'honest', files: { 'src/lib.rs': 'pub fn f() -> u32 { 1 }' } })
    const here = lender.here(honest)
    for (const _ of ['beside', 'after']) {
      for (const { name, cid } of okResult(await lender.run(honest)).outputs) {
        assert.deepEqual(Buffer.from(await lender.bytes(cid)), Buffer.from(here.outputs.get(name) ?? []), name)
      }
      stop.abort(new Error('enough'))
      await Promise.all(bad)
    }
  })
})
