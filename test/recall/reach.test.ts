import assert from 'node:assert/strict'
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Read } from '../../src/plan/action.ts'
import { isWithinReach } from '../../src/recall/reach.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { content, placeIn } from './support.ts'

const digest = content('x')

test('a trace of somebody else leads to what the roots hold, and not into the home of whoever builds', async (t) => {
  const dir = await temporaryDirectory(t)
  const home = join(dir, 'home')
  await mkdir(join(home, 'ws/target'), { recursive: true })
  await mkdir(join(home, '.ssh'))
  await symlink(home, join(dir, 'elsewhere'))
  await symlink(join(home, '.ssh'), join(dir, 'keys'))
  const here = placeIn(home)
  const place = {
    ...here,
    env: new Map([
      ['HOME', home],
      ['PATH', `/usr/bin:${home}/bin`],
    ]),
  }
  const isFine = (read: Read, known: string[] = []): boolean =>
    isWithinReach({ reads: [read], env: [] }, place, new Set(known))

  const fine: Read[] = [
    ['file', '\0workspace\0/src/lib.rs', digest],
    ['file', '\0workspace\0/src/../README.md', digest],
    ['absent', '\0deps\0/libx.rlib', null],
    ['file', '/usr/lib/libc.so', digest],
    ['file', join(home, 'ws/src/lib.rs'), digest],
    ['absent', join(dir, 'other/.config'), null],
    ['absent', `${home}/bin/cc`, null],
    ['program', 'cc', digest],
    ['environ', '', digest],
  ]
  for (const read of fine) assert.ok(isFine(read), read[1])

  const names = [
    join(home, '.ssh/id_ed25519'),
    join(home, '.ssh'),
    `/usr/..${home}/.netrc`,
    '\0workspace\0/../.netrc',
    '\0workspace\0-2/.netrc',
    '\0deps\0/../../../../.netrc',
    join(dir, 'elsewhere/.netrc'),
    join(dir, 'keys/id_ed25519'),
    join(dir, 'keys/absent/deeper/still'),
    '.netrc',
  ]
  for (const name of names) {
    for (const kind of ['file', 'absent', 'dir', 'list', 'link', 'tree'] as const) {
      assert.equal(isFine([kind, name, kind === 'file' ? digest : null]), false, `${kind} ${name}`)
    }
    assert.ok(isFine(['file', name, digest], [name]), 'what this node looked at itself')
  }
})

test('a trace of somebody else has this machine read only so much', async (t) => {
  const dir = await temporaryDirectory(t)
  const reads: Read[] = []
  for (const name of ['a', 'b']) {
    await writeFile(join(dir, name), '')
    await truncate(join(dir, name), 600 << 20)
    reads.push(['file', join(dir, name), digest])
  }
  const place = placeIn(join(dir, 'home'))
  assert.equal(isWithinReach({ reads: reads.slice(1), env: [] }, place, new Set()), true)
  assert.equal(isWithinReach({ reads, env: [] }, place, new Set()), false)
})

test('a trace of somebody else does not guess at secrets', () => {
  const guesses = (name: string, value: string | null): boolean =>
    isWithinReach({ reads: [], env: [[name, value]] }, placeIn('/home/ann'), new Set())
  assert.deepEqual([guesses('GITHUB_TOKEN', 'ghp_1'), guesses('DATABASE', 'postgres://a:b@c/d')], [false, false])
  assert.deepEqual([guesses('GITHUB_TOKEN', null), guesses('MOOD', 'good')], [true, true])
})
