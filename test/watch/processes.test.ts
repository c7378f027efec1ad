import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemProcesses } from '../../src/watch/processes.ts'

const hasPs = existsSync('/bin/ps')

for (const platform of process.platform === 'linux' ? (['linux', 'darwin'] as const) : (['darwin'] as const)) {
  test(`a process has one identity while it lives and none afterwards (the way of ${platform})`, {
    skip: !hasPs,
  }, async () => {
    const table = systemProcesses(platform)
    const child = spawn('sleep', ['60'])
    await once(child, 'spawn')
    const { pid = 0 } = child
    const identity = table.identify(pid)
    assert.equal(typeof identity, 'string')
    assert.equal(table.identify(pid), identity)
    child.kill()
    await once(child, 'exit')
    assert.equal(table.identify(pid), undefined)
  })
}

test('a program with brackets and spaces in its name is identified', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-watch-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const program = join(dir, 'a) Z (b')
  await copyFile('/bin/sleep', program)
  const child = spawn(program, ['60'])
  await once(child, 'spawn')
  t.after(() => child.kill())
  assert.match(systemProcesses('linux').identify(child.pid ?? 0) ?? '', /^\d+@\d+$/)
})
