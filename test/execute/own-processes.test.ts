import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { areOwn } from '../../src/execute/own-processes.ts'

const skip = process.platform !== 'linux'
const gone = spawnSync('true').pid

test('a process, what it has started, and whoever of its own program has started it, with all of that', {
  skip,
}, async () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  try {
    await once(child, 'spawn')
    assert.ok(child.pid)
    assert.ok(await areOwn([process.pid, child.pid, gone]))
    assert.ok(await areOwn([child.pid]))
    // The test runner, which is the same program.
    assert.ok(await areOwn([process.pid, process.ppid, child.pid]))
  } finally {
    child.kill('SIGKILL')
  }
})

test('not what others have started', { skip }, async () => {
  assert.ok(!(await areOwn([process.pid, 1])))
  // Whoever is not in the group leads nowhere: its other children are not this one's.
  const script = `import { areOwn } from ${JSON.stringify(new URL('../../src/execute/own-processes.ts', import.meta.url).href)}
    console.log(await areOwn([process.pid, process.ppid]), await areOwn([process.pid]))`
  const shell = spawnSync('sh', ['-c', '"$@"; true', 'sh', process.execPath, '--input-type=module', '-e', script])
  assert.equal(String(shell.stdout), 'false true\n')
})
