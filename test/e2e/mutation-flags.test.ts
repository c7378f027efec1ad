import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, type Ran } from '../support/cluster.ts'
import { type Compiled, DirectCalls } from '../support/direct.ts'

type Source = 'src/lib.rs' | 'src/main.rs'
const sources: Record<Source, string> = {
  'src/lib.rs': `pub fn sum(values: &[u32]) -> u32 {
    let unused = 1;
    debug_assert!(values.len() < 1000);
    values.iter().fold(0, |sum, value| sum + value * 3)
}
pub fn describe<T: std::fmt::Debug>(value: T) -> String {
    if cfg!(flagged) { format!("{value:#?}") } else { format!("{value:?}") }
}
pub fn fail(text: &str) -> usize {
    text.parse().expect("a number")
}
`,
  'src/main.rs': `fn main() {
    let unused = 1;
    let all: Vec<u32> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    println!("{:?} {}", all, all.iter().map(|value| value * 3).sum::<u32>());
}
`,
}

interface Flag {
  source: Source
  flags: readonly string[]
  /** Where a node may as well leave the compile to rustc, with a reason in the report. */
  mayStay?: boolean
}

const ofLib = (...flags: string[]): Flag => ({ source: 'src/lib.rs', flags })
const ofMain = (...flags: string[]): Flag => ({ source: 'src/main.rs', flags })
const c = (value: string): [string, string] => ['-C', value]

/** One of each class that rustc has on every platform. */
const everywhere: readonly Flag[] = [
  ...['opt-level=1', 'opt-level=s', 'debuginfo=0', 'debuginfo=line-tables-only', 'codegen-units=1', 'panic=abort'],
  ...['debug-assertions=off', 'overflow-checks=off', 'relocation-model=static', 'code-model=large', 'embed-bitcode=no'],
  ...['force-frame-pointers=yes', 'force-unwind-tables=yes', 'llvm-args=-inline-threshold=3', 'no-prepopulate-passes'],
  ...['no-redzone=yes', 'no-vectorize-loops', 'no-vectorize-slp', 'symbol-mangling-version=v0', 'dwarf-version=4'],
  ...['instrument-coverage', 'collapse-macro-debuginfo=yes', 'metadata=fedcba9876543210', 'lto=off', 'link-dead-code'],
  ...['control-flow-guard=yes', 'passes=instcombine'],
].map((value) => ofLib(...c(value)))

const others: readonly Flag[] = [
  ofLib('--cfg', 'flagged'),
  ofLib('--check-cfg', 'cfg(flagged)'),
  ofLib('--edition=2024'),
  ofLib('--cap-lints', 'allow'),
  ofLib('-A', 'unused'),
  ofLib('-W', 'missing-docs'),
  ofLib('-D', 'warnings'),
  ofLib('-O'),
  ofLib('-C', 'opt-level=2', '-C', 'linker-plugin-lto'),
  ...['opt-level=3', 'strip=symbols', 'strip=debuginfo', 'prefer-dynamic=yes', 'relro-level=off', 'lto=thin'].map(
    (value) => ofMain(...c(value)),
  ),
  ...['lto=fat', 'link-arg=-lnosuchlibrary', 'default-linker-libraries=yes', 'relocation-model=static'].map((value) =>
    ofMain(...c(value)),
  ),
  ...['link-arg=-Wl,--build-id=sha1', 'linker-flavor=gcc'].map((value) => ofMain(...c(value))),
  ...['target-cpu=native', 'save-temps', 'profile-generate', 'split-debuginfo=unpacked', 'split-debuginfo=packed'].map(
    (value) => ({ ...ofLib(...c(value)), mayStay: true }),
  ),
  ...['rpath=yes', 'split-debuginfo=unpacked', 'split-debuginfo=packed'].map((value) => ({
    ...ofMain(...c(value)),
    mayStay: true,
  })),
]

const ofProcessor: Partial<Record<NodeJS.Architecture, readonly Flag[]>> = {
  x64: [
    ofLib(...c('target-cpu=x86-64-v3')),
    ofLib(...c('target-feature=+popcnt')),
    ofLib(...c('target-feature=-sse3')),
  ],
  arm64: [ofLib(...c('target-cpu=neoverse-n1')), ofLib(...c('target-feature=+lse'))],
}

/** Announcements of artifacts go to cargo alone, so that only their own order matters. */
function split({ code, stderr }: Ran): { code: number | null; announced: string[]; shown: string[] } {
  const lines = plainTemporaries(stderr).split('\n')
  const announces = (line: string): boolean => line.startsWith('{"$message_type":"artifact"')
  return { code, announced: lines.filter(announces), shown: lines.filter((line) => !announces(line)) }
}

/** rustc gives its temporary directories names at random. */
const plainTemporaries = (text: string): string => text.replace(/\brustc[A-Za-z0-9]{6}\b/g, 'rustc-temporary')

const byPlainName = ({ outputs }: Compiled): Map<string, Buffer> =>
  new Map([...outputs].map(([name, bytes]) => [plainTemporaries(name), bytes]))

function assertSame(actual: Compiled, expected: Compiled): void {
  assert.deepEqual(split(actual.ran), split(expected.ran))
  // What a compile that failed leaves behind is of no use to anybody.
  if (expected.ran.code !== 0) return
  const [files, plainFiles] = [byPlainName(actual), byPlainName(expected)]
  assert.deepEqual([...files.keys()].sort(), [...plainFiles.keys()].sort())
  const different = [...plainFiles].filter(([name, bytes]) => !files.get(name)?.equals(bytes))
  assert.deepEqual(
    different.map(([name]) => name),
    [],
  )
}

describe('a flag that differs makes another compile, and only that flag', () => {
  let cluster: Cluster
  let calls: DirectCalls
  const plain = new Map<Source, Compiled>()

  before(async () => {
    cluster = await Cluster.start(['ada'])
    calls = await DirectCalls.in(cluster.node('ada'), join(cluster.dir, 'direct'), sources)
    for (const source of ['src/lib.rs', 'src/main.rs'] as const) {
      plain.set(source, await calls.run('plain', source, []))
      await calls.run('shoal', source, [])
    }
  })
  after(() => cluster.close())

  for (const { source, flags, mayStay } of [...everywhere, ...(ofProcessor[process.arch] ?? []), ...others]) {
    test(`${source} ${flags.join(' ')}`, async () => {
      const expected = await calls.run('plain', source, flags)
      const changed = await calls.run('shoal', source, flags)
      assertSame(changed, expected)
      assert.doesNotMatch(changed.unit?.outcome ?? '', /^recalled/)

      const base = plain.get(source)
      assert.ok(base)
      const back = await calls.run('shoal', source, [])
      assertSame(back, base)
      assert.match(back.unit?.outcome ?? '', /^recalled/, back.unit?.reason)

      const again = await calls.run('shoal', source, flags)
      assertSame(again, expected)
      const { outcome, reason } = again.unit ?? { outcome: 'not in the report', reason: '' }
      if (expected.ran.code !== 0) assert.doesNotMatch(outcome, /^recalled/)
      else if (mayStay && outcome === 'passed-through') assert.notEqual(reason, '')
      else assert.match(outcome, /^recalled/, reason)
    })
  }
})
