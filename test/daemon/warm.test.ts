import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, utimesSync, watch } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { Warmer } from '../../src/daemon/warm.ts'
import { finishedSessions } from '../../src/daemon/warm-sources.ts'
import { early, left, WarmBench, warmed } from './warm-bench.ts'

const modules = Array.from(
  { length: 12 },
  (_, at) => `pub fn f${at}(n: u64) -> String { format!("{n} {}", base::twice(${at})) }\n`,
)

/** A library and one that uses it, both compiled without incremental directories. */
async function twoPackages(bench: WarmBench): Promise<void> {
  await bench.write('base', 'pub fn twice(n: u64) -> u64 { n * 2 }\n')
  await bench.write('top', 'pub fn top() -> String { m0::f0(1) }\n', modules)
  bench.rustc('base', bench.argv('base'))
  bench.rustc('top', bench.argv('top', ['base']))
}

/** Resolves when `path` is there; its directory exists. */
async function appears(dir: string, name: string): Promise<void> {
  const watcher = watch(dir)
  try {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (existsSync(join(dir, name))) resolve()
      }
      watcher.on('change', look)
      look()
    })
  } finally {
    watcher.close()
  }
}

/** Whether any process has this text among its arguments. */
const runs = (text: string): boolean =>
  readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text)
    } catch {
      return false
    }
  })

describe('an incremental directory is made', () => {
  test('from which the first edit takes all it can, and nothing else is touched', async (t) => {
    const bench = await WarmBench.create(t)
    await twoPackages(bench)
    const before = bench.target()
    await bench.add('top', { uses: ['base'] })
    assert.equal(bench.warmer.pending, 1)
    bench.rest()
    assert.equal((await bench.lines.until(warmed)).crate, 'top')
    assert.deepEqual(bench.target(), before)
    assert.equal(finishedSessions(bench.incremental, 'top').size, 1)

    const objects = bench.objects('top')
    assert.ok(objects.size >= modules.length, `${objects.size} object files`)
    await writeFile(join(bench.packageDir('top'), 'src/m3.rs'), modules[3]?.replace('{n} ', '{n} and ') ?? '')
    bench.rustc('top', [...bench.argv('top', ['base']), ...bench.withIncremental])
    const kept = [...bench.objects('top')].filter((inode) => objects.has(inode))
    assert.ok(kept.length >= objects.size - 2, `${kept.length} of ${objects.size} object files used again`)
    assert.equal(bench.warmer.pending, 0)
  })

  test('for a unit of which not all dependencies are known, as far as possible', async (t) => {
    const bench = await WarmBench.create(t)
    await twoPackages(bench)
    const before = bench.target()
    await bench.add('top', { uses: ['base'], dependencies: false })
    bench.rest()
    await bench.lines.until(warmed)
    assert.deepEqual(bench.target(), before)
    assert.equal(finishedSessions(bench.incremental, 'top').size, 1)
  })

  test('in the order in which an edit is likely', async (t) => {
    const bench = await WarmBench.create(t)
    const note = `(while [ "$1" != --crate-name ]; do shift; done; echo "$2" >> ${bench.incremental}/order)`
    for (const crate of ['small', 'large', 'changed', 'newer']) await bench.addStub(crate, note)
    await writeFile(join(bench.packageDir('large'), 'src/lib.rs'), `//${'x'.repeat(5000)}\n`)
    await bench.add('large', { rustc: join(bench.dir, 'rustc-large') })
    for (const crate of ['small', 'large', 'changed', 'newer']) {
      for (const file of ['Cargo.toml', 'src/lib.rs']) {
        utimesSync(join(bench.packageDir(crate), file), 1e9, crate === 'newer' ? 1e9 + 3600 : 1e9)
      }
      await bench.add(crate, { rustc: join(bench.dir, `rustc-${crate}`) })
    }
    bench.edited.add(bench.packageDir('changed'))
    assert.equal(bench.warmer.pending, 4)
    bench.rest()
    for (let count = 1; count <= 4; count++) {
      await bench.lines.until(warmed, count)
      await new Promise(setImmediate)
      bench.clock.advance(1000)
    }
    assert.equal(await readFile(join(bench.incremental, 'order'), 'utf8'), 'changed\nnewer\nlarge\nsmall\n')
  })

  test('by a process that can write nowhere else, is nice, and has no jobserver', async (t) => {
    const bench = await WarmBench.create(t)
    const out = join(bench.incremental, 'seen')
    const script = `
      (echo x > '${bench.deps}/written') 2>/dev/null
      [ -e '${bench.deps}/written' ] && echo shown >> '${out}'
      (echo x > '${bench.dir}/written') 2>/dev/null || echo refused >> '${out}'
      nice >> '${out}'
      echo "[$CARGO_MAKEFLAGS] $SHOAL" >> '${out}'`
    await bench.addStub('stub', script)
    bench.rest()
    await bench.lines.until(warmed)
    // What it wrote to cargo's out-dir it has seen there, and nobody else.
    assert.equal(await readFile(out, 'utf8'), 'shown\nrefused\n19\n[] off\n')
    assert.deepEqual(await readdir(bench.deps), ['stub-1.d'])
    assert.deepEqual(await readdir(bench.scratch), [])
  })
})

describe('nothing is warmed', () => {
  test('before the machine has been at rest for ten seconds', async (t) => {
    const bench = await WarmBench.create(t)
    await bench.addStub('stub', '')
    const still = async (): Promise<void> => {
      await new Promise(setImmediate)
      assert.equal(bench.lines.all.length, 0)
      assert.equal(bench.warmer.pending, 1)
      assert.equal(existsSync(bench.incremental), false)
    }
    bench.clock.advance(9900)
    await still()
    bench.warmer.giveWay()
    bench.clock.advance(9900)
    await still()
    bench.quiet = false
    bench.clock.advance(60_000)
    await still()
    bench.quiet = true
    bench.machine.busy = 2
    bench.clock.advance(60_000)
    await still()
    bench.machine.busy = 1.9
    bench.machine.battery = true
    bench.clock.advance(60_000)
    await still()
    bench.machine.battery = false
    bench.machine.free = 2 ** 29
    bench.clock.advance(60_000)
    await still()
    bench.machine.free = 2 ** 31
    bench.clock.advance(60_000)
    await bench.lines.until(warmed)
  })

  test('when it is switched off', async (t) => {
    const bench = await WarmBench.create(t, false)
    await bench.addStub('stub', '')
    assert.equal(bench.warmer.pending, 0)
    assert.equal(bench.clock.waiting, 0)
  })

  test('whose sources, dependencies or target directory are no longer the same', async (t) => {
    const bench = await WarmBench.create(t)
    await twoPackages(bench)
    await bench.add('base')
    await bench.edit(join(bench.packageDir('base'), 'src/lib.rs'), 'pub fn twice(n: u64) -> u64 { n + n }\n')
    bench.rest()
    assert.equal((await bench.lines.until(left)).reason, 'source-changed')

    await bench.add('top', { uses: ['base'] })
    await writeFile(join(bench.deps, 'libbase-1.rmeta'), 'another')
    bench.rest()
    assert.equal((await bench.lines.until(left, 2)).reason, 'dependency-changed')

    await bench.add('base')
    await rm(join(bench.dir, 'target'), { recursive: true })
    bench.rest()
    assert.equal((await bench.lines.until(left, 3)).reason, 'target-gone')
    assert.equal(existsSync(join(bench.dir, 'target')), false)
  })

  test('twice for the same sources', async (t) => {
    const bench = await WarmBench.create(t)
    await twoPackages(bench)
    await bench.add('base')
    bench.rest()
    await bench.lines.until(warmed)
    await bench.add('base')
    bench.rest()
    assert.equal((await bench.lines.until(left)).reason, 'warm')
    await rm(bench.incremental, { recursive: true })
    await bench.add('base')
    bench.rest()
    await bench.lines.until(warmed, 2)
    await bench.edit(join(bench.packageDir('base'), 'src/lib.rs'), 'pub fn twice(n: u64) -> u64 { n + n }\n')
    await bench.add('base')
    bench.rest()
    await bench.lines.until(warmed, 3)
  })
})

describe('what runs is killed', () => {
  const begun = 'begun'

  /** A unit whose compile does not end by itself, at work. */
  async function atWork(t: TestContext): Promise<WarmBench> {
    const bench = await WarmBench.create(t)
    await mkdir(bench.incremental, { recursive: true })
    await bench.addStub('stub', `touch ${bench.incremental}/${begun}; while :; do sleep 1; done`)
    bench.rest()
    await appears(bench.incremental, begun)
    assert.ok(runs(bench.dir))
    return bench
  }

  /** Resolves when no process shows this text any more. */
  async function gone(text: string): Promise<void> {
    while (runs(text)) await new Promise(setImmediate)
  }

  test('when a build begins, and tried again later, three times in all', async (t) => {
    const bench = await atWork(t)
    for (let attempt = 1; attempt <= 3; attempt++) {
      assert.equal(bench.warmer.pending, 1)
      bench.warmer.giveWay()
      assert.equal((await bench.lines.until(early, attempt)).reason, 'given-way')
      await gone(bench.dir)
      assert.deepEqual(await readdir(bench.scratch), [])
      if (attempt === 3) break
      await rm(join(bench.incremental, begun))
      bench.rest()
      await appears(bench.incremental, begun)
    }
    assert.equal(bench.warmer.pending, 0)
  })

  test('when its sources change', async (t) => {
    const bench = await atWork(t)
    await bench.edit(join(bench.packageDir('stub'), 'src/lib.rs'), 'pub fn f() {}\n')
    bench.clock.advance(1000)
    assert.equal((await bench.lines.until(early)).reason, 'source-changed')
    await gone(bench.dir)
    assert.equal(bench.warmer.pending, 0)
  })

  test('when the target directory is removed, which stays so', async (t) => {
    const bench = await atWork(t)
    await rm(join(bench.dir, 'target'), { recursive: true })
    bench.clock.advance(1000)
    await bench.lines.until(early)
    await gone(bench.dir)
    assert.equal(existsSync(join(bench.dir, 'target')), false)
  })

  test('when the node stops', async (t) => {
    const bench = await atWork(t)
    await bench.warmer.stop()
    await gone(bench.dir)
    assert.equal(existsSync(bench.scratch), false)
    assert.equal(bench.clock.waiting, 0)
  })
})

test('what an earlier node left behind is removed', async (t) => {
  const bench = await WarmBench.create(t)
  await mkdir(join(bench.scratch, 'old/out'), { recursive: true })
  const needs = { clock: bench.clock, log: bench.lines.logger, machine: bench.machine, env: {}, isQuiet: () => true }
  const none = { isUnchanged: async () => true, isEdited: async () => false }
  await Warmer.open({ ...needs, ...none }, { scratchDir: bench.scratch, enabled: true })
  assert.equal(existsSync(bench.scratch), false)
})

test('the list of what waits is bounded', async (t) => {
  const bench = await WarmBench.create(t)
  for (let at = 0; at < 515; at++) await bench.addStub(`c${at}`, '')
  assert.equal(bench.warmer.pending, 512)
})
