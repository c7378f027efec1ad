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

test('the end of a colour is not part of a path', () => {
  assert.equal(restoredPaths(`\u001b[38;5;12m${git}/a`, remaps), '\u001b[38;5;12m/usr/local/cargo/git/checkouts/a')
  assert.equal(restoredPaths(`m${git}/a`, remaps), `m${git}/a`)
})

test('a diagnostic in JSON: files by name, and no other text', () => {
  const diagnostic = (path: string, quoted: string) =>
    ['', '\u001b[0m\u001b[1m\u001b[38;5;12m'].map((colour) =>
      JSON.stringify({
        message: `see ${quoted}/a`,
        spans: [{ file_name: `${path}/a/lib.rs`, text: [{ text: `open("${quoted}/a")` }], label: `${quoted}/a` }],
        children: [{ message: `note ${quoted}/a`, spans: [{ file_name: `${path}/b/lib.rs` }], rendered: null }],
        rendered: [
          `warning: see ${quoted}/a`,
          ` ${colour}-->${colour} ${path}/a/lib.rs:1:8`,
          `1 | open("${quoted}/a") // --> ${quoted}/a`,
          `  ${colour}::: ${colour}${path}/b/lib.rs:2:1`,
          `  = note: --> ${quoted}/a`,
        ].join('\n'),
      }),
    )
  const real = '/usr/local/cargo/git/checkouts'
  assert.deepEqual(
    diagnostic(git, git).map((line) => restoredPaths(line, remaps)),
    diagnostic(real, git),
  )
  const excerptFirst = JSON.stringify({ rendered: ` --> ${git}/a:1:1` })
  assert.equal(restoredPaths(excerptFirst, remaps), excerptFirst.replace(git, real))
})
