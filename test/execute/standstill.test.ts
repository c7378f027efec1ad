import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Standstill } from '../../src/execute/standstill.ts'
import { guestsOf, Macros } from './hostile-support.ts'
import { Lender, okResult } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

/** Letters of the kernel for what the compilers among the guests do. */
const states = (): string =>
  guestsOf(lender.dir)
    .map((pid) => readFileSync(`/proc/${pid}/stat`, 'latin1'))
    .filter((stat) => /^\d+ \(rustc/.test(stat))
    .map((stat) => stat.slice(stat.lastIndexOf(')') + 2)[0])
    .join('')

describe('standing still', { skip }, () => {
  test('stops guests where they are, starts none, and lets them end as they would have', async () => {
    const macros = new Macros(lender, {
      waits:
        'let end = std::time::Instant::now() + std::time::Duration::from_millis(700); while std::time::Instant::now() < end {} text("<<>>".into())',
    })
    const { standstill } = lender.executor
    const running = macros.run('waits')
    while (!/[RSD]/.test(states())) await setImmediate()
    standstill.hold()
    while (!/^T$/.test(states())) await setImmediate()
    let isOver = false
    const second = lender
      .run(await lender.prepare({ crate: 'second', files: { 'src/lib.rs': 'pub fn f() {}' } }))
      .finally(() => {
        isOver = true
      })
    standstill.letGo()
    standstill.hold()
    assert.equal(isOver, false)
    standstill.letGo()
    okResult(await running)
    okResult(await second)
  })

  test('a guest that stands still can be stopped for good, and one that waits to start, too', async () => {
    const macros = new Macros(lender, { waits: 'forever()' })
    const { standstill } = lender.executor
    const [early, late] = [new AbortController(), new AbortController()]
    const running = macros.run('waits', { signal: early.signal })
    while (!/[RSD]/.test(states())) await setImmediate()
    standstill.hold()
    const waiting = macros.run('waits', { signal: late.signal })
    const both = Promise.all([assert.rejects(running, /enough/), assert.rejects(waiting, /too late/)])
    early.abort(new Error('enough'))
    late.abort(new Error('too late'))
    await both
    standstill.letGo()
    assert.deepEqual(guestsOf(lender.dir), [])
  })
})

test('who passes waits for the end of the last of several holds', async () => {
  const standstill = new Standstill()
  await standstill.pass(new AbortController().signal)
  standstill.hold()
  let hasPassed = false
  const passing = standstill.pass(new AbortController().signal).then(() => {
    hasPassed = true
  })
  standstill.letGo()
  standstill.hold()
  await setImmediate()
  assert.ok(!hasPassed)
  standstill.letGo()
  await passing
})
