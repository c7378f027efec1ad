import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type BenchMachine, Machines } from '../bench/machines.ts'
import { chains } from '../support/chains.ts'
import { artifacts, capture, lastReport, type Ran } from '../support/cluster.ts'
import { CompileWatch, processesIn } from '../support/compile-watch.ts'
import { type Files, writeFiles } from '../support/fixture.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { atRest, type Trouble, together, troubles } from '../support/troubles.ts'
import { until } from '../support/until.ts'

/** A process, a network and a word of leave; `SHOAL_FAULTS=all` for all of them. One that is stopped comes below. */
const tried = (process.env.SHOAL_FAULTS ?? 'killed,cut,goodbye').split(',')
/** About a second of a processor, so two of a machine's share, so that whatever happens to it happens in the middle. */
const work = { chains: 2, length: 2, steps: 700_000 }

describe('a lender is lost in the middle of a unit, and the build ends as without Shoal', { timeout: 600_000 }, () => {
  let machines: Machines | string
  let salt = 0

  before(async () => {
    machines = await Machines.open(3, 0.6, undefined, `shoal${(process.pid % 1000).toString().padStart(3, '0')}`)
    if (typeof machines === 'string') return
    // From here on it is known how long the units of this directory take, so that one of two is worth sending away.
    const dir = join(machines.dir, 'build')
    await writeFiles(dir, chains({ ...work, salt: `${process.pid}` }))
    await machines.cargo(0, dir, ['build', '--offline'], 'node')
  })
  after(async () => {
    if (typeof machines !== 'string') await machines.close()
  })

  /** What plain cargo makes of it. */
  async function plain(all: Machines, files: Files): Promise<Map<string, Buffer>> {
    const dir = join(all.dir, `plain${salt}`)
    await writeFiles(dir, files)
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(all.dir), CARGO_INCREMENTAL: '0' }
    const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return await artifacts(join(dir, 'target'))
  }

  /** Builds on the first machine; `act` is called when a lender is in the middle of a unit. */
  async function build(
    all: Machines,
    act: (lender: BenchMachine, crate: string, building: Promise<Ran>) => Promise<void>,
  ): Promise<{ crate: string; lender: BenchMachine }> {
    const files = chains({ ...work, salt: `${process.pid} ${salt}` })
    const expected = await plain(all, files)
    const dir = join(all.dir, 'build')
    salt += 1
    await writeFiles(dir, files)
    const watch = new CompileWatch(all.all)
    const logged = all.all[0]?.node.log.length
    try {
      const building = all.cargo(0, dir, ['build', '--offline'], 'node')
      let isOver = false
      building.then(
        () => (isOver = true),
        () => (isOver = true),
      )
      const isAway = (): boolean => {
        assert.ok(!isOver, `all was compiled at home: ${all.all[0]?.node.log.slice(logged)}`)
        return watch.all.some(({ at, until: ended }) => at > 0 && ended === undefined)
      }
      await until('a unit is away', isAway, { everyMs: 5 })
      const victim = watch.all.find(({ at, until: ended }) => at > 0 && ended === undefined)
      const lender = victim && all.all[victim.at]
      assert.ok(victim && lender)
      await act(lender, victim.crate, building)
      const ran = await building
      assert.equal(ran.code, 0, ran.stderr)
      const built = await artifacts(join(dir, 'target'))
      assert.deepEqual([...built.keys()].sort(), [...expected.keys()].sort())
      for (const [name, bytes] of expected) assert.ok(built.get(name)?.equals(bytes), name)
      return { crate: victim.crate, lender }
    } finally {
      watch.stop()
    }
  }

  /** Nothing of any compile is left anywhere. */
  async function assertNothingLeft(all: Machines): Promise<void> {
    await together(all.all)
    await atRest(all.all)
    const watch = new CompileWatch(all.all)
    watch.stop()
    assert.deepEqual(watch.all, [])
  }

  async function placeOf(all: Machines, crate: string): Promise<string> {
    const first = all.all[0]
    assert.ok(first)
    const unit = (await lastReport(first.node)).units.find((each) => each.crate === crate)
    assert.ok(unit, crate)
    return unit.where
  }

  for (const [name, trouble] of Object.entries<Trouble>(troubles)) {
    if (!tried.includes(name) && !tried.includes('all')) continue
    test(`it is ${trouble.title}`, async (t) => {
      if (typeof machines === 'string') return t.skip(machines)
      const all = machines
      let ends: (() => Promise<void>) | undefined
      try {
        const { crate, lender } = await build(all, async (machine) => {
          ends = () => trouble.end(machine)
          await trouble.begin(machine)
        })
        // While it is still in trouble, everything was done by others.
        assert.notEqual(await placeOf(all, crate), lender.node.name)
        if (trouble === troubles.killed) assert.deepEqual(processesIn(lender.freezer), [])
      } finally {
        await ends?.()
      }
      await assertNothingLeft(all)
    })
  }

  test('it stands still for longer than its lease, and goes on', async (t) => {
    if (typeof machines === 'string') return t.skip(machines)
    const all = machines
    const { crate, lender } = await build(all, async ({ node }) => {
      const builder = all.all[0]?.node
      const before = builder?.log.length
      node.daemon?.kill('SIGSTOP')
      await until('its lease is lost', () => /unit came back/.test(builder?.log.slice(before) ?? ''))
      node.daemon?.kill('SIGCONT')
    })
    assert.notEqual(await placeOf(all, crate), lender.node.name)
    await assertNothingLeft(all)
  })

  test('the builder itself stands still for longer than a lease: what lenders made meanwhile is taken', async (t) => {
    if (typeof machines === 'string') return t.skip(machines)
    const all = machines
    const builder = all.all[0]
    assert.ok(builder)
    let before = 0
    const { crate, lender } = await build(all, async () => {
      before = builder.node.log.length
      builder.node.daemon?.kill('SIGSTOP')
      await delay(3000)
      builder.node.daemon?.kill('SIGCONT')
    })
    assert.doesNotMatch(builder.node.log.slice(before), /"why":"(lease|lost)"/)
    assert.equal(await placeOf(all, crate), lender.node.name)
    await assertNothingLeft(all)
  })
})
