import { cp, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, capture, type ReportRow, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { everything, runsOf, withLaunchers, writeAll } from '../support/scripts.ts'
import { median, say } from './figures.ts'
import { type Sccache, startSccache } from './sccache.ts'
import { type Subject, subjects } from './script-packages.ts'

/**
 * Build scripts of published packages: what is recalled of them from nothing, in another directory and in another home, whether what they
 * leave and what is linked with it is what plain cargo makes there with the same flags, and how long either takes.
 * `npm run bench -- scripts [--only NAME,…] [--release] [--runs N] [--here] [--target TRIPLE]` (`--here`: only in one directory); with `--sccache PATH` also what cargo takes with that program for rustc
 * and for C, from an empty cache on. With `--tests` whether the own tests of a package that depends on it pass with what was recalled, as many as with plain cargo; with
 * `--nodes` what two nodes did with a package in release, and what a third one takes of it, each with a home of its own and the toolchain in it, under the policy that a mesh begins with (of runs two people's word); with
 * `--all` all of this, in release; with `--overhead` what it costs to observe a script, in pairs: by itself, observed, observed, by itself. Needs the network.
 */
const argument = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const has = (name: string): boolean => process.argv.includes(`--${name}`)
const isAll = has('all')
const isBetween = isAll || has('nodes')
const isRelease = isBetween || has('release')
const runs = Number(argument('runs') ?? '1')
const sccache = argument('sccache')
const profile = isRelease ? 'release' : 'debug'
/** What is compiled for, if that is to be said, and where cargo has it then. */
const target = argument('target')
const flags = [...(isRelease ? ['--release'] : []), ...(target === undefined ? [] : [`--target=${target}`])]
const madeIn = (dir: string): string => join(dir, 'target', target ?? '', profile)

async function must(dir: string, env: NodeJS.ProcessEnv, args: string[]): Promise<number> {
  const from = performance.now()
  const ran = await capture('cargo', args, { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return performance.now() - from
}

/** The runs of the last build, when everything is kept. */
async function settledRuns(node: TestNode): Promise<UnitRow[]> {
  let before = -1
  for (;;) {
    const runs = await runsOf(node)
    if (runs.length === before) return runs
    before = runs.length
    await delay(1500)
  }
}

/** The first files in which two are not the same. */
function differences(a: Map<string, string>, b: Map<string, string>): string[] {
  const paths = new Set([...a.keys(), ...b.keys()])
  return [...paths].filter((path) => a.get(path) !== b.get(path)).toSorted()
}

/** Where something is built, and by whose cargo. */
interface Place {
  dir: string
  env: NodeJS.ProcessEnv
}

interface Built {
  ms: number
  /** What the scripts left, and the program. */
  made: Map<string, string>
}

async function made(dir: string): Promise<Map<string, string>> {
  const left = await everything(join(madeIn(dir), 'build'))
  const all = new Map([...left].filter(([path]) => /^[^/]+\/out(\/|$)/.test(path)))
  return all.set('the program', (await readFile(join(madeIn(dir), 'subject'))).toString('hex'))
}

async function build({ dir, env }: Place, more: NodeJS.ProcessEnv): Promise<Built> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const ms = await must(dir, { ...process.env, ...more, ...env }, ['build', '--offline', ...flags])
  return { ms, made: await made(dir) }
}

const outcomes = (units: readonly UnitRow[]): string =>
  units
    .map(({ crate, outcome, reason }) => `${crate} ${outcome.replace('-here', '')}${reason && ` (${reason})`}`)
    .join(', ')

/** Of a package that needs it. */
function manifestOf({ dependencies, buildDependencies }: Subject): string {
  const section = (title: string, text = ''): string => (text === '' ? '' : `[${title}]\n${text}\n`)
  return [
    '[package]\nname = "subject"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
    section('dependencies', dependencies),
    section('build-dependencies', buildDependencies),
  ].join('')
}

/** A package that needs it, in two directories and for two homes. */
async function setUp(name: string, subject: Subject, cluster: Cluster): Promise<[what: string, place: Place][]> {
  const files = { 'Cargo.toml': manifestOf(subject), ...subject.files }
  const [one, two] = [join(cluster.dir, name, 'one'), join(cluster.dir, name, 'elsewhere', 'two')]
  await writeAll(one, files)
  await must(one, process.env, ['fetch'])
  await writeAll(two, { ...files, 'Cargo.lock': await readFile(join(one, 'Cargo.lock'), 'utf8') })
  const home = join(cluster.dir, name, 'home')
  const elsewhere = { HOME: home, CARGO_HOME: join(home, 'cargo'), RUSTUP_HOME: rustupHome }
  await writeAll(home, { empty: '' })
  await must(two, { ...process.env, ...elsewhere }, ['fetch', '--locked'])
  const here = { dir: one, env: {} }
  const places: [string, Place][] = [
    ['first', here],
    ['again', here],
    ['elsewhere', { dir: two, env: {} }],
    ['another home', { dir: two, env: elsewhere }],
  ]
  return has('here') ? places.slice(0, 2) : places
}

/** What plain cargo makes of each place, what is made with a node there, and how long it takes with sccache. */
async function measure(name: string, places: [string, Place][], node: TestNode, wrapper: string): Promise<void> {
  const plainly = { CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: wrapper }
  const known = new Map<Place, Built>()
  const dir = join(node.home, '..', `sccache-${name}`)
  const cache = sccache === undefined ? undefined : await startSccache(sccache, dir)
  try {
    for (const [what, place] of places) {
      const without = known.get(place) ?? (await build(place, plainly))
      known.set(place, without)
      const cached = cache === undefined ? '' : `, sccache ${await cachedBy(cache, place)}`
      const { ms, made } = await build(place, await node.cargoEnv())
      const seen = await settledRuns(node)
      say(
        `${name} · ${what}: plain ${Math.round(without.ms)} ms${cached}, shoal ${Math.round(ms)} ms · ${comparedWith(without, made)} (${made.size}) · ${outcomes(seen)}`,
      )
    }
  } finally {
    await cache?.close()
    await rm(dir, { recursive: true, force: true })
  }
}

/** How long it takes, or that it cannot be built so. */
async function cachedBy({ env }: Sccache, place: Place): Promise<string> {
  try {
    return `${Math.round((await build(place, env)).ms)} ms`
  } catch (error) {
    return `fails (${error instanceof Error ? error.message.trim().slice(-200).replaceAll('\n', ' ') : String(error)})`
  }
}

function comparedWith(plain: Built, made: Map<string, string>): string {
  const other = differences(plain.made, made)
  return other.length === 0 ? 'same bytes' : `DIFFERENT: ${other.slice(0, 4).join(' ')} (${other.length})`
}

/** The own tests of a package that depends on it. */
async function tests(name: string, { tested }: Subject, cluster: Cluster, node: TestNode): Promise<void> {
  if (tested === undefined) return
  const fetched = join(cluster.dir, name, 'fetched')
  const own = `${tested.name}-${tested.version}`
  await writeAll(fetched, {
    'Cargo.toml': `[package]\nname = "fetched"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n${tested.name} = "=${tested.version}"\n[workspace]\n`,
    'src/lib.rs': '',
  })
  await must(fetched, process.env, ['fetch'])
  const sources = join(process.env.CARGO_HOME ?? join(process.env.HOME ?? '/', '.cargo'), 'registry/src')
  const [index = ''] = await readdir(sources)
  const dir = join(cluster.dir, name, own)
  await cp(join(sources, index, own), dir, { recursive: true })
  await rm(join(dir, 'Cargo.lock'), { force: true })
  const manifest = await readFile(join(dir, 'Cargo.toml'), 'utf8')
  await writeAll(dir, { 'Cargo.toml': `${manifest}\n[workspace]\n` })
  await must(dir, process.env, ['fetch'])
  const passed = async (env: NodeJS.ProcessEnv): Promise<string> => {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const ran = await capture('cargo', ['test', '--offline', ...tested.args], {
      cwd: dir,
      env: { ...process.env, ...env },
    })
    const results = [...ran.stdout.matchAll(/^test result: (.*); finished/gm)].map(([, result]) => result)
    return ran.code === 0 ? results.join(', ') : `failed: ${results.join(', ')} ${ran.stderr.slice(-300)}`
  }
  const plain = await passed({ CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '' })
  await passed(await node.cargoEnv())
  await settledRuns(node)
  const recalled = await passed(await node.cargoEnv())
  const seen = outcomes(await settledRuns(node))
  say(
    `${name} · tests of ${own}: ${plain === recalled ? "as plain cargo's" : `plain ${plain}, and then`} ${recalled} · ${seen}`,
  )
}

/** How cargo runs the scripts of a package: what it says with `-vv`, a command for a shell. */
async function commandsOf(node: TestNode, dir: string): Promise<string[]> {
  await rm(join(dir, 'target'), { recursive: true, force: true })
  const ran = await capture('cargo', ['build', '--offline', '-vv', ...flags], { cwd: dir, env: await node.cargoEnv() })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return [...ran.stderr.matchAll(/Running `([^`]*\/build-script-build)`/g)].map(([, command = '']) => command)
}

/** A word of a command for a shell. */
const wordOf = (command: string, name: string): string | undefined =>
  new RegExp(` ${name}=('[^']*'|\\S+)`).exec(command)?.[1]?.replaceAll("'", '')

/** One script by itself, in turn: without anything, observed, observed, without; at last what its launcher takes to recall it. */
async function overhead(name: string, dir: string, node: TestNode): Promise<void> {
  for (const command of await commandsOf(node, dir)) {
    const crate = wordOf(command, 'CARGO_PKG_NAME') ?? name
    const outDir = wordOf(command, 'OUT_DIR') ?? ''
    const cwd = wordOf(command, 'CARGO_MANIFEST_DIR') ?? dir
    const real = command.replace(/build-script-build$/, 'build-script.real')
    const env = await node.cargoEnv()
    /** Wall time and processor time of it and its children, ms. */
    const once = async (what: string): Promise<Times> => {
      await rm(outDir, { recursive: true, force: true })
      await mkdir(outDir)
      const options = { cwd, env }
      // In a build the node has just looked at cargo and its toolchain, for the script's own compile. The same comes before each
      // of a pair: a script that ran just before would be quicker the second time.
      const before = what === seen ? '' : `env ${seen} >/dev/null 2>&1; rm -rf '${outDir}'; mkdir '${outDir}'; `
      const timed = `${before}TIMEFORMAT='took %3R %3U %3S'; time env ${what}`
      const ran = await capture('bash', ['-c', timed], options)
      if (ran.code !== 0) throw new Error(ran.stderr)
      const took = /took (\S+) (\S+) (\S+)\s*$/.exec(ran.stderr) ?? []
      const [wall = 0, user = 0, system = 0] = took.slice(1).map((seconds) => Number(seconds) * 1000)
      return [wall, user + system]
    }
    /** With words of cargo's that are in the key: as if the script had never been seen. */
    const unseen = (run: number): string =>
      command.replace(/\S+build-script-build$/, (script) => `CARGO_PKG_DESCRIPTION='${process.pid} ${run}' ${script}`)
    const seen = unseen(0)
    const pairs: [plain: Times, observed: Times][] = []
    const plainly = (): Promise<Times> => once(`SHOAL=off ${real}`)
    await once(seen)
    await delay(1500)
    for (let run = 1; run <= Math.max(4, runs); run++) {
      const observed = async (): Promise<Times> => {
        const took = await once(unseen(run))
        // What it left is kept after it has ended: nobody is to compete with that.
        await delay(1500)
        return took
      }
      if (run % 2 === 0) pairs.push([await plainly(), await observed()])
      else {
        const took = await observed()
        pairs.push([await plainly(), took])
      }
    }
    const off = await once(`SHOAL=off ${command}`)
    const recalled = await once(seen)
    say(`${name} · ${crate}: ${comparison(pairs)}; launcher alone ${off[0]} ms, recalled ${recalled[0]} ms`)
  }
}

/** Wall time and processor time, ms. */
type Times = [wall: number, processor: number]

/** Medians of what one takes and of what the other takes more, pair by pair. */
function comparison(pairs: readonly [plain: Times, observed: Times][]): string {
  const of = (index: 0 | 1): string => {
    const before = median(pairs.map(([plain]) => plain[index]))
    const more = median(pairs.map(([plain, observed]) => observed[index] - plain[index]))
    return `${before.toFixed(0)} ms and ${more.toFixed(0)} ms more observed (${((100 * more) / before).toFixed(1)} %)`
  }
  return `wall ${of(0)}, processor ${of(1)}`
}

const rustupHome = process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup')

/** The same toolchain in another directory, as everybody has it in a home of their own. */
async function ownHomes(cluster: Cluster, name: string): Promise<NodeJS.ProcessEnv> {
  const home = join(cluster.dir, `rustup-of-${name}`)
  const sysroot = (await capture('rustc', ['--print=sysroot'])).stdout.trim()
  const own = join(home, 'toolchains', basename(sysroot))
  await mkdir(own, { recursive: true })
  await mkdir(join(cluster.dir, `home-of-${name}`))
  await cp(join(rustupHome, 'settings.toml'), join(home, 'settings.toml'))
  for (const part of ['bin', 'lib']) await cp(join(sysroot, part), join(own, part), { recursive: true })
  return { HOME: join(cluster.dir, `home-of-${name}`), RUSTUP_HOME: home }
}

interface Others {
  wrapper: string
  /** Of everybody but the first one. */
  homes: ReadonlyMap<string, NodeJS.ProcessEnv>
}

/** Each node from nothing in a directory and for a home of its own, and what plain cargo makes where the last one does. */
async function between(
  name: string,
  subject: Subject,
  cluster: Cluster,
  { wrapper, homes: own }: Others,
): Promise<void> {
  let lock: Record<string, string> = {}
  // What the first one did is known where it has built all the rest.
  for (const node of cluster.nodes.slice(isAll ? 1 : 0)) {
    const dir = join(cluster.dir, name, node.name)
    const home = join(cluster.dir, name, `${node.name}-cargo`)
    await writeAll(dir, { 'Cargo.toml': manifestOf(subject), ...subject.files, ...lock })
    const isLast = node === cluster.nodes.at(-1)
    const homes = { CARGO_HOME: home, RUSTUP_HOME: rustupHome, ...own.get(node.name) }
    await must(dir, { ...process.env, ...homes }, ['fetch'])
    lock = { 'Cargo.lock': await readFile(join(dir, 'Cargo.lock'), 'utf8') }
    const place = { dir, env: homes }
    const plain = isLast ? await build(place, { CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: wrapper }) : undefined
    const { ms, made } = await build(place, await node.cargoEnv())
    const seen = (await settledRuns(node)).map((unit) =>
      `${unit.crate} ${unit.outcome} ${unit.where} ${unit.reason} ${(unit.causes ?? []).map(({ name }) => name)}`.trim(),
    )
    const { units } = await node.ask<ReportRow>('report')
    const compiled = units.filter(({ kind }) => kind !== 'build-script-run').map(({ outcome }) => outcome)
    const count = (outcome: string): number => compiled.filter((each) => each === outcome).length
    seen.push(`of ${compiled.length} units ${count('recalled-mesh')} recalled`)
    const same = plain === undefined ? '' : `${comparedWith(plain, made)} · `
    say(
      `${name} · ${node.name}: ${plain === undefined ? '' : `plain ${Math.round(plain.ms)} ms, `}shoal ${Math.round(ms)} ms · ${same}${seen.join(', ')}`,
    )
  }
}

const only = argument('only')?.split(',')
if (sccache === undefined && !has('overhead')) say('sccache is not measured: --sccache PATH')
const cluster = await Cluster.start(isBetween ? ['ada', 'benny', 'cy'] : ['ada'])
try {
  const node = cluster.node('ada')
  for (const each of cluster.nodes) await withLaunchers(each)
  if (isBetween) for (const each of cluster.nodes) await each.waitForPeers(2)
  const wrapper = await writeRemapWrapper(cluster.dir)
  const homes = new Map<string, NodeJS.ProcessEnv>()
  if (isBetween) for (const name of ['benny', 'cy']) homes.set(name, await ownHomes(cluster, name))
  const measured = async (name: string, subject: Subject): Promise<void> => {
    if (has('nodes')) return await between(name, subject, cluster, { wrapper, homes })
    const places = await setUp(name, subject, cluster)
    if (has('overhead')) return await overhead(name, places[0]?.[1].dir ?? '', node)
    if (has('tests')) return await tests(name, subject, cluster, node)
    for (let run = 0; run < runs; run++) await measure(name, places, node, wrapper)
    if (!isAll) return
    await between(name, subject, cluster, { wrapper, homes })
    await tests(name, subject, cluster, node)
  }
  for (const [name, subject] of Object.entries(subjects)) {
    if (only !== undefined && !only.includes(name)) continue
    try {
      await measured(name, subject)
    } catch (error) {
      say(`${name}: ${error instanceof Error ? error.message.slice(-600) : String(error)}`)
    }
    await rm(join(cluster.dir, name), { recursive: true, force: true })
  }
} finally {
  await cluster.close()
}
