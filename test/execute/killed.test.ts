import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { guestsOf } from './hostile-support.ts'

const program = join(import.meta.dirname, 'fake-lender-program.ts')
const made = 'std::fs::write(format!("{}/made", out()), "").unwrap(); forever()'
const bodies = {
  'a guest': made,
  'a guest that does not want to be told of its parent’s end': `unsafe { prctl(1, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long); } ${made}`,
}

// The runner's time limit is what fails these: a guest that goes on would go on for ever.
for (const [name, body] of Object.entries(bodies)) {
  test(`${name} ends with the node that is killed`, {
    skip: process.platform !== 'linux',
    timeout: 60_000,
  }, async (t) => {
    const lender = spawn(process.execPath, [program, body], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(lender, 'exit')
    t.after(() => lender.kill('SIGKILL'))
    const said: string[] = []
    for await (const line of createInterface({ input: lender.stdout })) {
      said.push(line)
      if (line === 'none' || said.length === 2) break
    }
    const [tier, dir = ''] = said
    if (tier === 'none') return t.skip('there is no sandbox here')
    assert.ok(existsSync(dir) && guestsOf(dir).length > 0)
    lender.kill('SIGKILL')
    await ended
    while (guestsOf(dir).length > 0) await setImmediate()
    await rm(dir, { recursive: true })
  })
}
