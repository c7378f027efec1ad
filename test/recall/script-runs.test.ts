import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import type { ReadSet } from '../../src/plan/action.ts'
import type { Root } from '../../src/plan/roots.ts'
import type { ScriptResult } from '../../src/plan/script-action.ts'
import type { PlannedScript } from '../../src/plan/script-plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import type { Ground } from '../../src/recall/evidence.ts'
import { placeReads } from '../../src/recall/run-place.ts'
import { ScriptRuns } from '../../src/recall/script-runs.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { content } from './support.ts'

const key = content('key')

/** A node that has seen runs of one script. */
class Node {
  readonly traces: Uint8Array[] = []
  readonly #blocks = new Map<string, Uint8Array>()
  readonly runs = new ScriptRuns({
    blocks: {
      get: async (cid) => this.#blocks.get(hexOf(cid)),
      has: async (cid) => this.#blocks.has(hexOf(cid)),
      put: async (bytes, codec) => {
        this.#blocks.set(hexOf(cidOf(bytes, codec)), bytes)
        return cidOf(bytes, codec)
      },
    },
    traces: {
      traces: async () => [...this.traces],
      add: async (_key, trace) => {
        await this.#remove(trace)
        this.traces.unshift(trace)
      },
      remove: async (_key, trace) => await this.#remove(trace),
    },
    log: silentLogger,
  })

  async #remove(trace: Uint8Array | undefined): Promise<void> {
    const left = this.traces.filter((each) => trace === undefined || Buffer.compare(each, trace) !== 0)
    this.traces.splice(0, this.traces.length, ...left)
  }

  /** A run in a place that said something, in its own time. */
  async saw(roots: Root[], said: string, { wallMs = 1, looked = [] as ReadSet['env'] } = {}): Promise<void> {
    const result: ScriptResult = {
      v: 2,
      action: key,
      entries: [],
      stdout: Buffer.from(said),
      stderr: new Uint8Array(),
      wallMs,
    }
    await this.runs.remember(result, { reads: placeReads(roots), env: looked })
  }

  async find(roots: Root[], env: [string, string][] = []): Promise<string> {
    const ground: Ground = {
      roots,
      dependencyDirs: [],
      env: new Map(env),
      view: new LocalView(new StatDigests(), ''),
      tree: async () => undefined,
    }
    const planned = { key, roots, call: { program: 'p' } as PlannedScript['call'] }
    const found = await this.runs.find(planned, ground)
    if ('entries' in found) return Buffer.from(found.stdout).toString()
    return `no: ${found.difference?.kind ?? 'never'} ${found.difference?.name ?? ''}`.trim()
  }
}

const placeOf = (name: string): Root[] => [
  { name: 'target', path: `/work/${name}/target` },
  { name: 'toolchain', path: '/opt/rust' },
]

test('a run is recalled where it was seen, and elsewhere from the third place on', async () => {
  const node = new Node()
  assert.equal(await node.find(placeOf('one')), 'no: never')
  await node.saw(placeOf('one'), 'cfg')
  assert.equal(await node.find(placeOf('one')), 'cfg')
  assert.match(await node.find(placeOf('second')), /^no: place target/)
  await node.saw(placeOf('second'), 'cfg', { wallMs: 2 })
  assert.equal(await node.find(placeOf('third-place')), 'cfg')
  assert.equal(await node.find(placeOf('four')), 'cfg')
  assert.match(
    await node.find([...placeOf('four').slice(0, 1), { name: 'toolchain', path: '/opt/rust-2' }]),
    /^no: place toolchain/,
  )
})

test('places of one length say nothing about each other', async () => {
  const node = new Node()
  await node.saw(placeOf('one'), 'cfg')
  await node.saw(placeOf('two'), 'cfg')
  assert.match(await node.find(placeOf('third-place')), /^no: place target/)
  assert.equal(await node.find(placeOf('two')), 'cfg')
})

test('what says something of its place is recalled in its own places only', async () => {
  const node = new Node()
  for (const name of ['one', 'second', 'third-place']) await node.saw(placeOf(name), `length ${name.length}`)
  assert.equal(await node.find(placeOf('one')), 'length 3')
  assert.equal(await node.find(placeOf('second')), 'length 6')
  assert.match(await node.find(placeOf('fourth')), /^no: place target/)
  // Also where two of them happened to say the same.
  await node.saw(placeOf('1234567'), 'length 3')
  assert.match(await node.find(placeOf('fourth')), /^no: place target/)
})

test('runs that looked at something else do not count, and are not lost', async () => {
  const node = new Node()
  await node.saw(placeOf('one'), 'cfg', { looked: [['FLAGS', '-O1']] })
  await node.saw(placeOf('second'), 'cfg', { looked: [['FLAGS', '-O2']] })
  assert.match(await node.find(placeOf('third-place'), [['FLAGS', '-O1']]), /^no: place target/)
  await node.saw(placeOf('second'), 'cfg', { looked: [['FLAGS', '-O1']] })
  assert.equal(await node.find(placeOf('third-place'), [['FLAGS', '-O1']]), 'cfg')
  assert.match(await node.find(placeOf('third-place'), [['FLAGS', '-O2']]), /^no: place target/)
  assert.equal(node.traces.length, 3)
})
