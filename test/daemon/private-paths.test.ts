import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { PrivatePaths } from '../../src/daemon/private-paths.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-private-'))
after(() => rmSync(dir, { recursive: true }))

function write(path: string, text: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), text)
}
const itself = '[package.metadata.shoal]\nprivate = true\n'
const packageOf = (name: string, rest = ''): string => `[package]\nname = "${name}"\n${rest}`

write('ws/Cargo.toml', '[workspace]\nmembers = ["*"]\n')
write('ws/open/Cargo.toml', packageOf('open', '[package.metadata.shoal]\ninputs = ["x"]\n'))
write('ws/hidden/Cargo.toml', packageOf('hidden', itself))
write('ws/listed/Cargo.toml', packageOf('listed'))
write('ws/outer/Cargo.toml', packageOf('outer', itself))
write('ws/outer/inner/Cargo.toml', packageOf('inner'))
write('closed/Cargo.toml', `${packageOf('root')}[workspace]\n[workspace.metadata.shoal]\nprivate = true\n`)
write('closed/member/Cargo.toml', packageOf('member'))
write('aside/Cargo.toml', packageOf('aside', 'workspace = "../closed"\n'))
write('configured/any/Cargo.toml', packageOf('any'))
write('broken/Cargo.toml', '[package.metadata.shoal]\nprivate = treu\n')
write('odd/Cargo.toml', packageOf('odd', '[package.metadata.shoal]\nprivate = "yes"\n'))
symlinkSync(join(dir, 'closed'), join(dir, 'link'))
symlinkSync(join(dir, 'configured'), join(dir, 'other-name'))

const paths = new PrivatePaths({ workspaces: [join(dir, 'other-name')], packages: ['listed'] })
const has = (path: string): boolean => paths.has(join(dir, path))

write('self/Cargo.toml', `${packageOf('self', 'workspace = "."\n')}[workspace]\n`)
write('round/one/Cargo.toml', packageOf('one', 'workspace = "../two"\n'))
write('round/two/Cargo.toml', packageOf('two', 'workspace = "../one"\n'))
symlinkSync(join(dir, 'ws/hidden/Cargo.toml'), join(dir, 'ws/open/linked.toml'))

const hidden = [
  ...['ws/hidden', 'ws/hidden/src/not/there.rs', 'ws/listed/src', 'ws/outer/src/lib.rs', 'closed', 'closed/member/src'],
  ...['aside', 'configured', 'configured/any/src/lib.rs', 'other-name/any', 'link/member', 'broken', 'odd'],
  'ws/open/linked.toml',
  'round/one',
]
const open = [
  ...['ws', 'ws/open/src/lib.rs', 'ws/open/Cargo.toml', 'ws/outer/inner/src', 'configured-not', '.', 'nowhere/at/all'],
  ...['self', 'self/src/lib.rs', 'ws/open/Cargo.toml/below/a/file'],
]

test('what lies in a private package or workspace is private, by whatever way', () => {
  for (const path of hidden) assert.ok(has(path), path)
  for (const path of open) assert.ok(!has(path), path)
})

test('many paths looked at together come to the same, in whatever order', () => {
  for (const order of [[...hidden, ...open], [...open, ...hidden], [...hidden, ...open].reverse()]) {
    const isPrivate = paths.glance()
    assert.deepEqual(
      order.filter((path) => isPrivate(join(dir, path))),
      order.filter((path) => hidden.includes(path)),
    )
  }
})

test('a manifest that changes counts as it is', () => {
  write('ws/open/Cargo.toml', packageOf('open', itself))
  assert.ok(has('ws/open'))
  write('ws/open/Cargo.toml', packageOf('open', '# once more\n'))
  assert.ok(!has('ws/open'))
})
