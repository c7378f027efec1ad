import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import { Standstill } from '../../src/execute/standstill.ts'
import { guestsOf, Macros } from './hostile-support.ts'
import { Lender, okResult } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false
// Tried by now, so that the only compilers are those of guests.
if (!skip) await lender.executor.prepare(lender.toolchain)

/** What the kernel says that the compilers among the guests do. */
function states(): string {
  const letters = guestsOf(lender.dir).map((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      return /^\d+ \(rustc/.test(stat) ? (stat.slice(stat.lastIndexOf(')') + 2)[0] ?? '') : ''
    } catch {
      // It has ended meanwhile.
      return ''
    }
  })
  return letters.join('')
}

async function until(state: RegExp): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    if (state.test(states())) return
    await delay(5)
  }
  throw new Error(`never ${state}: ${states()}`)
}

describe('standing still', { skip }, () => {
  test('stops guests where they are, starts none, and lets them end as they would have', async () => {
    const macros = new Macros(lender, {
      waits: 'for _ in 0..2000 { std::thread::sleep(std::time::Duration::from_millis(1)); } text("<<>>".into())',
    })
    const { standstill } = lender.executor
    const running = macros.run('waits')
    await until(/[RSD]/)
    standstill.hold()
    await until(/^T$/)
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
    await until(/[RSD]/)
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
