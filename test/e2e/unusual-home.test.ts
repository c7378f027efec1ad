import assert from 'node:assert/strict'
import { lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { TestNode } from '../support/cluster.ts'
import { assertAllRecalled, Fixture, packageManifest } from '../support/fixture.ts'

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "app"]\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro]
pub fn answer(_: TokenStream) -> TokenStream {
    std::fs::read_to_string("answer.txt").unwrap().parse().unwrap()
}
`,
  'answer.txt': '42',
  'app/Cargo.toml': packageManifest('app', '[dependencies]\nmacros = { path = "../macros" }\n'),
  'app/src/main.rs': 'fn main() {\n    println!("{}", macros::answer!());\n}\n',
}
const state = { files, env: {}, args: ['run', '--offline', '--quiet', '-p', 'app'] }

describe('a node whose directory the loader could not be told of', () => {
  let dir: string
  let node: TestNode
  const copies = async (): Promise<string[]> => {
    const names = await readdir(join(dir, 'tmp'))
    return names.filter((name) => name.startsWith('shoal-observer-'))
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-e2e-'))
    node = new (class extends TestNode {
      override get env(): NodeJS.ProcessEnv {
        return { ...super.env, XDG_RUNTIME_DIR: join(dir, 'no such'), TMPDIR: join(dir, 'tmp') }
      }
    })('ada', join(dir, 'a: $HOME; of mine'))
    await node.configure('slots = 2\n[mesh]\nlisten = ["127.0.0.1"]\nmdns = false\n')
    await mkdir(join(dir, 'tmp'))
    const ran = await node.shoal('init', '--name', 'ada', '--yes')
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(await copies(), [])
    await node.start()
  })
  after(async () => {
    await node.stop()
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  })

  test('observes by a copy of its own that nobody else can change', async () => {
    const [copy, ...others] = await copies()
    assert.ok(copy !== undefined)
    assert.deepEqual(others, [])
    assert.equal((await lstat(join(dir, 'tmp', copy))).mode & 0o7777, 0o700)

    const fixture = new Fixture(node, join(dir, 'ws'), state, async (_dir, _env, ran) => ({ said: ran.stdout.trim() }))
    await fixture.prepare()
    assert.deepEqual(fixture.said, { said: '42' })
    assertAllRecalled((await fixture.succeed(state)).units)

    await node.stop()
    assert.deepEqual(await copies(), [])
    await node.start()
    assertAllRecalled((await fixture.succeed(state)).units)
  })
})
