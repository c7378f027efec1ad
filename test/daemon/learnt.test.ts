import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { Learnt } from '../../src/daemon/learnt.ts'
import type { Task } from '../../src/market/driver.ts'
import { unitKind } from '../../src/plan/classify.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { openIndex, tempDir } from '../store/support.ts'

const unit = (crate: string, hash: string, needs: readonly string[], type = 'lib') => {
  const externs = needs.flatMap((need) => ['--extern', `${need.split('-')[0]}=/t/deps/lib${need}.rmeta`])
  const given = [
    '--crate-name',
    crate,
    '--crate-type',
    type,
    '--emit',
    'dep-info,metadata,link',
    '--out-dir',
    '/t/deps',
  ]
  const args = parseRustcArgs([...given, '-C', `extra-filename=-${hash}`, ...externs, 'src/lib.rs'])
  return { crate, kind: unitKind(args), args, env: new Map([['CARGO_PKG_NAME', crate]]) }
}

const task: Task = {
  build: new Uint8Array(16),
  toolchain: '',
  host: '',
  target: '',
  expectedMs: 250,
  rank: 0,
  mayGoAway: true,
  action: new Uint8Array(),
  inputs: new Uint8Array(),
}

/** `base` ← `long` and `short` ← `app`, as cargo asks; hashes of another version each time. */
const workspace = (hash: string) => [
  unit('base', hash, []),
  unit('short', hash, [`base-${hash}`]),
  unit('long', hash, [`base-${hash}`]),
  unit('app', hash, [`short-${hash}`, `long-${hash}`], 'bin'),
]

async function build(learnt: Learnt, id: number, dir: string, hash: string, took?: Record<string, number>) {
  const session = new Uint8Array(16).fill(id)
  const tasks: Record<string, Task> = {}
  for (const { env, ...asked } of workspace(hash)) {
    await learnt.asked(session, () => dir, asked, env)
    tasks[asked.crate] = learnt.known(task, session, asked, env)
    if (took !== undefined) learnt.took(session, asked, env, took[asked.crate] ?? 0)
  }
  await learnt.ended(session)
  return tasks
}

describe('what is learnt of a workspace', () => {
  const took = { base: 100, short: 10, long: 1000, app: 400 }

  test('a first build keeps to the order of cargo, the next one puts first what most waits for', async (t) => {
    const { datastore } = await openIndex(t, await tempDir(t))
    const first = await build(new Learnt({ datastore, log: silentLogger }), 1, '/w', 'a1', took)
    assert.deepEqual(new Set(Object.values(first).map(({ rank }) => rank)), new Set([0]))

    // Another process, and everything has another version.
    const again = new Learnt({ datastore, log: silentLogger })
    const next = await build(again, 2, '/w', 'b2')
    const ranks = Object.fromEntries(Object.entries(next).map(([crate, { rank }]) => [crate, rank]))
    assert.deepEqual(ranks, { base: 1450, short: 410, long: 1400, app: 400 })
    assert.equal(next.long?.expectedMs, 1000)

    // What was seen counts more than what Cargo.lock has to say; where nothing was, it is all that there is.
    const [base] = workspace('c3')
    assert.ok(base)
    for (const [id, dir, rank] of [
      [4, '/w', 1450],
      [5, '/new', 77],
    ] as const) {
      const session = new Uint8Array(16).fill(id)
      await again.asked(session, () => dir, base, base.env)
      assert.equal(again.known(task, session, base, base.env, 77).rank, rank)
    }

    const elsewhere = await build(again, 3, '/other', 'b2')
    assert.equal(elsewhere.long?.rank, 0)
    assert.equal(elsewhere.long?.expectedMs, 250)
  })

  test('what stays here keeps its rank, and a damaged record is as none', async (t) => {
    const { datastore } = await openIndex(t, await tempDir(t))
    const learnt = new Learnt({ datastore, log: silentLogger })
    await build(learnt, 1, '/w', 'a1', took)
    const session = new Uint8Array(16).fill(2)
    const [base] = workspace('a1')
    assert.ok(base)
    await learnt.asked(session, () => '/w', base, base.env)
    const staying = { ...task, mayGoAway: false, rank: Number.MAX_SAFE_INTEGER }
    assert.equal(learnt.known(staying, session, base, base.env).rank, Number.MAX_SAFE_INTEGER)
    for await (const { key } of datastore.query({})) await datastore.put(key, new Uint8Array([1, 2, 3]))
    const damaged = await build(new Learnt({ datastore, log: silentLogger }), 3, '/w', 'a1', took)
    assert.equal(damaged.long?.rank, 0)
  })
})
