import { AssertionError } from 'node:assert/strict'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { assertCompiledOnce, together } from '../support/at-once.ts'
import { Cluster, capture } from '../support/cluster.ts'
import { compareHomes } from './homes.ts'
import { type CommandName, commandLines, type Finding, Oracle, type OracleOptions, type Stage } from './oracle.ts'
import { buildShared } from './shared.ts'
import { copyCargoHome, subjects } from './subjects.ts'

/**
 * Every command of every subject with a node and without, then examples/workspace at two users' homes (subject `homes`),
 * by two cargos at once (subject `at-once`) and by three nodes (subject `shared`), and whatever differs. Ends with 1 when
 * anything does.
 * `npm run oracle -- [--subject NAME]… [--command NAME]… [--stage NAME]… [--incremental]`
 */
const { values } = parseArgs({
  options: {
    subject: { type: 'string', multiple: true },
    command: { type: 'string', multiple: true },
    stage: { type: 'string', multiple: true },
    incremental: { type: 'boolean', default: false },
  },
})

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const homes = 'homes'
const atOnce = 'at-once'
const shared = 'shared'
const stages: readonly Stage[] = ['cold', 'warm', 'moved', 'edited']

function chosen<T extends string>(known: readonly T[], wanted: readonly string[] | undefined, what: string): T[] {
  const unknown = wanted?.find((name) => !known.some((candidate) => candidate === name))
  if (unknown !== undefined) throw new Error(`no ${what} ${unknown}; there are ${known.join(', ')}`)
  return known.filter((name) => wanted?.includes(name) ?? true)
}

function show({ subject, stage, command, differences, units, recalled }: Finding): void {
  const verdict = differences.length === 0 ? 'same' : `${differences.length} DIFFER`
  const share = units === 0 ? '' : `${recalled} of ${units} recalled`
  say(`${subject.padEnd(12)} ${stage.padEnd(7)} ${command.padEnd(8)} ${verdict.padEnd(12)} ${share}`.trimEnd())
  for (const line of differences.slice(0, 20)) say(`    ${line}`)
  if (differences.length > 20) say(`    and ${differences.length - 20} more`)
}

/** @returns whether all is the same */
async function runHomes(): Promise<boolean> {
  const cluster = await Cluster.start(['ann', 'ben'])
  try {
    const subject = { member: 'slug', package: 'shelf-slug', options: ['--lib', '--bins'] }
    const { artifacts, panicked, differences, units } = await compareHomes(cluster, {
      example: 'workspace',
      ...subject,
    })
    const recalled = units.filter(({ outcome }) => outcome.startsWith('recalled'))
    const same = differences.length === 0 && recalled.length === units.length
    const verdict = same ? 'same' : 'DIFFER'
    say(`homes        ${artifacts} artifacts ${verdict}, ${recalled.length} of ${units.length} recalled; ${panicked}`)
    for (const [what, ...which] of differences) say(`    ${what}: ${which.join(', ')}`)
    for (const unit of units.filter((row) => !recalled.includes(row)))
      say(`    ${unit.crate} ${unit.kind} ${unit.reason}`)
    return same
  } finally {
    await cluster.close()
  }
}

/** @returns whether every unit was compiled exactly once */
async function runAtOnce(): Promise<boolean> {
  const cluster = await Cluster.start(['ada'])
  try {
    const node = cluster.node('ada')
    const [one, two] = await together(cluster, [node, node], { files: 'workspace', args: ['build'] })
    assertCompiledOnce(one.units, two.units)
    say(`at-once      ${one.units.length} units of each of two cargos, each compiled once`)
    return true
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error
    say(`at-once      DIFFER ${error.message}`)
    return false
  } finally {
    await cluster.close()
  }
}

/** @returns whether every byte is that of plain rustc, whoever compiled it, and the program runs */
async function runShared(): Promise<boolean> {
  const cluster = await Cluster.start(['ada', 'ben', 'cyd'])
  try {
    const { cold, warm, differences, compared, dirs } = await buildShared(cluster)
    const programs = [dirs.plain, dirs.warm].map((dir) => capture(join(dir, 'target/debug/shelf'), ['--version']))
    const [plain, recalled] = await Promise.all(programs)
    const same = differences.length === 0 && recalled?.code === 0 && recalled.stdout === plain?.stdout
    const away = cold.filter(({ outcome }) => outcome === 'compiled-mesh').length
    const hits = warm.filter(({ outcome }) => outcome.startsWith('recalled')).length
    say(`shared       ${compared} artifacts ${same ? 'same' : 'DIFFER'}`)
    say(`    ${away} of ${cold.length} libraries compiled by others, ${hits} of ${warm.length} recalled by another`)
    for (const name of differences.slice(0, 20)) say(`    ${name}`)
    return same && away >= 0.3 * cold.length && hits >= 0.9 * warm.length
  } finally {
    await cluster.close()
  }
}

async function main(): Promise<number> {
  const names = [...subjects.map(({ name }) => name), homes, atOnce, shared]
  const wanted = chosen(names, values.subject, 'subject')
  const clippy = (await capture('cargo', ['clippy', '--version'])).code === 0
  const known = (Object.keys(commandLines) as CommandName[]).filter((name) => clippy || name !== 'clippy')
  const findings: Finding[] = []
  for (const subject of subjects.filter(({ name }) => wanted.includes(name))) {
    // A node of its own: what was compiled for one subject must not make another one warm.
    const cluster = await Cluster.start(['one'])
    try {
      const options: OracleOptions = {
        commands: chosen(known, values.command, 'command'),
        stages: chosen(stages, values.stage, 'stage'),
        incremental: values.incremental ? 'default' : '0',
        twice: true,
        otherCargoHome: copyCargoHome,
      }
      for (const finding of await Oracle.run(cluster, subject, options)) {
        findings.push(finding)
        show(finding)
      }
    } finally {
      await cluster.close()
    }
  }
  const verdicts = findings.map(({ differences }) => differences.length === 0)
  if (wanted.includes(homes)) verdicts.push(await runHomes())
  if (wanted.includes(atOnce)) verdicts.push(await runAtOnce())
  if (wanted.includes(shared)) verdicts.push(await runShared())
  const differing = verdicts.filter((same) => !same).length
  say(`${verdicts.length - differing} passed, ${differing} failed`)
  return differing === 0 ? 0 : 1
}

process.exitCode = await main()
