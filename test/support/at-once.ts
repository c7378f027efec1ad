import assert from 'node:assert/strict'
import { join } from 'node:path'
import { artifacts, type Cluster, type TestNode, type UnitRow } from './cluster.ts'
import { type Files, writeFiles } from './fixture.ts'
import { type Settled, settledTogether } from './settled.ts'

export interface Build {
  /** An example, or what a workspace is made of. */
  files: 'offline' | 'workspace' | Files
  args: readonly string[]
  env?: NodeJS.ProcessEnv
}

/** Builds it on both nodes, which may be one, at the same moment, each time in a directory of its own. The artifacts are equal. */
export async function together(
  cluster: Cluster,
  nodes: readonly TestNode[],
  build: Build,
): Promise<[Settled, Settled]> {
  const place = [typeof build.files === 'string' ? build.files : 'own', ...build.args].join('-')
  const calls = await Promise.all(
    nodes.map(async (node, index) => {
      const name = `${place}/${index === 0 ? 'one' : 'deeper/two'}`
      const cwd = join(cluster.dir, name)
      if (typeof build.files === 'string') await cluster.checkout(build.files, name)
      else await writeFiles(cwd, build.files)
      const env: NodeJS.ProcessEnv = { ...(await node.cargoEnv()), ...build.env }
      for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name]
      return { node, program: 'cargo', args: [...build.args, '--offline'], cwd, env }
    }),
  )
  const [one, two] = await settledTogether(calls)
  assert.ok(one && two)
  for (const { ran } of [one, two]) assert.equal(ran.code, 0, ran.stderr)
  const [expected, actual] = await Promise.all(calls.map(({ cwd }) => artifacts(join(cwd, 'target'))))
  assert.ok(expected && expected.size > 0)
  assert.deepEqual(actual, expected)
  return [one, two]
}

/** Each cargo asks for a unit once, and for the same ones: as many are compiled as one of them asks for. */
export function assertCompiledOnce(one: readonly UnitRow[], two: readonly UnitRow[]): void {
  assert.notEqual(one.length, 0)
  assert.deepEqual(countsOf(one), countsOf(two))
  const all = [...one, ...two]
  assert.deepEqual(all.filter(isNeither), [])
  // What knows where it lies is compiled wherever it lies.
  const bound = new Set(all.filter(({ reason }) => reason === 'path-bound').map(nameOf))
  const compiled = all.filter((unit) => !bound.has(nameOf(unit)) && isCompiled(unit))
  assert.deepEqual(countsOf(compiled), countsOf(one.filter((unit) => !bound.has(nameOf(unit)))))
}

const isCompiled = ({ outcome }: UnitRow): boolean => outcome.startsWith('compiled')
const isNeither = (unit: UnitRow): boolean => !isCompiled(unit) && !unit.outcome.startsWith('recalled')
const nameOf = ({ crate, kind, package: of }: UnitRow): string => `${of} ${crate} ${kind}`

/** Unit → how often; a crate that is built twice with other features counts twice. */
function countsOf(units: readonly UnitRow[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of units.map(nameOf).toSorted()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}
