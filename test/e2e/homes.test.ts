import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { compareHomes, type HomesSubject } from '../oracle/homes.ts'
import { Cluster, cratesIoReachable } from '../support/cluster.ts'
import { assertAllRecalled } from '../support/fixture.ts'

const workspace = fileURLToPath(new URL('../../examples/workspace', import.meta.url))

interface Chosen {
  title: string
  subject: HomesSubject
  /** Artifacts, at least. */
  fewest: number
}

// `npm run oracle` does the same with the whole of examples/workspace.
const { title, subject, fewest }: Chosen = (await cratesIoReachable(workspace))
  ? {
      title: 'a member of examples/workspace',
      subject: { example: 'workspace', member: 'slug', package: 'shelf-slug', options: ['-p', 'shelf-slug', '--lib'] },
      fewest: 40,
    }
  : {
      title: 'examples/offline',
      subject: { example: 'offline', member: 'decimal', package: 'tally-decimal', options: ['--lib', '--bins'] },
      fewest: 60,
    }

test(`${title}: the same bytes at two users' homes, and whatever one has built the other recalls`, async () => {
  const cluster = await Cluster.start(['ann', 'ben'])
  try {
    const { artifacts, panicked, differences, units } = await compareHomes(cluster, subject)
    assert.deepEqual(differences, [])
    assert.ok(artifacts >= fewest, `${artifacts} artifacts compared`)
    assert.match(panicked, new RegExp(` panicked at crates/${subject.member}/src/lost.rs:3:5:$`))
    assertAllRecalled(units)
  } finally {
    await cluster.close()
  }
})
