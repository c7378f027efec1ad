import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { cidOf } from '../../src/wire/cid.ts'
import { type FaultReport, faultBlocks } from './fault-load.ts'
import { afterwards, assertSame, namesIn, openStore, tempDir } from './support.ts'

const program = fileURLToPath(new URL('./fault-worker.ts', import.meta.url))
/** Faults are put into a process that runs already, which not everybody may do. */
const canTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0 && process.getuid?.() === 0

/** A process that uses a store when told to, and into which faults can be put meanwhile. */
class FaultyProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: Interface

  constructor(t: TestContext) {
    // One thread for files, so that the n-th call is the same one each time.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
    this.#child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#answers = createInterface({ input: this.#child.stdout })
    afterwards(t, async () => {
      const closed = once(this.#child, 'close')
      this.#child.stdin.end()
      await closed
    })
  }

  async use(dir: string): Promise<FaultReport> {
    const answer = once(this.#answers, 'line')
    this.#child.stdin.write(`${dir}\n`)
    const [line] = await answer
    return JSON.parse(String(line))
  }

  /** As `use`, while the n-th such system call of every thread fails. @returns whether there was an n-th one */
  async useWith(fault: Fault, n: number, dir: string): Promise<{ report: FaultReport; happened: boolean }> {
    const strace = spawn(
      'strace',
      [
        ...['-f', '-p', String(this.#child.pid), '-e', `trace=${fault.calls}`],
        ...['-e', `inject=${fault.calls}:error=${fault.error}:when=${n}`],
        ...fault.only(dir).flatMap((path) => ['-P', path]),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    const attached = new Promise<void>((resolve) => {
      strace.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text
        if (said.includes('attached')) resolve()
      })
    })
    const closed = once(strace, 'close')
    await Promise.race([attached, closed])
    const report = await this.use(dir)
    strace.kill('SIGINT')
    await closed
    return { report, happened: said.includes('(INJECTED)') }
  }
}

interface Fault {
  calls: string
  error: string
  /** Paths that alone are affected; all when empty. */
  only(dir: string): string[]
}

const ofTheStore = (dir: string): string[] =>
  Array.from({ length: 12 }, (_, n) => join(dir, 'store/tmp', String(n))).concat(join(dir, 'store/reserve'))
const all = (): string[] => []
/** The process tells its own event loop about finished work by writing, too: only files of the store may fail. */
const faults: Fault[] = ['ENOSPC', 'EIO'].flatMap((error) => [
  { calls: 'write,pwrite64', error, only: ofTheStore },
  { calls: 'rename,renameat2', error, only: all },
  { calls: 'fsync,fdatasync', error, only: all },
  { calls: 'openat', error, only: all },
  { calls: 'mkdir', error, only: all },
])

for (const fault of faults) {
  test(`${fault.error} from each ${fault.calls} in turn: nothing half, nothing lost that was kept`, async (t) => {
    if (!canTrace) return t.skip('needs strace and root')
    const root = await tempDir(t)
    const faulty = new FaultyProcess(t)
    const warm = join(root, 'warm')
    mkdirSync(warm)
    assert.deepEqual(await faulty.use(warm), { kept: [0, 1, 2, 3], pinned: true, durable: true, codes: [] })
    let failed = 0
    for (let n = 1; ; n++) {
      const dir = join(root, String(n))
      mkdirSync(dir)
      writeFileSync(join(dir, 'key'), 'old')
      const { report, happened } = await faulty.useWith(fault, n, dir)
      await lookAt(t, dir, report, `${fault.calls} ${n}`)
      failed += Number(report.codes.length > 0)
      if (!happened) break
    }
    assert.ok(failed > 0, 'some of the faults were felt')
  })
}

/** What a process that had faults left behind, seen by one that has none. */
async function lookAt(t: TestContext, dir: string, report: FaultReport, what: string): Promise<void> {
  assert.deepEqual(await namesIn(join(dir, 'store/tmp')), [], `${what}: nothing unfinished stays`)
  // A lock that could not be removed is void once its process has ended; this one goes on.
  rmSync(join(dir, 'store/lock'), { force: true })
  const store = await openStore(t, { dir: join(dir, 'store') })
  const { bad } = await store.verify()
  assert.equal(bad, 0, `${what}: every block that can be seen is whole`)
  for (const at of report.kept) {
    const bytes = faultBlocks[at]
    assertSame(
      await store.get(cidOf(bytes ?? Buffer.alloc(0))),
      bytes,
      `${what}: block ${at}, which is said to be there`,
    )
  }
  if (report.pinned) {
    assert.equal(store.stats().pinned, 1, what)
    assert.ok(await store.get(cidOf(Buffer.from('pinned'))), what)
  }
  const key = readFileSync(join(dir, 'key'), 'utf8')
  assert.ok(report.durable ? key === 'new' : ['old', 'new'].includes(key), `${what}: ${key}`)
  assert.deepEqual(
    (await namesIn(dir)).filter((name) => name.endsWith('.tmp')),
    [],
    what,
  )
  await store.stop()
}
