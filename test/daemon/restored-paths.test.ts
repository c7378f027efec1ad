import assert from 'node:assert/strict'
import { test } from 'node:test'
import { restoredPaths } from '../../src/daemon/restored-paths.ts'

const registry = '/cargo/registry/src'
const git = '/cargo/git/checkouts'
/** As a shim sends them for a CARGO_HOME that ends like what it is called. */
const remaps = [
  { from: '/nonexistent/shoal', to: registry },
  { from: '/nonexistent/shoal', to: git },
  { from: '/usr/local/cargo/registry/src', to: registry },
  { from: '/usr/local/cargo/git/checkouts', to: git },
  { from: '/ws/out', to: '/cargo/build-dir/x/out' },
]

test('a target becomes the later of its directories, once', () => {
  assert.equal(restoredPaths(` --> ${git}/a/lib.rs:1:1`, remaps), ' --> /usr/local/cargo/git/checkouts/a/lib.rs:1:1')
  assert.equal(
    restoredPaths(`"${registry}" /cargo/build-dir/x/out/a`, remaps),
    '"/usr/local/cargo/registry/src" /ws/out/a',
  )
})

test('what only looks like one stays: part of another path, or of a name', () => {
  for (const text of [
    `/opt${git}/x`,
    `${git}-2/y`,
    `/usr/local${registry}/z`,
    `\0cargo-home\0${git.slice(0, 4)}`,
    '/cargo/build-dir/x/output',
  ]) {
    assert.equal(restoredPaths(text, remaps), text)
  }
})

test('the end of an escape is not part of a path', () => {
  for (const before of ['\\n', '\\u001b[0m', '\u001b[38;5;12m', '\\\\\\n']) {
    assert.equal(restoredPaths(`${before}${git}/a`, remaps), `${before}/usr/local/cargo/git/checkouts/a`, before)
  }
  assert.equal(restoredPaths(`\\\\n${git}/a`, remaps), `\\\\n${git}/a`)
})
