import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { declaredInputs } from '../../src/plan/declared-inputs.ts'

async function inputsOf(t: TestContext, manifest: string | undefined): Promise<{ dir: string; inputs?: string[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-manifest-'))
  t.after(() => rm(dir, { recursive: true }))
  if (manifest !== undefined) await writeFile(join(dir, 'Cargo.toml'), manifest)
  const inputs = await declaredInputs(dir)
  return inputs === undefined ? { dir } : { dir, inputs }
}

const declaring = (inputs: string): string =>
  `[package]\nname = "x"\nversion = "0.1.0"\n\n[package.metadata.shoal]\ninputs = ${inputs}\n`

test('files and directories are named from the manifest', async (t) => {
  const { dir, inputs } = await inputsOf(t, declaring('["../schema.sql", "../protocols/", "src/./a"]'))
  assert.deepEqual(inputs, [join(dir, '../schema.sql'), join(dir, '../protocols'), join(dir, 'src/a')])
})

test('most packages declare nothing', async (t) => {
  const none = [
    '[package]\nname = "x"\n',
    '[workspace]\n',
    '[package]\nname = "shoal"\n[package.metadata.docs]\n',
    undefined,
  ]
  for (const manifest of none) assert.deepEqual((await inputsOf(t, manifest)).inputs, [])
})

test('what is not understood is not taken for nothing', async (t) => {
  const bad = ['"one"', '[1]', '[""]', '["/etc/passwd"]', '["a\\u0000b"]', `["${'x'.repeat(1025)}"]`, '[', '{}']
  for (const inputs of bad) assert.equal((await inputsOf(t, declaring(inputs))).inputs, undefined, inputs)
  const many = JSON.stringify(Array.from({ length: 257 }, () => 'x'))
  assert.equal((await inputsOf(t, declaring(many))).inputs, undefined)
})
