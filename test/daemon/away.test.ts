import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import { readsAway } from '../../src/daemon/away.ts'
import { StaysHere } from '../../src/daemon/stays-here.ts'
import { encodeTrace, type ReadSet, type Trace } from '../../src/plan/action.ts'
import { content, placeIn, planned } from '../recall/support.ts'

describe('what a lender says that a compile looked at', () => {
  let dir: string
  let staysHere: StaysHere
  const cid = content('result')
  const source: ReadSet['reads'][number] = ['file', '\0workspace\0/x/src/lib.rs', content('lib')]

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-away-'))
    await mkdir(join(dir, 'ws/x/src'), { recursive: true })
    await writeFile(join(dir, 'ws/x/src/lib.rs'), 'lib')
    await writeFile(join(dir, 'ws/x/.env'), 'SECRET=1')
  })
  after(() => rm(dir, { recursive: true, force: true }))
  beforeEach(() => {
    staysHere = new StaysHere()
  })

  const trace = (change: Partial<Trace>): Uint8Array =>
    encodeTrace({ v: 2, action: planned.key, reads: [source], env: [], result: cid, ...change }).bytes

  function held(bytes: Uint8Array, usesMacros = true, depInfo = 'x.d: x/src/lib.rs\n'): Promise<ReadSet> {
    const place = placeIn(dir, { env: new Map([['MOOD', 'good']]), tree: async () => content('doc') })
    const declared: ReadSet = { reads: [source], env: [['DECLARED', null]] }
    const needs = { staysHere, declaredReads: async () => declared }
    const env: typeof planned.action.env = [...planned.action.env, ['OUT_DIR', '\0build\0']]
    const unit = { ...planned, usesMacros, action: { ...planned.action, env } }
    return readsAway({ cid, trace: bytes, depInfo }, { planned: unit, place }, needs)
  }

  test('is believed when all of it holds here', async () => {
    const env: ReadSet['env'] = [['UNSET', null]]
    const absent: ReadSet['reads'][number] = ['absent', '\0workspace\0/x/.git', null]
    const reads = [absent, source]
    assert.deepEqual(shown(await held(trace({ reads, env }))), shown({ reads, env }))
  })

  for (const [what, change, lasting] of [
    ['a file that it missed', { reads: [['absent', '\0workspace\0/x/.env', null]] }, true],
    ['a variable that it missed', { env: [['MOOD', null]] }, true],
    ['another listing', { reads: [['list', '\0workspace\0/x', content('listing')]] }, true],
    ['a source that was edited meanwhile', { reads: [['file', source[1], content('older')]] }, false],
  ] as const satisfies [string, Partial<Trace>, boolean][]) {
    test(`is refused for ${what}${lasting ? ', and the unit stays here from then on' : ''}`, async () => {
      await assert.rejects(held(trace(change)), { code: 'ERR_INPUT_MISSING' })
      assert.equal(staysHere.reason(planned.key), lasting ? 'source-outside-package' : undefined)
    })
  }

  test('is refused when it leaves a source out, or covers one with another directory', async () => {
    for (const reads of [
      [],
      [['absent', '\0workspace\0/x/.git', null]],
      [['tree', '\0workspace\0/doc', content('doc')]],
    ] as const) {
      await assert.rejects(held(trace({ reads: [...reads] as ReadSet['reads'] })), { code: 'ERR_OUTPUT' })
    }
    await assert.rejects(held(trace({}), true, 'x.d: x/src/lib.rs x/src/more.rs\n'), { code: 'ERR_OUTPUT' })
  })

  test('is refused when its dep-info names what was not read: cargo would make it anew each time', async () => {
    const depInfo = 'x.d: x/src/lib.rs x/gone.rs\n'
    const gone: ReadSet['reads'][number] = ['absent', '\0workspace\0/x/gone.rs', null]
    await assert.rejects(held(trace({ reads: [gone, source] }), true, depInfo), { code: 'ERR_OUTPUT' })
    const asking = (told: string): Promise<ReadSet> =>
      held(trace({ env: [['UNSET', null]] }), true, `x.d: x/src/lib.rs\n\n# env-dep:${told}\n`)
    for (const told of ['MOOD=bad', 'UNSET=1', 'CARGO_PKG_NAME=y', 'CARGO_PKG_NAME', 'OTHER'])
      await assert.rejects(asking(told), { code: 'ERR_OUTPUT' }, told)
    for (const told of ['UNSET', 'CARGO_PKG_NAME=x']) await asking(told)
  })

  test('is refused when a name leads out of a linked directory to another file than the trace names', async () => {
    await mkdir(join(dir, 'elsewhere/linked'), { recursive: true })
    await symlink(join(dir, 'elsewhere/linked'), join(dir, 'ws/linked'))
    try {
      const depInfo = 'x.d: linked/../x/src/lib.rs\n'
      await assert.rejects(held(trace({}), true, depInfo), { code: 'ERR_OUTPUT' })
      const plain = 'x.d: x/src/../src/lib.rs\n'
      assert.equal(shown(await held(trace({}), true, plain)), shown({ reads: [source], env: [] }))
    } finally {
      await rm(join(dir, 'ws/linked'))
    }
  })

  test('is refused, and not followed, when it leads to where nothing ends, or into a home', async () => {
    for (const read of [
      ['file', '/proc/self/pagemap', content('x')],
      ['file', '/dev/zero', content('x')],
      ['tree', '/', content('doc')],
      ['absent', join(homedir(), '.shoal-there-is-no-such-file'), null],
    ] as const) {
      staysHere = new StaysHere()
      await assert.rejects(held(trace({ reads: [source, read] as unknown as ReadSet['reads'] })), {
        code: 'ERR_INPUT_MISSING',
      })
      assert.equal(staysHere.reason(planned.key), 'source-outside-package')
    }
  })

  test('is refused when it is bound to a place, and the unit stays here from then on', async () => {
    await assert.rejects(held(trace({ reads: [['bound', '', content('there')], source] })), { code: 'ERR_PATH_BOUND' })
    assert.equal(staysHere.reason(planned.key), 'path-bound')
  })

  test('is refused when a source computes with OUT_DIR, which is another one there, and the unit stays here', async () => {
    const depInfo = 'x.d: x/src/lib.rs\n\n# env-dep:OUT_DIR=\0build\0\n'
    assert.equal(shown(await held(trace({}), true, depInfo)), shown({ reads: [source], env: [] }))
    await writeFile(join(dir, 'ws/x/src/lib.rs'), 'const N: usize = env!("OUT_DIR").len();')
    try {
      const edited: ReadSet['reads'][number] = ['file', source[1], content('const N: usize = env!("OUT_DIR").len();')]
      await assert.rejects(held(trace({ reads: [edited] }), true, depInfo), { code: 'ERR_PATH_BOUND' })
      assert.equal(staysHere.reason(planned.key), 'path-bound')
    } finally {
      await writeFile(join(dir, 'ws/x/src/lib.rs'), 'lib')
    }
  })

  test('is refused when it is of another action, of another result, or no trace', async () => {
    for (const [bytes, code] of [
      [trace({ action: content('another') }), 'ERR_OUTPUT'],
      [trace({ result: content('another') }), 'ERR_OUTPUT'],
      [Buffer.from('garbage'), 'ERR_DECODE'],
      [trace({}).subarray(0, -1), 'ERR_DECODE'],
      [Buffer.concat([trace({}), Buffer.from([0])]), 'ERR_DECODE'],
      [new Uint8Array((1 << 19) + 1), 'ERR_DECODE'],
    ] as const) {
      await assert.rejects(held(bytes), { code })
    }
    assert.equal(staysHere.reason(planned.key), undefined)
  })

  test('may be nothing but the dep-info only of a unit without macros', async () => {
    const none = new Uint8Array()
    assert.deepEqual(await held(none, false), { reads: [source], env: [['DECLARED', null]] })
    await assert.rejects(held(none, true), { code: 'ERR_INPUT_MISSING' })
  })
})

const shown = ({ reads, env }: ReadSet): string => JSON.stringify([reads, env])

describe('units that stay here', () => {
  test('are remembered by the last few thousand actions', () => {
    const staysHere = new StaysHere()
    staysHere.add(content('first'), 'unobserved')
    staysHere.add(content('second'), 'source-outside-package')
    for (let n = 0; n < 4095; n++) staysHere.add(content(`${n}`), 'unobserved')
    assert.equal(staysHere.reason(content('first')), undefined)
    assert.equal(staysHere.reason(content('second')), 'source-outside-package')
  })
})
