import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { cpuMsOf } from '../../src/execute/cpu-time.ts'

const busy = `
  const until = 150_000
  while (process.cpuUsage().user + process.cpuUsage().system < until);
  process.stdout.write('done')
  process.stdin.resume()
`

describe('cpuMsOf()', { skip: process.platform !== 'linux' }, () => {
  it('counts a process and what it has started, and is 0 when they have ended', async () => {
    const script = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(busy)}], { stdio: 'inherit' })`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const closed = once(child, 'close')
    assert.ok(child.pid !== undefined)
    try {
      await once(child.stdout, 'data')
      // The kernel counts in hundredths of a second.
      assert.ok(cpuMsOf(child.pid) >= 130, `${cpuMsOf(child.pid)}`)
    } finally {
      child.stdin.end()
      await closed
    }
    assert.equal(cpuMsOf(child.pid), 0)
  })
})
