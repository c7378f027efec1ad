import { join } from 'node:path'
import { artifacts, type Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'

/** What three nodes made of examples/workspace: the first with the help of the others, the second from what was there. */
export interface SharedFinding {
  /** What became of the first one's libraries, and of the second one's. */
  cold: UnitRow[]
  warm: UnitRow[]
  /** Names of rlibs and rmetas that differ from those of plain rustc, or that only one of the two has. */
  differences: string[]
  /** How many were compared. */
  compared: number
  /** Where plain cargo built, and where the second node did. */
  dirs: { plain: string; warm: string }
}

/**
 * Builds it by plain cargo, on the first node of a mesh, and on the second in another place.
 * @param options of `cargo build`, such as `-p` and a member
 */
export async function buildShared(cluster: Cluster, options: readonly string[] = []): Promise<SharedFinding> {
  const args = ['build', '--offline', ...options]
  const [first, second] = cluster.nodes
  if (first === undefined || second === undefined) throw new Error('to share needs two nodes')
  const plain = await cluster.checkout('workspace', 'plain')
  const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
  const ran = await capture('cargo', args, { cwd: plain, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  const expected = await artifacts(join(plain, 'target'))

  const differences: string[] = []
  async function librariesOf(node: TestNode, dir: string): Promise<UnitRow[]> {
    const ran = await node.cargo(dir, ...args)
    if (ran.code !== 0) throw new Error(ran.stderr)
    const actual = await artifacts(join(dir, 'target'))
    for (const name of new Set([...actual.keys(), ...expected.keys()])) {
      const [bytes, wanted] = [actual.get(name), expected.get(name)]
      if (bytes === undefined || wanted === undefined || !bytes.equals(wanted)) differences.push(name)
    }
    return (await lastReport(node)).units.filter(({ kind }) => kind === 'lib')
  }
  const cold = await librariesOf(first, await cluster.checkout('workspace', 'built'))
  const dir = await cluster.checkout('workspace', 'a/deeper/place/recalled')
  const warm = await librariesOf(second, dir)
  return { cold, warm, differences, compared: expected.size, dirs: { plain, warm: dir } }
}
