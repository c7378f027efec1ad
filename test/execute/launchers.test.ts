import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, beforeEach, describe, test } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { ControlGroups } from '../../src/execute/control-groups.ts'
import { entryProgram } from '../../src/execute/entry-program.ts'
import { type Launcher, Launchers, quoted } from '../../src/execute/launchers.ts'
import { defaultLimits } from '../../src/execute/limits.ts'
import { waitingBubblewrap, waitingShell } from '../../src/execute/sandbox.ts'
import { seccompFilter } from '../../src/execute/seccomp.ts'

const opened = await ControlGroups.open(true)
const scratch = mkdtempSync(join(tmpdir(), "shoal-launchers-it's-"))
const isLinux = process.platform === 'linux'
let expire: (() => void)[] = []
/** Nothing is due until the test says so. */
const clock: Clock = {
  ...systemClock,
  after: (_, run) => {
    expire.push(run)
    return () => {
      expire = expire.filter((each) => each !== run)
    }
  },
}
let launchers: Launchers

beforeEach(() => {
  const groups = typeof opened === 'string' ? undefined : opened
  const none = { users: undefined, chrt: undefined, background: false, inherited: [] }
  launchers = new Launchers({ ...none, waiting: waitingShell(undefined), groups, clock })
})

afterEach(async () => {
  await launchers.close()
  assert.deepEqual(children(), [])
})

after(async () => {
  if (typeof opened !== 'string') await opened.close()
  rmSync(scratch, { recursive: true, force: true })
})

const children = (): string[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1')
    .split(' ')
    .filter((text) => text !== '')

/** Has it become a program. @returns what that says */
async function becomes(launcher: Launcher, command: string): Promise<string> {
  const script = join(scratch, `script-${launcher.child.pid}`)
  writeFileSync(script, `exec ${command}\n`)
  let said = ''
  launcher.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = once(launcher.child, 'close')
  launcher.launch([`. ${quoted(script)}\n`])
  await ended
  return said
}

test('what a launcher becomes is in a group of its own from the first instruction on', {
  skip: typeof opened === 'string' && opened,
}, async () => {
  for (const n of [0, 1, 2]) {
    const launcher = await launchers.take(defaultLimits)
    launchers.refill(defaultLimits)
    const { group } = launcher
    assert.ok(group)
    const said = await becomes(launcher, '/bin/cat /proc/self/cgroup')
    for (const dir of group.dirs)
      assert.ok(said.includes(dir.slice(dir.indexOf('/shoal-guests'))), `${n}: ${dir}\n${said}`)
    launchers.giveBack(launcher)
    await launchers.close()
    for (const dir of group.dirs) assert.ok(!existsSync(dir), dir)
  }
})

test('it becomes what it is told, has nothing of the environment, and is told no more', {
  skip: !isLinux,
}, async () => {
  const launcher = await launchers.take(defaultLimits)
  const said = await becomes(launcher, `/bin/sh -c ${quoted(`/usr/bin/env; cat; echo "it's $0"; ls /proc/self/fd`)}`)
  assert.match(said, /^it's \/bin\/sh$/m)
  assert.deepEqual(
    said.split('\n').filter((line) => line.includes('=') && !/^(PWD|OLDPWD|SHLVL|_)=/.test(line)),
    [],
  )
  launchers.giveBack(launcher)
})

test('as many wait as guests run, and none when nobody has come for a while', { skip: !isLinux }, async () => {
  const first = await launchers.take(defaultLimits)
  assert.equal(children().length, 1)
  launchers.refill(defaultLimits)
  launchers.refill(defaultLimits)
  const second = await launchers.take(defaultLimits)
  assert.equal(children().length, 2)
  launchers.refill(defaultLimits)
  assert.equal(children().length, 4)
  for (const launcher of [first, second]) {
    await becomes(launcher, '/bin/true')
    launchers.giveBack(launcher)
  }
  assert.equal(children().length, 2)
  assert.equal(expire.length, 1)
  for (const run of expire) run()
  await launchers.close()
  assert.deepEqual(children(), [])
})

test('those that wait are not for guests with other limits, nor of use when somebody ended them', {
  skip: !isLinux,
}, async () => {
  const first = await launchers.take(defaultLimits)
  launchers.refill(defaultLimits)
  const other = await launchers.take({ ...defaultLimits, tasks: 17 })
  if (other.group !== undefined) {
    const files = other.group.dirs.map((dir) => join(dir, 'pids.max')).filter(existsSync)
    assert.deepEqual(
      files.map((file) => readFileSync(file, 'utf8')),
      ['21\n'],
    )
  }
  launchers.refill({ ...defaultLimits, tasks: 17 })
  const third = await launchers.take({ ...defaultLimits, tasks: 17 })
  launchers.refill({ ...defaultLimits, tasks: 17 })
  const pid = Number(children().at(-1))
  assert.ok(![first, other, third].some(({ child }) => child.pid === pid))
  while (!/sh$/.test(readFileSync(`/proc/${pid}/comm`, 'latin1').trim()))
    await new Promise((then) => setImmediate(then))
  process.kill(pid, 'SIGKILL')
  const fourth = await launchers.take({ ...defaultLimits, tasks: 17 })
  assert.equal(await becomes(fourth, '/bin/echo lives'), 'lives\n')
  // Given back as they are, as after a failure on the way.
  for (const launcher of [first, other, third, fourth]) launchers.giveBack(launcher)
})

const arch = process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined
const [bubblewrap, unshare] = ['/usr/bin/bwrap', '/usr/bin/unshare']

describe('bubblewrap that waits', { skip: (arch === undefined || !existsSync(bubblewrap)) && 'there is none' }, () => {
  const asRoot = process.getuid?.() === 0
  const system = ['/usr', '/lib', '/lib64'].flatMap((dir) => ['--ro-bind-try', dir, dir])
  const options = [...system, '--perms', '0555', '--file', '6', '/shoal-entry', '--unshare-uts'].map(
    (word) => `${word}\0`,
  )
  const filter = seccompFilter(arch ?? 'x64')
  const entry = entryProgram(arch ?? 'x64', { limits: [], program: ['/usr/bin/ls', '/', '/usr/../shoal-entry'] })

  beforeEach(() => {
    const none = { users: undefined, groups: undefined, chrt: undefined, background: false, inherited: [] }
    const waiting = waitingBubblewrap({ bubblewrap, disableUserns: false, asRoot, unshare: undefined })
    launchers = new Launchers({ ...none, waiting, clock })
  })

  /** @returns what the guest has said, and what bubblewrap has */
  async function told(...all: (string | Uint8Array)[]): Promise<{ guest: string; status: string }> {
    const launcher = await launchers.take(defaultLimits)
    const { stdout, stdio } = launcher.child
    const said = { guest: '', status: '' }
    stdout?.on('data', (chunk: Buffer) => {
      said.guest += chunk
    })
    stdio[3]?.on('data', (chunk: Buffer) => {
      said.status += chunk
    })
    const ended = once(launcher.child, 'close')
    launcher.launch(all)
    await ended
    launchers.giveBack(launcher)
    return said
  }

  test('becomes a guest in an empty root', async () => {
    const { guest, status } = await told(options.join(''), filter, entry)
    assert.match(guest, /^\/usr\/\.\.\/shoal-entry\n\n\/:\n(lib(64)?\n)*shoal-entry\nusr\n$/)
    assert.match(status, /"child-pid": \d+/)
    assert.match(status, /"exit-code": 0\b/)
  })

  test('is in namespaces of its own, also where some of them are made ahead', {
    skip: !(asRoot && existsSync(unshare)) && 'only root makes them ahead, with util-linux',
  }, async () => {
    const none = { users: undefined, groups: undefined, chrt: undefined, background: false, inherited: [] }
    launchers = new Launchers({
      ...none,
      waiting: waitingBubblewrap({ bubblewrap, disableUserns: false, asRoot, unshare }),
      clock,
    })
    const launcher = await launchers.take(defaultLimits)
    const sleeps = entryProgram(arch ?? 'x64', { limits: [], program: ['/usr/bin/sleep', '60'] })
    launcher.launch([options.join(''), filter, sleeps])
    const [status] = (await once(launcher.child.stdio[3] ?? launcher.child, 'data')) as [Buffer]
    const pid = Number(/"child-pid": (\d+)/.exec(status.toString())?.[1])
    const of = (who: number | 'self') =>
      ['ipc', 'mnt', 'net', 'pid', 'uts'].map((name) => readlinkSync(`/proc/${who}/ns/${name}`))
    const own = of('self')
    assert.deepEqual(
      of(pid).filter((name) => own.includes(name)),
      [],
    )
    const ended = once(launcher.child, 'close')
    process.kill(pid, 'SIGKILL')
    await ended
    launchers.giveBack(launcher)
  })

  test('runs nothing when whoever was to tell it is gone before the end', async () => {
    const all = [options.join(''), filter, entry] as const
    for (const at of [0, 1, 2])
      for (const share of [0, 0.5]) {
        const some = all.map((part, n) => (n === at ? part.slice(0, Math.floor(part.length * share)) : part))
        const { guest, status } = await told(...some)
        assert.equal(guest, '', `${at} ${share}`)
        assert.doesNotMatch(status, /"exit-code": 0\b/)
        // No process was there that could be left behind.
        if (at === 0) assert.equal(status, '')
      }
  })
})
