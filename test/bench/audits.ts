import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startAudited } from '../support/audited.ts'
import { writeFiles } from '../support/busy.ts'
import { lastReport, type TestNode } from '../support/cluster.ts'
import { argument, say } from './figures.ts'

/**
 * Whether audits accuse anybody who is honest: `npm run bench -- audits [--audits N]`. One node builds libraries, some of them with
 * macros, and ten that come out differently each time; another one takes all of them and tries each. Then both change those ten:
 * what is known to come out differently is taken from nobody.
 */
const wanted = argument('audits', 1000)
/** Fewer than wait at most. */
const perRound = Math.min(200, wanted)

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

/** What macros can make something else of each time; not what they are seen to ask for, such as the date. */
const dice: Record<string, string> = {
  vector: 'Vec::<u8>::with_capacity(1 << 20).as_ptr()',
  constant: '"a text" as *const str as *const u8',
  heap: '&*Box::new(1u8) as *const u8 as usize',
  stack: '{ let local = 1u8; &local as *const u8 as usize }',
  instant: 'std::time::Instant::now()',
  function: 'std::process::id as *const () as usize',
  hash: '{ use std::hash::BuildHasher; std::collections::hash_map::RandomState::new().hash_one(1) }',
  order: '(0..64).collect::<std::collections::HashSet<i32>>().into_iter().map(|n| n.to_string()).collect::<String>()',
  map: '(0..64).map(|n| (n, n)).collect::<std::collections::HashMap<i32, i32>>().into_keys().map(|n| n.to_string()).collect::<String>()',
  thread: 'std::thread::spawn(|| { let local = 1u8; &local as *const u8 as usize }).join().unwrap()',
}
/**
 * What is one thing in every sandbox, and others elsewhere: nobody is to blame, and what was taken of it is dropped. With the next sources it is
 * compiled by whoever took it, and marked.
 */
const placed: Record<string, string> = {
  process: 'std::process::id()',
  device: 'std::fs::metadata("/dev/null").is_ok().then(std::time::Instant::now)',
}
/** What honest members could be accused of by mistake: ways to a file, and what rustc has to say. */
const odd: readonly ((body: string) => Record<string, string>)[] = [
  (body) => ({ 'src/lib.rs': `#![doc = include_str!("../README.md")]\n${body}`, 'README.md': 'read\n' }),
  (body) => ({ 'src/lib.rs': `#[path = "../beside/else.rs"] pub mod other;\n${body}`, 'beside/else.rs': '' }),
  (body) => ({
    'src/lib.rs': `include!("./e.rs");\npub mod a { include!("../f.rs"); }\n${body}`,
    'src/e.rs': '',
    'f.rs': '',
  }),
  (body) => ({
    'src/lib.rs': `fn unused() { let (mut a, b) = ((1), 2); ${'let _ = "a long line";'.repeat(12)} }\n#[deprecated] pub fn old() {}\n${body}pub fn new() { old() }\n`,
  }),
]
const macros = `use proc_macro::TokenStream;
fn text(of: impl std::fmt::Debug) -> TokenStream { format!("pub const TEXT: &str = {:?};", format!("{of:?}")).parse().unwrap() }
#[proc_macro] pub fn steady(_: TokenStream) -> TokenStream { text("always the same") }
${Object.entries({ ...dice, ...placed })
  .map(([name, value]) => `#[proc_macro] pub fn ${name}(_: TokenStream) -> TokenStream { text(${value}) }\n`)
  .join('')}`

function workspace(round: number): Record<string, string> {
  const files: Record<string, string> = {
    'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
    'macros/src/lib.rs': macros,
  }
  const add = (name: string, sources: Record<string, string>, usesMacros: boolean): void => {
    const uses = usesMacros ? '[dependencies]\nmacros = { path = "../macros" }\n' : ''
    files[`${name}/Cargo.toml`] = manifest(name, uses)
    for (const [path, source] of Object.entries(sources)) files[`${name}/${path}`] = source
  }
  for (let at = 0; at < perRound; at += 1) {
    const usesMacros = at % 4 === 0
    const body = `pub fn f${at}(x: u64) -> Vec<String> { (0..x).map(|n| format!("{n} of round ${round}")).collect() }\n`
    const whole = usesMacros ? `macros::steady!();\n${body}` : body
    // With macros and without.
    const make = odd[Math.floor(at / 4) % (2 * odd.length)]
    add(`steady${round}x${at}`, make?.(whole) ?? { 'src/lib.rs': whole }, usesMacros)
  }
  if (round === 0) {
    for (const name of Object.keys(dice)) add(`dice_${name}`, { 'src/lib.rs': `macros::${name}!();\n` }, true)
    for (const name of Object.keys(placed)) add(`placed_${name}`, { 'src/lib.rs': `macros::${name}!();\n` }, true)
  }
  return withManifest(files)
}

/** Those that come out differently, with other sources each time. */
function changed(times: number): Record<string, string> {
  const first = workspace(0)
  const kept = Object.entries(first).filter(([path]) => /^(macros|dice_\w+|placed_\w+)\//.test(path))
  const more = `pub fn more${times}() {}\n`
  return withManifest(
    Object.fromEntries(kept.map(([path, text]) => [path, /^(dice|placed)_.*rs$/.test(path) ? `${text}${more}` : text])),
  )
}

function withManifest(files: Record<string, string>): Record<string, string> {
  const members = [...new Set(Object.keys(files).map((path) => `"${path.replace(/\/.*/, '')}"`))]
  return { ...files, 'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = [${members.join(', ')}]\n` }
}

interface Status {
  trust: { unsteady: { package: string }[] }
}
interface PeerRow {
  name: string
  trust: { isLiar: boolean; lies: unknown[]; unexplained: number; accepted: number } | null
}

/** @returns what became of those that come out differently, by the beginning of their names */
async function build(node: TestNode, name: string, files: Record<string, string>, kind = 'dice_'): Promise<string[]> {
  const dir = join(cluster.dir, node.name, name)
  await writeFiles(dir, files)
  const ran = await node.cargo(dir, 'build', '--offline')
  if (ran.code !== 0) throw new Error(ran.stderr)
  const { units } = await lastReport(node)
  return units.filter(({ crate }) => crate.startsWith(kind)).map(({ outcome }) => outcome)
}
const count = (all: string[], one: string): number => all.filter((each) => each === one).length

const { cluster, ada, ben, audits: counted } = await startAudited(10_000)
const triedAll = async () => {
  for (;;) {
    await delay(1000)
    const audits = await counted()
    if (audits.waiting === 0) return audits
  }
}
try {
  let audits = await counted()
  for (let round = 0; audits.run < wanted; round += 1) {
    for (const node of [ben, ada]) {
      const outcomes = await build(node, `ws-${round}`, workspace(round))
      if (node === ada && round === 0)
        say(`before: ${count(outcomes, 'recalled-mesh')} of ${outcomes.length} were taken from ben`)
    }
    const before = audits.run
    audits = await triedAll()
    say(`round ${round}: ${JSON.stringify(audits)}`)
    if (audits.run === before) throw new Error(`nothing was tried\n${ada.log}`)
  }
  const notDone = [...ada.log.matchAll(/^.*(?:audit not done|not run again).*$/gm)].map(([line]) => line)
  if (notDone.length > 0) say(`not done: ${notDone.length}, the first of them: ${notDone[0]}`)
  const { unsteady } = (await ada.ask<Status>('status')).trust
  const { peers } = await ada.ask<{ peers: PeerRow[] }>('peers')
  const wrong = unsteady.filter(({ package: name }) => !/^(dice|placed)_/.test(name))
  const right = unsteady.filter(({ package: name }) => name.startsWith('dice_'))
  say(`marked as coming out differently: ${right.length} of ${Object.keys(dice).length}`)
  say(unsteady.map(({ package: name }) => name).join(', '))
  say(`marked though they are steady: ${wrong.length}`)
  say(`what is known of ben: ${JSON.stringify(peers.find(({ name }) => name === 'ben')?.trust)}`)
  for (const times of [1, 2]) {
    for (const node of [ben, ada]) {
      const outcomes = await build(node, `changed-${times}`, changed(times), '')
      const differing = outcomes.length - 1
      const taken = outcomes.filter((outcome) => outcome !== 'compiled-here').length
      if (node === ada) say(`change ${times}: ${taken} of ${differing} and the macros were taken from ben`)
      if (node === ada && (taken > 1 || differing < Object.keys({ ...dice, ...placed }).length)) process.exitCode = 1
    }
    await triedAll()
  }
  const marked = (await ada.ask<Status>('status')).trust.unsteady.map(({ package: name }) => name)
  const all = Object.keys({ ...dice, ...placed }).length
  say(`marked after that: ${marked.length} of ${all}`)
  if (marked.length !== all) process.exitCode = 1
  const accused = peers.filter((peer) => peer.trust?.isLiar || (peer.trust?.lies.length ?? 0) > 0)
  const unexplained = peers.reduce((sum, peer) => sum + (peer.trust?.unexplained ?? 0), 0)
  if (
    accused.length > 0 ||
    unexplained > Object.keys(placed).length ||
    wrong.length > 0 ||
    right.length < Object.keys(dice).length
  )
    process.exitCode = 1
} finally {
  await cluster.close()
}
