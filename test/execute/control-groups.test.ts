import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ControlGroups } from '../../src/execute/control-groups.ts'
import { defaultLimits, type GuestLimits } from '../../src/execute/limits.ts'

const opened = await ControlGroups.open(true)
const skip = typeof opened === 'string' ? opened : false
if (typeof opened !== 'string') await opened.close()

async function groups(background = true): Promise<ControlGroups> {
  const made = await ControlGroups.open(background)
  assert.ok(typeof made !== 'string', String(made))
  return made
}

/** Runs a script of sh in a group of its own. */
async function inside(script: string, limits: Partial<GuestLimits> = {}) {
  const made = await groups()
  const group = await made.make({ ...defaultLimits, tmpBytes: 0, ...limits })
  try {
    const enter = group.dirs.map((dir) => `echo 0 > ${join(dir, 'cgroup.procs')}`).join(' && ')
    const child = spawn('/bin/sh', ['-c', `${enter} && ${script}`], { stdio: ['ignore', 'pipe', 'ignore'] })
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    await once(child, 'close')
    return { stdout, exceeded: await group.exceeded(), dirs: group.dirs }
  } finally {
    await group.remove()
    await made.close()
  }
}

test('whoever enters is inside, and so is what it starts', { skip }, async () => {
  const { stdout, dirs, exceeded } = await inside('sh -c "cat /proc/self/cgroup"')
  assert.match(stdout, /shoal-guests-\d+-[0-9a-f]{8}\/guest-0$/m)
  assert.equal(exceeded, undefined)
  // Nothing is left of it.
  for (const dir of dirs) assert.ok(!existsSync(dirname(dir)))
})

test('the kernel keeps the limit on memory for all processes together', { skip }, async () => {
  // Each of them alone is within it.
  const take = `node -e 'const b = Buffer.alloc(60 << 20, 1); setTimeout(() => b, 2000)'`
  const { exceeded } = await inside(`for n in 1 2 3 4; do ${take} & done; wait`, { memoryBytes: 200 << 20 })
  assert.match(exceeded ?? '', /memory: the kernel/)
})

test('the kernel keeps the limit on tasks', { skip }, async () => {
  const { exceeded } = await inside('for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done; wait', { tasks: 4 })
  assert.match(exceeded ?? '', /tasks: the kernel/)
})

test('guests get a processor only when nobody else wants one, all of them together', { skip }, async () => {
  for (const background of [true, false]) {
    const made = await groups(background)
    const group = await made.make(defaultLimits)
    try {
      const idle = group.dirs.flatMap((dir) => [dir, dirname(dir)].map((at) => join(at, 'cpu.idle'))).filter(existsSync)
      for (const file of idle) assert.equal(readFileSync(file, 'utf8'), background ? '1\n' : '0\n', file)
    } finally {
      await group.remove()
      await made.close()
    }
  }
})

test('processes that run already are taken in, and those that are gone do not matter', { skip }, async () => {
  const made = await groups()
  const group = await made.make(defaultLimits)
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  try {
    const { pid = 0 } = child
    await group.enter([spawnSync('true').pid, pid])
    for (const dir of group.dirs) assert.equal(readFileSync(join(dir, 'cgroup.procs'), 'utf8'), `${pid}\n`)
  } finally {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    await group.remove()
    await made.close()
  }
})

test('what a daemon that is gone has left is removed, and nothing of one that runs', { skip }, async () => {
  const first = await groups()
  const group = await first.make(defaultLimits)
  const parents = group.dirs.map((dir) => dirname(dir))
  const gone = spawnSync('true').pid
  const stale = parents.map((parent) => join(dirname(parent), `shoal-guests-${gone}-00000000`))
  for (const dir of stale) mkdirSync(join(dir, 'guest-7'), { recursive: true })
  const second = await groups()
  try {
    for (const dir of stale) assert.ok(!existsSync(dir), dir)
    for (const dir of group.dirs) assert.ok(existsSync(dir), dir)
  } finally {
    await group.remove()
    await first.close()
    await second.close()
  }
})

test('two of one process are separate', { skip }, async () => {
  const [first, second] = [await groups(), await groups()]
  const group = await second.make(defaultLimits)
  try {
    await first.close()
    for (const dir of group.dirs) assert.ok(existsSync(dir), dir)
  } finally {
    await group.remove()
    await second.close()
  }
})
