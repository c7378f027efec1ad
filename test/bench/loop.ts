import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { idleDaemon } from '../support/idle.ts'
import { argument, median, say } from './figures.ts'

/**
 * Edit and rebuild, side by side with plain cargo. `npm run bench -- loop [--runs N] [--edits N] [--assume-rest]`.
 * A member of some 20,000 lines and a program that uses it; the edit is a function body of that member.
 */
const runs = argument('runs', 3)
const edits = argument('edits', 10)

const modules = 120
const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

function moduleText(number: number, edit: number): string {
  const shapes = Array.from({ length: 12 }, (_, at) => {
    const name = `Shape${at}`
    return `#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ${name} { pub id: u64, pub name: String, pub parts: Vec<(u32, Option<String>)> }
impl ${name} {
    pub fn weight(&self) -> u64 {
        self.parts.iter().map(|(n, part)| u64::from(*n) + part.as_deref().map_or(${at}, str::len) as u64).sum::<u64>() + self.id
    }
    pub fn grouped(&self) -> std::collections::BTreeMap<String, Vec<u32>> {
        let mut groups = std::collections::BTreeMap::<String, Vec<u32>>::new();
        for (n, part) in &self.parts { groups.entry(part.clone().unwrap_or_default()).or_default().push(*n) }
        groups
    }
}`
  })
  return `${shapes.join('\n')}\npub fn number() -> u64 { Shape0::default().weight() + ${number} + ${edit} }\n`
}

const edited = (dir: string): string => join(dir, 'big/src/m7.rs')

async function makeWorkspace(dir: string): Promise<string> {
  await mkdir(join(dir, 'big/src'), { recursive: true })
  await mkdir(join(dir, 'app/src'), { recursive: true })
  const files: [string, string][] = [
    ['Cargo.toml', '[workspace]\nmembers = ["big", "app"]\nresolver = "2"\n'],
    ['big/Cargo.toml', manifest('big')],
    ['big/src/lib.rs', Array.from({ length: modules }, (_, at) => `pub mod m${at};\n`).join('')],
    ['app/Cargo.toml', manifest('app', '[dependencies]\nbig = { path = "../big" }\n')],
    ['app/src/main.rs', 'fn main() { println!("{}", big::m7::number()) }\n'],
  ]
  for (let at = 0; at < modules; at++) files.push([`big/src/m${at}.rs`, moduleText(at, 0)])
  for (const [path, text] of files) await writeFile(join(dir, path), text)
  return dir
}

async function timedBuild(dir: string, env: NodeJS.ProcessEnv): Promise<number> {
  const from = performance.now()
  const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
  if (ran.code !== 0) throw new Error(ran.stderr)
  return performance.now() - from
}

async function timedEdit(dir: string, env: NodeJS.ProcessEnv, edit: number): Promise<number> {
  await writeFile(edited(dir), moduleText(7, edit))
  return await timedBuild(dir, env)
}

async function emptied(dir: string, build: () => Promise<number>): Promise<number> {
  await rm(join(dir, 'target'), { recursive: true })
  return await build()
}

async function rested(node: TestNode): Promise<void> {
  for (;;) {
    const { warming } = await node.json<{ warming: number }>('status')
    if (warming === 0) return
    await delay(1000)
  }
}

interface Figures {
  nothing: number[]
  plain: number[]
  rested: number[]
  unrested: number[]
  plainLoop: number[]
  loop: number[]
}

async function round(
  cluster: Cluster,
  at: number,
  envs: Record<'plain' | 'shoal' | 'busy', NodeJS.ProcessEnv>,
): Promise<Figures> {
  const node = cluster.node('one')
  const dirs = await Promise.all(
    ['plain', 'rested', 'unrested'].map((name) => makeWorkspace(join(cluster.dir, `${at}-${name}`))),
  )
  const [plain = '', warm = '', cold = ''] = dirs
  await timedBuild(plain, envs.plain)
  await timedBuild(warm, envs.shoal)
  await timedBuild(cold, envs.busy)
  await rested(node)
  const figures: Figures = { nothing: [], plain: [], rested: [], unrested: [], plainLoop: [], loop: [] }
  figures.plain.push(await timedEdit(plain, envs.plain, 1))
  figures.rested.push(await timedEdit(warm, envs.shoal, 1))
  // Side by side, and each of them first in turn: both compile everything, so that a machine that drifts would decide.
  const atOnce = [
    async () => void figures.nothing.push(await emptied(plain, () => timedBuild(plain, envs.plain))),
    async (edit: number) => {
      await writeFile(edited(cold), moduleText(7, 0))
      await emptied(cold, () => timedBuild(cold, envs.busy))
      figures.unrested.push(await timedEdit(cold, envs.busy, 1000 + edit))
    },
  ]
  for (let edit = 1; edit <= 4; edit++) for (const trial of atOnce.reverse()) await trial(edit)
  for (let edit = 2; edit < edits + 2; edit++) {
    figures.plainLoop.push(await timedEdit(plain, envs.plain, edit))
    figures.loop.push(await timedEdit(warm, envs.shoal, edit))
  }
  for (const dir of dirs) await rm(dir, { recursive: true })
  return figures
}

async function measure(): Promise<void> {
  // The second one is never told that its machine is at rest.
  const cluster = await Cluster.start(['one', 'two'])
  try {
    if (process.argv.includes('--assume-rest')) {
      const node = cluster.node('one')
      await node.stop()
      node.program = idleDaemon
      await node.start()
    }
    const { CARGO_INCREMENTAL: _, ...plain } = process.env
    const { CARGO_INCREMENTAL: __, ...shoal } = await cluster.node('one').cargoEnv()
    const { CARGO_INCREMENTAL: ___, ...busy } = await cluster.node('two').cargoEnv()
    const rounds: Figures[] = []
    for (let at = 0; at < runs; at++) rounds.push(await round(cluster, at, { plain, shoal, busy }))
    const all = (name: keyof Figures): number => median(rounds.flatMap((figures) => figures[name]))
    const row = (what: string, name: keyof Figures, base: keyof Figures, budget: string): boolean =>
      say(
        `  ${what.padEnd(34)} ${Math.round(all(name))} ms, plain ${Math.round(all(base))} ms, ` +
          `${(all(name) / all(base)).toFixed(2)} x  (budget ${budget})`,
      )
    say(`a member of ${modules * 170} lines, medians of ${runs}`)
    row('first edit after a rest', 'rested', 'plain', '1.1 x')
    row('first edit at once', 'unrested', 'nothing', '1 x of a build from nothing')
    row('later edits', 'loop', 'plainLoop', '1.02 x + 5 ms a unit')
  } finally {
    await cluster.close()
  }
}

await measure()
