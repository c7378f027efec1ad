import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRemapped, namedRemaps } from '../../src/plan/own-remaps.ts'
import { type Root, rootToken, sortRoots } from '../../src/plan/roots.ts'
import { withOptions } from './support.ts'

const roots = sortRoots([
  { name: 'registry', path: '/home/a/.cargo/registry/src' },
  { name: 'workspace', path: '/home/a/ws' },
  { name: 'target', path: '/home/a/ws/target' },
] satisfies Root[])
const [registry, workspace, target] = (['registry', 'workspace', 'target'] as const).map(rootToken)

for (const [value, named] of [
  ['/home/a/ws=/src', [`${target}=/src/target`, `${workspace}=/src`]],
  ['/home/a/ws/=/src', [`${target}=/src/target`, `${workspace}=/src`]],
  ['/home/a/ws/member=m', [`${workspace}/member=m`]],
  ['/home/a/ws/member=1=m', [`${workspace}/member=1=m`]],
  ['/home/a/ws=', [`${target}=/target`, `${workspace}=`]],
  ['/home/a=~', [`${registry}=~/.cargo/registry/src`, `${target}=~/ws/target`, `${workspace}=~/ws`, '/home/a=~']],
  ['/home/a/w=w', ['/home/a/w=w']],
  ['/opt/x=x', ['/opt/x=x']],
  ['src=lib', ['src=lib']],
  ['=all', ['=all']],
  ['/=r', undefined],
  ['/home/a/../a/ws=x', undefined],
  ['/home//a/ws=x', undefined],
  ['/home/a', undefined],
] as const) {
  test(`a remap of one's own: ${value}`, () => {
    assert.deepEqual(namedRemaps(value, roots), named)
  })
}

test('a prefix that meets a root with links on its way is not named', () => {
  const linked = sortRoots([...roots, { name: 'registry', path: '/disk/registry/src', alias: true }])
  for (const from of ['/disk', '/disk/registry/src', '/home/a', '/home/a/.cargo/registry/src/x']) {
    assert.equal(namedRemaps(`${from}=x`, linked), undefined, from)
  }
  assert.deepEqual(namedRemaps('/opt=x', linked), ['/opt=x'])
})

test('whose remap names a path', () => {
  const args = withOptions('--remap-path-prefix', '/home/a/=x', '--remap-path-prefix=/b=c=y')
  for (const path of ['/home/a', '/home/a/ws', '/b=c/d']) assert.ok(isRemapped(path, args), path)
  for (const path of ['/home/ab', '/home', '/b']) assert.ok(!isRemapped(path, args), path)
})
