import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { isStopped, lockedBy } from '../../src/daemon/cargo-process.ts'

const stateOf = (pid: number): string => /\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1] ?? ''

async function settled(pid: number, state: string): Promise<void> {
  while (stateOf(pid) !== state) await setImmediate()
}

const linux = { skip: process.platform === 'linux' ? false : 'needs /proc' }

test('isStopped() tells a process that was stopped from one that waits', linux, async () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  const { pid = 0 } = child
  await settled(pid, 'S')
  assert.equal(isStopped(pid), false)
  process.kill(pid, 'SIGSTOP')
  await settled(pid, 'T')
  assert.equal(isStopped(pid), true)
  process.kill(pid, 'SIGCONT')
  await settled(pid, 'S')
  assert.equal(isStopped(pid), false)
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.equal(isStopped(pid), false)
})

test('isStopped() sees a process whose child was stopped before it became another program', linux, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'shoal-stopped-'))
  try {
    // Both of a group are told to stop, but who waits in vfork cannot hear it.
    writeFileSync(
      join(dir, 'waits.rs'),
      `extern "C" { fn vfork() -> i32; fn raise(signal: i32) -> i32; fn _exit(code: i32) -> !; }
       fn main() { unsafe { if vfork() == 0 { raise(19); _exit(0); } } }`,
    )
    execFileSync('rustc', ['-Aunused', '-o', join(dir, 'waits'), join(dir, 'waits.rs')], { stdio: 'ignore' })
    const child = spawn(join(dir, 'waits'), { stdio: 'ignore', detached: true })
    const { pid = 0 } = child
    try {
      await settled(pid, 'D')
      const inner = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'))
      await settled(inner, 'T')
      assert.equal(isStopped(pid), true)
    } finally {
      const ended = once(child, 'exit')
      process.kill(-pid, 'SIGKILL')
      await ended
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('lockedBy() tells in which profiles a cargo builds and puts what it built', linux, () => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'shoal-locks-')))
  const open: number[] = []
  try {
    for (const name of [
      'built/debug/.cargo-lock',
      'target/debug/.cargo-build-lock',
      'target/debug/.cargo-lock',
      'target/app.d',
      'locked/Cargo.lock',
    ]) {
      mkdirSync(join(dir, name, '..'), { recursive: true })
      open.push(openSync(join(dir, name), 'w'))
    }
    const here = lockedBy(process.pid).filter((path) => path.startsWith(dir))
    assert.deepEqual(here.sort(), [join(dir, 'built/debug'), join(dir, 'target/debug')])
    assert.deepEqual(lockedBy(2 ** 30), [])
  } finally {
    for (const descriptor of open) closeSync(descriptor)
    rmSync(dir, { recursive: true })
  }
})
