import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { buildShared } from '../oracle/shared.ts'
import { Cluster, cratesIoReachable } from '../support/cluster.ts'

const example = fileURLToPath(new URL('../../examples/workspace', import.meta.url))

/** The one of its packages that needs the most others: macros, build scripts and libraries, many of them small. */
const options = ['-p', 'shelf-model']

// `npm run oracle` does the same with all of it.
test('a part of examples/workspace: shared, recalled elsewhere, every rlib and rmeta as from plain rustc', async (t) => {
  if (!(await cratesIoReachable(example))) return t.skip('skipped: crates.io not reachable')
  const cluster = await Cluster.start(['ada', 'ben', 'cyd'])
  try {
    const { cold, warm, differences, compared } = await buildShared(cluster, options)
    assert.deepEqual(differences, [])
    assert.ok(compared >= 50, `${compared} files compared`)
    const away = cold.filter(({ outcome }) => outcome === 'compiled-mesh')
    assert.ok(cold.length >= 25, `${cold.length} lib units`)
    assert.ok(away.length / cold.length >= 0.3, `${away.length} of ${cold.length} compiled by the others`)
    const hits = warm.filter(({ outcome }) => outcome.startsWith('recalled'))
    assert.ok(hits.length / warm.length >= 0.9, `${hits.length} of ${warm.length} recalled`)
  } finally {
    await cluster.close()
  }
})
