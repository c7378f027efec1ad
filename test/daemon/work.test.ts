import assert from 'node:assert/strict'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { StaysHere } from '../../src/daemon/stays-here.ts'
import { Works } from '../../src/daemon/work.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { tellsPlacePaths, toldBeside } from '../../src/plan/program-paths.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { scratchOf } from '../../src/plan/unit-roots.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned } from '../recall/support.ts'

function worksWith(made: Pick<ConstructorParameters<typeof Works>[1], 'thin' | 'packs'>, staysHere: StaysHere): Works {
  const trees = new Trees(new StatDigests())
  return new Works(trees, { ...made, trees }, staysHere)
}

const nothing = { of: async () => undefined }
const never = { of: async () => assert.fail('made ready for others') }

test('no library that a private unit is linked with is made ready for others', async (t) => {
  const dir = await temporaryDirectory(t)
  await mkdir(join(dir, 'src'))
  await writeFile(join(dir, 'Cargo.toml'), '[package]\nname = "x"\n')
  await writeFile(join(dir, 'src/main.rs'), 'fn main() {}\n')
  const args = ['--crate-name', 'x', 'src/main.rs', '--crate-type', 'bin', '--emit=dep-info,link', '--out-dir', dir]
  const linked: PlannedAction = {
    ...planned,
    kind: 'bin',
    args: parseRustcArgs(args),
    action: { ...planned.action, outputs: [['x', 'link']] },
    source: { root: 'workspace', path: '', dir },
    dependencies: [{ name: 'libp-1.rlib', path: join(dir, 'libp-1.rlib'), cid: content('p'), size: 1 }],
  }
  const thinned: string[] = []
  const thin = {
    of: async ({ name, path }: PlannedAction['dependencies'][number]) => {
      thinned.push(name)
      return { cid: content('thin'), size: 1, path }
    },
  }
  const works = worksWith({ thin, packs: nothing }, new StaysHere())
  const build = new Uint8Array(16)
  const work = await works.of(linked, build, true)
  assert.deepEqual([thinned, work.lent], [[], linked])
  await works.of({ ...linked }, build, false)
  assert.deepEqual(thinned, ['libp-1.rlib'])
})

test('of a unit that nobody else can compile now only what is known anyway is looked at', async (t) => {
  const dir = await temporaryDirectory(t)
  const unit: PlannedAction = { ...planned, source: { root: 'registry', path: 'a', dir: join(dir, 'a') } }
  const works = worksWith({ thin: never, packs: never }, new StaysHere())
  const build = new Uint8Array(16)
  const work = await works.of(unit, build, true)
  assert.deepEqual(
    [work.shared, work.lent, work.task.mayGoAway, works.lentOf(unit)],
    [undefined, unit, true, undefined],
  )
  // The same action from other sources is other work.
  const elsewhere: PlannedAction = { ...unit, source: { root: 'workspace', path: '', dir: join(dir, 'b') } }
  assert.notEqual((await works.of(elsewhere, build, true)).key, work.key)
  assert.equal((await works.of({ ...unit }, build, true)).key, work.key)
  // Asked for later, it is looked at after all; here it is gone.
  assert.equal(await works.lend(unit), undefined)
  await mkdir(join(dir, 'b/src'), { recursive: true })
  await writeFile(join(dir, 'b/src/lib.rs'), 'pub fn b() {}\n')
  const lent = await works.lend(elsewhere)
  assert.deepEqual(
    lent?.inputs.own.tree.files.map(({ path }) => path),
    ['src/lib.rs'],
  )
  assert.equal(works.lentOf(elsewhere), lent)
  // Two checkouts of the same sources are the same work, until one of them is edited.
  const keyOf = async (each: PlannedAction): Promise<string> => (await works.of(each, build, true)).key
  await cp(join(dir, 'b'), join(dir, 'c'), { recursive: true })
  const copy: PlannedAction = { ...elsewhere, source: { ...elsewhere.source, dir: join(dir, 'c') } }
  assert.equal(await keyOf(copy), await keyOf(elsewhere))
  await writeFile(join(dir, 'c/src/lib.rs'), 'pub fn c() {}\n')
  assert.notEqual(await keyOf(copy), await keyOf(elsewhere))
})

test('a test goes away with the paths of programs that it has in it, and by the names of their roots otherwise', async (t) => {
  const dir = await temporaryDirectory(t)
  await mkdir(join(dir, 'tests'))
  await writeFile(join(dir, 'Cargo.toml'), '[package]\nname = "x"\n')
  const source = join(dir, 'tests/t.rs')
  await writeFile(source, 'runs!();\n')
  const named = ['CARGO_BIN_EXE_x', '\0target\0/debug/x'] as const
  const env: [string, string][] = [[...named], ['OUT_DIR', '\0build\0']]
  const roots = [
    { name: 'workspace', path: dir },
    { name: 'target', path: '/home/ada/target' },
  ] as const
  const whole: PlannedAction = {
    ...planned,
    kind: 'test',
    args: parseRustcArgs(['--crate-name', 't', 'tests/t.rs', '--test', '--emit=dep-info,link', '--out-dir', dir]),
    action: { ...planned.action, cwd: '\0workspace\0', env, outputs: [['t', 'link']] },
    roots: [...roots],
    source: { root: 'workspace', path: '', dir },
    dependencies: [],
  }
  const staysHere = new StaysHere()
  const works = worksWith({ thin: nothing, packs: nothing }, staysHere)
  const lentOf = async (): Promise<PlannedAction> => (await works.of({ ...whole }, new Uint8Array(16), false)).lent
  const first = await lentOf()
  assert.deepEqual(first.action.env[0], named)

  // It came back: the path is in it, by way of a macro.
  staysHere.add(first.key, 'unobserved')
  const placed = [['CARGO_BIN_EXE_x', '/home/ada/target/debug/x'], env[1]]
  assert.deepEqual((await lentOf()).action.env, placed)
  assert.notDeepEqual((await lentOf()).key, first.key)

  await writeFile(source, 'const PROGRAM: &str = env!("CARGO_BIN_EXE_x");\n')
  const other = worksWith({ thin: nothing, packs: nothing }, new StaysHere())
  assert.deepEqual((await other.of(whole, new Uint8Array(16), false)).lent.action.env, placed)

  // Where its files may lie is no part of its action.
  const scratch = ['CARGO_TARGET_TMPDIR', '/home/ada/target/tmp'] as const
  const withFiles: PlannedAction = {
    ...whole,
    action: { ...whole.action, env: [env[1] ?? ['', '']] },
    scratch: scratch[1],
  }
  const lentWithFiles = async (text: string): Promise<PlannedAction> => {
    await writeFile(source, text)
    return (await other.of({ ...withFiles }, new Uint8Array(16), false)).lent
  }
  const unasked = await lentWithFiles('fn t() {}\n')
  assert.deepEqual([unasked.action.env, toldBeside(withFiles, unasked)], [[env[1]], []])
  assert.ok(!tellsPlacePaths(withFiles, unasked))
  const asked = await lentWithFiles('const FILES: &str = env!("CARGO_TARGET_TMPDIR");\n')
  assert.deepEqual(asked.action.env, [scratch, env[1]])
  assert.deepEqual(toldBeside(withFiles, asked), [['CARGO_TARGET_TMPDIR', '\0target\0/tmp']])
  assert.ok(tellsPlacePaths(withFiles, asked))
})

test('cargo’s place for the files of tests is known where it is in the target directory', () => {
  const roots = [{ name: 'target', path: '/home/ada/target' }] as const
  const env = (value: string): Map<string, string> => new Map([['CARGO_TARGET_TMPDIR', value]])
  assert.equal(scratchOf(env('/home/ada/target/tmp'), roots), '/home/ada/target/tmp')
  assert.equal(scratchOf(env('/home/ada/tmp'), roots), undefined)
  assert.equal(scratchOf(new Map(), roots), undefined)
})

test('how long a compile takes is guessed from its own sources, not from what else its package holds', async (t) => {
  const dir = await temporaryDirectory(t)
  const files = {
    'src/lib.rs': 8000,
    'src/a/b.rs': 8000,
    'tests/t.rs': 800_000,
    'tests/u.rs': 80_000,
    'build.rs': 16_000,
  }
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(dir, path, '..'), { recursive: true })
    await writeFile(join(dir, path), '/'.repeat(bytes))
  }
  const works = worksWith({ thin: nothing, packs: nothing }, new StaysHere())
  const expectedMs = async (source: string, ...options: string[]): Promise<number> => {
    const args = parseRustcArgs([
      '--crate-name',
      'x',
      source,
      '--emit=dep-info,metadata,link',
      '--out-dir',
      dir,
      ...options,
    ])
    const unit: PlannedAction = { ...planned, args, source: { root: 'workspace', path: '', dir } }
    return (await works.of(unit, new Uint8Array(16), false)).task.expectedMs
  }
  assert.deepEqual(
    [
      await expectedMs(join(dir, 'src/lib.rs'), '--crate-type', 'lib'),
      await expectedMs('tests/u.rs', '--test'),
      await expectedMs('member/build.rs', '--crate-type', 'bin'),
    ],
    [70, 150, 70],
  )
})
