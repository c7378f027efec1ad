import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Works } from '../../src/daemon/work.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned } from '../recall/support.ts'

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
  const works = new Works(new Trees(new StatDigests()), thin)
  const build = new Uint8Array(16)
  const work = await works.of(linked, build, true)
  assert.deepEqual([thinned, work.lent], [[], linked])
  await works.of({ ...linked }, build, false)
  assert.deepEqual(thinned, ['libp-1.rlib'])
})
