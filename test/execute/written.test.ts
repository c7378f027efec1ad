import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, copyFileSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { deletedOf, Written } from '../../src/execute/written.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-written-'))
chmodSync(dir, 0o755)
after(() => rmSync(dir, { recursive: true, force: true }))
const modulePath = fileURLToPath(new URL('../../src/execute/written.ts', import.meta.url))
const nobody = 65_534
/** Root may ask every process. */
const user = process.getuid?.() === 0 ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'] : []

function asUser(args: string[]): string {
  const [program = '', ...rest] = [...user, process.execPath, ...args]
  return execFileSync(program, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}

function canRun(): boolean {
  try {
    return asUser(['-e', `require(${JSON.stringify(modulePath)}); console.log('can')`]).trim() === 'can'
  } catch {
    return false
  }
}

const skip =
  process.platform !== 'linux' ? 'there is no /proc' : canRun() ? false : 'no user here but root may read this'

/** What a user sees of a process of its own that runs a file that it must not read. */
function looks(script: string): unknown {
  const program = join(dir, 'unreadable')
  copyFileSync('/bin/sleep', program)
  chmodSync(program, 0o111)
  const whole = `
    const { Written } = require(${JSON.stringify(modulePath)})
    const { spawn } = require('node:child_process')
    const child = spawn(${JSON.stringify(program)}, ['600'])
    const told = []
    const written = new Written()
    const look = (times, stands) => { for (let n = 0; n < times; n++) told.push(written.look([child.pid], stands) ?? 'hidden') }
    child.once('spawn', async () => {
      ${script}
      console.log(JSON.stringify(told))
      child.kill('SIGKILL')
    })`
  return JSON.parse(asUser(['-e', whole]))
}

describe('a process that keeps to itself what it has written', { skip }, () => {
  test('is a reason when it does so at five looks in a row', () => {
    assert.deepEqual(looks('look(6)'), [0, 0, 0, 0, 'hidden', 'hidden'])
  })

  test('is none while it stands still', () => {
    assert.deepEqual(looks('look(4); look(3, true); look(1)'), [0, 0, 0, 0, 0, 0, 0, 'hidden'])
  })

  test('nor once it is dead, whoever waits for it', () => {
    // Synchronous: nobody takes note of its end.
    const dies =
      "process.kill(child.pid, 'SIGKILL'); while (!/\\) Z/.test(require('node:fs').readFileSync('/proc/' + child.pid + '/stat', 'latin1'))); look(6)"
    assert.deepEqual(looks(dies), [0, 0, 0, 0, 0, 0])
    assert.deepEqual(
      looks("child.kill('SIGKILL'); await new Promise((go) => child.once('exit', go)); look(6)"),
      [0, 0, 0, 0, 0, 0],
    )
  })
})

describe('what is written', { skip: process.platform === 'linux' ? false : 'there is no /proc' }, () => {
  test('into a file that is deleted and open is found once, whoever has it open', () => {
    const path = join(dir, 'deleted')
    const [first, second] = [openSync(path, 'w'), openSync(path, 'r')]
    writeSync(first, Buffer.alloc(1 << 20))
    assert.equal(deletedOf([process.pid]), 0)
    rmSync(path)
    assert.ok(deletedOf([process.pid, process.pid]) >= 1 << 20)
    assert.ok(deletedOf([process.pid]) < 2 << 20)
    for (const fd of [first, second]) closeSync(fd)
    assert.equal(deletedOf([process.pid]), 0)
  })

  test('until there is hardly any room left is too much, whoever wrote it', {
    skip: process.getuid?.() === 0 ? false : 'only root mounts',
  }, (t) => {
    const at = mkdtempSync(join(dir, 'small-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', at])
    t.after(() => execFileSync('umount', ['-l', at]))
    const written = new Written()
    const write = (name: string, bytes: number): void => writeFileSync(join(at, name), Buffer.alloc(bytes))
    assert.equal(written.fills(at), false)
    write('half', 16 << 20)
    assert.equal(written.fills(at), false)
    write('nearly-all', 12 << 20)
    assert.equal(written.fills(at), true)
  })
})
