import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { RecordedKind, RecordedUnit, Recording } from '../../src/sim/recording.ts'

interface GraphUnit {
  pkg_id: string
  target: { kind: string[]; crate_types: string[]; name: string; src_path: string }
  profile: { opt_level: string; debuginfo: number | string | null }
  mode: string
  features: string[]
  dependencies: { index: number }[]
}

interface Note {
  key: string
  cpuMs: number
  wallMs: number
  /** Share of the time after which the metadata was there. */
  metadataShare: number
  rmetaBytes: number
  outputBytes: number
}

/**
 * Builds a package with cargo, and notes its unit graph and what each unit cost: in CPU time, which other work on the machine
 * hardly changes.
 * @param toolchain of rustup
 * @param profile of cargo
 * @throws what cargo says when it fails
 */
export function recordBuild(directory: string, toolchain: string, profile = 'dev'): Recording {
  const scratch = mkdtempSync(path.join(tmpdir(), 'record-'))
  const cargo = (args: string[], env: NodeJS.ProcessEnv = process.env): string => {
    const options = { cwd: directory, env: { ...env, CARGO_TARGET_DIR: scratch }, maxBuffer: 1 << 28 } as const
    return execFileSync('cargo', [`+${toolchain}`, ...args], {
      ...options,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).toString()
  }
  try {
    // A stable cargo, too, has a graph to show; it is asked for that alone, because packages look at this variable.
    const graphArgs = ['build', '--locked', '--profile', profile, '-Zunstable-options', '--unit-graph']
    const graph = (JSON.parse(cargo(graphArgs, { ...process.env, RUSTC_BOOTSTRAP: '1' })) as { units: GraphUnit[] })
      .units
    const notes = path.join(scratch, 'notes')
    execFileSync('mkdir', ['-p', notes])
    const wrapper = path.join(import.meta.dirname, 'rustc-timed')
    const env = { ...process.env, SHOAL_RECORD: notes, RUSTC_WRAPPER: wrapper, CARGO_INCREMENTAL: '0' }
    cargo(['build', '--locked', '--profile', profile, '--timings', '-j2'], env)
    const compiles = readdirSync(notes).flatMap((file) => readNote(path.join(notes, file)))
    const byKey = Map.groupBy(compiles, ({ key }) => key)
    const total = (of: (note: Note) => number): number => compiles.reduce((sum, note) => sum + of(note), 0)
    // Of what runs beside rustc only the time on the wall is known; the rest of the machine slowed it as it slowed rustc.
    const share = Math.min(1, total(({ cpuMs }) => cpuMs) / total(({ wallMs }) => wallMs))
    const runs = scriptRuns(path.join(scratch, 'cargo-timings', 'cargo-timing.html'), share)
    const units = graph.map((unit) => record(unit, byKey, runs))
    const version = execFileSync('rustc', [`+${toolchain}`, '--version'])
      .toString()
      .trim()
    const root = graph.find((unit) => unit.target.kind.includes('bin'))?.pkg_id ?? ''
    return { package: packageOf(root).join(' '), rustc: version, profile, jobs: 2, units }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Name and version of a package id: `registry+…#name@1.2.3`, `path+file:///…/name#1.2.3` or `path+…#name@1.2.3`. */
function packageOf(id: string): [name: string, version: string] {
  const [source = '', fragment = ''] = id.split('#')
  const at = fragment.lastIndexOf('@')
  return at >= 0 ? [fragment.slice(0, at), fragment.slice(at + 1)] : [path.basename(source), fragment]
}

function graphKey(unit: GraphUnit): string {
  const { debuginfo, opt_level: level } = unit.profile
  const types = [...unit.target.crate_types].sort().join(',')
  const crate = unit.target.name.replaceAll('-', '_')
  return [...packageOf(unit.pkg_id), crate, types, unit.features.toSorted().join(','), debuginfo ?? 0, level].join('|')
}

function readNote(file: string): Note[] {
  const [times = '', start = '', end = '', name = '', version = '', , ...args] = readFileSync(file, 'utf8').split('\0')
  const crate = argumentOf(args, '--crate-name')
  if (crate === undefined || crate === '___') return []
  const all = (flag: string): string[] => args.flatMap((arg, at) => (args[at - 1] === flag ? [arg] : []))
  const features = all('--cfg').flatMap((cfg) => /^feature="(.*)"$/.exec(cfg)?.[1] ?? [])
  const codegen = new Map(all('-C').map((option) => option.split('=', 2) as [string, string]))
  const key = [name, version, crate, all('--crate-type').sort().join(','), features.sort().join(',')]
  key.push(codegen.get('debuginfo') ?? '0', codegen.get('opt-level') ?? '0')
  const outDir = argumentOf(args, '--out-dir') ?? ''
  const stem = `${crate}${codegen.get('extra-filename') ?? ''}`
  const outputs = readdirSync(outDir).filter((output) => output.replace(/\..*$/, '').endsWith(stem))
  const rmeta = outputs.find((output) => output.endsWith('.rmeta'))
  const sizes = outputs.map((output) => statSync(path.join(outDir, output)).size)
  const madeAt = rmeta === undefined ? Number(end) : statSync(path.join(outDir, rmeta)).mtimeMs / 1000
  return [
    {
      key: key.join('|'),
      cpuMs: cpuMs(times.trim().split('\n').at(-1) ?? ''),
      wallMs: 1000 * (Number(end) - Number(start)),
      metadataShare: Math.min(1, Math.max(0, (madeAt - Number(start)) / (Number(end) - Number(start)))),
      rmetaBytes: rmeta === undefined ? 0 : statSync(path.join(outDir, rmeta)).size,
      outputBytes: sizes.reduce((a, b) => a + b, 0),
    },
  ]
}

function argumentOf(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag)
  return at < 0 ? undefined : args[at + 1]
}

/** @param times as bash prints them: `1m2.345s 0m0.678s` */
function cpuMs(times: string): number {
  let ms = 0
  for (const [, minutes, seconds] of times.matchAll(/(\d+)m([\d.]+)s/g))
    ms += Number(minutes) * 60_000 + Number(seconds) * 1000
  return Math.round(ms)
}

/** How long the build scripts ran, by package and version: a wrapper of rustc does not see them. */
function scriptRuns(report: string, share: number): Map<string, number> {
  const data = /const UNIT_DATA = (\[[\s\S]*?\n\]);/.exec(readFileSync(report, 'utf8'))?.[1] ?? '[]'
  const units = JSON.parse(data) as { name: string; version: string; mode: string; duration: number }[]
  const runs = units.filter(({ mode }) => mode === 'run-custom-build')
  return new Map(runs.map(({ name, version, duration }) => [`${name} ${version}`, duration * 1000 * share]))
}

function record(unit: GraphUnit, notes: Map<string, Note[]>, runs: Map<string, number>): RecordedUnit {
  const kind = kindOf(unit)
  const name = packageOf(unit.pkg_id)[0]
  const depends = unit.dependencies.map(({ index }) => index)
  if (kind === 'run') {
    const ms = Math.round(runs.get(packageOf(unit.pkg_id).join(' ')) ?? 0)
    return { name, kind, depends, metadataMs: ms, ms, sourceBytes: 0, rmetaBytes: 0, outputBytes: 0 }
  }
  const key = graphKey(unit)
  // Units that this key does not tell apart cost about the same.
  const known = notes.get(key)
  const note = known && known.length > 1 ? known.shift() : known?.[0]
  if (!note) throw new Error(`no rustc was seen for ${key}`)
  const { cpuMs: ms, metadataShare, rmetaBytes, outputBytes } = note
  const metadataMs = Math.round(ms * metadataShare)
  return { name, kind, depends, metadataMs, ms, sourceBytes: sourceBytes(unit), rmetaBytes, outputBytes }
}

function kindOf({ mode, target }: GraphUnit): RecordedKind {
  if (mode === 'run-custom-build') return 'run'
  if (target.kind.includes('custom-build')) return 'script'
  if (target.kind.includes('proc-macro')) return 'macro'
  return target.kind.includes('bin') || target.crate_types.some((type) => /dylib$|staticlib/.test(type))
    ? 'link'
    : 'lib'
}

function sourceBytes({ target }: GraphUnit): number {
  if (target.kind.includes('custom-build')) return statSync(target.src_path).size
  const files = readdirSync(path.dirname(target.src_path), { recursive: true, withFileTypes: true })
  const sources = files.filter((file) => file.isFile() && file.name.endsWith('.rs'))
  return sources.reduce((sum, { parentPath, name }) => sum + statSync(path.join(parentPath, name)).size, 0)
}
