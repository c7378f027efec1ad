import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byteCount } from '../../src/cli/render.ts'
import { type Answers, fakeDaemon } from './fake-daemon.ts'
import { shoal, temporaryHome } from './shoal.ts'

const stats = { schema: 1, results: 7, blocks: 12, bytes: 3 * 1024 ** 3, maxBytes: 20 * 1024 ** 3, pinned: 1 }
const freed = { blocks: 2, bytes: 1024 ** 2 }
const answers: Answers = {
  'cache-stats': stats,
  'cache-gc': { ...stats, freed },
  'cache-verify': { ...stats, verified: { checked: 12, bad: 0, replaced: 0 } },
  purge: { schema: 1, peerId: 'p', results: 3, files: 6, placed: 1 },
  'cache-purge': { ...stats, blocks: 0, bytes: 0, results: 0, freed },
}

const cases = [
  {
    args: ['cache', 'stats'],
    asks: ['cache-stats', {}],
    text: /^7 results, 3\.0 GiB of at most 20\.0 GiB in 12 blocks\n1 block pinned\n/,
  },
  { args: ['cache', 'gc'], asks: ['cache-gc', {}], text: /^removed 1\.0 MiB in 2 blocks\n7 results, / },
  { args: ['cache', 'gc', '--to', '1.5GiB'], asks: ['cache-gc', { toBytes: 1.5 * 1024 ** 3 }], text: /^removed / },
  { args: ['cache', 'verify'], asks: ['cache-verify', {}], text: /^12 blocks read, 0 corrupt\n$/ },
  { args: ['cache', 'purge', '--yes'], asks: ['cache-purge', {}], text: /^removed 1\.0 MiB in 2 blocks\n$/ },
  {
    args: ['purge', '--by', 'ada', '--yes'],
    asks: ['purge', { by: 'ada' }],
    text: /^dropped 3 results and 1 result that were kept for ada\nremoved 6 files that cargo will make again\n$/,
  },
] as const

for (const { args, asks, text } of cases) {
  test(`shoal ${args.join(' ')} asks the node for it and says what became of it, also as JSON`, async (t) => {
    const { home, paths } = await temporaryHome(t)
    const daemon = await fakeDaemon(paths.socket, answers)
    t.after(() => daemon.close())
    const plain = await shoal(args, { home })
    assert.deepEqual([plain.code, plain.stderr], [0, ''])
    assert.match(plain.stdout, text)
    const json = await shoal([...args, '--json'], { home })
    assert.equal(json.code, 0)
    assert.deepEqual(JSON.parse(json.stdout), answers[asks[0]])
    const [method, params] = asks
    assert.deepEqual(daemon.requests, [
      { method, params },
      { method, params },
    ])
  })

  test(`shoal ${args.join(' ')} needs a node`, async (t) => {
    const { home } = await temporaryHome(t)
    assert.equal((await shoal(args, { home })).code, 3)
  })
}

test('cache verify exits with 4 when something was corrupt', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const verified = { checked: 12, bad: 3, replaced: 2 }
  const daemon = await fakeDaemon(paths.socket, { 'cache-verify': { ...stats, verified } })
  t.after(() => daemon.close())
  const ran = await shoal(['cache', 'verify'], { home })
  assert.deepEqual([ran.code, ran.stdout], [4, '12 blocks read, 3 corrupt, 2 replaced\n'])
})

test('cache purge where nobody can be asked removes nothing unless it is told --yes', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, answers)
  t.after(() => daemon.close())
  const ran = await shoal(['cache', 'purge'], { home, stdin: 'y\n' })
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /--yes/)
  assert.ok(daemon.requests.every(({ method }) => method !== 'cache-purge'))
})

for (const [typed, removes] of [
  ['y\n', true],
  ['YES\n', true],
  ['n\n', false],
  ['\n', false],
] as const) {
  test(`cache purge that is answered with ${JSON.stringify(typed)} ${removes ? 'removes all' : 'removes nothing'}`, async (t) => {
    const { home, paths } = await temporaryHome(t)
    const daemon = await fakeDaemon(paths.socket, answers)
    t.after(() => daemon.close())
    const ran = await shoal(['cache', 'purge'], { home, stdin: typed, terminal: true })
    assert.equal(ran.code, removes ? 0 : 1)
    assert.match(ran.stderr, /^Remove 7 results, 3\.0 GiB\? \[y\/N\] /)
    assert.equal(
      daemon.requests.some(({ method }) => method === 'cache-purge'),
      removes,
    )
  })
}

test('sizes are read as people write them', async (t) => {
  const sizes: [string, number][] = [
    ['0', 0],
    ['1048576', 1 << 20],
    ['500M', 500 << 20],
    ['500mb', 500 << 20],
    ['1.5 GiB', 1.5 * 1024 ** 3],
    ['2t', 2 * 1024 ** 4],
    ['7 B', 7],
  ]
  for (const [text, count] of sizes) assert.equal(byteCount(text), count, text)
  const { home } = await temporaryHome(t)
  for (const text of ['', 'M', '-1', '1x', '1 0', '99999999T', '0x10', '1e3']) {
    assert.throws(() => byteCount(text), /not a size/, text)
    assert.equal((await shoal(['cache', 'gc', `--to=${text}`], { home })).code, 2, text)
  }
})
