import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { chooseIds, firstUnreadable, GuestUsers, letRead, makeReadable } from '../../src/execute/guest-users.ts'
import { guestsOf, Macros } from './hostile-support.ts'
import { Lender } from './support.ts'

const all = '         0          0 4294967295\n'
const scratch = mkdtempSync(join(tmpdir(), 'shoal-users-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const isRoot = process.getuid?.() === 0

test('guests get numbers that no system and no directory hands out', () => {
  for (let n = 0; n < 100; n++) {
    const [first, last] = chooseIds({ maps: [all, all], names: [] }) ?? [0, 0]
    assert.ok(first > 2_000_200_000 && last < 2 ** 31 && last - first === 1023, `${first}-${last}`)
  }
})

test('in a container they are such that exist there, for users and for groups', () => {
  const small = '0 100000 65536\n'
  for (const maps of [
    [small, all],
    [all, small],
    ['0 1000 1\n1 100000 65535\n', small],
  ]) {
    const [first, last] = chooseIds({ maps, names: [] }) ?? [0, 0]
    assert.ok(first >= 60706 && last <= 61183 && last > first, `${first}-${last}`)
  }
})

test('where there are none, or somebody has one of them, nobody is taken for nobody', () => {
  assert.equal(chooseIds({ maps: ['0 1000 1\n', '0 1000 1\n'], names: [] }), undefined)
  assert.equal(chooseIds({ maps: ['0 100000 60708\n', all], names: [] }), undefined)
  const [passwd, group] = ['root:x:0:0::/:\nodd:x:60900:100::/:\n', 'root:x:0:\n']
  assert.equal(chooseIds({ maps: ['0 100000 65536\n', all], names: [passwd, group] }), undefined)
})

test('no two guests that run are the same user, and there is an end to them', () => {
  const users = new GuestUsers([10, 12])
  assert.deepEqual([users.take(), users.take()], [10, 11])
  users.giveBack(10)
  assert.deepEqual([users.take(), users.take()], [12, 10])
  assert.throws(() => users.take(), { code: 'ERR_LIMIT' })
})

test('what a node with any mask has made is made readable, and what is closed is found', () => {
  const dir = join(scratch, 'closed')
  mkdirSync(dir, { mode: 0o700 })
  const before = process.umask(0o077)
  try {
    makeReadable(join(dir, 'a/b'))
    writeFileSync(join(dir, 'a/b/file'), '')
    writeFileSync(join(dir, 'a/b/program'), '', { mode: 0o700 })
    assert.equal(firstUnreadable(dir, ['a/b/file']), join(dir, 'a/b/file'))
    for (const name of ['file', 'program']) letRead(join(dir, 'a/b', name))
    assert.equal(firstUnreadable(dir, ['a/b/file', 'a/b/program']), undefined)
    mkdirSync(join(dir, 'c'))
    writeFileSync(join(dir, 'c/file'), '', { mode: 0o444 })
    letRead(join(dir, 'c/file'))
    assert.equal(firstUnreadable(dir, ['c/file']), join(dir, 'c'))
  } finally {
    process.umask(before)
  }
  const modes = ['', 'a', 'a/b', 'a/b/file', 'a/b/program'].map((path) => statSync(join(dir, path)).mode & 0o777)
  assert.deepEqual(modes, [0o700, 0o755, 0o755, 0o644, 0o755])
})

test('all that runs in a sandbox of root is somebody else, seen from outside', { skip: !isRoot }, async (t) => {
  const lender = new Lender()
  // As strict as a mask can be: what the guest has to read is not readable by chance.
  const before = process.umask(0o077)
  t.after(() => process.umask(before))
  t.after(() => lender.stop())
  await lender.start()
  if (lender.executor.tier === 'none') return t.skip(lender.executor.reason)
  const macros = new Macros(lender, {
    waits:
      'eprintln!("here"); for _ in 0..2 { std::thread::spawn(|| forever()); } std::fs::write(format!("{}/made", out()), "").unwrap(); forever()',
  })
  const stop = new AbortController()
  t.after(() => stop.abort(new Error('the test is over')))
  const guests = [0, 1].map(() => macros.run('waits', { signal: stop.signal }).catch((error: unknown) => error))
  const work = join(lender.dir, 'work')
  const made = (): string[] =>
    readdirSync(work).flatMap((name) => {
      const out = join(work, name, 'out/made')
      return statSync(out, { throwIfNoEntry: false }) === undefined ? [] : [out]
    })
  while (made().length < 2) await new Promise((resolve) => setImmediate(resolve))
  const field = (text: string, name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1] ?? '?'
  const statusOf = (pid: string, thread = pid): string => readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')
  const all = guestsOf(lender.dir).filter((pid) =>
    /shoal-\d{32}/.test(readFileSync(`/proc/${pid}/mountinfo`, 'latin1')),
  )
  const isFirst = (pid: string): boolean => field(statusOf(pid), 'NSpid').endsWith('\t1')
  const inside = all.filter((pid) => !isFirst(pid))
  assert.deepEqual([all.length, inside.length], [4, 2])
  // What waits for the others is bubblewrap's, and may do nothing.
  for (const pid of all.filter(isFirst)) {
    assert.equal(field(statusOf(pid), 'Name'), 'bwrap')
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(field(statusOf(pid), set), /^0{16}$/, set)
  }
  const ids = new Set<string>()
  for (const pid of inside) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const status = statusOf(pid, thread)
      const [user = ''] = new Set(field(status, 'Uid').split('\t'))
      assert.ok(Number(user) > 60000 && Number(user) !== 65534, user)
      for (const name of ['Uid', 'Gid']) assert.deepEqual([...new Set(field(status, name).split('\t'))], [user])
      assert.equal(field(status, 'Groups').trim(), '')
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        assert.match(field(status, set), /^0{16}$/, set)
      assert.equal(field(status, 'NoNewPrivs'), '1')
      assert.equal(field(status, 'Seccomp'), '2')
      ids.add(user)
    }
  }
  assert.equal(ids.size, 2)
  for (const path of made()) assert.ok(ids.has(`${statSync(path).uid}`))
  stop.abort(new Error('enough'))
  await Promise.all(guests)
  await lender.executor.idle()
  assert.deepEqual(guestsOf(lender.dir), [])
})
