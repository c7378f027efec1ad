import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Rerun } from '../../src/daemon/verdict.ts'
import { findBubblewrap } from '../../src/daemon/warm-run.ts'
import { runWhole } from '../../src/daemon/whole-run.ts'
import { collectHere, withoutIdentity } from '../../src/execute/collector.ts'
import type { Invocation } from '../../src/plan/invocation.ts'
import { outputsDigest } from '../../src/recall/signed-claim.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { planned as plannedUnit } from '../recall/support.ts'
import { capture } from '../support/cluster.ts'

test('a program is made again with the bytes that it had, in a directory that is gone afterwards', async (t) => {
  const dir = await temporaryDirectory(t)
  const deps = join(dir, 'deps')
  await mkdir(deps)
  await writeFile(join(dir, 'main.rs'), 'fn main() { println!("{}", file!()) }\n')
  const options = [
    '--crate-name',
    'x',
    '--crate-type',
    'bin',
    '--emit=dep-info,link',
    '-Cdebuginfo=2',
    '-Cextra-filename=-1',
  ]
  const argv = [...options, '-C', `incremental=${join(dir, 'inc')}`, '--out-dir', deps, 'main.rs']
  const remaps = [{ from: dir, to: '.' }]
  const env = new Map(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
  )
  const invocation = { rustc: 'rustc', driver: undefined, cwd: dir, argv, env, remaps } as unknown as Invocation
  const outputs: [string, 'dep-info' | 'link'][] = [
    ['x-1.d', 'dep-info'],
    ['x-1', 'link'],
  ]
  const planned = { ...plannedUnit, action: { ...plannedUnit.action, outputs }, roots: [] }
  const flags = [`--remap-path-prefix=${dir}=.`]
  assert.equal((await capture('rustc', [...flags, ...options, '--out-dir', deps, 'main.rs'], { cwd: dir })).code, 0)
  const made = await collectHere({
    dir: deps,
    outputs,
    search: [],
    roots: [],
    blocks: {
      get: async () => undefined,
      path: () => undefined,
      put: async (bytes) => cidOf(bytes),
      putFile: async (path) => ({ cid: cidOf(await readFile(path)), size: 0 }),
    },
  })
  const bubblewrap = await findBubblewrap(process.env)
  const { signal } = new AbortController()
  const scratch = join(dir, randomUUID())
  const again = await runWhole({ planned, invocation }, { scratch, bubblewrap, signal })
  assert.deepEqual(again?.outputs, outputsDigest({ outputs: made.outputs.map(withoutIdentity) }))
  assert.deepEqual([existsSync(scratch), existsSync(join(dir, 'inc'))], [false, false])
  assert.deepEqual((await readdir(deps)).toSorted(), ['x-1', 'x-1.d'])
  await writeFile(join(dir, 'main.rs'), 'fn main() { println!("other") }\n')
  const other = await runWhole({ planned, invocation }, { scratch, bubblewrap, signal })
  assert.ok(other !== undefined)
  assert.notDeepEqual(other.outputs, again?.outputs)
  await writeFile(join(dir, 'main.rs'), 'fn main() { wrong }\n')
  assert.equal(await runWhole({ planned, invocation }, { scratch, bubblewrap, signal }), undefined)
})

test('lints are looked for again, and what they find is told', async (t) => {
  const dir = await temporaryDirectory(t)
  const env = new Map(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
  )
  const bubblewrap = await findBubblewrap(process.env)
  const { signal } = new AbortController()
  const outputs: [string, 'dep-info' | 'metadata'][] = [
    ['x-1.d', 'dep-info'],
    ['libx-1.rmeta', 'metadata'],
  ]
  const planned = { ...plannedUnit, action: { ...plannedUnit.action, outputs }, roots: [] }
  const options = ['--crate-name', 'x', '--crate-type', 'lib', '--emit=dep-info,metadata', '-Cextra-filename=-1']
  const lint = async (source: string, ...more: string[]): Promise<Rerun | undefined> => {
    await writeFile(join(dir, 'lib.rs'), source)
    const argv = [...options, '--error-format=json', '--json=artifacts', '--out-dir', dir, 'lib.rs', ...more]
    const invocation = { rustc: 'rustc', driver: 'clippy-driver', cwd: dir, argv, env, remaps: [] }
    const init = { scratch: join(dir, randomUUID()), bubblewrap, signal }
    return await runWhole({ planned, invocation: invocation as unknown as Invocation }, init)
  }
  const odd = 'pub fn f(flag: bool) -> bool { flag == true }\n'
  const warned = await lint(odd)
  assert.match(Buffer.from(warned?.stderr ?? []).toString(), /clippy::bool_comparison/)
  assert.doesNotMatch(Buffer.from(warned?.stderr ?? []).toString(), /"artifact"/)
  assert.ok((warned?.outputs.length ?? 0) > 0)
  assert.equal((await lint(odd, '-Dwarnings'))?.outputs.length, 0)
  assert.equal((await lint(odd, '-Aclippy::bool_comparison'))?.stderr?.length, 0)
  assert.equal(await lint(odd, '-Cno-such-option=1'), undefined, 'no fault of the source')
})
