import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameLoneRoots, nameRootOf, sortRoots } from '../../src/plan/roots.ts'
import { boundByLook, boundByWords, ownPlace } from '../../src/plan/script-place.ts'

const fetched = sortRoots([
  { name: 'build', path: '/place/ws/target/debug/build/fish-1/out' },
  { name: 'package', path: '/home/a/.cargo/registry/src/index/fish-1.0.0' },
  { name: 'registry', path: '/home/a/.cargo/registry/src' },
  { name: 'target', path: '/place/ws/target' },
  { name: 'toolchain', path: '/usr/local/rustup/toolchains/stable' },
])
const own = sortRoots([
  { name: 'build', path: '/app/target/debug/build/fish-1/out' },
  { name: 'package', path: '/app/fish' },
  { name: 'registry', path: '/home/a/.cargo/registry/src' },
  { name: 'target', path: '/app/target' },
  { name: 'workspace', path: '/app' },
])

test('ownPlace() binds what people name themselves, and no published package', () => {
  assert.deepEqual(ownPlace(fetched), [])
  assert.deepEqual(ownPlace(own).toSorted(), ['build', 'package', 'target', 'workspace'])
})

test('boundByLook() has the roots in whose neighbourhood somebody looked, outside of all of them', () => {
  const cases: [path: string, bound: string][] = [
    ['/place/ws/VERSION', 'build target'],
    ['/place/ws/target/../VERSION', 'build target'],
    ['/place/other', 'build target'],
    ['/home/a/.gitconfig', ''],
    ['/home/a/.cargo/config.toml', 'package registry'],
    ['/place/ws/target/x', ''],
    ['/home/a/.cargo/registry/src/index/other/x', ''],
    ['/usr/include/stdio.h', ''],
    ['/usr/local/include/x.h', ''],
    ['/home/b/x', ''],
  ]
  for (const [path, bound] of cases)
    assert.equal(boundByLook(path, fetched, '/home/a').toSorted().join(' '), bound, path)
})

test('boundByWords() has those above which, or beside which, something is named', () => {
  const cases: [text: string, bound: string][] = [
    ['TOP=/place/ws', 'build target'],
    ['-I/place/ws/include', 'build target'],
    ['/place/ws/target/debug/x', ''],
    ['/place/ws/target-2/debug', 'build target'],
    ['/workshop', ''],
    ['/opt/x/place/ws', ''],
    ['/home/a/.cargo/registry/src/index/fish-1.0.0/x.c', ''],
    ['"/home/a"', 'package registry'],
    ['x /usr/include /home/b', ''],
  ]
  for (const [text, bound] of cases)
    assert.equal([...boundByWords(Buffer.from(text), fetched)].toSorted().join(' '), bound, text)
})

test('nameLoneRoots() leaves alone what only ends like a root; nameRootOf() knows a root at the beginning only', () => {
  const roots = sortRoots([{ name: 'package', path: '/src' }])
  const cases: [text: string, named: string][] = [
    ['/usr/src/x', '/usr/src/x'],
    ['x/src', 'x/src'],
    ['X=/src/y', 'X=\0package\0/y'],
    ['-I/src/y', '-I\0package\0/y'],
    ['x -L/src', 'x -L\0package\0'],
    ['x-L/src', 'x-L/src'],
    ['/src:/src', '\0package\0:\0package\0'],
    ['/src2', '/src2'],
  ]
  for (const [text, named] of cases) assert.equal(nameLoneRoots(text, roots), named, text)
  assert.equal(nameRootOf('/src/x', roots), '\0package\0/x')
  assert.equal(nameRootOf('/src', roots), '\0package\0')
  assert.equal(nameRootOf('/opt/src/x', roots), '/opt/src/x')
})
