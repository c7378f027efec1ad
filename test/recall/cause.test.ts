import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tree } from '../../src/plan/action.ts'
import { type Cause, cause } from '../../src/recall/cause.ts'
import { explainDifference, type KnownTrees } from '../../src/recall/explain.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { content as cid } from './support.ts'

const short = (text: string): string => hexOf(cid(text)).slice(0, 12)
const tree = (files: Record<string, string>): Tree => ({
  v: 1,
  files: Object.entries(files).map(([path, text]) => ({ path, cid: cid(text), size: text.length })),
})

const differences: { difference: Parameters<typeof explainDifference>[0]; trees?: KnownTrees; causes: Cause[] }[] = [
  {
    difference: { kind: 'variable', name: 'COLOUR', recorded: null, here: '\0workspace\0/x' },
    causes: [cause('variable', 'COLOUR', null, '<workspace>/x')],
  },
  {
    difference: {
      kind: 'file',
      name: '\0registry\0/x/src/lib.rs',
      recorded: cid('one').toString(),
      here: cid('two').toString(),
    },
    causes: [cause('file', '<registry>/x/src/lib.rs', short('one'), short('two'))],
  },
  {
    difference: { kind: 'absent', name: '/etc/x', recorded: null, here: 'there' },
    causes: [cause('absent', '/etc/x', null, 'there')],
  },
  {
    difference: { kind: 'dir', name: '/etc/x', recorded: 'there', here: null },
    causes: [cause('dir', '/etc/x', 'there', null)],
  },
  {
    difference: { kind: 'program', name: 'cc', recorded: cid('gcc').toString(), here: null },
    causes: [cause('program', 'cc', short('gcc'), null)],
  },
  {
    difference: { kind: 'environ', name: '', recorded: cid('a').toString(), here: cid('b').toString() },
    causes: [cause('environment', 'the environment as a whole', short('a'), short('b'))],
  },
  {
    difference: { kind: 'bound', name: '', recorded: cid('a').toString(), here: cid('b').toString() },
    causes: [cause('path-bound', 'where everything lies', short('a'), short('b'))],
  },
  {
    difference: { kind: 'tree', name: '\0workspace\0/lib', recorded: cid('a').toString(), here: cid('b').toString() },
    causes: [cause('tree', '<workspace>/lib', short('a'), short('b'))],
  },
  {
    difference: { kind: 'tree', name: '\0workspace\0/lib', recorded: cid('a').toString(), here: cid('b').toString() },
    trees: { recorded: tree({ 'src/lib.rs': 'one', x: 'x' }), here: tree({ 'src/lib.rs': 'two', x: 'x' }) },
    causes: [cause('file', '<workspace>/lib/src/lib.rs', short('one'), short('two'))],
  },
]

for (const { difference, trees, causes } of differences) {
  test(`explainDifference() names a ${difference.kind}${trees === undefined ? '' : ' by its files'}`, () => {
    assert.deepEqual(explainDifference(difference, trees), causes)
  })
}

test('what looks like a secret is hidden, by its name or by itself; a digest never is', () => {
  const values = (named: Cause): unknown[] => [named.recorded, named.here]
  const hidden = ['(hidden)', '(hidden)']
  assert.deepEqual(values(cause('variable', 'DEPLOY_TOKEN', 'a', 'b')), hidden)
  assert.deepEqual(values(cause('cfg', 'api_key', '"a"', '"b"')), hidden)
  assert.deepEqual(values(cause('variable', 'DEPLOY_TOKEN', null, 'b')), [null, '(hidden)'])
  assert.deepEqual(values(cause('variable', 'URL', 'http://me:word@host/', 'http://host/')), [
    '(hidden)',
    'http://host/',
  ])
  assert.deepEqual(values(cause('variable', 'X', `ghp_${'x'.repeat(36)}`, '-----BEGIN KEY')), hidden)
  assert.deepEqual(values(cause('variable', 'X', `npm_${'x'.repeat(36)}`, `AIza${'x'.repeat(35)}`)), hidden)
  assert.deepEqual(values(cause('variable', 'CARGO_PKG_AUTHORS', 'Anna', 'Bert')), ['Anna', 'Bert'])
  assert.deepEqual(values(cause('file', '<workspace>/src/auth/token.rs', 'abc', 'def')), ['abc', 'def'])
})

test('long values are cut to 200 characters around the place where they part', () => {
  const same = 'x'.repeat(1000)
  const { recorded, here } = cause('variable', 'LONG', `${same}red${same}`, `${same}blue${same}`)
  assert.deepEqual([recorded?.length, here?.length], [200, 200])
  assert.match(recorded ?? '', /^…x+redx+…$/)
  assert.match(here ?? '', /^…x+bluex+…$/)
  const absent = cause('variable', 'LONG', null, same)
  assert.equal(absent.here?.length, 200)
  assert.equal(cause('variable', same, null, null).name.length, 300)
})
