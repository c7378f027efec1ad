import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { artifacts, Cluster, capture, cratesIoReachable, lastReport } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'

const example = fileURLToPath(new URL('../../examples/workspace', import.meta.url))

test('examples/workspace: shared, recalled elsewhere, every rlib and rmeta as from plain rustc', async (t) => {
  if (!(await cratesIoReachable(example))) return t.skip('skipped: crates.io not reachable')
  const cluster = await Cluster.start(['ada', 'ben', 'cyd'])
  try {
    const wrapper = await writeRemapWrapper(cluster.dir)
    const plainDir = await cluster.checkout('workspace', 'plain')
    const env = { ...process.env, RUSTC_WRAPPER: wrapper, CARGO_INCREMENTAL: '0' }
    const plain = await capture('cargo', ['build', '--offline'], { cwd: plainDir, env })
    assert.equal(plain.code, 0, plain.stderr)
    const expected = await artifacts(join(plainDir, 'target'))

    const built = await cluster.checkout('workspace', 'built')
    const cold = await cluster.node('ada').cargo(built, 'build', '--offline')
    assert.equal(cold.code, 0, cold.stderr)
    const first = (await lastReport(cluster.node('ada'))).units.filter((unit) => unit.kind === 'lib')
    const away = first.filter((unit) => unit.outcome === 'compiled-mesh')
    assert.ok(first.length >= 80, `${first.length} lib units`)
    assert.ok(away.length / first.length >= 0.3, `${away.length} of ${first.length} compiled by the others`)

    const recalled = await cluster.checkout('workspace', 'a/deeper/place/recalled')
    const warm = await cluster.node('ben').cargo(recalled, 'build', '--offline')
    assert.equal(warm.code, 0, warm.stderr)
    const second = (await lastReport(cluster.node('ben'))).units.filter((unit) => unit.kind === 'lib')
    const hits = second.filter((unit) => unit.outcome.startsWith('recalled'))
    assert.ok(hits.length / second.length >= 0.9, `${hits.length} of ${second.length} recalled`)

    for (const dir of [built, recalled]) {
      const actual = await artifacts(join(dir, 'target'))
      assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
      const different = [...expected].filter(([name, bytes]) => !actual.get(name)?.equals(bytes)).map(([name]) => name)
      assert.deepEqual(different, [])
    }
    const program = await capture(join(recalled, 'target/debug/shelf'), ['--version'])
    const same = await capture(join(plainDir, 'target/debug/shelf'), ['--version'])
    assert.equal(program.code, 0)
    assert.equal(program.stdout, same.stdout)
  } finally {
    await cluster.close()
  }
})
