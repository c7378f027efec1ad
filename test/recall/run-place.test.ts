import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Root } from '../../src/plan/roots.ts'
import {
  coversPlace,
  isSamePlace,
  placeHere,
  placeReadHere,
  placeReads,
  readPlace,
  splitPlace,
  tellPlace,
} from '../../src/recall/run-place.ts'
import { content } from './support.ts'

const names = ['build', 'package', 'registry', 'target', 'toolchain'] as const
const roots: Root[] = [
  { name: 'build', path: '/home/ada/ws/target/debug/build/x/out' },
  { name: 'target', path: '/home/ada/ws/target' },
  { name: 'registry', path: '/home/adä/.cargo/registry/src' },
  { name: 'registry', path: '/data/ada/.cargo/registry/src', alias: true },
]

test('a place is in a trace root by root, and comes out of it again', () => {
  const reads = placeReads(roots)
  assert.deepEqual(
    reads.map(([kind, name]) => [kind, name]),
    [
      ['place', 'build 37'],
      ['place', 'target 19'],
      ['place', 'registry 30'],
    ],
  )
  const { set, place } = splitPlace({ reads: [...reads, ['file', '/x', content('x')]] })
  assert.deepEqual(set.reads, [['file', '/x', content('x')]])
  assert.ok(isSamePlace(place, placeHere(roots)))
  assert.ok(isSamePlace(readPlace(tellPlace(place)), place))
  assert.deepEqual(
    tellPlace(place).map(([root]) => root),
    ['build', 'registry', 'target'],
  )
  for (const [, name, cid] of reads) assert.deepEqual(placeReadHere(name, roots), cid)
  assert.equal(placeReadHere('build 36', roots), undefined)
  assert.equal(placeReadHere('git 19', roots), undefined)
})

test('what has more or fewer roots, or one of them twice, is another place', () => {
  const here = placeHere(roots)
  const fewer = placeHere(roots.slice(1))
  assert.ok(coversPlace([here, here], here))
  assert.ok(!coversPlace([fewer, fewer], here))
  assert.ok(!coversPlace([here, here], fewer))
  const told = tellPlace(here)
  const twice = readPlace(told.map((each, at) => (at === 1 ? (told[0] ?? each) : each)))
  assert.ok(!coversPlace([twice, twice], here))
  assert.ok(!isSamePlace(twice, here))
})

test('who makes something of the text or the length of a root is never covered by two places in which it did the same', () => {
  const path = fc.constantFrom('/a', '/b', '/aa', '/ab', '/abc', '/abcd', '/ä')
  const place = fc.array(path, { minLength: names.length, maxLength: names.length })
  const rootsOf = (paths: readonly string[]): Root[] => names.map((name, at) => ({ name, path: paths[at] ?? '' }))
  const computed = fc.constantFrom(
    (text: string) => text,
    (text: string) => `${Buffer.byteLength(text)}`,
    (text: string) => `${Buffer.byteLength(text) + 7}${text.slice(0, 2)}`,
  )
  let covered = 0
  fc.assert(
    fc.property(place, place, place, computed, fc.nat(names.length - 1), (one, other, here, script, root) => {
      const made = [one, other, here].map((paths) => script(paths[root] ?? ''))
      if (made[0] !== made[1]) return
      const [first, second, third] = [one, other, here].map((paths) => placeHere(rootsOf(paths)))
      if (first === undefined || second === undefined || third === undefined) return assert.fail()
      if (!coversPlace([first, second], third)) return
      covered += 1
      assert.equal(made[2], made[0])
    }),
    { numRuns: 20_000 },
  )
  assert.ok(covered > 0)
})
