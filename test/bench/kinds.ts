import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { links, reasonNotAway, unitKind } from '../../src/plan/classify.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type UnitRow } from '../support/cluster.ts'

/**
 * How much of the processor time of a build from nothing others can take over, by kind of unit, and how much they did: the
 * rest of a unit that is linked is its linker here. `npm run bench -- kinds [--tests N]`. The time is that of plain cargo.
 */
const argument = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const example = fileURLToPath(new URL('../../examples/workspace', import.meta.url))
const host = /^host: (.*)$/m.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
const say = (text: string): boolean => process.stdout.write(`${text}\n`)

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
printf '%s\\0' "\${@:2}" > "$KINDS_UNIT.argv"
{ time "$@" -C linker="\${0%/*}/cc" 2>&3; } 3>&2 2> "$KINDS_UNIT.cpu"
`

interface Unit {
  name: string
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
    const argv = (await readFile(`${path}.argv`, 'utf8')).split('\0').slice(0, -1)
    const args = parseRustcArgs(argv)
    const link = links(args) ? await seconds(`${path}.link`) : 0
    const reason = reasonNotAway(args, undefined, args.target ?? host)
    units.push({ name: args.crateName, kind: unitKind(args), cpu: await seconds(`${path}.cpu`), link, reason })
  }
  return units
}

/** The same build on a node with two others. */
async function shared(cluster: Cluster, dir: string, cargo: string[]): Promise<UnitRow[]> {
  const node = cluster.node('ada')
  const ran = await node.cargo(dir, ...cargo, '-j16')
  if (ran.code !== 0) throw new Error(ran.stderr)
  return (await lastReport(node)).units
}

/** Reasons for which a unit was made here, or will be next time: not "a slot was free". */
const stays = (rows: readonly UnitRow[]): string | undefined =>
  rows.find(({ outcome, reason }) => outcome !== 'compiled-mesh' && reason !== '')?.reason

function report(title: string, units: readonly Unit[], rows: readonly UnitRow[]): void {
  const rowsOf = (unit: Unit): UnitRow[] => rows.filter(({ crate, kind }) => crate === unit.name && kind === unit.kind)
  const sum = (some: readonly Unit[], of: (unit: Unit) => number): number =>
    some.reduce((all, unit) => all + of(unit), 0)
  const code = (unit: Unit): number => unit.cpu - unit.link
  const percent = (part: number, whole: number): string =>
    `${whole === 0 ? 0 : Math.round((1000 * part) / whole) / 10} %`
  say(`\n${title}`)
  say('kind           units   CPU s  linker s   can be lent        was lent       why not')
  const line = (kind: string, some: readonly Unit[]): void => {
    const can = some.filter((unit) => (unit.reason ?? stays(rowsOf(unit))) === undefined)
    const lent = (unit: Unit): number => {
      const all = rowsOf(unit)
      return all.length === 0 ? 0 : all.filter(({ outcome }) => outcome === 'compiled-mesh').length / all.length
    }
    const [cpu, canBe, was] = [
      sum(some, ({ cpu }) => cpu),
      sum(can, code),
      sum(some, (unit) => code(unit) * lent(unit)),
    ]
    const why = new Set(some.flatMap((unit) => unit.reason ?? stays(rowsOf(unit)) ?? []))
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

const work = await mkdtemp(join(tmpdir(), 'shoal-kinds-'))
const cluster = await Cluster.start(['ada', 'ben', 'cyd'])
try {
  say(`${availableParallelism()} processors shared by three nodes; ${host}`)
  const all = ['build', '--offline', '--workspace', '--all-targets']
  const [direct, meshed] = [
    await cluster.checkout('workspace', 'direct'),
    await cluster.checkout('workspace', 'meshed'),
  ]
  await capture('cargo', ['fetch', '--locked', '--quiet'], { cwd: example })
  report(
    'examples/workspace, all targets',
    await plain(direct, join(work, 'a'), all),
    await shared(cluster, meshed, all),
  )

  const count = argument('tests', 30)
  const tests = ['test', '--offline', '--no-run']
  const [alone, together] = [join(cluster.dir, 'many-direct'), join(cluster.dir, 'many-meshed')]
  for (const dir of [alone, together]) await writeFiles(dir, manyTests(count))
  const rows = await shared(cluster, together, tests)
  report(`${count} programs of tests`, await plain(alone, join(work, 'b'), tests), rows)
} finally {
  await cluster.close()
  await rm(work, { recursive: true, force: true })
}
