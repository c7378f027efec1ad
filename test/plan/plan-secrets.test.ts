import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { plan } from '../../src/plan/plan.ts'
import { saidBy } from '../../src/plan/script-said.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

/** A package with a build script that has said something, in each of cargo's layouts. */
async function scripted(t: TestContext, layout: string, said: string) {
  const dir = await temporaryDirectory(t)
  const outDir = join(dir, 'target/debug/build/x-1/out')
  const output = join(dirname(outDir), layout)
  for (const each of [outDir, dirname(output)]) await mkdir(each, { recursive: true })
  await writeFile(output, said)
  return { dir, outDir }
}

const said =
  'cargo:rustc-env=A_TOKEN=x=y\nhello\ncargo::rustc-env=NAME=é\r\ncargo:rerun-if-changed=a b.txt\ncargo:rustc-cfg=c\n'

for (const layout of ['output', 'run/stdout']) {
  test(`what a build script has told cargo is known where cargo keeps it: ${layout}`, async (t) => {
    const { outDir } = await scripted(t, layout, said)
    assert.deepEqual(await saidBy(outDir), { variables: new Set(['A_TOKEN', 'NAME']), files: ['a b.txt'] })
    assert.equal(await saidBy(join(outDir, 'else/out')), undefined)
  })
}

test('a secret of cargo’s configuration keeps only those units here that ask for it, one of a build script its own', async (t) => {
  const { dir, outDir } = await scripted(t, 'output', said)
  const digests = new StatDigests()
  const reasonWith = async (more: Record<string, string>): Promise<string> => {
    const env = new Map(Object.entries({ CARGO_MANIFEST_DIR: dir, ...more }))
    const out = join(dir, 'target/debug/deps')
    const argv = `--crate-name x --crate-type lib --emit=dep-info,metadata,link --out-dir ${out} src/lib.rs`.split(' ')
    const remaps = [{ from: dir, to: '.' }]
    const planned = await plan({ driver: undefined, rustc: 'rustc', argv, cwd: dir, env, remaps, cargoPid: 1 }, '', {
      digests,
      trees: new Trees(digests),
      reach: { get: async () => undefined, sourceOf: () => undefined, expect: () => undefined },
      // Asked for after secrets.
      toolchain: async () => undefined,
      cargoEnvironment: async () => new Map(),
      driver: () => assert.fail(),
      processor: () => undefined,
    })
    assert.ok(!planned.shareable)
    return planned.reason
  }
  assert.equal(await reasonWith({ DATABASE_URL: 'postgres://me:pass@host/', AWS_PROFILE: 'eu' }), 'toolchain-unknown')
  assert.equal(await reasonWith({ AWS_PROFILE: 'eu', OUT_DIR: outDir }), 'toolchain-unknown')
  assert.equal(await reasonWith({ A_TOKEN: 'x=y', OUT_DIR: outDir }), 'secret-in-environment')
  const unknown = join(dir, 'target/debug/build/y-1/out')
  assert.equal(await reasonWith({ AWS_PROFILE: 'eu', OUT_DIR: unknown }), 'secret-in-environment')
})
