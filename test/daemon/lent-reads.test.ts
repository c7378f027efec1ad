import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { type LentCompile, lentReads } from '../../src/daemon/lent-reads.ts'
import { LentView } from '../../src/daemon/lent-view.ts'
import type { Action, ReadSet } from '../../src/plan/action.ts'
import { type Observation, workingDirectory } from '../../src/plan/observation.ts'
import { sortRoots } from '../../src/plan/roots.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import { environmentDigest, rootsDigest } from '../../src/recall/evidence.ts'
import { action as basic, content } from '../recall/support.ts'

const marker = '/shoal-12345678123456781234567812345678'
const roots = sortRoots(
  (['registry', 'package', 'workspace', 'deps', 'build', 'out', 'toolchain', 'target', 'nowhere'] as const).map(
    (name) => ({ name, path: `${marker}/${name}` }),
  ),
)
const macro = 'libmake-1.so'
const action: Action = {
  ...basic,
  cwd: '\0workspace\0/x',
  env: [['CARGO_MANIFEST_DIR', '\0workspace\0/x']],
  deps: [[macro, content('macro')]],
}
const files = { 'src/lib.rs': content('lib'), 'src/deep/note.txt': content('note') }
const covered = new Set(['lib/rustlib/x/lib/libstd-1.rlib', 'lib/librustc_driver-1.so'])

type Event = [kind: Observation['kind'], path: string, errno?: number, macro?: boolean]

/** `@` stands for the directory of the roots. */
function compile(events: Event[], change: Partial<LentCompile> = {}): LentCompile {
  return {
    action,
    inputs: {
      v: 1,
      trees: [{ root: 'workspace', path: 'x', tree: content('tree') }],
      files: [{ root: 'deps', path: macro, cid: content('macro'), size: 5 }],
    },
    trees: [
      { dir: '\0workspace\0/x', files: Object.entries(files).map(([path, cid]) => ({ path, cid, size: 3 })) },
      { dir: '\0build\0', files: [{ path: 'gen.rs', cid: content('gen'), size: 3 }] },
    ],
    observed: {
      marker,
      roots,
      links: false,
      events: [['open', '@/workspace/x/src/lib.rs'] as Event, ...events].map(
        ([kind, path, errno = 0, asked = false]) => ({
          kind,
          path: path.replace('@', marker),
          errno,
          macro: asked,
        }),
      ),
    },
    depInfo: '\0out\0/x-1.d: src/lib.rs\n',
    ...change,
  }
}

const needs = (usesEnviron: CID[] = []) => ({
  covered,
  math: 'of the lender',
  usesEnviron: async (library: CID) => usesEnviron.some((cid) => cid.equals(library)),
})

/** What is in the read set besides the one source, as text. */
async function reads(events: Event[], change: Partial<LentCompile> = {}, usesEnviron: CID[] = []): Promise<string[]> {
  const set = await lentReads(compile(events, change), needs(usesEnviron))
  assert.ok(typeof set !== 'string', `refused: ${set}`)
  return shown(set).filter((line) => !line.startsWith('file \0workspace\0/x/src/lib.rs '))
}

const shown = ({ reads, env }: ReadSet): string[] => [
  ...reads.map(([kind, name, cid]) => `${kind} ${name} ${cid ?? 'null'}`),
  ...env.map(([name, value]) => `variable ${name} ${value ?? 'null'}`),
]

describe('what a compile in the sandbox looked at', () => {
  test('a file of the inputs counts with its content, a directory and a listing with what was laid out', async () => {
    const listing = new LentView(new Map([['/d/lib.rs', content('lib')]]), ['/d/deep']).see('list', '/d')
    assert.deepEqual(
      await reads([
        ['open', '@/workspace/x/src/deep/note.txt'],
        ['list', '@/workspace/x/src'],
        ['stat', '@/workspace/x/src/deep'],
        ['stat', '@/workspace/x'],
      ]),
      [`list \0workspace\0/x/src ${listing}`, `file \0workspace\0/x/src/deep/note.txt ${content('note')}`],
    )
  })

  test('what was looked for in vain counts as it was asked for, under a root or not', async () => {
    assert.deepEqual(
      await reads([
        ['open', '@/workspace/x/.env', 2],
        ['stat', '@/workspace/.git', 2],
        ['open', '@/target/debug/schema.json', 2],
        ['open', '/etc/schema.json', 2],
        ['stat', '@/workspace/x/src/lib.rs/inner', 20],
        ['exec', 'git', 2],
        ['open', '/tmp/cache', 2],
      ]),
      [
        'absent /etc/schema.json null',
        'absent /tmp/cache null',
        'absent \0target\0/debug/schema.json null',
        'absent \0workspace\0/.git null',
        'absent \0workspace\0/x/.env null',
        'absent \0workspace\0/x/src/lib.rs/inner null',
        'program git null',
      ].sort(byPath),
    )
  })

  test('what a sandbox lacks of any system counts as absent, but not what the compiler asks of any machine', async () => {
    assert.deepEqual(
      await reads([
        ['open', '/dev/null', 2],
        ['link', '/proc/self/exe', 2],
        ['open', '/proc/self/statm', 2],
        ['open', '/proc/self/cgroup', 2],
        ['open', '/sys/fs/cgroup/cpu.max', 2],
        ['open', '/proc/sys/vm/overcommit_memory'],
        ['open', '/sys/kernel/mm/transparent_hugepage/enabled', 2],
      ]),
      ['absent /dev/null null', 'absent /proc/self/exe null'],
    )
  })

  test('a variable counts with its value, null when it was not set, unless the action says it', async () => {
    assert.deepEqual(
      await reads([
        ['env', 'HOME', 2, true],
        ['env', 'CARGO_MANIFEST_DIR'],
        ['env', 'RUST_BACKTRACE', 2],
        ['env', 'LLVM_IGNORED', 2],
        ['env', 'libm()'],
      ]),
      ['variable HOME null', 'variable LLVM_IGNORED null', 'variable libm() of the lender'],
    )
  })

  test('a macro that asks where things lie ties the result to its place', async () => {
    const bound = [`bound  ${rootsDigest({ roots })}`]
    assert.deepEqual(await reads([['env', 'CARGO_MANIFEST_DIR', 0, true]]), bound)
    assert.deepEqual(await reads([['env', workingDirectory, 0, true]]), bound)
  })

  test('what the action says, what was made and the compiler itself are left out', async () => {
    assert.deepEqual(
      await reads(
        [
          ['attach', '@/toolchain/bin/rustc'],
          ['link', '@/toolchain/lib/rustlib/x/lib/libstd-1.rlib', 22],
          ['list', '@/toolchain/lib/rustlib/x/lib'],
          ['stat', '/lib/x86_64-linux-gnu/librustc_driver-1.so'],
          ['open', '@/build/gen.rs'],
          ['list', '@/deps'],
          ['load', `@/deps/${macro}`],
          ['write', '@/out/x-1.d'],
          ['write', '@/out', 17],
          ['open', '@/out/x-1.d'],
          ['write', '/tmp/scratch/a', 2],
          ['write', '/tmp/scratch'],
          ['open', '/tmp/scratch/a'],
          ['stat', '/tmp'],
          ['stat', '@/nowhere/registry/y/src/lib.rs', 2],
        ],
        { action: { ...action, build: content('build') } },
      ),
      [],
    )
  })

  test('a macro that can read the whole environment ties the result to it', async () => {
    const { deps } = action
    assert.deepEqual(await reads([['load', `@/deps/${macro}`]], {}, [deps[0]?.[1] ?? content('')]), [
      `environ  ${environmentDigest({ env: new Map(action.env), roots })}`,
    ])
  })

  for (const [what, reason, ...event] of [
    ['a file beside the roots', 'source-outside-package', 'open', '@/outside.txt', 2],
    ['a file beside the roots, by way of one', 'source-outside-package', 'open', '@/workspace/../outside.txt', 2],
    ['another root, by way of one', 'source-outside-package', 'open', '@/workspace/../build/gen.rs'],
    ['the system, by way of a root', 'source-outside-package', 'open', '@/workspace/../../etc/passwd', 2],
    ['the directory of the roots', 'source-outside-package', 'list', '@'],
    ['a library of the lender', 'source-outside-package', 'open', '/lib/x86_64-linux-gnu/libc.so.6'],
    ['the top directory', 'source-outside-package', 'list', '/'],
    ['a file that may not be read', 'source-outside-package', 'open', '/etc/shadow', 13],
    ['writing into the package, in vain', 'writes-elsewhere', 'write', '@/workspace/x/schema.json', 30],
    ['writing elsewhere, in vain', 'writes-elsewhere', 'write', '/home/me/cache', 2],
    ['starting a program, in vain', 'unobserved', 'exec', '@/toolchain/bin/rustc'],
    ['the network', 'uses-network', 'net', 'inet'],
    ['a socket by its path', 'uses-network', 'net', '/run/docker.sock'],
    ['an input that may not be read', 'unobserved', 'open', '@/workspace/x/src/lib.rs', 13],
    ['a toolchain file that its digest is not over', 'source-changed', 'open', '@/toolchain/etc/new'],
  ] as const) {
    test(`nothing can be said of a compile that looked at or tried ${what}`, async () => {
      const [kind, path, errno] = event
      assert.equal(await lentReads(compile([[kind, path, errno ?? 0]]), needs()), reason)
    })
  }

  test('nor of one of which rustc knows a file that was not seen being read', async () => {
    const depInfo = '\0out\0/x-1.d: src/lib.rs src/deep/note.txt\n'
    assert.equal(await lentReads(compile([], { depInfo }), needs()), 'unobserved')
    assert.deepEqual(await reads([['open', '@/workspace/x/src/deep/note.txt']], { depInfo }), [
      `file \0workspace\0/x/src/deep/note.txt ${content('note')}`,
    ])
  })
})

const byPath = (a: string, b: string): number => {
  const [pathA = '', pathB = ''] = [a.split(' ')[1], b.split(' ')[1]]
  return pathA < pathB ? -1 : 1
}

describe('the inputs as a guest sees them', () => {
  let dir: string
  const paths = ['src/lib.rs', 'src/deep/er/note.txt', 'Cargo.toml']
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-lent-view-'))
    for (const path of paths) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), path)
    }
    await mkdir(join(dir, 'empty'))
  })
  after(() => rm(dir, { recursive: true, force: true }))

  test('are what the same files on disk are', async () => {
    const disk = new LocalView(new StatDigests(), '')
    const lent = new LentView(new Map(paths.map((path) => [join(dir, path), content(path)])), [join(dir, 'empty')])
    for (const path of ['.', 'src', 'src/', 'src/../src/deep', 'src/lib.rs', 'empty', 'none', 'src/lib.rs/x']) {
      const at = `${dir}/${path}`
      for (const kind of ['file', 'dir', 'list', 'absent', 'link', 'program'] as const) {
        assert.equal(String(lent.see(kind, at)), String(await disk.see(kind, at)), `${kind} ${path}`)
      }
      assert.equal(lent.what(at).kind, disk.what(at, Number.POSITIVE_INFINITY)?.kind, path)
    }
  })
})
