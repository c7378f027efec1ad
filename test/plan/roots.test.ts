import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasSourcesWithin, nameDepInfo, parseDepInfo, placeDepInfo } from '../../src/plan/dep-info.ts'
import { nameRoots, placeRoots, type Root, rootToken, sortRoots } from '../../src/plan/roots.ts'

const roots: Root[] = sortRoots([
  { name: 'workspace', path: '/home/a/my ws' },
  { name: 'build', path: '/home/a/my ws/target/debug/build/x-1/out' },
  { name: 'registry', path: '/home/a/.cargo/registry/src' },
])

test('the longest root wins and a longer name is another directory', () => {
  assert.equal(nameRoots('/home/a/my ws/target/debug/build/x-1/out/g.rs', roots), `${rootToken('build')}/g.rs`)
  assert.equal(nameRoots('/home/a/my ws/src/lib.rs', roots), `${rootToken('workspace')}/src/lib.rs`)
  assert.equal(nameRoots('/home/a/my ws-2/src/lib.rs', roots), '/home/a/my ws-2/src/lib.rs')
  assert.equal(nameRoots('x=/home/a/my ws', roots), `x=${rootToken('workspace')}`)
})

test('naming and placing are inverse for any text around the roots', () => {
  const piece = fc.oneof(
    fc.constantFrom(...roots.map((root) => `${root.path}/`)),
    fc.string().filter((text) => !text.includes('\0')),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const text = pieces.join('')
      assert.equal(placeRoots(nameRoots(text, roots), roots), text)
    }),
  )
})

test('a name that is no root here stays as it is', () => {
  assert.equal(placeRoots(`a${rootToken('git')}b`, roots), `a${rootToken('git')}b`)
})

const depInfo = `/home/a/my\\ ws/target/x.d: src/lib.rs /home/a/my\\ ws/target/debug/build/x-1/out/g.rs

src/lib.rs:
/home/a/my\\ ws/target/debug/build/x-1/out/g.rs:

# env-dep:CARGO_PKG_NAME=x
# env-dep:MISSING
# env-dep:OUT_DIR=/home/a/my ws/target/debug/build/x-1/out
# env-dep:ODD=a\\nb\\\\c
`

test('dep-info is read with its escapes', () => {
  const { files, env } = parseDepInfo(depInfo)
  assert.deepEqual(files, ['src/lib.rs', '/home/a/my ws/target/debug/build/x-1/out/g.rs'])
  assert.deepEqual(env, [
    ['CARGO_PKG_NAME', 'x'],
    ['MISSING', null],
    ['ODD', 'a\nb\\c'],
    ['OUT_DIR', '/home/a/my ws/target/debug/build/x-1/out'],
  ])
})

test('dep-info moves to another machine and back', () => {
  const named = nameDepInfo(depInfo, roots)
  assert.ok(!named.includes('/home/a'))
  assert.equal(placeDepInfo(named, roots), depInfo)
  const there = sortRoots([
    { name: 'workspace', path: '/srv/b' },
    { name: 'build', path: '/srv/b/t/build/x-1/out' },
  ])
  assert.deepEqual(parseDepInfo(placeDepInfo(named, there)).files, ['src/lib.rs', '/srv/b/t/build/x-1/out/g.rs'])
})

test('dep-info without a rule is not believed, nor one that cargo would read otherwise', () => {
  for (const text of [
    'nothing here\n',
    '/t/x.rmeta: src/lib.rs\n/t/x.d: src/lib.rs src/more.rs\n',
    '# see: src/lib.rs\n/t/x.d: src/lib.rs src/more.rs\n',
    // To cargo one file, with a space in its name.
    '/t/x.d: src/lib.rs\\\t src/more.rs\n',
    '/t/x.d: src/lib.rs\\\u00a0 src/more.rs\n',
  ])
    assert.throws(() => parseDepInfo(text), { code: 'ERR_DECODE' }, text)
})

test('sources that lie outside the roots are told from those that lie in one', () => {
  const [root, cwd] = [rootToken('registry'), `${rootToken('workspace')}/member`]
  const isWithin = (file: string): boolean => hasSourcesWithin(`x.d: src/lib.rs ${file}\n\nsrc/lib.rs:\n`, cwd)
  for (const file of ['src/../README.md', '../other/a.rs', `${root}/x-1/src/lib.rs`, `${root}/x-1/../y.rs`, '..a/b.rs'])
    assert.equal(isWithin(file), true, file)
  for (const file of [
    '/usr/lib/x',
    '../../x',
    'src/../../../x',
    `${root}/../x`,
    `${root}x/../../y`,
    '\0other',
    '\0a\0/\0b',
  ])
    assert.equal(isWithin(file), false, file)
})
