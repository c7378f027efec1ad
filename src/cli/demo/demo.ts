import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ShoalError } from '../../base/errors.ts'
import { exitCodes } from '../failure.ts'
import { type Io, print } from '../io.ts'
import { reportLines } from '../report-text.ts'
import type { Report } from '../shapes.ts'
import { type Network, openNetwork } from './network.ts'
import { DemoNode } from './node.ts'
import { type Share, verdictOf, wanted } from './verdict.ts'
import { chooseExample, copyWorkspace, type Example } from './workspace.ts'

const names = ['a', 'b', 'c'] as const

/**
 * Three nodes on this machine become a mesh and build a workspace: cold on one of them, then again on another one in
 * another directory. Everything it sets up is gone when it returns, also after Ctrl-C.
 * @returns the exit code: 0 only when the two reports show what they should
 */
export async function runDemo(io: Io, options: { keep: boolean }): Promise<number> {
  // A second Ctrl-C must not cut the cleaning short.
  const ignore = (): void => undefined
  process.on('SIGINT', ignore)
  process.on('SIGTERM', ignore)
  const dir = await mkdtemp(join(tmpdir(), 'shoal-'))
  let network: Network | undefined
  let nodes: DemoNode[] = []
  try {
    const example = await prepareExample(io)
    network = await openNetwork(names, (text) => print(io, `   ${text}`))
    nodes = await makeNodes(io, network, dir)
    return await story(io, nodes, example, dir)
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
    await network?.close()
    if (options.keep) print(io, `Kept: ${dir}`)
    else await rm(dir, { recursive: true, force: true, maxRetries: 3 })
    process.off('SIGINT', ignore)
    process.off('SIGTERM', ignore)
  }
}

async function prepareExample(io: Io): Promise<Example> {
  print(io, '1. The workspace')
  const example = await chooseExample(io.env, io.signal, (text) => print(io, text))
  print(io, `   examples/${example.name}`)
  return example
}

async function makeNodes(io: Io, network: Network, dir: string): Promise<DemoNode[]> {
  const where = network.kind === 'namespaces' ? 'a network namespace each, on one bridge' : 'on the loopback interface'
  print(io, `2. Three nodes, ${where}`)
  const needs = { network, env: io.env, signal: io.signal }
  const nodes = names.map((name, index) => new DemoNode(needs, { name, index, home: join(dir, name) }))
  await Promise.all(nodes.map((node) => node.prepare()))
  return nodes
}

async function story(io: Io, nodes: readonly DemoNode[], example: Example, dir: string): Promise<number> {
  const [a, b, c] = nodes
  if (a === undefined || b === undefined || c === undefined)
    throw new ShoalError('ERR_INTERNAL', 'fewer than three nodes')
  await a.shoal(['init', '--name', a.name, '--mesh', 'demo'])
  await a.up()
  print(io, '   a: shoal init, shoal up')
  for (const node of [b, c]) {
    const link = (await a.shoal(['invite'])).stdout
    await node.shoal(['join', '-'], link)
    await node.up()
    print(io, `   a: shoal invite   ${node.name}: shoal join, shoal up`)
  }
  await a.peers(2)
  print(io, '   a sees 2 peers')

  const here = join(dir, 'one', example.name)
  const there = join(dir, 'elsewhere/home/of/somebody', example.name)
  await copyWorkspace(example.path, here)
  await copyWorkspace(example.path, there)

  print(io, '3. Cold build on a: nobody has compiled any of it')
  const cold = await build(io, a, here)
  await rm(join(here, 'target'), { recursive: true, force: true })

  print(io, '4. The same workspace on b, in another directory')
  const elsewhere = await build(io, b, there)

  const verdict = verdictOf(cold, elsewhere)
  print(io, '5. What it shows')
  print(io, `   compiled by b and c in the cold build: ${shareText(verdict.away, 'lib units', wanted.awayShare)}`)
  print(io, `   recalled in the build elsewhere:       ${shareText(verdict.recalled, 'units', wanted.recalledShare)}`)
  if (verdict.holds) {
    print(io, 'The mesh works.')
    return exitCodes.ok
  }
  print(io, 'That is less than it should be.')
  for (const node of nodes) for (const problem of await node.problems()) print(io, `   ${problem}`)
  return exitCodes.failed
}

async function build(io: Io, node: DemoNode, cwd: string): Promise<Report> {
  const say = (text: string): void => print(io, `   ${text}`)
  const report = await node.build(cwd, ['--locked', '--offline'], { live: io.interactive, say })
  for (const line of reportLines(report, { all: false })) say(line)
  return report
}

function shareText({ count, of, share }: Share, what: string, least: number): string {
  return `${count} of ${of} ${what}, ${Math.round(share * 100)} % (at least ${least * 100} %)`
}
