import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { withLaunchers, writeAll } from '../support/scripts.ts'
import { median, say } from './figures.ts'

/**
 * What the launcher of a build script costs where there is nothing to recall: a script that does nothing, by itself and behind its launcher, in turn.
 * Switched off; without a node; where the node says that it is to run; and, which is no longer the launcher alone, where it is observed.
 * `npm run bench -- launcher [--runs N]`
 */
const at = process.argv.indexOf('--runs')
const runs = at < 0 ? 400 : Number(process.argv[at + 1])

const files = (always: boolean): Record<string, string> => ({
  'Cargo.toml': `[package]\nname = "idle"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n${always ? '[package.metadata.shoal]\nbuild-script = "always-run"\n' : ''}`,
  'build.rs': 'fn main() {}\n',
  'src/lib.rs': '',
})

/** How cargo starts the script of a package: its program, and what it is told. */
async function started(node: TestNode, dir: string): Promise<{ program: string; env: NodeJS.ProcessEnv }> {
  const env = await node.cargoEnv()
  const ran = await capture('cargo', ['build', '--offline', '-vv', '--release'], { cwd: dir, env })
  const command = /Running `([^`]*)\/build-script-build`/.exec(ran.stderr)?.[1]
  if (ran.code !== 0 || command === undefined) throw new Error(ran.stderr)
  const words = [...command.matchAll(/([A-Z]\w*)=('[^']*'|\S*)/g)]
  const told = words.map(([, name = '', value = '']) => [name, value.replace(/^'|'$/g, '')])
  const dirOfIt = command.slice(command.lastIndexOf(' ') + 1)
  return { program: join(dirOfIt, 'build-script-build'), env: { ...env, ...Object.fromEntries(told) } }
}

interface Subject {
  dir: string
  timer: string
}

/** Medians of what the script takes by itself and of what it takes more behind its launcher, µs. */
async function compare(
  what: string,
  { program, env }: Awaited<ReturnType<typeof started>>,
  { dir, timer }: Subject,
  of = runs,
): Promise<void> {
  const real = join(program, '..', 'build-script.real')
  const name = what.startsWith('off') ? 'off' : 'launched'
  const args = [`${of}`, env.OUT_DIR ?? '', `alone=${real}`, `${name}=${program}`]
  const ran = await capture(timer, args, { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  const took = new Map(
    ran.stdout
      .trim()
      .split('\n')
      .map((line): [string, number[]] => [line.split(' ')[0] ?? '', (line.split(' ')[1] ?? '').split(',').map(Number)]),
  )
  const [alone = [], launched = []] = [took.get('alone'), took.get(name)]
  const more = alone.map((micros, run) => (launched[run] ?? 0) - micros)
  const p95 = more.toSorted((a, b) => a - b)[Math.floor(0.95 * more.length)] ?? 0
  say(
    `${what}: ${ms(median(alone))} ms alone, ${ms(median(more))} ms more behind its launcher (95 %: ${ms(p95)}), ${of} pairs`,
  )
}

const ms = (micros: number): string => (micros / 1000).toFixed(2)

const cluster = await Cluster.start(['ada'])
try {
  const node = cluster.node('ada')
  await withLaunchers(node)
  const timer = join(cluster.dir, 'timer')
  const source = fileURLToPath(new URL('launcher.rs', import.meta.url))
  const made = await capture('rustc', ['-O', '--edition=2021', source, '-o', timer])
  if (made.code !== 0) throw new Error(made.stderr)
  const [dir, always] = [join(cluster.dir, 'idle'), join(cluster.dir, 'always')]
  await writeAll(dir, files(false))
  await writeAll(always, files(true))
  const [script, refused] = [await started(node, dir), await started(node, always)]
  const subject = { dir, timer }
  await compare('off (SHOAL=off)', script, subject)
  await compare('with a node that has it run (always-run)', refused, { dir: always, timer })
  await compare('with a node that has never seen it, observed', script, subject, Math.ceil(runs / 4))
  await node.stop()
  await compare('without a node', script, subject)
} finally {
  await cluster.close()
  await rm(cluster.dir, { recursive: true, force: true })
}
