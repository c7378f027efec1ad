import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { links, reasonNotAway, unitKind } from '../../src/plan/classify.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type UnitRow } from '../support/cluster.ts'
import { madeIn } from '../support/made.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { argument, say } from './figures.ts'

/**
 * How much of the processor time of a build from nothing others can take over, by kind of unit: what their arguments allow, and
 * what others did when there was no slot here. The rest of a unit that is linked is its linker here.
 * `npm run bench -- kinds [--only WORD] [--tests N] [--compare]`, where WORD is in the title of what is built. The time is that of
 * plain cargo. With `--compare` every byte is held against what rustc makes by itself.
 */
const only = process.argv[process.argv.indexOf('--only') + 1 || process.argv.length] ?? ''
const compares = process.argv.includes('--compare')
/** After so long what nobody else takes is made here. */
const busyMs = 900_000
const example = fileURLToPath(new URL('../../examples/workspace', import.meta.url))
const host = /^host: (.*)$/m.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''

/** Writes down arguments and processor time of each rustc and of the linker that it calls. */
const stopwatch = `#!/bin/bash
TIMEFORMAT='%U %S'
if [ "\${0##*/}" = cc ]; then
  { time /usr/bin/env cc "$@" 2>&3; } 3>&2 2>> "$KINDS_UNIT.link"
  exit
fi
case " $* " in *" --crate-name ___ "*) exec "$@" ;; *" --crate-name "*) ;; *) exec "$@" ;; esac
[ -n "$CARGO_CFG_TARGET_ARCH" ] && exec "$@"
export KINDS_UNIT="$KINDS_DIR/$$"
printf '%s\\0' "$CARGO_PKG_NAME@$CARGO_PKG_VERSION" "\${@:2}" > "$KINDS_UNIT.argv"
{ time "$@" -C linker="\${0%/*}/cc" 2>&3; } 3>&2 2> "$KINDS_UNIT.cpu"
`

interface Unit {
  name: string
  /** `name@version` */
  package: string
  kind: string
  /** Seconds of processor time; of these, of its linker. */
  cpu: number
  link: number
  /** Why others cannot do it, as far as its arguments tell. */
  reason: string | undefined
}

async function seconds(path: string): Promise<number> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return [...text.matchAll(/^(\d+\.\d+) (\d+\.\d+)$/gm)].reduce((sum, [, u, s]) => sum + Number(u) + Number(s), 0)
}

/** What plain cargo takes for each unit. */
async function plain(dir: string, work: string, cargo: string[]): Promise<Unit[]> {
  const notes = join(work, 'notes')
  await mkdir(notes, { recursive: true })
  for (const name of ['rustc-wrapper', 'cc']) {
    await writeFile(join(work, name), stopwatch)
    await chmod(join(work, name), 0o755)
  }
  const env = { ...process.env, RUSTC_WRAPPER: join(work, 'rustc-wrapper'), KINDS_DIR: notes, CARGO_INCREMENTAL: '0' }
  const ran = await capture('cargo', cargo, { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  const units: Unit[] = []
  for (const file of (await readdir(notes)).filter((name) => name.endsWith('.argv'))) {
    const path = join(notes, file.replace(/\.argv$/, ''))
    const [from = '', ...argv] = (await readFile(`${path}.argv`, 'utf8')).split('\0').slice(0, -1)
    const args = parseRustcArgs(argv)
    const link = links(args) ? await seconds(`${path}.link`) : 0
    const reason = reasonNotAway(args, undefined, args.target ?? host)
    const cpu = await seconds(`${path}.cpu`)
    units.push({ name: args.crateName, package: from, kind: unitKind(args), cpu, link, reason })
  }
  return units
}

/** The same build on a node with two others. */
async function shared(cluster: Cluster, dir: string, cargo: string[]): Promise<UnitRow[]> {
  const node = cluster.node('ada')
  const build = async (): Promise<UnitRow[]> => {
    const ran = await node.cargo(dir, ...cargo, '-j16')
    if (ran.code !== 0) throw new Error(ran.stderr)
    return (await lastReport(node)).units
  }
  const rows = async (): Promise<UnitRow[]> => await whileBusy(node, `${dir}-busy`, 2, build, busyMs)
  if (!compares) return await rows()
  const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
  const direct = await capture('cargo', cargo, { cwd: dir, env })
  if (direct.code !== 0) throw new Error(direct.stderr)
  const expected = await madeIn(dir)
  await rm(join(dir, 'target'), { recursive: true })
  const built = await rows()
  const actual = await madeIn(dir)
  const names = [...new Set([...expected.keys(), ...actual.keys()])]
  const different = names.filter((name) => !actual.get(name)?.equals(expected.get(name) ?? Buffer.of()))
  say(
    `\n${names.length} files that compiler and linker made, ${different.length} of them other than those of rustc alone`,
  )
  for (const name of different) say(`  ${name}`)
  if (different.length > 0) process.exitCode = 1
  return built
}

const wasLent = ({ outcome }: UnitRow): boolean => outcome === 'compiled-mesh'

function report(title: string, units: readonly Unit[], rows: readonly UnitRow[]): void {
  const rowsOf = (unit: Unit): UnitRow[] =>
    rows.filter((row) => row.crate === unit.name && row.kind === unit.kind && row.package === unit.package)
  const sum = (some: readonly Unit[], of: (unit: Unit) => number): number =>
    some.reduce((all, unit) => all + of(unit), 0)
  const code = (unit: Unit): number => unit.cpu - unit.link
  const percent = (part: number, whole: number): string =>
    `${whole === 0 ? 0 : Math.round((1000 * part) / whole) / 10} %`
  say(`\n${title}`)
  say('kind           units   CPU s  linker s       lendable        was lent       why not')
  const line = (kind: string, some: readonly Unit[]): void => {
    const can = some.filter(({ reason }) => reason === undefined)
    const lent = (unit: Unit): number => {
      const all = rowsOf(unit)
      return all.length === 0 ? 0 : all.filter(wasLent).length / all.length
    }
    const [cpu, canBe, was] = [
      sum(some, ({ cpu }) => cpu),
      sum(can, code),
      sum(some, (unit) => code(unit) * lent(unit)),
    ]
    const why = new Set(some.flatMap(({ reason }) => reason ?? []))
    const columns = [
      kind.padEnd(13),
      `${some.length}`.padStart(6),
      cpu.toFixed(2).padStart(8),
      sum(some, ({ link }) => link)
        .toFixed(2)
        .padStart(9),
      `${canBe.toFixed(2)} (${percent(canBe, cpu)})`.padStart(17),
      `${was.toFixed(2)} (${percent(was, cpu)})`.padStart(17),
      `  ${[...why].join(', ')}`,
    ]
    say(columns.join(''))
  }
  for (const kind of [...new Set(units.map((unit) => unit.kind))].sort()) {
    line(
      kind,
      units.filter((unit) => unit.kind === kind),
    )
  }
  line('all', units)
  for (const { crate, kind, outcome, reason, fallback = '' } of rows.filter((row) => !wasLent(row)))
    say(`  not lent: ${[crate, kind, outcome, reason, fallback].join(' ')}`)
}

const heavy = (salt: number, count: number): string =>
  Array.from(
    { length: count },
    (_, n) => `pub fn f${salt}_${n}(mut words: Vec<String>, n: u64) -> std::collections::BTreeMap<String, u64> {
    words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    words.into_iter().enumerate().map(|(at, word)| (format!("{word}-{}", at as u64 * n + ${n}), n ^ ${salt})).collect()
}`,
  ).join('\n')

/** A library and as many programs that test it. */
function manyTests(count: number): Record<string, string> {
  const tests = Array.from({ length: count }, (_, at): [string, string] => [
    `tests/t${at}.rs`,
    `${heavy(at, 12)}
#[test] fn works() { assert_eq!(f${at}_0(vec!["a".into()], 1).len(), many::f0_1(vec!["b".into()], 2).len()) }
`,
  ])
  return {
    'Cargo.toml': '[package]\nname = "many"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
    'src/lib.rs': heavy(0, 60),
    ...Object.fromEntries(tests),
  }
}

interface Subject {
  title: string
  cargo: string[]
  /** A workspace of its own, that nobody has built. */
  checkout(cluster: Cluster, name: string): Promise<string>
}

const workspace = async (cluster: Cluster, name: string): Promise<string> => await cluster.checkout('workspace', name)
const count = argument('tests', 30)
const subjects: readonly Subject[] = [
  {
    title: 'examples/workspace, all targets',
    cargo: ['build', '--offline', '--workspace', '--all-targets'],
    checkout: workspace,
  },
  { title: 'examples/workspace, cargo build', cargo: ['build', '--offline', '--workspace'], checkout: workspace },
  {
    title: `${count} programs of tests`,
    cargo: ['test', '--offline', '--no-run'],
    checkout: async (cluster, name) => {
      await writeFiles(join(cluster.dir, name), manyTests(count))
      return join(cluster.dir, name)
    },
  },
]

say(`${availableParallelism()} processors shared by three nodes; ${host}`)
await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: example })
for (const { title, cargo, checkout } of subjects.filter((subject) => subject.title.includes(only))) {
  const work = await mkdtemp(join(tmpdir(), 'shoal-kinds-'))
  const cluster = await Cluster.start(['ada', 'ben', 'cyd'])
  try {
    const units = await plain(await checkout(cluster, 'direct'), work, cargo)
    report(title, units, await shared(cluster, await checkout(cluster, 'meshed'), cargo))
    for (const { name, log } of cluster.nodes) {
      for (const [line] of log.matchAll(/^.*lent unit (?:ended|does not).*$/gm)) say(`  ${name}: ${line.slice(0, 400)}`)
    }
  } finally {
    await cluster.close()
    await rm(work, { recursive: true, force: true })
  }
}
