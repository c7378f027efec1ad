import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type CommandName, Oracle, type OracleOptions } from '../oracle/oracle.ts'
import { subjects } from '../oracle/subjects.ts'
import { Cluster, capture } from '../support/cluster.ts'

/**
 * A share of what `npm run oracle` compares: one command that makes artifacts and one that only looks, drawn by seed, of
 * some members of an example and of a published package.
 * SHOAL_ORACLE_SEED draws another share.
 */
const seed = Number(process.env.SHOAL_ORACLE_SEED ?? 2026)
const [share] = fc.sample(
  fc.record({
    makes: fc.constantFrom<CommandName>('build', 'test', 'release'),
    looks: fc.constantFrom<CommandName>('check', 'clippy'),
    incremental: fc.constantFrom<OracleOptions['incremental']>('0', 'default'),
    published: fc.constantFrom('c-code', 'generated', 'embedded', 'plugin', 'probes', 'semver'),
  }),
  { numRuns: 1, seed },
)
assert.ok(share)
const { makes, looks, incremental, published } = share

/** Half of the example: a macro, two build scripts, tests beside the sources, and what they all need. */
const members = ['tally-csv', 'tally-units', 'tally-lexer']

for (const name of ['offline', published]) {
  test(`${name}: ${makes} and ${looks} (incremental: ${incremental}) end as without Shoal, in every byte`, async (t) => {
    const subject = subjects.find((candidate) => candidate.name === name)
    assert.ok(subject)
    const clippy = (await capture('cargo', ['clippy', '--version'])).code === 0
    const cluster = await Cluster.start(['ada'])
    try {
      const options: OracleOptions = {
        commands: [makes, looks === 'clippy' && !clippy ? 'check' : looks],
        stages: ['cold', 'warm', 'moved', 'edited'],
        incremental,
        twice: false,
        ...(name === 'offline' ? { members } : {}),
      }
      const findings = await Oracle.run(cluster, subject, options).catch((error: unknown) => {
        if (name !== 'offline' && isUnreachable(error)) return undefined
        throw error
      })
      if (findings === undefined) return t.skip('skipped: crates.io not reachable')
      const differing = findings.filter(({ differences }) => differences.length > 0)
      assert.deepEqual(
        differing.map(({ stage, command, differences }) => [stage, command, ...differences]),
        [],
      )
      for (const { stage, command, units, recalled } of findings) {
        if (stage === 'warm') assert.equal(recalled, units, `${command}: not everything is recalled`)
      }
    } finally {
      await cluster.close()
    }
  })
}

const isUnreachable = (error: unknown): boolean =>
  error instanceof Error && /resolve host|connect|network|timed out|timeout|download/i.test(error.message)
